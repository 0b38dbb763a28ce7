//! Names of models and tasks, which stand in URLs, metrics and the names of environment variables.

/// What [`is_valid`] takes, in words.
pub const ALLOWED: &str = "1 to 64 characters of A-Z a-z 0-9 _ . - other than \".\" and \"..\"";

/// Whether a name stands in a URL's path as it is. `.` and `..` do not: clients resolve them away.
pub fn is_valid(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_escaping_in_a_url() {
        for name in ["topic", "bge-small-en-v1.5", "A_1", "_", "-", "...", &"x".repeat(64)] {
            assert!(is_valid(name), "{name:?}");
        }
        for name in
            ["", " ", "a b", "a/b", "naïve", "a%20", "a?", "a\n", ".", "..", &"x".repeat(65)]
        {
            assert!(!is_valid(name), "{name:?}");
        }
    }
}
