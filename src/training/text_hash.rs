//! What a text is known by where the text itself need not or must not be kept.

use std::fmt;
use std::str::FromStr;

pub use crate::sha256::NotAHash;

use crate::sha256::Sha256Sum;

/// The SHA-256 of a text's UTF-8. Texts that differ in a single byte are different.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextHash(Sha256Sum);

impl TextHash {
    /// The hash of `text`.
    pub fn of(text: &str) -> TextHash {
        TextHash(Sha256Sum::of(text))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TextHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<TextHash, NotAHash> {
        text.parse().map(TextHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_in_lower_case_hexadecimal_and_read_back() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TextHash::of("abc").to_string(), abc);
        assert_eq!(abc.parse(), Ok(TextHash::of("abc")));
        for odd in ["", "ba78", &abc[1..], &format!("{abc}0"), &abc.replace('b', "g")] {
            assert_eq!(odd.parse::<TextHash>(), Err(NotAHash), "{odd}");
        }
    }
}
