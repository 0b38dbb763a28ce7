//! Which texts a head was not fit on, in little space.

use std::collections::BTreeSet;

use crate::training::text_hash::TextHash;

/// The texts that were held out from a fit. Each is known by 32 bits of its hash: enough to find it
/// again among the rows of a job, of which one in ten thousand at the very most is taken for another,
/// and no proof that a certain text was there once it is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen(BTreeSet<[u8; MARK]>);

const MARK: usize = 4;

impl Unseen {
    /// Whether the text is one of them.
    pub fn contains(&self, text: &TextHash) -> bool {
        self.0.contains(&mark(text))
    }

    /// As they are stored: one mark after another.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flatten().copied().collect()
    }

    /// Reads [`Unseen::to_bytes`]. `None` for what that does not make.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (marks, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(marks.iter().copied().collect()))
    }
}

impl FromIterator<TextHash> for Unseen {
    fn from_iter<T: IntoIterator<Item = TextHash>>(texts: T) -> Self {
        Self(texts.into_iter().map(|text| mark(&text)).collect())
    }
}

/// The last bytes: the rows that are held out have the lowest hashes, so that their first ones are alike.
fn mark(text: &TextHash) -> [u8; MARK] {
    *text.as_bytes().last_chunk().expect("a hash has more bytes than a mark")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_again_once_they_were_stored() {
        let hash = |number: usize| TextHash::of(&format!("text {number}"));
        let unseen: Unseen = (0..1000).map(hash).collect();
        let bytes = unseen.to_bytes();
        assert_eq!(bytes.len(), 4000);
        let read = Unseen::from_bytes(&bytes).unwrap();
        assert_eq!(read, unseen);
        assert!((0..1000).all(|number| read.contains(&hash(number))));
        // By chance, about one of four million is taken for another.
        assert!(!(1000..2000).any(|number| read.contains(&hash(number))));
        assert_eq!(Unseen::from_bytes(&bytes[1..]), None);
        assert_eq!(Unseen::from_bytes(&[]), Some(Unseen::default()));
    }
}
