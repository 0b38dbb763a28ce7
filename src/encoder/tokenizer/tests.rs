use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TRUNCATIONS: [Truncation; 3] = [Truncation::Right, Truncation::Left, Truncation::Refuse];

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tiny() -> PathBuf {
    in_repository("tests/fixtures/tiny-bert/mean-normalized")
}

/// The tokenizer of `folder` with some of its file changed, and the same run by the library.
fn pair(
    folder: &Path,
    max_tokens: usize,
    change: impl FnOnce(&mut Value),
) -> (Tokenizer, Tokenizer) {
    let file = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    change(&mut file);
    let changed = tempfile::tempdir().unwrap();
    std::fs::write(changed.path().join("tokenizer.json"), file.to_string()).unwrap();
    let open = || Tokenizer::open(changed.path(), max_tokens).unwrap();
    let (ours, mut theirs) = (open(), open());
    file["padding"] = Value::Null;
    file["truncation"] = Value::Null;
    theirs.pipeline = Pipeline::Library(Arc::new(file.to_string().parse().unwrap()));
    (ours, theirs)
}

fn is_fast(tokenizer: &Tokenizer) -> bool {
    matches!(tokenizer.pipeline, Pipeline::WordPiece(_))
}

fn assert_same((ours, theirs): &(Tokenizer, Tokenizer), text: &str) {
    let (ours, theirs) =
        (ours.encode(text, Truncation::Right), theirs.encode(text, Truncation::Right));
    assert_eq!(ours.unwrap(), theirs.unwrap(), "{text:?}");
}

#[test]
fn a_bert_tokenizer_is_run_by_the_fast_one_and_any_other_by_the_library() {
    assert!(is_fast(&pair(&tiny(), 24, |_| ()).0));
    let changes: [fn(&mut Value); 7] = [
        |file| file["normalizer"] = json!({"type": "Lowercase"}),
        |file| file["normalizer"] = Value::Null,
        |file| file["pre_tokenizer"] = json!({"type": "Whitespace"}),
        |file| file["model"]["unk_token"] = json!("none"),
        |file| file["added_tokens"][4]["single_word"] = json!(true),
        |file| file["added_tokens"][4]["normalized"] = json!(true),
        |file| file["added_tokens"][4]["content"] = json!("in between"),
    ];
    for change in changes {
        let pair = pair(&tiny(), 24, change);
        assert!(!is_fast(&pair.0));
        assert_same(&pair, "The film was [MASK] great, a b c");
    }
}

#[test]
fn tokens_with_their_places_are_those_that_the_model_reads() {
    let tokenizer = Tokenizer::open(&tiny(), 1000).unwrap();
    for text in ["The film was [MASK] great", "naïve  café,\n日本", "ｆｉｌｍ\u{301}!", "unwordly"]
    {
        let placed = tokenizer.place(text, true).unwrap();
        let ids: Vec<u32> = placed.iter().map(|token| token.id).collect();
        assert_eq!(ids, tokenizer.encode(text, Truncation::Refuse).unwrap().ids, "{text:?}");
        let characters: Vec<char> = text.chars().collect();
        for PlacedToken { text: part, range, .. } in placed {
            if let Some(range) = range {
                assert_eq!(characters[range].iter().collect::<String>(), part);
            }
        }
    }
}

#[test]
fn only_short_texts_for_the_fast_tokenizer_are_quick() {
    let (ours, theirs) = pair(&tiny(), 24, |_| ());
    let texts = |count: usize| vec!["a".repeat(64); count];
    assert!(ours.is_quick(&texts(64)) && !ours.is_quick(&texts(65)));
    assert!(!theirs.is_quick(&texts(1)));
}

#[test]
fn accents_are_stripped_where_case_is_unless_the_file_says_otherwise() {
    for lowercase in [true, false] {
        for strip_accents in [Value::Null, json!(true), json!(false)] {
            let pair = pair(&tiny(), 24, |file| {
                file["normalizer"]["lowercase"] = json!(lowercase);
                file["normalizer"]["strip_accents"] = strip_accents;
            });
            assert!(is_fast(&pair.0));
            assert_same(&pair, "THE the thé film FÎLM E\u{301} e\u{301}");
        }
    }
}

#[test]
fn special_tokens_stand_around_the_sentence_as_the_post_processor_wants_them() {
    let ids = |post_processor: Value| {
        let pair = pair(&tiny(), 24, |file| file["post_processor"] = post_processor);
        assert!(is_fast(&pair.0));
        assert_same(&pair, "the film");
        pair.0.encode("the film", Truncation::Right).unwrap().ids
    };
    assert_eq!(ids(Value::Null), [5, 17]);
    let bert = json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    assert_eq!(ids(bert), [2, 5, 17, 3]);
    let template = |single: Value| {
        let special = json!({"x": {"id": "x", "ids": [7, 8], "tokens": ["a", "b"]}});
        json!({"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special})
    };
    let (x, sentence) = (
        json!({"SpecialToken": {"id": "x", "type_id": 0}}),
        json!({"Sequence": {"id": "A", "type_id": 0}}),
    );
    assert_eq!(ids(template(json!([sentence, x, x]))), [5, 17, 7, 8, 7, 8]);

    let folder = tempfile::tempdir().unwrap();
    let mut file: Value =
        serde_json::from_slice(&std::fs::read(tiny().join("tokenizer.json")).unwrap()).unwrap();
    file["post_processor"] = template(json!([sentence, x, sentence]));
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    let refused = Tokenizer::open(folder.path(), 24).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("exactly once"), "{refused}");
}

#[test]
fn added_tokens_are_found_as_they_are_written() {
    let pair = pair(&tiny(), 64, |file| {
        let added = file["added_tokens"].as_array_mut().unwrap();
        added[4]["lstrip"] = json!(true);
        added[3]["rstrip"] = json!(true);
        for content in ["[MASK]s", "Film", "é"] {
            let mut token = added[0].clone();
            token["content"] = json!(content);
            token["special"] = json!(false);
            added.push(token);
        }
    });
    assert!(is_fast(&pair.0));
    for text in [
        "[CLS]",
        "[MASK]x",
        "[SEP][SEP]",
        "x[MASK]",
        "[mask]",
        "[MASK",
        "[[MASK]]",
        "the[MASK]film",
        "the \u{b}\u{3000} [MASK] \u{301}film",
        "[SEP] \u{301} [SEP]\u{b} the",
        "[MASK]s[MASK]",
        "the Film film FILM Films",
        "cafés é e\u{301} É",
        "a\u{301}é\u{301}[UNK]\u{301}",
        "[SEP] [MASK]",
    ] {
        assert_same(&pair, text);
    }
}

#[test]
fn a_long_text_gets_the_tokens_that_it_would_get_in_one_piece() {
    let (ours, theirs) = pair(&tiny(), 24, |_| ());
    let middle = "lorem ipsum, dolor \u{e9}. ".repeat(20_000);
    let text = format!("the beginning of it {middle} and this is its end");
    assert!(text.len() > 100 * 24 * BYTES_PER_TOKEN);
    for tokenizer in [ours, theirs] {
        for (truncation, kept) in
            [(Truncation::Right, &text[..200]), (Truncation::Left, &text[text.len() - 200..])]
        {
            let whole = tokenizer.encode(&text, truncation).unwrap();
            assert!(whole.truncated);
            assert_eq!(whole.ids, tokenizer.encode(kept, truncation).unwrap().ids);
        }
        let refused = tokenizer.encode(&text, Truncation::Refuse);
        assert!(matches!(refused, Err(TokenizerError::TooLong { tokens: 25.., max_tokens: 24 })));
        // Without white space there is no place to cut.
        let word = tokenizer.encode(&"x".repeat(1 << 16), Truncation::Right).unwrap();
        assert_eq!(word.ids, [2, 1, 3]);
    }
}

#[test]
fn a_text_that_just_fits_is_whole_in_every_truncation() {
    let (ours, theirs) = pair(&tiny(), 24, |_| ());
    for words in [21, 22, 23] {
        let text = "the ".repeat(words);
        for truncation in TRUNCATIONS {
            let (ours, theirs) = (ours.encode(&text, truncation), theirs.encode(&text, truncation));
            assert_eq!(ours.is_ok_and(|tokens| !tokens.truncated), words <= 22);
            assert_eq!(theirs.is_ok_and(|tokens| !tokens.truncated), words <= 22);
        }
    }
}

#[test]
fn white_space_that_is_removed_is_no_place_to_cut_at() {
    let (ours, _) = pair(&tiny(), 3, |_| ());
    for removed in ['\u{b}', '\u{c}', '\u{85}'] {
        // In one piece a single word, longer than any that is looked up.
        let word = "f".repeat(8).repeat(2 * BYTES_PER_TOKEN) + &removed.to_string() + "filmed";
        assert_eq!(ours.encode(&word, Truncation::Left).unwrap().ids, [2, 1, 3]);
        let word = "filmed".to_owned() + &removed.to_string() + &"f".repeat(8 * BYTES_PER_TOKEN);
        assert_eq!(ours.encode(&word, Truncation::Right).unwrap().ids, [2, 1, 3]);
    }
}

/// Parts of words, of the vocabulary and of what surrounds them.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z]{1,4}",
        2 => "[A-Za-z0-9]{1,12}",
        4 => " {1,2}",
        2 => "[\\x00-\\x7f]{1,4}",
        1 => "[a-z]{90,120}",
        1 => "[a-zé]{20,60}",
        2 => "[àéîõüçñßøåÀÉÎÕÜ“”‘’–—…€]",
        1 => "[а-я北京東大ひらカタ한국]{1,3}",
        1 => "[\u{300}-\u{330}\u{200b}-\u{200f}\u{fe0f}\u{1f600}-\u{1f64f}]",
        1 => "\\PC{1,3}",
        1 => any::<char>().prop_map(String::from),
        2 => prop_oneof![
            "\\[CLS\\]", "\\[SEP\\]", "\\[MASK\\]", "\\[UNK\\]", "\\[PAD\\]", "\\[", "\\]", "##[a-z]{1,3}",
        ],
    ]
}

proptest! {
    #[test]
    fn tokens_are_those_of_the_library(parts in proptest::collection::vec(part(), 0..32)) {
        use std::sync::LazyLock;
        static PAIRS: LazyLock<Vec<(Tokenizer, Tokenizer)>> = LazyLock::new(|| {
            let small = |lowercase: bool| pair(&tiny(), 24, |file| {
                file["normalizer"]["lowercase"] = json!(lowercase);
                file["model"]["max_input_chars_per_word"] = json!(8);
            });
            let real = |name: &str| pair(&in_repository("models").join(name), 256, |_| ());
            vec![small(true), small(false), real("all-MiniLM-L6-v2"), real("bge-small-en-v1.5")]
        });
        let text = parts.concat();
        for (ours, theirs) in &*PAIRS {
            assert!(is_fast(ours) && !is_fast(theirs));
            for truncation in TRUNCATIONS {
                match (ours.encode(&text, truncation), theirs.encode(&text, truncation)) {
                    (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{truncation:?}"),
                    // How many there are at least depends on how much was looked at.
                    (
                        Err(TokenizerError::TooLong { tokens: ours, .. }),
                        Err(TokenizerError::TooLong { tokens: theirs, .. }),
                    ) => assert!(ours.min(theirs) > 24),
                    (ours, theirs) => panic!("{ours:?}, but {theirs:?}"),
                }
            }
        }
    }
}
