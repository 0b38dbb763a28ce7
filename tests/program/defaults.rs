//! The repository's own configuration, as `make run` serves it.

use serde_json::json;

use crate::server::Server;
use crate::site::{Site, in_repository};

#[test]
fn the_default_configuration_serves_both_models_and_learns_the_seeds_tasks() {
    let site = Site::new();
    let server = Server::start(
        // Its paths start at the repository; nothing may be left there.
        site.polyhead(&["serve", "--config", "config.toml", "--listen", "127.0.0.1:0"])
            .current_dir(in_repository(""))
            .env("POLYHEAD__STORE__URL", format!("sqlite://{}/heads.db", site.data().display())),
    );
    let sentence = "The stock market crashed due to inflation.";
    for model in ["minilm", "bert"] {
        let answer = server.post("/embed", &json!({"inputs": sentence, "model": model}));
        let embedding: Vec<Vec<f64>> = serde_json::from_value(answer.body).unwrap();
        assert_eq!(embedding[0].len(), 384);
        let length = embedding[0].iter().map(|value| value * value).sum::<f64>().sqrt();
        // Rounding of 384 single-precision squares.
        assert!((length - 1.0).abs() < 1e-5, "{model}: {length}");
    }
    let untrained = server.post("/classify", &json!({"inputs": sentence}));
    assert_eq!((untrained.status, untrained.code()), (409, "head_untrained"), "{untrained:?}");

    let rows = [
        (sentence, "Finance", "Negative"),
        ("The film was a cinematic masterpiece.", "Entertainment", "Positive"),
        ("Tech companies are investing in AI.", "Technology", "Positive"),
        ("The weather ruined my mood today.", "Entertainment", "Negative"),
        ("Quantum computing is the next big thing.", "Technology", "Positive"),
    ];
    let examples: Vec<_> = rows
        .iter()
        .map(|(text, topic, mood)| json!({"text": text, "labels": {"topic": topic, "sentiment": mood}}))
        .collect();
    let job = server.finished(&server.train(&json!({"examples": examples})));
    assert_eq!(job["state"], "succeeded", "{job}");
    let texts: Vec<&str> = rows.iter().map(|row| row.0).collect();
    let answer = server.post("/classify", &json!({"inputs": texts}));
    for (index, (text, topic, mood)) in rows.iter().enumerate() {
        let result = &answer.body["results"][index];
        assert_eq!(result["topic"]["label"], *topic, "{text}");
        assert_eq!(result["sentiment"]["label"], *mood, "{text}");
    }
    server.stop();
}
