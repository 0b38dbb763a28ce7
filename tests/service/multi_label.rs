//! Tasks of which any number of labels may apply to a text: taught, kept, answered, moved.

use std::num::NonZeroUsize;

use polyhead::config::{Config, TaskConfig};
use reqwest::{Method, StatusCode};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, answer, assert_problem, minilm, refusal, task, tiny};

/// Messages to a shop, each with what its staff would write on it.
const MESSAGES: [(&str, &[&str]); 12] = [
    ("My card was charged twice, and I need the money back today!", &["billing", "urgent"]),
    ("The server is down and our customers cannot order!", &["outage", "urgent"]),
    ("Please answer at once, this cannot wait until tomorrow.", &["urgent"]),
    ("Could you send me last month's invoice some time?", &["billing"]),
    ("Which payment methods do you accept?", &["billing"]),
    ("The invoice shows the wrong amount.", &["billing"]),
    ("The web site was slow for a while last week.", &["outage"]),
    ("Logging in did not work for some minutes yesterday.", &["outage"]),
    ("Payments fail for everybody right now, hurry!", &["billing", "outage", "urgent"]),
    ("Thank you for the friendly service.", &[]),
    ("Where can I read about your company's history?", &[]),
    ("I like the new colours of your packaging.", &[]),
];

/// `tags`, of which any number may apply, beside the configured tasks.
fn with_tags(config: &mut Config) {
    config.tasks.insert("tags".to_owned(), tags());
}

fn tags() -> TaskConfig {
    TaskConfig { multi_label: Some(true), ..task(&["billing", "outage", "urgent"]) }
}

fn messages() -> Value {
    let example = |(text, tags): &(&str, &[&str])| json!({"text": text, "labels": {"tags": tags}});
    MESSAGES.iter().map(example).collect()
}

/// The labels that an answer gives, in alphabetical order.
fn labels(answer: &Value) -> Vec<&str> {
    let mut labels: Vec<&str> =
        answer["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    labels.sort_unstable();
    labels
}

/// Labels with their scores, in the order of the answer.
fn scores(answer: &Value) -> Vec<(&str, f64)> {
    let scores = answer["scores"].as_array().unwrap().iter();
    scores.map(|it| (it["label"].as_str().unwrap(), it["score"].as_f64().unwrap())).collect()
}

async fn classify(app: &TestApp, text: &str) -> Value {
    app.classify(json!({"inputs": text, "tasks": ["tags"]})).await.remove(0)["tags"].take()
}

/// What is remembered of all texts, oldest first.
async fn remembered(app: &TestApp, query: &str) -> Vec<(String, Value)> {
    let page = app.get(&format!("/examples?limit=1000{query}")).await.1;
    let examples = page["examples"].as_array().unwrap().iter();
    examples
        .map(|it| (it["text"].as_str().unwrap().to_owned(), it["labels"]["tags"].clone()))
        .collect()
}

#[tokio::test]
async fn a_text_gets_all_the_labels_that_apply_or_none() {
    let app = TestApp::on(tempdir().unwrap(), minilm(), with_tags).await;
    let job = app.trained(json!({"examples": messages()})).await;
    assert_eq!(job["published"], json!({"tags": 1}));
    for (text, tags) in MESSAGES {
        let answer = classify(&app, text).await;
        assert_eq!(labels(&answer), tags, "{text}: {answer}");
        assert_eq!((&answer["version"], &answer["trained"]), (&json!(1), &json!(true)));
        assert!(answer.get("label").is_none() && answer.get("score").is_none(), "{answer}");
        let scores = scores(&answer);
        assert_eq!(scores.len(), 3);
        assert!(scores.is_sorted_by(|(_, a), (_, b)| a >= b), "{answer}");
        // A label applies where its score reaches its threshold, and the labels are in their order.
        let applying = answer["scores"].as_array().unwrap().iter();
        let applying = applying.filter(|it| it["score"].as_f64() >= it["threshold"].as_f64());
        let applying: Vec<&Value> = applying.map(|it| &it["label"]).collect();
        assert_eq!(answer["labels"], json!(applying));
    }
    // Texts that it has not seen.
    for (text, tag) in [
        ("There is a mistake in the bill that you sent.", "billing"),
        ("The site has been unreachable since this morning.", "outage"),
    ] {
        let answer = classify(&app, text).await;
        assert_eq!(scores(&answer)[0].0, tag, "{text}: {answer}");
    }
}

#[tokio::test]
async fn what_is_taught_is_kept_shown_and_there_after_a_restart() {
    let app = TestApp::with(with_tags).await;
    app.trained(json!({"examples": messages()})).await;
    let expected: Vec<(String, Value)> =
        MESSAGES.iter().map(|&(text, tags)| (text.to_owned(), json!(tags))).collect();
    assert_eq!(remembered(&app, "").await, expected);
    let of = |tag: &str| -> Vec<(String, Value)> {
        let has = |(_, tags): &&(String, Value)| tags.as_array().unwrap().contains(&json!(tag));
        expected.iter().filter(has).cloned().collect()
    };
    for tag in ["billing", "outage", "urgent"] {
        assert_eq!(remembered(&app, &format!("&task=tags&label={tag}")).await, of(tag));
    }
    let head = app.get("/heads/tags").await.1;
    assert_eq!((&head["examples"], &head["multi_label"]), (&json!(12), &json!(true)));
    assert_eq!(app.get("/heads/topic").await.1["multi_label"], false);

    let texts = json!({"inputs": MESSAGES.map(|(text, _)| text), "tasks": ["tags"]});
    let answers = app.classify(texts.clone()).await;
    let app = app.restart(with_tags).await;
    assert_eq!(app.classify(texts).await, answers, "to the last bit");
    assert_eq!(remembered(&app, "").await, expected);
    assert_eq!(app.get("/heads/tags").await.1, head);

    // What comes later is learnt beside it; another set for a text takes the place of the former.
    let job = app
        .trained(json!({"examples": [
            {"text": MESSAGES[0].0, "labels": {"tags": ["urgent"]}},
            {"text": MESSAGES[1].0, "labels": {"tags": ["urgent", "outage"]}},
            {"text": MESSAGES[2].0, "labels": {"tags": []}},
            {"text": "something else", "labels": {"tags": "billing"}},
            {"text": "something else", "labels": {"tags": ["billing", "billing"]}},
        ]}))
        .await;
    let rows = &job["result"]["rows"];
    assert_eq!(rows, &json!({"distinct": 13, "merged": 4, "corrected": 2}));
    let last = job["epochs"].as_array().unwrap().last().unwrap();
    assert_eq!(last["tasks"]["tags"]["train"]["rows"], 13);
    let mut expected = expected;
    (expected[0].1, expected[2].1) = (json!(["urgent"]), json!([]));
    expected.push(("something else".to_owned(), json!(["billing"])));
    assert_eq!(remembered(&app, "").await, expected);

    let texts = [MESSAGES[0].0, MESSAGES[2].0];
    let forget = app.request(Method::DELETE, "/examples").json(&json!({"texts": texts}));
    assert_eq!(answer(forget).await.1, json!({"removed": 2}));
    assert_eq!(app.get("/heads/tags").await.1["examples"], 11);
}

#[tokio::test]
async fn one_job_teaches_tasks_of_both_kinds() {
    let app = TestApp::with(with_tags).await;
    let tasks = ["sentiment", "tags"];
    let both = json!([
        {"text": "the market fell", "labels": {"sentiment": "Negative", "tags": ["billing"]}},
        {"text": "a great film", "labels": {"sentiment": "Positive", "tags": []}},
        {"text": "a dull film", "labels": {"sentiment": "Negative"}},
        {"text": "new technology", "labels": {"tags": ["urgent", "outage"]}},
    ]);
    let job = app.trained(json!({"examples": both, "l2": 0.001})).await;
    assert_eq!(job["published"], json!({"sentiment": 1, "tags": 1}));
    for task in tasks {
        let last = job["epochs"].as_array().unwrap().last().unwrap();
        assert_eq!(last["tasks"][task]["train"]["rows"], 3, "{task}");
    }
    let body = json!({"inputs": "a great film", "tasks": tasks});
    let answer = app.classify(body).await.remove(0);
    assert_eq!(answer["sentiment"]["label"], "Positive");
    assert_eq!(labels(&answer["tags"]), [""; 0]);
    // A frozen one stays as it is, and is not taught.
    let tags = classify(&app, "a great film").await;
    let more = json!([
        {"text": "so so", "labels": {"sentiment": "Negative", "tags": ["urgent"]}},
    ]);
    let job = app.trained(json!({"examples": more, "freeze": ["encoder", "tags"]})).await;
    assert_eq!(job["published"], json!({"sentiment": 2}));
    assert_eq!(classify(&app, "a great film").await, tags);
    assert_eq!(app.get("/heads/tags").await.1["examples"], 3);
}

#[tokio::test]
async fn a_request_or_the_configuration_may_set_one_threshold_for_all_labels() {
    let app = TestApp::with(|config| {
        with_tags(config);
        config.tasks.get_mut("tags").unwrap().threshold = Some(1.0);
    })
    .await;
    app.trained(json!({"examples": messages()})).await;
    let text = MESSAGES[8].0;
    assert_eq!(classify(&app, text).await["labels"], json!([]), "of the configuration");
    let ask = async |more: Value| {
        let mut body = json!({"inputs": text, "tasks": ["tags"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.classify(body).await.remove(0)["tags"].take()
    };
    let all = ask(json!({"threshold": 0})).await;
    assert_eq!(labels(&all), ["billing", "outage", "urgent"]);
    let second = all["scores"][1]["score"].clone();
    let some = ask(json!({"threshold": second})).await;
    assert_eq!(some["labels"], json!([all["labels"][0], all["labels"][1]]), "reached is enough");
    for (some, all) in
        some["scores"].as_array().unwrap().iter().zip(all["scores"].as_array().unwrap())
    {
        assert_eq!((&some["label"], &some["score"]), (&all["label"], &all["score"]));
        assert_eq!((&some["threshold"], &all["threshold"]), (&second, &json!(0.0)));
    }
    // Which scores are shown is another matter than which labels apply.
    let best = ask(json!({"threshold": 0, "top_k": 1})).await;
    assert_eq!(best["labels"], all["labels"]);
    assert_eq!(best["scores"], json!([all["scores"][0]]));
}

#[tokio::test]
async fn a_task_is_made_with_its_kind_and_keeps_it() {
    let app = TestApp::start().await;
    let definition = json!({"labels": ["toxic"], "multi_label": true});
    let (status, made) = app.put("/heads/moderation", definition.clone()).await;
    assert_eq!((status, &made["multi_label"]), (StatusCode::CREATED, &json!(true)), "{made}");
    assert_eq!(app.put("/heads/moderation", definition.clone()).await.0, StatusCode::OK);
    let refused = app.put("/heads/other", json!({"labels": ["toxic"]})).await;
    assert_problem(&refused, 422, "invalid_task", Some("labels"), &["at least 2"]);

    // Until it is used, it may become another one.
    let single = json!({"labels": ["toxic", "fine"]});
    assert_eq!(app.put("/heads/moderation", single.clone()).await.1["multi_label"], false);
    assert_eq!(app.put("/heads/moderation", definition).await.1["multi_label"], true);
    let examples = json!([
        {"text": "you idiot", "labels": {"moderation": ["toxic"]}},
        {"text": "good morning", "labels": {"moderation": []}},
    ]);
    app.trained(json!({"examples": examples, "l2": 0.001})).await;
    for (text, expected) in [("you idiot", json!(["toxic"])), ("good morning", json!([]))] {
        let answer = app.classify(json!({"inputs": text, "tasks": ["moderation"]})).await;
        assert_eq!(answer[0]["moderation"]["labels"], expected, "{answer:?}");
    }
    for other in [single, json!({"labels": ["toxic", "fine"], "multi_label": true})] {
        let refused = app.put("/heads/moderation", other).await;
        assert_problem(&refused, 409, "task_in_use", None, &["multi_label", "toxic", "delete"]);
    }
    let refused = app
        .put(
            "/heads/topic",
            json!({"labels": ["Finance", "Entertainment", "Technology"], "multi_label": true}),
        )
        .await;
    assert_problem(&refused, 409, "task_is_configured", None, &["topic", "configuration"]);
}

#[tokio::test]
async fn another_kind_in_the_configuration_is_taken_before_any_training_and_refused_after() {
    let app = TestApp::with(with_tags).await;
    let single = |config: &mut Config| {
        config.tasks.insert("tags".to_owned(), TaskConfig { multi_label: None, ..tags() });
    };
    let app = app.restart(single).await;
    assert_eq!(app.get("/heads/tags").await.1["multi_label"], false);
    let app = app.restart(with_tags).await;
    assert_eq!(app.get("/heads/tags").await.1["multi_label"], true);
    app.trained(json!({"examples": messages()})).await;
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let text = refusal(folder.path(), tiny(), single).await;
    for mention in ["tags", "multi_label", "billing"] {
        assert!(text.contains(mention), "{text}");
    }
}

#[tokio::test]
async fn new_labels_come_in_sets_as_well() {
    let app = TestApp::with(|config| {
        with_tags(config);
        config.limits.labels_per_task = NonZeroUsize::new(5).unwrap();
    })
    .await;
    let definition = json!({"labels": ["dry"], "multi_label": true, "new_labels": "allow"});
    app.put("/heads/tone", definition.clone()).await;
    let examples = |sets: &[(&str, &[&str])]| -> Value {
        sets.iter().map(|(text, set)| json!({"text": text, "labels": {"tone": set}})).collect()
    };
    let first = examples(&[("as agreed", &["dry"]), ("dear all", &[]), ("see below", &["dry"])]);
    app.trained(json!({"examples": first, "l2": 0.001})).await;
    let sets: &[(&str, &[&str])] =
        &[("never again", &["harsh", "dry"]), ("or else", &["harsh"]), ("lol", &["silly"])];
    app.trained(json!({"examples": examples(sets), "l2": 0.001})).await;
    let (_, head) = app.get("/heads/tone").await;
    assert_eq!(head["labels"], json!(["dry", "harsh", "silly"]), "in the order of arrival");
    for (text, expected) in sets {
        let answer = app.classify(json!({"inputs": text, "tasks": ["tone"]})).await;
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(labels(&answer[0]["tone"]), expected, "{answer:?}");
    }
    // An earlier version answers with what it knows.
    app.post("/heads/tone/rollback", json!({})).await;
    let answer = app.classify(json!({"inputs": "lol", "tasks": ["tone"]})).await;
    assert_eq!(scores(&answer[0]["tone"]).len(), 1);
    assert_eq!(app.put("/heads/tone", definition).await.0, StatusCode::OK, "as it was made");

    for (set, position, mention) in [
        (json!(["dry", " padded"]), "examples[0].labels.tone[1]", "white space"),
        (json!(["new", "new", ""]), "examples[0].labels.tone[2]", "empty"),
        (json!(["one", "two", "three"]), "examples[0].labels.tone[2]", "at most 5"),
        (json!("b "), "examples[0].labels.tone", "white space"),
    ] {
        let example = json!({"text": "a", "labels": {"tone": set}});
        let refused = app.post("/train", json!({"examples": [example]})).await;
        assert_problem(&refused, 422, "invalid_label", Some(position), &[mention]);
    }
}

#[tokio::test]
async fn a_set_that_cannot_be_is_refused_with_its_place() {
    let app = TestApp::with(with_tags).await;
    let good = json!({"text": "a", "labels": {"tags": ["billing", "urgent"]}});
    for (second, code, position, mentions) in [
        (
            json!({"text": "b", "labels": {"tags": ["urgent", "Urgent"]}}),
            "unknown_label",
            "examples[1].labels.tags[1]",
            ["\"Urgent\"", "billing, outage, urgent"],
        ),
        (
            json!({"text": "b", "labels": {"tags": "spam"}}),
            "unknown_label",
            "examples[1].labels.tags",
            ["\"spam\"", "billing"],
        ),
        (
            json!({"text": "b", "labels": {"topic": ["Finance"]}}),
            "not_multi_label",
            "examples[1].labels.topic",
            ["topic", "exactly one label"],
        ),
        (
            json!({"text": "b", "labels": {"topic": []}}),
            "not_multi_label",
            "examples[1].labels.topic",
            ["topic", "exactly one label"],
        ),
        (
            json!({"text": "a", "labels": {"tags": ["billing"]}}),
            "conflicting_labels",
            "examples[1].labels.tags",
            ["[\"billing\", \"urgent\"]", "examples[0] and [\"billing\"] here"],
        ),
        (
            json!({"text": "b", "labels": {"tags": ["urgent", 3]}}),
            "invalid_request",
            "examples[1].labels.tags[1]",
            ["3", "a string"],
        ),
        (
            json!({"text": "b", "labels": {"tags": {"urgent": true}}}),
            "invalid_request",
            "examples[1].labels.tags",
            ["map", "a string or a list of strings"],
        ),
    ] {
        let refused = app.post("/train", json!({"examples": [good, second]})).await;
        assert_problem(&refused, 422, code, Some(position), &mentions);
    }
    let mentions = &["tags", "[\"billing\", \"urgent\"]", "applies to some"];
    let only = app.post("/train", json!({"examples": [good]})).await;
    assert_problem(&only, 422, "single_class", Some("examples"), mentions);
    assert_eq!(app.get("/train").await.1["jobs"], json!([]), "nothing was accepted");
}

#[tokio::test]
async fn csv_and_ndjson_carry_sets_too() {
    let app = TestApp::with(with_tags).await;
    let csv = "text,tags,topic\n\
        a,billing|urgent,Finance\n\
        b,|,Technology\n\
        c, outage | urgent |billing,\n\
        d,,Finance\n\
        e,urgent,\n";
    let ndjson = r#"{"text": "a", "labels": {"tags": ["urgent", "billing"], "topic": "Finance"}}
        {"text": "b", "labels": {"tags": [], "topic": "Technology"}}
        {"text": "c", "labels": {"tags": ["billing", "outage", "urgent"]}}
        {"text": "d", "labels": {"topic": "Finance"}}
        {"text": "e", "labels": {"tags": "urgent"}}"#;
    let of_task = "text,label\na,urgent|billing\nb,|\nc,billing|outage|urgent|urgent\ne,urgent\n";
    let in_ndjson = r#"{"text": "a", "label": ["billing", "urgent"]}
        {"text": "b", "label": []}
        {"text": "c", "label": ["outage", "billing", "urgent"]}
        {"text": "e", "label": "urgent"}"#;
    let expected = [
        ("a", json!(["billing", "urgent"])),
        ("b", json!([])),
        ("c", json!(["billing", "outage", "urgent"])),
        ("e", json!(["urgent"])),
    ]
    .map(|(text, tags)| (text.to_owned(), tags));
    for (query, media_type, body, examples) in [
        ("", "text/csv", csv, 5),
        ("", "application/x-ndjson", ndjson, 5),
        ("&task=tags", "text/csv", csv, 4),
        ("&task=tags", "text/csv", of_task, 4),
        ("&task=tags", "application/x-ndjson", in_ndjson, 4),
    ] {
        let skip = if query.is_empty() { "" } else { "&on_bad_row=skip" };
        let path = format!("/train?mode=replace{query}{skip}");
        let (status, job) = app.send(&path, media_type, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        assert_eq!(job["examples"], examples, "{job}");
        let job = app.ended(job["id"].as_str().unwrap()).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(remembered(&app, "&task=tags").await, expected, "{media_type} {body}");
    }

    for (media_type, body, code, position) in [
        ("text/csv", "text,tags\na,urgent\nb,billing|spam\n", "unknown_label", "[1]"),
        ("text/csv", "text,tags\na,urgent\na,urgent|billing\n", "conflicting_labels", ""),
    ] {
        let refused = app.send("/train", media_type, body).await;
        let position = format!("line 3, labels.tags{position}");
        assert_problem(&refused, 422, code, Some(&position), &[]);
    }
    // Where a text has one label, a bar is a character like any other.
    let refused = app.send("/train", "text/csv", "text,topic\na,Finance|Technology\n").await;
    let mentions = &["\"Finance|Technology\""];
    assert_problem(&refused, 422, "unknown_label", Some("line 2, labels.topic"), mentions);
}

/// Sentences that a head tells apart by their words.
fn sentences() -> Value {
    let words = ["the", "a", "this", "is", "was", "not", "it", "and", "of", "very", "old", "idea"];
    let subjects: [(&str, &[&str]); 8] = [
        ("film", &["billing"]),
        ("great film", &["billing"]),
        ("stock market", &["outage"]),
        ("new stock", &["outage"]),
        ("film market", &["billing", "outage"]),
        ("fun", &[]),
        ("dull film", &["billing"]),
        ("price", &["outage"]),
    ];
    let example = |word: &&str| {
        let word = (*word).to_owned();
        subjects.map(|(subject, tags)| {
            json!({"text": format!("{word} {subject}"), "labels": {"tags": tags}})
        })
    };
    words.iter().flat_map(example).collect()
}

#[tokio::test]
async fn a_version_that_is_worse_than_the_live_one_does_not_go_live() {
    let app = TestApp::with(with_tags).await;
    let good = json!({"examples": sentences(), "validation": 0.3, "mode": "replace"});
    let first = app.trained(good.clone()).await;
    assert_eq!(first["result"]["tasks"]["tags"]["verdict"], "unopposed");
    let answers = classify(&app, "the great film").await;

    let mut bad = good.clone();
    for (option, value) in
        [("solver", json!("adam")), ("learning_rate", json!(1e-9)), ("epochs", json!(1))]
    {
        bad[option] = value;
    }
    let job = app.train(bad).await;
    assert_eq!(job["state"], "rejected", "{job}");
    let result = &job["result"]["tasks"]["tags"];
    assert_eq!((&result["verdict"], &result["live"]), (&json!("worse"), &json!(false)));
    assert!(result["challenger"].as_f64() < result["champion"].as_f64(), "{result}");
    let reason = job["reason"].as_str().unwrap();
    for mention in ["tags", "accuracy", "held-out", "0.01"] {
        assert!(reason.contains(mention), "{reason}");
    }
    assert_eq!(classify(&app, "the great film").await, answers);

    let job = app.trained(good).await;
    assert_eq!(job["result"]["tasks"]["tags"]["verdict"], "not_worse", "{job}");
}

async fn export(app: &TestApp, task: &str) -> Vec<u8> {
    let response = app.request(Method::GET, &format!("/heads/{task}/weights")).send().await;
    response.unwrap().bytes().await.unwrap().to_vec()
}

async fn import(app: &TestApp, task: &str, file: Vec<u8>) -> (StatusCode, Value) {
    answer(app.request(Method::PUT, &format!("/heads/{task}/weights")).body(file)).await
}

/// In the order of the labels.
fn thresholds(file: &[u8]) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let (quads, _) = tensors.tensor("threshold").unwrap().data().as_chunks::<4>();
    quads.iter().map(|quad| f32::from_le_bytes(*quad)).collect()
}

#[tokio::test]
async fn weights_go_out_and_come_in_with_their_thresholds() {
    let app = TestApp::with(with_tags).await;
    app.trained(json!({"examples": sentences()})).await;
    let before = classify(&app, "the film market").await;
    let file = export(&app, "tags").await;
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["kind"], "multi_label");
    assert_eq!(thresholds(&file).len(), 3);
    for score in before["scores"].as_array().unwrap() {
        let label = tags().labels.iter().position(|label| score["label"] == **label).unwrap();
        assert_eq!(score["threshold"].as_f64().unwrap() as f32, thresholds(&file)[label]);
    }

    let target = TestApp::with(with_tags).await;
    let (status, version) = import(&target, "tags", file.clone()).await;
    assert_eq!((status, &version["version"]), (StatusCode::CREATED, &json!(1)), "{version}");
    assert_eq!(classify(&target, "the film market").await, before);
    let target = target.restart(with_tags).await;
    assert_eq!(classify(&target, "the film market").await, before);
    assert_eq!(thresholds(&export(&target, "tags").await), thresholds(&file));

    // Weights of one kind are not taken for those of the other.
    let labels = json!(["billing", "outage", "urgent"]);
    app.put("/heads/tag", json!({"labels": labels})).await;
    let examples: Vec<Value> = ["billing", "outage", "urgent"]
        .map(|label| json!({"text": label, "labels": {"tag": label}}))
        .into();
    app.trained(json!({"examples": examples})).await;
    let mentions = &["single_label", "multi_label"];
    let refused = import(&app, "tags", export(&app, "tag").await).await;
    assert_problem(&refused, 409, "kind_mismatch", None, mentions);
    let refused = import(&app, "tag", file).await;
    assert_problem(&refused, 409, "kind_mismatch", None, mentions);
}

#[tokio::test]
async fn an_untrained_head_answers_at_random_where_that_is_allowed() {
    let app = TestApp::with(|config| {
        with_tags(config);
        config.training.serve_untrained = true;
    })
    .await;
    let answer = classify(&app, "a").await;
    assert_eq!((&answer["version"], &answer["trained"]), (&json!(0), &json!(false)));
    assert_eq!(scores(&answer).len(), 3);
    assert_eq!(classify(&app, "a").await, answer);
}
