//! A word to the pieces that a vocabulary has of it, longest match first.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// The vocabulary of a WordPiece model.
pub struct Pieces {
    /// What a word may begin with.
    first: Entries,
    /// What may follow, without the prefix that marks it in the vocabulary.
    continuing: Entries,
    unknown: u32,
    max_chars: usize,
}

struct Entries {
    // The keys are the model's, not a client's: no hash of a fixed seed can be made to collide.
    ids: HashMap<Box<[u8]>, u32, FixedState>,
    /// Bytes of the longest entry.
    longest: usize,
}

impl Pieces {
    /// `prefix` marks the entries that continue a word; a word with more than `max_chars`
    /// characters becomes the token `unknown`, as does one that the vocabulary cannot make.
    ///
    /// `None` if `unknown` is not in the vocabulary.
    pub fn new(
        vocabulary: &HashMap<String, u32>,
        unknown: &str,
        prefix: &str,
        max_chars: usize,
    ) -> Option<Pieces> {
        let entries = || vocabulary.iter().map(|(token, id)| (token.as_str(), *id));
        let continuing =
            entries().filter_map(|(token, id)| token.strip_prefix(prefix).map(|it| (it, id)));
        Some(Pieces {
            first: Entries::new(entries()),
            continuing: Entries::new(continuing),
            unknown: *vocabulary.get(unknown)?,
            max_chars,
        })
    }

    /// Appends the ids of a non-empty word in UTF-8.
    pub fn cut(&self, word: &[u8], ids: &mut Vec<u32>) {
        if word.len() > self.max_chars && chars(word) > self.max_chars {
            ids.push(self.unknown);
            return;
        }
        let before = ids.len();
        let (mut entries, mut rest) = (&self.first, word);
        while !rest.is_empty() {
            let Some((len, id)) = entries.longest_prefix(rest) else {
                ids.truncate(before);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            rest = &rest[len..];
            entries = &self.continuing;
        }
    }
}

impl Entries {
    fn new<'a>(entries: impl Iterator<Item = (&'a str, u32)>) -> Entries {
        let ids: HashMap<Box<[u8]>, u32, FixedState> =
            entries.map(|(text, id)| (text.as_bytes().into(), id)).collect();
        let longest = ids.keys().map(|key| key.len()).max().unwrap_or(0);
        Entries { ids, longest }
    }

    /// The bytes and the id of the longest entry that `text` begins with. A part that ends within a
    /// character is no entry.
    fn longest_prefix(&self, text: &[u8]) -> Option<(usize, u32)> {
        let longest = text.len().min(self.longest);
        (1..=longest).rev().find_map(|len| self.ids.get(&text[..len]).map(|id| (len, *id)))
    }
}

/// Characters of a text in UTF-8.
fn chars(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(word: &str) -> Vec<u32> {
        let tokens = ["?", "a", "ab", "##b", "##bc", "##c", "é", "##é", "#", "abcde"];
        let vocabulary = tokens.iter().map(|token| (*token).to_owned()).zip(0..).collect();
        let mut ids = vec![99];
        Pieces::new(&vocabulary, "?", "##", 4).unwrap().cut(word.as_bytes(), &mut ids);
        ids.split_off(1)
    }

    #[test]
    fn the_longest_piece_is_taken_first() {
        assert_eq!(cut("a"), [1]);
        assert_eq!(cut("abc"), [2, 5]);
        assert_eq!(cut("abbc"), [2, 4]);
        assert_eq!(cut("éé"), [6, 7]);
    }

    #[test]
    fn a_word_that_cannot_be_made_is_unknown_as_a_whole() {
        assert_eq!(cut("abx"), [0]);
        assert_eq!(cut("b"), [0]);
        assert_eq!(cut("a#"), [0]);
    }

    #[test]
    fn a_long_word_is_unknown_even_if_the_vocabulary_has_it() {
        assert_eq!(cut("abcde"), [0]);
        assert_eq!(cut("éééé"), [6, 7, 7, 7]);
        assert_eq!(cut("ééééé"), [0]);
    }
}
