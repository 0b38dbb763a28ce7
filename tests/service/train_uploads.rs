//! `/train`: examples as CSV and NDJSON, with the rest in the query string.

use std::num::NonZeroUsize;

use futures::stream;
use reqwest::{Body, StatusCode};
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
async fn weights_come_with_every_format_alike() {
    let app = TestApp::start().await;
    let rows = [("bad", "Negative", ""), ("worse", "Negative", "0.5"), ("good", "Positive", "3")];
    let json = |&(text, label, weight): &(&str, &str, &str)| {
        let labels = json!({"sentiment": label});
        match weight.parse::<f64>() {
            Ok(weight) => json!({"text": text, "labels": labels, "weight": weight}),
            Err(_) => json!({"text": text, "labels": labels}),
        }
    };
    let csv = rows.map(|(text, label, weight)| format!("{text},{label},{weight}\n")).concat();
    let ndjson: String = rows.iter().map(|row| format!("{}\n", json(row))).collect();
    let examples: Vec<Value> = rows.iter().map(json).collect();
    let mut scores = Vec::new();
    for (content_type, body) in [
        ("text/csv", format!("text,sentiment,weight\n{csv}")),
        ("application/x-ndjson", ndjson.clone()),
        ("application/json", json!({"examples": examples, "mode": "replace"}).to_string()),
        ("application/x-ndjson", ndjson.replace("\"weight\":3.0", "\"weight\":1.0")),
    ] {
        let query = if content_type == "application/json" { "" } else { "?mode=replace" };
        let (status, job) = app.send(&format!("/train{query}"), content_type, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        app.ended(job["id"].as_str().unwrap()).await;
        let answer = app.classify(json!({"inputs": "film", "tasks": ["sentiment"]})).await;
        scores.push(answer[0]["sentiment"]["scores"].clone());
    }
    assert!(scores[0] == scores[1] && scores[1] == scores[2], "{scores:?}");
    assert_ne!(scores[2], scores[3]);
    let (_, listed) = app.get("/examples").await;
    let listed: Vec<&Value> = listed["examples"].as_array().unwrap().iter().collect();
    let listed = listed.iter().map(|example| example.get("weight"));
    assert!(listed.eq([None, Some(&json!(0.5)), Some(&json!(1.0))]));

    for (weight, said) in [("heavy", "\"heavy\""), ("-1", "-1"), ("inf", "inf")] {
        let csv = format!("text,sentiment,weight\nbad,Negative,1\ngood,Positive,{weight}\n");
        let refused = app.send("/train", "text/csv", csv).await;
        assert_problem(
            &refused,
            422,
            "invalid_weight",
            Some("line 3, weight"),
            &[said, "0.000001"],
        );
    }
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
        let good = "{\"text\": \"a\", \"labels\": {\"topic\": \"Finance\"}}";
        let lines = format!("{good}\n{line}\n");
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
    let position = Some("line 3, labels.topic");
    assert_problem(&refused, 422, "unknown_label", position, &["Sport", "Finance"]);
}

/// Rows of which four cannot be examples, each on a line of its own.
const PARTLY_BAD: &str = "\
text,topic,sentiment
The stock market crashed.,Finance,Negative
too,few
\"A text
on two lines.\",Sport,Positive

 ,Finance,
The stock market crashed.,Technology,
New technology.,Technology,Positive
The stock market crashed.,Finance,Negative
";

#[tokio::test]
async fn bad_rows_are_skipped_and_listed_where_that_is_asked_for() {
    let app = TestApp::start().await;
    let refused = app.send("/train", "text/csv", PARTLY_BAD).await;
    assert_problem(&refused, 400, "invalid_csv", Some("line 3"), &["2 fields", "3"]);

    let (status, job) = app.send("/train?on_bad_row=skip", "text/csv", PARTLY_BAD).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert_eq!(job["examples"], 3, "{job}");
    assert_eq!(job["skipped"]["count"], 4, "{job}");
    let listed: Vec<(u64, &str)> = job["skipped"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["line"].as_u64().unwrap(), row["code"].as_str().unwrap()))
        .collect();
    let expected =
        [(3, "invalid_csv"), (4, "unknown_label"), (7, "empty_text"), (8, "conflicting_labels")];
    assert_eq!(listed, expected);
    let conflict = job["skipped"]["rows"][3]["detail"].as_str().unwrap();
    assert!(conflict.contains("line 2") && conflict.contains("Finance"), "{conflict}");
    let job = app.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let reasons = expected.map(|(_, code)| (code.to_owned(), json!(1)));
    let reasons = Value::Object(reasons.into_iter().collect());
    assert_eq!(job["skipped"], json!({"count": 4, "reasons": reasons}), "the record quotes no row");

    let (status, job) = app.send("/train?on_bad_row=skip", "text/csv", CSV).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert!(job.get("skipped").is_none(), "nothing was skipped: {job}");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_trained_on_and_trains_on_nothing() {
    let app = TestApp::start().await;
    let path = "/train?dry_run=true&on_bad_row=skip";
    let (status, answer) = app.send(path, "text/csv", PARTLY_BAD).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["examples"], &answer["skipped"]["count"]), (&json!(3), &json!(4)));
    assert_eq!(answer["spec"]["tasks"], json!(["sentiment", "topic"]), "{answer}");
    let refused = app.send("/train?dry_run=true", "text/csv", PARTLY_BAD).await;
    assert_problem(&refused, 400, "invalid_csv", Some("line 3"), &["2 fields", "3"]);
    let body = json!({"dry_run": true, "examples": [{"text": "a", "labels": {"topic": "Sport"}}]});
    let refused = app.post("/train", body).await;
    let position = Some("examples[0].labels.topic");
    assert_problem(&refused, 422, "unknown_label", position, &["Sport", "Finance"]);
    assert_eq!(app.get("/train").await.1["jobs"], json!([]));
}

#[tokio::test]
async fn of_many_bad_rows_a_hundred_are_listed() {
    let app = TestApp::start().await;
    let bad = "{\"text\": \"a\"}\nno JSON\n".repeat(150);
    let good = "{\"text\": \"a\", \"labels\": {\"topic\": \"Finance\"}}\n\
        {\"text\": \"b\", \"labels\": {\"topic\": \"Technology\"}}";
    let path = "/train?on_bad_row=skip";
    let (status, job) = app.send(path, "application/x-ndjson", format!("{bad}{good}")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert_eq!((&job["skipped"]["count"], &job["examples"]), (&json!(300), &json!(2)));
    let rows = job["skipped"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 100);
    assert_eq!(job["skipped"]["reasons"], json!({"no_labels": 150, "invalid_json": 150}));
    assert_eq!((&rows[0]["code"], &rows[1]["code"]), (&json!("no_labels"), &json!("invalid_json")));
    assert_eq!(rows[99]["line"], 100);

    let refused = app.send(path, "application/x-ndjson", bad).await;
    let mentions = &["no examples", "300 were skipped", "line 1"];
    assert_problem(&refused, 422, "no_examples", Some("examples"), mentions);
}

#[tokio::test]
async fn it_does_not_matter_in_which_pieces_a_body_comes() {
    let app = TestApp::start().await;
    for size in [1, 2, 7] {
        for (content_type, body) in [
            ("text/csv", format!("\u{feff}{}", CSV.replace("e\n", "e\r\n"))),
            ("application/x-ndjson", NDJSON.to_owned()),
        ] {
            let pieces: Vec<_> =
                body.into_bytes().chunks(size).map(|it| Ok::<_, String>(it.to_vec())).collect();
            let body = Body::wrap_stream(stream::iter(pieces));
            let (status, job) = app.send("/train", content_type, body).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{size} {content_type}: {job}");
            assert_eq!(job["examples"], 4);
            let job = app.ended(job["id"].as_str().unwrap()).await;
            assert_eq!(job["state"], "succeeded", "{job}");
            // Every piece and kind of body brought the same texts.
            let kept = app.get("/heads/topic").await.1;
            assert_eq!(kept["examples"], 3, "{size} {content_type}: {kept}");
        }
    }
    let pieces = ["text,topic\r\n\r\n\"two\r", "\nlines\",Finance\r", "\n", "a,Spo", "rt"];
    let pieces = pieces.map(Ok::<_, String>);
    let body = Body::wrap_stream(stream::iter(pieces));
    let refused = app.send("/train", "text/csv", body).await;
    let position = Some("line 5, labels.topic");
    assert_problem(&refused, 422, "unknown_label", position, &["\"Sport\""]);
}

#[tokio::test]
async fn a_request_that_names_a_task_takes_its_labels_only() {
    let app = TestApp::start().await;
    let labelled = "text,label,source\na,Finance,x\nb,Technology,y\n";
    let columns = "text,sentiment,topic\na,Positive,Finance\nb,,Technology\n";
    let lines = "{\"text\": \"a\", \"label\": \"Finance\"}\n\
        {\"text\": \"b\", \"labels\": {\"topic\": \"Technology\", \"mood\": \"Good\"}}";
    for (content_type, body) in
        [("text/csv", labelled), ("text/csv", columns), ("application/x-ndjson", lines)]
    {
        let (status, job) = app.send("/train?task=topic", content_type, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        assert_eq!(job["spec"]["tasks"], json!(["topic"]), "{job}");
        assert_eq!(job["examples"], 2, "{job}");
    }
    let body = json!({"task": ["topic"], "examples": [
        {"text": "a", "label": "Finance"}, {"text": "b", "label": "Technology"},
    ]});
    let job = app.trained(body).await;
    assert_eq!(job["spec"]["tasks"], json!(["topic"]), "{job}");

    let refused = app.send("/train?task=mood", "text/csv", labelled).await;
    assert_problem(&refused, 422, "unknown_task", Some("task"), &["\"mood\"", "topic"]);
    let refused = app.send("/train?task=topic,sentiment", "text/csv", labelled).await;
    let mentions = &["\"topic\"", "text, label, source"];
    assert_problem(&refused, 422, "invalid_csv", Some("line 1"), mentions);
    let refused = app.send("/train", "text/csv", labelled).await;
    assert_problem(&refused, 422, "unknown_task", Some("line 1"), &["\"label\"", "topic"]);
    let refused = app.send("/train", "application/x-ndjson", lines).await;
    let position = Some("line 1, label");
    assert_problem(&refused, 422, "label_without_task", position, &["`task`"]);
}

#[tokio::test]
async fn an_upload_is_refused_as_soon_as_it_is_too_much() {
    let app = TestApp::with(|config| {
        config.limits.examples_per_job = NonZeroUsize::new(3).unwrap();
        config.limits.train_body_bytes = NonZeroUsize::new(4 << 20).unwrap();
    })
    .await;
    let refused = app.send("/train", "text/csv", CSV).await;
    assert_problem(&refused, 422, "too_many_examples", Some("line 6"), &["1 to 3"]);
    let refused = app.send("/train?on_bad_row=skip", "application/x-ndjson", NDJSON).await;
    assert_problem(&refused, 422, "too_many_examples", Some("line 5"), &["1 to 3"]);
    let endless = "a".repeat(2 << 20);
    for (content_type, body) in [
        ("text/csv", format!("text,topic\n\"{endless}")),
        ("text/csv", format!("text,topic\n{}", ",".repeat(2 << 20))),
        ("application/x-ndjson", format!("\n{{\"text\": \"{endless}")),
    ] {
        let refused = app.send("/train?on_bad_row=skip", content_type, body).await;
        assert_problem(&refused, 400, "row_too_long", Some("line 2"), &["1048576"]);
    }
    let large = vec![Ok::<_, String>(b"text,topic\n".to_vec()), Ok(vec![b'\n'; 5 << 20])];
    let refused = app.send("/train", "text/csv", Body::wrap_stream(stream::iter(large))).await;
    assert_problem(&refused, 413, "body_too_large", None, &["4194304"]);
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
