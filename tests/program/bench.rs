//! `polyhead bench`: what it prints, for people and for programs. How fast anything is, no test asks.

use std::fs;

use serde_json::Value;
use toml::toml;

use crate::process::Ended;
use crate::site::{Site, in_repository};

#[test]
fn the_json_report_has_the_shape_that_its_page_shows() {
    let page = fs::read_to_string(in_repository("docs/benchmarking.md")).unwrap();
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let example: Value = serde_json::from_str(example.unwrap()).unwrap();
    let found = report(&["--repeats", "1"]);
    same_shape(&found, &example, "the report").unwrap();
    let model = &found["models"][0];
    assert_eq!(model["name"], "tiny");
    let precisions = model["precisions"].as_array().unwrap();
    let names: Vec<&Value> = precisions.iter().map(|row| &row["precision"]).collect();
    assert_eq!(names, ["fp32", "int8", "bf16"]);
    let names: Vec<&Value> =
        precisions[0]["shapes"].as_array().unwrap().iter().map(|shape| &shape["name"]).collect();
    assert_eq!(names, ["1×16", "32×16", "ragged"], "the tiny model takes 20 tokens at most");
    for row in precisions {
        for shape in row["shapes"].as_array().into_iter().flatten() {
            for workers in ["one_worker", "all_workers"] {
                let rate = &shape[workers]["tokens_per_second"];
                assert!(rate["median"].as_f64().unwrap() > 0.0, "{shape}");
                // One sample is the least, the middle and the greatest.
                assert_eq!(rate["min"], rate["max"]);
            }
        }
    }
}

#[test]
fn own_sentences_take_the_place_of_the_set_shapes() {
    let lines = format!("a great film\n\n{}", "the stock market was not good\n".repeat(39));
    let site = Site::new();
    fs::write(site.path().join("lines.txt"), lines).unwrap();
    let arguments = ["--sentences", "lines.txt", "--repeats", "1", "--precision", "fp32"];
    let found = json(&bench(&site, &[&arguments[..], &["--json"]].concat()));
    let precisions = found["models"][0]["precisions"].as_array().unwrap();
    assert_eq!(precisions.len(), 1);
    let shapes = precisions[0]["shapes"].as_array().unwrap();
    assert_eq!((shapes.len(), &shapes[0]["name"]), (1, &Value::from("sentences")));
    assert_eq!(shapes[0]["sentences"], 32);
}

#[test]
fn people_get_tables() {
    let site = Site::new();
    let ended = bench(&site, &["--repeats", "1"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(ended.stderr.is_empty(), "a progress bar is for terminals: {ended:#?}");
    let text = ended.stdout.join("\n");
    for part in ["tokens/s", "p99 ms", "fp32", "32×16", "ragged", "GFLOP/s", "cores"] {
        assert!(text.contains(part), "{part:?} is not said: {text}");
    }
}

#[test]
fn a_precision_that_is_not_to_be_had_is_no_failure() {
    let site = Site::new();
    for precision in ["int8", "bf16"] {
        let arguments = ["--precision", precision, "--repeats", "1", "--json"];
        let found = json(&bench(&site, &arguments));
        let row = &found["models"][0]["precisions"][0];
        assert_eq!(row["precision"], precision);
        let told = row["unavailable"].as_str().is_some_and(|reason| reason.contains("tiny"));
        assert!(told || row["shapes"].is_array(), "{row}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_what_is_allowed() {
    let site = Site::new();
    fs::write(site.path().join("blank.txt"), "\n \n").unwrap();
    for (arguments, status, told) in [
        (["--model", "gone"], 1, "allowed: tiny"),
        (["--precision", "fp64"], 2, "allowed: fp32, int8, bf16"),
        (["--repeats", "0"], 2, "1..=1000"),
        (["--sentences", "gone.txt"], 1, "gone.txt: No such file"),
        (["--sentences", "blank.txt"], 1, "blank.txt has no sentences: expected one a line"),
    ] {
        let ended = bench(&site, &arguments);
        assert_eq!(ended.status.code(), Some(status), "{ended:#?}");
        assert!(ended.stderr[0].contains(told), "{ended:#?}");
        assert!(ended.stdout.is_empty(), "{ended:#?}");
    }
    site.configure(toml! { [models.tiny] path = "models/gone" });
    let ended = bench(&site, &[]);
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.stderr[0].contains("models/gone is missing"), "{ended:#?}");
}

fn bench(site: &Site, arguments: &[&str]) -> Ended {
    site.run(&[&["bench", "--config", "polyhead.toml"], arguments].concat())
}

/// The report on the tiny model.
fn report(arguments: &[&str]) -> Value {
    json(&bench(&Site::new(), &[arguments, &["--json"]].concat()))
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    serde_json::from_str(&ended.stdout.join("\n")).unwrap()
}

/// Whether `found` has the keys of `example` and values of the same kinds. A list's elements are each
/// like one of the example's; `null` may stand for anything, and `{}` in the example for any object.
fn same_shape(found: &Value, example: &Value, place: &str) -> Result<(), String> {
    let kind = |value: &Value| std::mem::discriminant(value);
    match (found, example) {
        (Value::Null, _) => Ok(()),
        (Value::Object(found), Value::Object(example)) => {
            if example.is_empty() {
                return Ok(());
            }
            let (has, wants): (Vec<_>, Vec<_>) = (found.keys().collect(), example.keys().collect());
            if has != wants {
                return Err(format!("{place} has {has:?}, its page says {wants:?}"));
            }
            let mut keys = found.iter();
            keys.try_for_each(|(key, it)| same_shape(it, &example[key], &format!("{place}.{key}")))
        }
        (Value::Array(found), Value::Array(example)) => found.iter().try_for_each(|it| {
            let tried = example.iter().map(|example| same_shape(it, example, place));
            tried.reduce(Result::or).unwrap_or_else(|| Err(format!("{place} shows no element")))
        }),
        _ if kind(found) == kind(example) => Ok(()),
        _ => Err(format!("{place} is {found}, its page says {example}")),
    }
}
