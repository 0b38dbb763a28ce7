//! The seed's `bert-base-nli-mean-tokens`, where its folder is present.

use crate::site::{Site, in_repository, not_checked, path_value, table};

const MODEL: &str = "models/bert-base-nli-mean-tokens";

/// The notebook's output: the first five components of each sentence's embedding.
const EXPECTED: [(&str, [f64; 5]); 3] = [
    ("This is the first excercise.", [-0.10511372, 0.06052209, 0.7207366, 0.25130892, -0.14731582]),
    ("I am using MiniLM L6.", [0.2196106, 0.12576272, 1.3329709, -0.03008128, 0.50363946]),
    ("This is extremely fun.", [-0.00433037, -0.466831, 2.1145084, 0.36574316, -0.09815084]),
];

/// Components reach 2 here, where those of a normalised embedding stay below 0.1, and twelve layers
/// add up twice the rounding of six: 1e-4 is to these values what the 1e-5 of all-MiniLM-L6-v2 is to
/// its own.
const TOLERANCE: f64 = 1e-4;

#[test]
fn the_seeds_bert_gives_the_seeds_embeddings_where_it_is_present() {
    let folder = in_repository(MODEL);
    if !folder.is_dir() {
        not_checked(&format!(
            "the numbers of {MODEL}, which is not present; \
             `polyhead pull sentence-transformers/bert-base-nli-mean-tokens` fetches it"
        ));
        return;
    }
    let site = Site::with(table(&["models", "nli", "path"], path_value(&folder)));
    let server = crate::server::Server::start(
        site.serve()
            .env("POLYHEAD__DEFAULT_MODEL", "nli")
            .env("POLYHEAD__MODELS__NLI__PRECISION", "fp32"),
    );
    let sentences = EXPECTED.map(|(sentence, _)| sentence);
    for (embedding, (sentence, expected)) in server.embed(&sentences).iter().zip(EXPECTED) {
        assert_eq!(embedding.len(), 768);
        for (found, expected) in embedding.iter().zip(expected) {
            assert!((found - expected).abs() < TOLERANCE, "{sentence}: {found}, not {expected}");
        }
    }
    server.stop();
}
