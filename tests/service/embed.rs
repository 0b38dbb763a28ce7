//! `/embed`: the seed's numbers and the request's options.

use polyhead::config::{ModelConfig, Precision};
use reqwest::Method;
use serde_json::json;
use tempfile::tempdir;

use crate::app::{TestApp, assert_problem, minilm};

/// The notebook printed eight decimals; sums in another order differ in the seventh.
const SEED_TOLERANCE: f64 = 1e-5;

/// Embeddings of one text, computed in other company: single precision sums in another order.
const COMPANY_TOLERANCE: f64 = 1e-6;

#[tokio::test]
async fn the_seeds_sentences_get_the_seeds_embeddings() {
    let model = ModelConfig { precision: Precision::Fp32, ..minilm() };
    let app = TestApp::on(tempdir().unwrap(), model, |_| {}).await;
    let expected = [
        [-0.0258184, -0.05110373, 0.0023471, 0.07200564, -0.09817741],
        [0.01930069, -0.06063944, -0.07139064, -0.037043, 0.03860332],
        [0.03399094, -0.00855662, 0.0275319, -0.04598624, -0.06823699],
    ];
    let inputs =
        json!(["This is the first excercise.", "I am using MiniLM L6.", "This is extremely fun."]);
    for key in ["inputs", "sentences"] {
        let embeddings = app.embed(json!({key: inputs})).await;
        assert_eq!(embeddings.len(), 3);
        for (row, expected) in embeddings.iter().zip(expected) {
            assert_eq!(row.len(), 384);
            assert_close(&row[..5], &expected, SEED_TOLERANCE);
        }
    }
}

#[tokio::test]
async fn a_single_text_is_answered_as_a_list_of_one() {
    let app = TestApp::start().await;
    let single = app.embed(json!({"inputs": "a great film"})).await;
    assert_eq!(single, app.embed(json!({"inputs": ["a great film"]})).await);
    assert_eq!((single.len(), single[0].len()), (1, 32));
}

#[tokio::test]
async fn the_root_embeds_as_the_hugging_face_client_expects() {
    let app = TestApp::start().await;
    let body = json!({"inputs": ["a great film", "the stock market"]});
    let (status, answer) = app.post("/", body.clone()).await;
    assert!(status.is_success(), "{answer}");
    assert_eq!(answer, app.post("/embed", body).await.1);
}

#[tokio::test]
async fn a_request_may_ask_for_the_models_own_length_or_for_length_one() {
    let app = TestApp::start().await;
    let embed = async |normalize| {
        app.embed(json!({"inputs": "the film was good", "normalize": normalize})).await.remove(0)
    };
    let (default, unit, raw) =
        (embed(None).await, embed(Some(true)).await, embed(Some(false)).await);
    assert_eq!(default, unit, "the model's folder says that it normalises");
    assert!((length(&unit) - 1.0).abs() < 1e-6, "{}", length(&unit));
    assert!((length(&raw) - 1.0).abs() > 0.1, "{}", length(&raw));
    let rescaled: Vec<f64> = raw.iter().map(|value| value / length(&raw)).collect();
    assert_close(&rescaled, &unit, 1e-6);
}

#[tokio::test]
async fn fewer_dimensions_are_the_leading_ones_scaled_anew() {
    let app = TestApp::start().await;
    let text = "the film was good";
    let full = app.embed(json!({"inputs": text})).await.remove(0);
    let short = app.embed(json!({"inputs": text, "dimensions": 8})).await.remove(0);
    let scaled: Vec<f64> = full[..8].iter().map(|value| value / length(&full[..8])).collect();
    assert_close(&short, &scaled, 1e-6);

    let raw = json!({"inputs": text, "normalize": false});
    let raw = app.embed(raw).await.remove(0);
    let cut = json!({"inputs": text, "dimensions": 8, "normalize": false});
    assert_eq!(app.embed(cut).await[0], raw[..8]);

    let all = app.embed(json!({"inputs": text, "dimensions": 32})).await.remove(0);
    assert_close(&all, &full, 1e-6);
}

#[tokio::test]
async fn dimensions_that_the_model_does_not_have_are_refused() {
    let app = TestApp::start().await;
    for dimensions in [0, 33] {
        let refused = app.post("/embed", json!({"inputs": "a", "dimensions": dimensions})).await;
        assert_problem(&refused, 422, "invalid_dimensions", Some("dimensions"), &["1", "32"]);
    }
}

/// Thirty words of one token each; the tiny model takes 18 and two special tokens.
const WORDS: &str = "the a this is are was not it and of in to film stock market price good bad \
    great dull fun very new old idea work the film was good";

#[tokio::test]
async fn a_longer_text_is_cut_at_the_end_or_where_the_request_says() {
    let app = TestApp::start().await;
    let words: Vec<&str> = WORDS.split(' ').collect();
    let (head, tail) = (words[..18].join(" "), words[words.len() - 18..].join(" "));
    let expected = app.embed(json!({"inputs": [head, tail]})).await;
    for (direction, expected) in [
        (None, &expected[0]),
        (Some("Right"), &expected[0]),
        (Some("right"), &expected[0]),
        (Some("Left"), &expected[1]),
        (Some("left"), &expected[1]),
    ] {
        let body = json!({"inputs": WORDS, "truncate": true, "truncation_direction": direction});
        assert_close(&app.embed(body).await[0], expected, COMPANY_TOLERANCE);
    }
}

#[tokio::test]
async fn a_longer_text_is_refused_where_the_request_says() {
    let app = TestApp::start().await;
    let body = json!({"inputs": ["a film", WORDS], "truncate": false});
    let refused = app.post("/embed", body).await;
    assert_problem(&refused, 422, "input_too_long", Some("inputs[1]"), &["32 tokens", "20"]);

    let longest: Vec<&str> = WORDS.split(' ').take(18).collect();
    app.embed(json!({"inputs": longest.join(" "), "truncate": false})).await;
}

#[tokio::test]
async fn a_model_that_is_not_served_is_refused_with_those_that_are() {
    let app = TestApp::start().await;
    let refused = app.post("/embed", json!({"inputs": "a", "model": "other"})).await;
    assert_problem(&refused, 404, "unknown_model", Some("model"), &["\"other\"", "model"]);
    app.embed(json!({"inputs": "a", "model": "model"})).await;
}

#[tokio::test]
async fn the_binary_answer_holds_the_same_numbers_as_the_json_one() {
    let app = TestApp::start().await;
    let body = json!({"inputs": ["a great film", "the stock market", "dull"]});
    let request = app.request(Method::POST, "/embed").json(&body);
    let request = request.header("accept", "application/octet-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["x-embeddings-shape"], "3,32");
    let bytes = response.bytes().await.unwrap();
    let binary: Vec<f32> =
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let json: Vec<Vec<f32>> = serde_json::from_value(app.post("/embed", body).await.1).unwrap();
    assert_eq!(binary, json.concat());
}

#[tokio::test]
async fn an_answer_in_numpys_format_is_a_header_before_the_binary_one() {
    let app = TestApp::start().await;
    let body = json!({"inputs": ["a great film", "the stock market"]});
    let answer = async |accept: &str| {
        let request = app.request(Method::POST, "/embed").json(&body).header("accept", accept);
        let response = request.send().await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (media_type, response.bytes().await.unwrap())
    };
    let (_, raw) = answer("application/octet-stream").await;
    let (media_type, npy) = answer("application/x-npy, application/json;q=0.5").await;
    assert_eq!(media_type, "application/x-npy");
    let (header, numbers) = npy.split_at(npy.len() - raw.len());
    assert_eq!(numbers, raw);
    assert!(header.starts_with(b"\x93NUMPY\x01\x00"));
    assert!(
        String::from_utf8_lossy(header)
            .contains("'descr': '<f4', 'fortran_order': False, 'shape': (2, 32)")
    );
    assert_eq!(answer("application/octet-stream;q=0.1, */*").await.0, "application/json");
}

#[tokio::test]
async fn an_embedding_does_not_depend_on_its_companions() {
    let app = TestApp::start().await;
    let texts = ["fun", "the film was very good and not dull", "stock market prices are old"];
    let together = app.embed(json!({"inputs": texts})).await;
    for (text, together) in texts.iter().zip(&together) {
        assert_close(&app.embed(json!({"inputs": text})).await[0], together, COMPANY_TOLERANCE);
    }
}

#[tokio::test]
async fn a_large_request_of_mixed_lengths_is_answered_in_order() {
    let app = TestApp::start().await;
    let words: Vec<&str> = WORDS.split(' ').collect();
    // Every text differs, and neighbours differ in length.
    let text = |index: usize| {
        let start = index % words.len();
        let length = 1 + index * 7 % 17;
        let words: Vec<&str> = words.iter().cycle().skip(start).take(length).copied().collect();
        format!("{} {index}", words.join(" "))
    };
    let texts: Vec<String> = (0..2048).map(text).collect();
    let all = app.embed(json!({"inputs": texts})).await;
    assert_eq!(all.len(), texts.len());
    for index in (0..texts.len()).step_by(97).chain([2047]) {
        let alone = app.embed(json!({"inputs": texts[index]})).await;
        assert_close(&all[index], &alone[0], COMPANY_TOLERANCE);
    }
}

#[tokio::test]
async fn two_megabytes_of_one_word_are_one_input() {
    let app = TestApp::start().await;
    let embeddings = app.embed(json!({"inputs": "a".repeat(2_000_000)})).await;
    assert_eq!(embeddings.len(), 1);
    assert!((length(&embeddings[0]) - 1.0).abs() < 1e-6);
}

#[tokio::test]
async fn texts_of_all_scripts_are_embedded() {
    let app = TestApp::start().await;
    let texts = ["日本語のテキスト", "naïve café", "👩‍👩‍👧", "a\u{0}b", "\u{202e}film", "ﬁlm"];
    let embeddings = app.embed(json!({"inputs": texts})).await;
    assert_eq!(embeddings.len(), texts.len());
    assert!(embeddings.iter().flatten().all(|value| value.is_finite()));
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "[{index}]: {found} is not {expected}");
    }
}

pub fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}
