use proptest::prelude::*;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

use super::*;

/// BERT's own, for texts whose case does not matter.
const UNCASED: Rules =
    Rules { clean_text: true, split_chinese: true, strip_accents: true, lowercase: true };

fn all_rules() -> impl Iterator<Item = Rules> {
    (0..16).map(|bits| Rules {
        clean_text: bits & 1 == 0,
        split_chinese: bits & 2 == 0,
        strip_accents: bits & 4 == 0,
        lowercase: bits & 8 == 0,
    })
}

fn words(text: &str, rules: Rules) -> Vec<String> {
    let mut words = Vec::new();
    let every = Words::new(rules).each(text, |word| {
        words.push(String::from_utf8(word.to_vec()).unwrap());
        ControlFlow::Continue(())
    });
    assert!(every.is_continue());
    words
}

fn words_of_the_library(text: &str, rules: Rules) -> Vec<String> {
    let Rules { clean_text, split_chinese, strip_accents, lowercase } = rules;
    let normalizer = BertNormalizer::new(clean_text, split_chinese, Some(strip_accents), lowercase);
    let mut text = NormalizedString::from(text);
    normalizer.normalize(&mut text).unwrap();
    let mut text = PreTokenizedString::from(text);
    BertPreTokenizer.pre_tokenize(&mut text).unwrap();
    let words = text.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    words.into_iter().map(|(word, _, _)| word.to_owned()).collect()
}

fn assert_same(text: &str, rules: Rules) {
    let (ours, theirs) = (words(text, rules), words_of_the_library(text, rules));
    assert_eq!(ours, theirs, "{text:?}, {rules:?}");
}

/// Compares texts in which each character stands alone, between letters and after an accent.
fn assert_same_for(characters: impl Iterator<Item = char>, rules: Rules) {
    let characters: Vec<char> = characters.collect();
    for some in characters.chunks(256) {
        let text = some.iter().map(|it| format!(" {it} A{it}b e\u{301}{it}\u{323}"));
        assert_same(&text.collect::<String>(), rules);
    }
}

#[test]
fn words_are_those_of_the_library_for_every_character() {
    // Every character that is assigned, under one of the rule sets; of the planes beyond, some.
    let assigned = ('\0'..'\u{32000}').chain('\u{e0000}'..'\u{e1000}');
    let characters: Vec<char> = assigned.chain(('\u{32000}'..=char::MAX).step_by(61)).collect();
    for (first, rules) in all_rules().enumerate() {
        assert_same_for(characters.iter().copied().skip(first).step_by(16), rules);
    }
    // BERT's own for the letters, marks and signs of most living scripts.
    assert_same_for('\0'..'\u{3200}', UNCASED);
}

#[test]
fn words_are_those_of_the_library_for_every_rule() {
    let texts = [
        "",
        " \t\n",
        "\0\u{7f}\u{fffd}",
        "Hello, World!  It's 5$ (10€).",
        "a\u{b}b\u{c}c\u{1c}d\u{85}e\u{a0}f\u{2028}g\u{3000}h\u{200b}i\u{feff}j",
        "Crème BRÛLÉE, İstanbul, ΣΊΣΥΦΟΣ, ǅ, ẞ, ﬁ, Å",
        "北京大学の東京 tower 한국어 カタカナ 豈\u{2f800}",
        "👩\u{200d}👩\u{200d}👧 👍🏽 🇫🇷 e\u{301}\0\u{323}x \u{1d165}\u{1d16e}\u{301}",
        // Marks that are kept and change places, also over what is removed.
        "a\u{1d16d}\u{1d165}b\u{1d16d}\u{7}\u{1d165} \u{302e}\0\u{1d165}",
        "\u{301}\u{f73}\u{344} \u{302e}\u{301}\u{302e} q\u{307}\u{323} \u{1100}\u{1161}\u{11a8}각",
        "\u{e000}\u{378}\u{10ffff}\u{fdd0} ー ‘quoted’ — “dash” … ¿qué?",
    ];
    for rules in all_rules() {
        for text in texts {
            assert_same(text, rules);
        }
    }
}

#[test]
fn no_more_words_are_made_than_are_taken() {
    for text in ["a b c d", "a. b c", "à. é c"] {
        let mut taken = 0;
        let stopped = Words::new(UNCASED).each(text, |_| {
            taken += 1;
            if taken < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(stopped.is_break());
        assert_eq!(taken, 2);
    }
}

/// Characters that meet in a text as they do in no text that was ever written.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        4 => proptest::char::range('\0', '\u{7f}'),
        2 => proptest::char::range('\u{80}', '\u{24f}'),
        // Combining marks, of several classes and scripts.
        2 => proptest::char::range('\u{300}', '\u{36f}'),
        1 => proptest::char::range('\u{f00}', '\u{fff}'),
        1 => proptest::char::range('\u{1d150}', '\u{1d1af}'),
        1 => proptest::char::range('\u{2000}', '\u{206f}'),
        1 => proptest::char::range('\u{ac00}', '\u{d7a3}'),
        1 => proptest::char::range('\u{4e00}', '\u{9fff}'),
        1 => proptest::char::range('\u{f900}', '\u{faff}'),
        1 => proptest::char::range('\u{1f300}', '\u{1faff}'),
        2 => any::<char>(),
    ]
}

proptest! {
    #[test]
    fn words_are_those_of_the_library(
        characters in proptest::collection::vec(character(), 0..48),
    ) {
        let text: String = characters.into_iter().collect();
        all_rules().for_each(|rules| assert_same(&text, rules));
    }
}
