//! `/embed`: the seed's numbers, the request's options, what is refused.

use serde_json::json;
use tempfile::tempdir;

use crate::app::{TestApp, minilm};

/// The notebook printed eight decimals; sums in another order differ in the seventh.
const TOLERANCE: f64 = 1e-5;

#[tokio::test]
async fn the_seeds_sentences_get_the_seeds_embeddings() {
    let app = TestApp::on(tempdir().unwrap(), minilm(), |_| {}).await;
    let expected = [
        [-0.0258184, -0.05110373, 0.0023471, 0.07200564, -0.09817741],
        [0.01930069, -0.06063944, -0.07139064, -0.037043, 0.03860332],
        [0.03399094, -0.00855662, 0.0275319, -0.04598624, -0.06823699],
    ];
    let inputs =
        json!(["This is the first excercise.", "I am using MiniLM L6.", "This is extremely fun."]);
    for key in ["inputs", "sentences"] {
        let (status, embeddings) = app.post("/embed", json!({key: inputs})).await;
        assert!(status.is_success(), "{embeddings}");
        for (row, expected) in embeddings.as_array().unwrap().iter().zip(expected) {
            assert_eq!(row.as_array().unwrap().len(), 384);
            for (value, expected) in row.as_array().unwrap().iter().zip(expected) {
                assert!((value.as_f64().unwrap() - expected).abs() < TOLERANCE, "{value}");
            }
        }
    }
}
