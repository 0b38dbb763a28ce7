//! `/train`: examples as CSV and NDJSON, with the rest in the query string.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{TestApp, assert_problem};

const CSV: &str = "\
text,topic,sentiment
The stock market crashed.,Finance,Negative
\"A great film,
said \"\"everybody\"\".\",Entertainment,Positive
A dull one.,,Negative
New technology.,Technology,
";

/// The same examples as in [`CSV`].
const NDJSON: &str = r#"{"text": "The stock market crashed.", "labels": {"topic": "Finance", "sentiment": "Negative"}}

{"text": "A great film,\nsaid \"everybody\".", "labels": {"topic": "Entertainment", "sentiment": "Positive"}}
{"text": "A dull one.", "labels": {"sentiment": "Negative"}}
{"text": "New technology.", "labels": {"topic": "Technology"}}"#;

#[tokio::test]
async fn csv_and_ndjson_carry_the_same_examples_as_json() {
    let app = TestApp::start().await;
    let mut answers = Vec::new();
    for (content_type, body) in [
        ("text/csv", CSV.to_owned()),
        ("text/csv; charset=utf-8", CSV.replace('\n', "\r\n").replace(",\r\n", ",\n")),
        ("text/csv", format!("\u{feff}{CSV}")),
        ("application/x-ndjson", NDJSON.to_owned()),
        ("application/x-ndjson", NDJSON.replace('\n', "\r\n")),
    ] {
        let path = "/train?mode=replace&solver=adam&epochs=5&learning_rate=0.1&seed=3";
        let (status, job) = app.send(path, content_type, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        let job = app.ended(job["id"].as_str().unwrap()).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["examples"], 4);
        assert_eq!(job["spec"]["mode"], "replace");
        assert_eq!(job["spec"]["solver"]["learning_rate"], 0.1);
        let last = job["epochs"].as_array().unwrap().last().unwrap();
        assert_eq!(last["epoch"], 5);
        for task in ["topic", "sentiment"] {
            assert_eq!(last["tasks"][task]["train"]["rows"], 3);
        }
        let body = json!({"inputs": ["A great film,\nsaid \"everybody\".", "A dull one."]});
        let mut results: Value = app.classify(body).await.into();
        for result in results.as_array_mut().unwrap() {
            for answer in result.as_object_mut().unwrap().values_mut() {
                answer.as_object_mut().unwrap().remove("version");
            }
        }
        answers.push(results);
    }
    // The text with a line break arrived as it was: the same weights came out each time.
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn the_query_says_what_is_frozen() {
    let app = TestApp::start().await;
    let path = "/train?freeze=encoder,topic";
    let (status, job) = app.send(path, "text/csv", CSV).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let job = app.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(job["published"], json!({"sentiment": 1}), "{job}");
}

#[tokio::test]
async fn a_malformed_row_names_its_line() {
    let app = TestApp::start().await;
    let long = "text,topic\na,Finance\nb,Technology,more\n";
    let short = "text,topic,sentiment\na,Finance,Negative\nb\n";
    for (body, line) in [(long, "line 3"), (short, "line 3")] {
        let refused = app.send("/train", "text/csv", body).await;
        assert_problem(&refused, 400, "invalid_csv", Some(line), &["fields"]);
    }
    let not_utf8 = b"text,topic\na,Finance\ncaf\xe9,Technology\n".as_slice();
    let refused = app.send("/train", "text/csv", not_utf8).await;
    assert_problem(&refused, 400, "invalid_csv", Some("line 3"), &["UTF-8"]);

    let lines = "{\"text\": \"a\", \"labels\": {\"topic\": \"Finance\"}}\n\n{\"text\": \"b\"";
    let refused = app.send("/train", "application/x-ndjson", lines).await;
    assert_problem(&refused, 400, "invalid_json", Some("line 3"), &["column"]);
    for (line, mention) in
        [("{\"text\": 3}", "string"), ("[\"a\"]", "an object"), ("3", "an object")]
    {
        let lines = format!("{{\"text\": \"a\", \"labels\": {{}}}}\n{line}\n");
        let (status, problem) = app.send("/train", "application/x-ndjson", lines).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert!(problem["position"].as_str().unwrap().starts_with("line 2"), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(mention), "{problem}");
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_is_refused() {
    let app = TestApp::start().await;
    let without = app.send("/train", "text/csv", "sentence,topic\na,Finance\n").await;
    assert_problem(&without, 422, "invalid_csv", Some("line 1"), &["\"text\"", "sentence, topic"]);
    let twice = app.send("/train", "text/csv", "text,topic,topic\na,Finance,Technology\n").await;
    assert_problem(&twice, 422, "invalid_csv", Some("line 1"), &["\"topic\"", "twice"]);
    let twice = app.send("/train", "text/csv", "text,text,topic\na,b,Finance\n").await;
    assert_problem(&twice, 422, "invalid_csv", Some("line 1"), &["\"text\"", "twice"]);
    for empty in ["", "text,topic\n"] {
        let (status, problem) = app.send("/train", "text/csv", empty).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    }
    let nothing = app.send("/train", "application/x-ndjson", "\n\n").await;
    assert_problem(&nothing, 422, "no_examples", Some("examples"), &["no examples"]);
}

#[tokio::test]
async fn a_label_that_does_not_exist_names_its_example() {
    let app = TestApp::start().await;
    let body = "text,topic\na,Finance\nb,Sport\n";
    let refused = app.send("/train", "text/csv", body).await;
    let position = Some("examples[1].labels.topic");
    assert_problem(&refused, 422, "unknown_label", position, &["Sport", "Finance"]);
}

#[tokio::test]
async fn the_query_is_checked_like_the_body() {
    let app = TestApp::start().await;
    for (query, mention) in [
        ("solver=sgd", "sgd"),
        ("epochs=many", "epochs"),
        ("lr=0.1", "lr"),
        ("learning_rate=NaN&solver=adam", "learning_rate"),
        ("learning_rate=inf&solver=adam", "learning_rate"),
        ("validation=NaN", "validation"),
        ("l2=NaN", "l2"),
        ("examples=a", "examples"),
    ] {
        let (status, problem) = app.send(&format!("/train?{query}"), "text/csv", CSV).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(mention), "{query}: {detail}");
    }
    let (status, problem) = app.send("/train?epochs=3", "application/json", "{}").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(problem["code"], "invalid_query", "{problem}");
}
