//! Tables for people: columns as wide as their widest cell.

/// Rows under a headline, two spaces between columns; numbers are not aligned to the right.
pub fn render(headline: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.fold(headline[column].chars().count(), usize::max)
    };
    let widths: Vec<usize> = (0..headline.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        let mut line = padded.collect::<Vec<_>>().join("  ");
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let headline: Vec<String> = headline.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = line(&headline);
    text.extend(rows.iter().map(|row| line(row)));
    text
}

/// `1:05`, `2:03:04`.
pub fn duration(seconds: u64) -> String {
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["1".into(), "callback".into()], vec!["1000".into(), "ivr".into()]];
        assert_eq!(
            render(&["session", "rule"], &rows),
            "session  rule\n1        callback\n1000     ivr\n"
        );
    }

    #[test]
    fn durations_have_minutes_always() {
        assert_eq!(duration(5), "0:05");
        assert_eq!(duration(65), "1:05");
        assert_eq!(duration(7384), "2:03:04");
    }
}
