//! A SHA-256 as it is kept, compared and written.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// A SHA-256, written in lower-case hexadecimal and read in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum([u8; 32]);

/// A text that is no SHA-256 in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not 64 hexadecimal digits")]
pub struct NotAHash;

impl Sha256Sum {
    /// That of `content`.
    pub fn of(content: impl AsRef<[u8]>) -> Sha256Sum {
        Sha256Sum(Sha256::digest(content).into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256Sum {
    fn from(sum: [u8; 32]) -> Sha256Sum {
        Sha256Sum(sum)
    }
}

/// What has been hashed piece by piece.
impl From<Sha256> for Sha256Sum {
    fn from(hasher: Sha256) -> Sha256Sum {
        Sha256Sum(hasher.finalize().into())
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for Sha256Sum {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Sha256Sum, NotAHash> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| NotAHash)?;
        if !rest.is_empty() {
            return Err(NotAHash);
        }
        let mut sum = [0; 32];
        for (byte, pair) in sum.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(NotAHash);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| NotAHash)?;
        }
        Ok(Sha256Sum(sum))
    }
}
