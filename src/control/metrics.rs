//! `/metrics`: every counter and gauge in the Prometheus text format, version 0.0.4.

use std::fmt::Write as _;
use std::time::Duration;

use super::message::Response;
use crate::stats::{self, Histogram, Kind};

pub fn page(resident_bytes: Option<u64>, uptime: Duration) -> Response {
    let mut text = String::new();
    for metric in stats::ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        add(&mut text, metric.name, metric.help, kind, metric.value());
    }
    for histogram in stats::HISTOGRAMS {
        add_histogram(&mut text, histogram);
    }
    let uptime_help = "Seconds since the gateway started.";
    add(&mut text, "branchline_uptime_seconds", uptime_help, "gauge", uptime.as_secs());
    if let Some(bytes) = resident_bytes {
        let help = "Resident memory size in bytes.";
        add(&mut text, "process_resident_memory_bytes", help, "gauge", bytes);
    }
    Response::with_type(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

fn add(text: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    // Writing to a String does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

/// Buckets count what is below them too.
fn add_histogram(text: &mut String, histogram: &Histogram) {
    let Histogram { name, help, bounds, .. } = histogram;
    // Writing to a String does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} histogram\n");
    let mut total = 0;
    let mut bounds = bounds.iter();
    for count in histogram.counts() {
        total += count;
        let _ = match bounds.next() {
            Some(bound) => writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}"),
            None => writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {total}"),
        };
    }
    let _ = write!(text, "{name}_sum {}\n{name}_count {total}\n", histogram.sum());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Body;

    #[test]
    fn histograms_count_what_is_below_each_bound() {
        let mut text = String::new();
        let histogram = Histogram::new("marks", &[2.58, 4.34], "How it was.");
        for value in [4.34, 2.0, 4.5] {
            histogram.observe(value);
        }
        add_histogram(&mut text, &histogram);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP marks How it was.",
                "# TYPE marks histogram",
                "marks_bucket{le=\"2.58\"} 1",
                "marks_bucket{le=\"4.34\"} 2",
                "marks_bucket{le=\"+Inf\"} 3",
                "marks_sum 10.84",
                "marks_count 3",
            ]
        );
    }

    #[test]
    fn page_names_every_metric_with_its_type() {
        let page = page(Some(4096), Duration::from_secs(5));
        let Body::Bytes(bytes) = page.body else { panic!("metrics are no file") };
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("# HELP branchline_"));
        for metric in stats::ALL {
            assert!(text.contains(&format!("\n{} ", metric.name)), "{}", metric.name);
        }
        assert!(text.contains("# TYPE branchline_sessions_started_total counter\n"));
        assert!(text.contains("branchline_uptime_seconds 5\n"));
        assert!(text.ends_with("process_resident_memory_bytes 4096\n"));
    }
}
