//! Whether commands print what a guide shows.
//!
//! What differs from run to run and from machine to machine is looked at by its form only: ids (UUIDs)
//! and times (RFC 3339). Numbers with a fraction may differ by [`TOLERANCE`]. `…` stands for further
//! keys of an object, further elements of an array, and, alone in its line, for any lines of text.

use serde_json::{Deserializer, Value};

use crate::guides::fences::Shown;

/// A score or a component on another CPU: bf16 against f32 keeps a cosine of 0.9999, by which the
/// whole embedding moves by 0.014 at most.
const TOLERANCE: f64 = 0.02;

const FURTHER: &str = "…";

/// Compares what a block printed with what the guide shows. Without anything shown, and before it, no
/// request may have been refused.
pub fn check(shown: Option<&Shown>, printed: &str) -> Result<(), String> {
    match shown {
        None => none_refused(&values(printed)),
        Some(Shown::Text(text)) => same_lines(text, printed),
        Some(Shown::Json(text)) => {
            let complete = with_further_as_values(text);
            let expected: Value = serde_json::from_str(&complete)
                .map_err(|error| format!("the guide's JSON: {error}"))?;
            let mut found = values(printed);
            let last = found.pop().ok_or("nothing that is JSON was printed")?;
            none_refused(&found)?;
            same(&expected, &last, "")
        }
    }
}

/// The JSON values that a text begins with: `curl` puts no line break between them.
fn values(text: &str) -> Vec<Value> {
    Deserializer::from_str(text).into_iter().map_while(Result::ok).collect()
}

fn none_refused(values: &[Value]) -> Result<(), String> {
    match values.iter().find(|value| value["type"] == "about:blank") {
        Some(problem) => Err(format!("refused: {problem}")),
        None => Ok(()),
    }
}

/// Makes JSON of a text in which `…` stands for what is left out.
fn with_further_as_values(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut open = Vec::new();
    let (mut in_text, mut escaped) = (false, false);
    for letter in text.chars() {
        match letter {
            '"' if !escaped => in_text = !in_text,
            '{' | '[' if !in_text => open.push(letter),
            '}' | ']' if !in_text => drop(open.pop()),
            '…' if !in_text => {
                json.push_str(if open.last() == Some(&'{') { "\"…\":true" } else { "\"…\"" });
                continue;
            }
            _ => {}
        }
        escaped = in_text && letter == '\\' && !escaped;
        json.push(letter);
    }
    json
}

/// `place` is where in the answer the two stand.
fn same(expected: &Value, found: &Value, place: &str) -> Result<(), String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let is_partial = expected.contains_key(FURTHER);
            if let Some(extra) =
                found.keys().find(|key| !is_partial && !expected.contains_key(*key))
            {
                return Err(format!("{place}.{extra} is not in the guide"));
            }
            for (key, value) in expected.iter().filter(|(key, _)| *key != FURTHER) {
                let found = found.get(key).ok_or(format!("{place}.{key} is missing"))?;
                same(value, found, &format!("{place}.{key}"))?;
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(found)) => {
            let (is_partial, expected) = match expected.split_last() {
                Some((last, before)) if last == FURTHER => (true, before),
                _ => (false, &expected[..]),
            };
            if found.len() < expected.len() || (!is_partial && found.len() > expected.len()) {
                return Err(format!("{place} has {} elements", found.len()));
            }
            let pairs = expected.iter().zip(found).enumerate();
            pairs.into_iter().try_for_each(|(index, (expected, found))| {
                same(expected, found, &format!("{place}[{index}]"))
            })
        }
        (Value::Number(_), Value::Number(_)) | (Value::String(_), Value::String(_)) => {
            let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            same_word(&text(expected), &text(found)).map_err(|error| format!("{place}: {error}"))
        }
        _ if expected == found => Ok(()),
        _ => Err(format!("{place} is {found}, in the guide {expected}")),
    }
}

fn same_lines(expected: &str, found: &str) -> Result<(), String> {
    let mut found = found.lines();
    let mut skipping = false;
    for expected in expected.lines() {
        if expected.trim() == FURTHER {
            skipping = true;
            continue;
        }
        let matches = |found: &str| same_line(expected, found);
        let outcome = if skipping {
            found.any(|it| matches(it).is_ok()).then_some(()).ok_or("it is not there".to_owned())
        } else {
            found.next().ok_or("it is not there".to_owned()).and_then(matches)
        };
        outcome.map_err(|error| format!("the line {expected:?}: {error}"))?;
        skipping = false;
    }
    match found.next() {
        Some(extra) if !skipping => Err(format!("the line {extra:?} is not in the guide")),
        _ => Ok(()),
    }
}

/// Compares word by word: columns are as wide as their widest number.
fn same_line(expected: &str, found: &str) -> Result<(), String> {
    let (mut expected_words, mut found_words) =
        (expected.split_whitespace(), found.split_whitespace());
    loop {
        match (expected_words.next(), found_words.next()) {
            (None, None) => return Ok(()),
            (Some(expected), Some(found)) => same_word(expected, found)?,
            _ => return Err(format!("printed was {found:?}")),
        }
    }
}

fn same_word(expected: &str, found: &str) -> Result<(), String> {
    let number = |word: &str| word.contains('.').then(|| word.parse::<f64>().ok()).flatten();
    let is_near = match (number(expected), number(found)) {
        (Some(expected), Some(found)) => (expected - found).abs() <= TOLERANCE,
        _ => false,
    };
    let same_form = |form: fn(&str) -> bool| form(expected) && form(found);
    if expected == found || is_near || same_form(is_id) || same_form(is_time) {
        return Ok(());
    }
    Err(format!("{found:?}, in the guide {expected:?}"))
}

fn is_id(word: &str) -> bool {
    uuid::Uuid::parse_str(word.trim_end_matches([':', ','])).is_ok()
}

fn is_time(word: &str) -> bool {
    word.parse::<jiff::Timestamp>().is_ok()
}

#[test]
fn what_is_shown_is_compared_but_for_ids_times_and_small_differences() {
    let json = |text: &str| Some(Shown::Json(text.to_owned()));
    let text = |text: &str| Some(Shown::Text(text.to_owned()));
    let id = |last: char| format!("01a2098b-e952-7606-b325-4b7336e6fab{last}");
    let job = |id: &str, time: &str| format!(r#"{{"id":"{id}","at":"{time}","score":0.51}}"#);
    let shown = json(&job(&id('1'), "2026-11-23T17:54:53.906635Z"));
    for (shown, printed) in [
        (&shown, job(&id('2'), "2027-01-01T00:00:00Z").replace("0.51", "0.5")),
        (&json(r#"{"a": [1, …], …}"#), r#"{"a":[1,2],"b":3}"#.to_owned()),
        (&json(r#"["…"]"#), r#"["…"]"#.to_owned()),
        (&json("2"), "1 2".to_owned()),
        (&text("a  0.50\n…\nb\n"), "a 0.51\nc\nd\nb\n".to_owned()),
        (&None, "{}not JSON".to_owned()),
    ] {
        assert_eq!(check(shown.as_ref(), &printed), Ok(()), "{printed}");
    }
    for (shown, printed) in [
        (&shown, job("7", "2027-01-01T00:00:00Z")),
        (&shown, job(&id('1'), "yesterday")),
        (&shown, job(&id('1'), "2027-01-01T00:00:00Z").replace("0.51", "0.6")),
        (&json(r#"{"a": 1}"#), r#"{"a":1,"b":3}"#.to_owned()),
        (&json(r#"{"a": 1, …}"#), r#"{"b":3}"#.to_owned()),
        (&json("[1, 2]"), "[1]".to_owned()),
        (&json("1"), "2".to_owned()),
        (&json("{}"), r#"{"type":"about:blank"}{}"#.to_owned()),
        (&text("a\n"), "a\nb\n".to_owned()),
        (&text("a\n…\nb\n"), "a\nc\n".to_owned()),
        (&None, r#"{"type":"about:blank"}"#.to_owned()),
    ] {
        assert!(check(shown.as_ref(), &printed).is_err(), "{printed}");
    }
}
