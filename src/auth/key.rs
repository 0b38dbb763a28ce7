//! One API key: made here, hashed at once.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::{Serialize, Serializer};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::sha256::{NotAHash, Sha256Sum};

/// What [`KeyHash::of_usable`] takes, in words.
pub const ALLOWED: &str =
    "16 or more letters, digits and - . _ ~ + / =, such as a key that `polyhead key` makes";

/// Shorter keys can be guessed.
pub const MIN_BYTES: usize = 16;

/// By it, scanners for leaked secrets tell our keys from other texts.
const PREFIX: &str = "ph_";

/// Letters and digits of a fresh key: 62^43 is a little more than 2^256.
const RANDOM_LETTERS: usize = 43;

/// The SHA-256 of a key. Keys are random and long, so that a slow or salted hash, as for passwords, would
/// protect nothing. Shown by no `Debug`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash(Sha256Sum);

/// A key that cannot be used, which this does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnusableKey {
    #[error("found {0} bytes")]
    TooShort(usize),
    /// Clients could not send it behind `Bearer` (RFC 6750, section 2.1).
    #[error("found a character that no key has")]
    Character,
}

/// A new key, 256 random bits.
pub fn fresh() -> String {
    let letters = rand::rng().sample_iter(Alphanumeric).take(RANDOM_LETTERS).map(char::from);
    PREFIX.chars().chain(letters).collect()
}

impl KeyHash {
    /// The hash of any text.
    pub fn of(key: &str) -> KeyHash {
        KeyHash(Sha256Sum::of(key))
    }

    /// The hash of a key that is long enough and can be sent.
    pub fn of_usable(key: &str) -> Result<KeyHash, UnusableKey> {
        if key.len() < MIN_BYTES {
            return Err(UnusableKey::TooShort(key.len()));
        }
        let is_sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !key.bytes().all(is_sendable) {
            return Err(UnusableKey::Character);
        }
        Ok(KeyHash::of(key))
    }

    /// Whether both are of the same key, in a time that does not tell where they differ.
    pub fn matches(&self, other: &KeyHash) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(..)")
    }
}

impl FromStr for KeyHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<KeyHash, NotAHash> {
        text.parse().map(KeyHash)
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_is_usable_and_like_no_other() {
        let (one, other) = (fresh(), fresh());
        assert_ne!(one, other);
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + RANDOM_LETTERS, "{one}");
        let hash = KeyHash::of_usable(&one).unwrap();
        assert!(hash.matches(&KeyHash::of(&one)) && !hash.matches(&KeyHash::of(&other)));
    }

    #[test]
    fn a_hash_is_that_of_sha256sum_and_is_read_back_in_either_case() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of("abc").to_string(), abc);
        for text in [abc.to_owned(), abc.to_uppercase()] {
            assert!(text.parse::<KeyHash>().unwrap().matches(&KeyHash::of("abc")));
        }
        for text in ["", "abc", &abc[1..], &format!("{abc}0"), &abc.replace('b', "g")] {
            assert_eq!(text.parse::<KeyHash>(), Err(NotAHash), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_can_be_guessed_or_not_be_sent_is_unusable() {
        let refused = |key: &str| KeyHash::of_usable(key).unwrap_err();
        assert_eq!(refused("fifteen-letters"), UnusableKey::TooShort(15));
        for key in ["sixteen letters ", "sixteen\nletters.", "sixteen-letters\u{e9}"] {
            assert_eq!(refused(key), UnusableKey::Character, "{key:?}");
        }
        assert!(KeyHash::of_usable("sixteen-letters.").is_ok());
    }

    #[test]
    fn debug_output_shows_no_hash() {
        assert_eq!(format!("{:?}", KeyHash::of("abc")), "KeyHash(..)");
    }
}
