//! Embeddings as the seed's notebook printed them, and invariant 3.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use polyhead::config::{Precision, Provider};
use polyhead::encoder::folder::{Overrides, Pooling};
use polyhead::encoder::session::Runtime;
use polyhead::encoder::tokenizer::Truncation;
use polyhead::encoder::{Class, EmbedOptions, Encoder, Engine, EngineSettings, ModelSpec};
use polyhead::metrics::Metrics;

fn spec(name: &str, path: &str, overrides: Overrides) -> ModelSpec {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    ModelSpec { name: name.into(), path, overrides, precision: Precision::Auto, provider: Provider::Cpu }
}

fn encoder(name: &str) -> Arc<Encoder> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let library = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("lib/libonnxruntime.so");
        let runtime = Runtime::load(&library).unwrap();
        let cls = Overrides { pooling: Some(Pooling::Cls), normalize: Some(true), ..Overrides::default() };
        let specs = [
            spec("minilm", "models/all-MiniLM-L6-v2", Overrides::default()),
            spec("upstream", "models/all-MiniLM-L6-v2-onnx", Overrides::default()),
            spec("bert", "models/bge-small-en-v1.5", cls),
        ];
        let settings = EngineSettings {
            workers: 2,
            batch_tokens: 2048,
            queue_tokens: 1 << 18,
            tokens_per_request: 1 << 18,
        };
        Engine::start(runtime, &specs, settings, Arc::new(Metrics::new())).unwrap()
    });
    Arc::clone(&engine.encoders()[name])
}

const OPTIONS: EmbedOptions = EmbedOptions {
    class: Class::Interactive,
    truncation: Truncation::Right,
    normalize: None,
    dimensions: None,
};

#[tokio::test]
async fn the_seeds_sentences_have_the_seeds_embeddings() {
    for name in ["minilm", "upstream", "bert"] {
        let e = encoder(name);
        println!("{:?}", e.info());
        let texts = ["a"]; let _ = ["This is the first excercise.", "I am using MiniLM L6.", "This is extremely fun."];
        let out = e.embed(texts.iter().map(|t| t.to_string()).collect(), OPTIONS).await.unwrap();
        for row in out.rows() { println!("{:?}", &row[..5]); }
        let t = std::time::Instant::now();
        for _ in 0..0 { e.embed(vec![texts[0].repeat(4); 32], OPTIONS).await.unwrap(); }
        println!("{:?}", t.elapsed() );
    }
}
