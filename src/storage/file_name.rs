//! Names of recordings and logs: one plain part, so that none leaves its folder.

/// Letters, digits, `.`, `-` and `_`, not beginning with a dot, 200 bytes at most.
pub fn is_plain(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty()
        && name.len() <= MOST_BYTES
        && !name.starts_with('.')
        && name.bytes().all(is_allowed)
}

/// Every file system takes 255; the rest is for what is put before or behind.
const MOST_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_inside_the_folder_are_plain() {
        assert!(is_plain("desk-1764020000000-17-0a1b.wav"));
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a\0", "ä.wav", "a b"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(!is_plain(&"a".repeat(201)));
    }
}
