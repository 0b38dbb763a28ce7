//! Added tokens, such as `[MASK]`: found in a text as they are written, before all else.

use std::cmp::Reverse;
use std::ops::Range;

/// Tokens that are taken out of a text before it is normalised and cut into words.
pub struct AddedTokens {
    /// By the byte that a token begins with; longer ones come first.
    by_first_byte: Box<[Vec<AddedToken>; 256]>,
}

struct AddedToken {
    bytes: Box<[u8]>,
    id: u32,
}

/// An added token that is in a text.
pub struct Found {
    pub range: Range<usize>,
    pub id: u32,
}

impl AddedTokens {
    /// Non-empty tokens, each with its id.
    pub fn new(tokens: impl IntoIterator<Item = (String, u32)>) -> AddedTokens {
        let mut by_first_byte = Box::new([const { Vec::new() }; 256]);
        for (token, id) in tokens {
            let bytes = token.into_bytes().into_boxed_slice();
            by_first_byte[usize::from(bytes[0])].push(AddedToken { bytes, id });
        }
        for tokens in by_first_byte.iter_mut() {
            tokens.sort_by_key(|token| Reverse(token.bytes.len()));
        }
        AddedTokens { by_first_byte }
    }

    /// The first token in a text, the longest where several begin at the same place.
    pub fn find(&self, text: &str) -> Option<Found> {
        let text = text.as_bytes();
        text.iter().enumerate().find_map(|(start, byte)| {
            let tokens = &self.by_first_byte[usize::from(*byte)];
            let token = tokens.iter().find(|token| text[start..].starts_with(&token.bytes))?;
            Some(Found { range: start..start + token.bytes.len(), id: token.id })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_found_and_of_those_that_begin_there_the_longest() {
        let tokens = ["[a]", "[a]b", "b", "é"].map(str::to_owned);
        let added = AddedTokens::new(tokens.into_iter().zip(0..));
        let find = |text: &str| added.find(text).map(|found| (found.range, found.id));
        assert_eq!(find("x [a]bb"), Some((2..6, 1)));
        assert_eq!(find("x [[a] b"), Some((3..6, 0)));
        assert_eq!(find("\u{e8}é"), Some((2..4, 3)));
        assert_eq!(find("[A]"), None);
        assert_eq!(find(""), None);
    }
}
