//! Text to words, as BERT's normaliser and pre-tokenizer make them.

use std::ops::ControlFlow;

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

/// How a text is normalised before it is cut at white space and around punctuation.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Control characters, private-use ones and U+FFFD are removed.
    pub clean_text: bool,
    /// Each Chinese character is a word.
    pub split_chinese: bool,
    /// Letters are decomposed (NFD) and the marks on them removed.
    pub strip_accents: bool,
    pub lowercase: bool,
}

/// Cuts texts into normalised words.
pub struct Words {
    rules: Rules,
    /// What each byte is for.
    bytes: [Byte; 256],
}

/// What a byte of a text means by itself.
#[derive(Clone, Copy)]
enum Byte {
    /// Part of a word, as the byte in it.
    Letter(u8),
    Space,
    /// A word of its own.
    Punctuation,
    Removed,
    /// Part of a character beyond ASCII.
    Beyond,
}

impl Words {
    pub fn new(rules: Rules) -> Words {
        let bytes = std::array::from_fn(|byte| match u8::try_from(byte) {
            Ok(byte) if byte.is_ascii() => Byte::of_ascii(byte, rules),
            _ => Byte::Beyond,
        });
        Words { rules, bytes }
    }

    /// Gives the words of a text, in UTF-8 and never empty, to `take` until that breaks.
    pub fn each(
        &self,
        text: &str,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let bytes = text.as_bytes();
        let mut word = Word::default();
        let mut at = 0;
        while at < bytes.len() {
            match self.bytes[usize::from(bytes[at])] {
                Byte::Letter(byte) => word.0.push(byte),
                Byte::Space => word.end(&mut take)?,
                Byte::Punctuation => {
                    word.end(&mut take)?;
                    take(&bytes[at..=at])?;
                }
                Byte::Removed => {}
                Byte::Beyond => {
                    let end = self.end_of_run(bytes, at);
                    self.normalize(&text[at..end], |it| word.add(it, &mut take))?;
                    at = end;
                    continue;
                }
            }
            at += 1;
        }
        word.end(&mut take)
    }

    /// The end of a run of characters beyond ASCII. What is removed does not end it: the marks
    /// before and after come to stand next to each other.
    fn end_of_run(&self, bytes: &[u8], start: usize) -> usize {
        let is_within =
            |byte: &u8| matches!(self.bytes[usize::from(*byte)], Byte::Beyond | Byte::Removed);
        let len = bytes[start..].iter().position(|byte| !is_within(byte));
        len.map_or(bytes.len(), |len| start + len)
    }

    /// Normalises a run of characters beyond ASCII. An ASCII character next to it changes nothing:
    /// it neither decomposes nor lets marks pass it when they are put in order.
    fn normalize(
        &self,
        run: &str,
        mut take: impl FnMut(char) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let rules = self.rules;
        let mut cased = |it: char| {
            if rules.lowercase { it.to_lowercase().try_for_each(&mut take) } else { take(it) }
        };
        let mut chars =
            run.chars().filter(|it| !(rules.clean_text && is_removed(*it))).flat_map(|it| {
                let space = (rules.split_chinese && is_chinese(it)).then_some(' ');
                space.into_iter().chain([it]).chain(space)
            });
        if rules.strip_accents {
            let mut decomposed = chars.nfd().map(|(it, _)| it);
            decomposed.try_for_each(|it| {
                if it.is_mark_nonspacing() { ControlFlow::Continue(()) } else { cased(it) }
            })
        } else {
            chars.try_for_each(cased)
        }
    }
}

/// The word that is being read.
struct Word(Vec<u8>);

impl Default for Word {
    fn default() -> Word {
        Word(Vec::with_capacity(64))
    }
}

impl Word {
    fn add(
        &mut self,
        it: char,
        take: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if it.is_whitespace() {
            return self.end(take);
        }
        let mut bytes = [0; 4];
        let bytes = it.encode_utf8(&mut bytes).as_bytes();
        if is_punctuation(it) {
            self.end(take)?;
            return take(bytes);
        }
        self.0.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn end(&mut self, take: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        if !self.0.is_empty() {
            take(&self.0)?;
            self.0.clear();
        }
        ControlFlow::Continue(())
    }
}

impl Byte {
    fn of_ascii(byte: u8, rules: Rules) -> Byte {
        let it = char::from(byte);
        if rules.clean_text && is_removed(it) {
            Byte::Removed
        } else if it.is_whitespace() {
            Byte::Space
        } else if is_punctuation(it) {
            Byte::Punctuation
        } else {
            Byte::Letter(if rules.lowercase { byte.to_ascii_lowercase() } else { byte })
        }
    }
}

fn is_removed(it: char) -> bool {
    match it {
        '\t' | '\n' | '\r' => false,
        '\u{fffd}' => true,
        _ => it.is_other(),
    }
}

/// Symbols of ASCII such as `$` count, those beyond it such as `€` do not.
fn is_punctuation(it: char) -> bool {
    it.is_ascii_punctuation() || it.is_punctuation()
}

/// The CJK ideographs that BERT was trained with; Hangul and kana are written in words.
fn is_chinese(it: char) -> bool {
    matches!(
        it,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}

#[cfg(test)]
mod tests;
