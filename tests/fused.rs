//! The fused encoder against ONNX Runtime in fp32, on real texts and the real model.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use polyhead::config::Provider;
use polyhead::encoder::batch::RaggedBatch;
use polyhead::encoder::folder::{ModelFolder, Overrides, Pooling};
use polyhead::encoder::pooling::normalize;
use polyhead::encoder::readout::Readout;
use polyhead::encoder::session::{Output, Runtime, Session, SessionOptions, SharedGraph};
use polyhead::encoder::tokenizer::{Tokenizer, Truncation};
use polyhead::kernel::{FusedEncoder, Instructions};
use polyhead::onnx::bert::weights::BertWeights;
use polyhead::onnx::{ExportOptions, ExportPrecision, export_bert};

const MODEL: &str = "models/all-MiniLM-L6-v2";
/// The model's own limit, `[CLS]` and `[SEP]` included.
const LONGEST: usize = 256;
/// Sentences that are taken as they are; one joined text of each length comes to them.
const SINGLE: usize = 1800;

#[test]
fn every_sentence_is_embedded_as_by_onnx_runtime_in_fp32() {
    let sentences = sentences();
    let lengths: BTreeSet<usize> = sentences.iter().map(Vec::len).collect();
    // One token, as every other number of them, stands between two special ones.
    assert_eq!(lengths, (3..=LONGEST).collect(), "every length occurs");
    assert!(sentences.len() >= 2000, "{} sentences", sentences.len());
    compare(sentences, Readout::Sentence, 0.9999);
}

#[test]
fn every_token_gets_the_state_that_it_has_in_onnx_runtime_in_fp32() {
    // Each has many tokens: a part of them is enough.
    let sentences = sentences().into_iter().step_by(16).collect();
    // No mean evens single tokens out.
    compare(sentences, Readout::Tokens, 0.9995);
}

/// Asserts that all vectors of both forms, scaled to length 1, have at least this cosine.
fn compare(mut sentences: Vec<Vec<u32>>, readout: Readout, bar: f64) {
    let Ok(instructions) = Instructions::detect() else {
        return println!("NOT CHECKED: this CPU has no instructions for the fused encoder");
    };
    sentences.sort_by_key(Vec::len);
    let (fused, mut session) = (fused(instructions), in_onnx_runtime());
    // Of nearly one length, lest fp32 takes its time for padding.
    let batches = || sentences.chunks(16);
    let (expected, found) = std::thread::scope(|scope| {
        let found = scope.spawn(|| encode(&fused, readout, batches()));
        let expected = batches().flat_map(|it| in_fp32(&mut session, readout, it)).collect();
        let expected: Vec<Vec<f32>> = expected;
        (expected, found.join().unwrap())
    });
    let vectors = sentences.iter().map(|ids| readout.vectors(1, ids.len())).sum();
    assert_eq!((expected.len(), found.len()), (vectors, vectors));

    let (mut least, mut total, mut largest) = (1.0, 0.0, 0.0);
    for (vector, (mut expected, mut found)) in expected.into_iter().zip(found).enumerate() {
        normalize(&mut found);
        normalize(&mut expected);
        let both = || found.iter().zip(&expected).map(|(&l, &r)| (f64::from(l), f64::from(r)));
        let cosine: f64 = both().map(|(left, right)| left * right).sum();
        assert!(cosine >= bar, "{cosine}: vector {vector}, shortest sentences first");
        least = f64::min(least, cosine);
        total += cosine;
        largest = both().map(|(left, right)| (left - right).abs()).fold(largest, f64::max);
    }
    let mean = total / vectors as f64;
    println!(
        "{vectors} vectors of {} sentences, {}: cosine at least {least:.6}, {mean:.6} on average; largest error {largest:.5}",
        sentences.len(),
        instructions.as_str(),
    );
}

fn files() -> [Vec<u8>; 2] {
    ["config.json", "model.safetensors"]
        .map(|file| fs::read(pinned_file(&format!("{MODEL}/{file}"))).unwrap())
}

fn fused(instructions: Instructions) -> FusedEncoder {
    let [config, weights] = files();
    let weights = BertWeights::from_safetensors(&config, &weights).unwrap();
    FusedEncoder::new(&weights, Pooling::Mean, instructions).unwrap()
}

fn in_onnx_runtime() -> Session {
    let [config, weights] = files();
    let options = ExportOptions {
        precision: ExportPrecision::Fp32,
        pooling: Pooling::Mean,
        normalize: false,
    };
    let graph = export_bert(&config, &weights, options).unwrap();
    let runtime = Runtime::load(&pinned_file("lib/libonnxruntime.so")).unwrap();
    let graph = SharedGraph::new(graph.into()).unwrap();
    let options = SessionOptions { provider: Provider::Cpu, pad_token_id: 0 };
    Session::open(&runtime, &graph, options).unwrap()
}

fn encode<'a>(
    fused: &FusedEncoder,
    readout: Readout,
    batches: impl Iterator<Item = &'a [Vec<u32>]>,
) -> Vec<Vec<f32>> {
    let mut scratch = fused.scratch();
    let mut found = Vec::new();
    for sentences in batches {
        let mut end = 0;
        let ends = sentences.iter().map(|ids| {
            end += ids.len();
            end
        });
        let ends: Vec<usize> = ends.collect();
        let ids = sentences.concat();
        let mut vectors = vec![f32::NAN; readout.vectors(ends.len(), ids.len()) * fused.width()];
        fused.encode(&mut scratch, &ids, &ends, readout, &mut vectors).unwrap();
        found.extend(vectors.chunks_exact(fused.width()).map(<[f32]>::to_vec));
    }
    found
}

/// Token ids of this repository's prose: its sentences, and runs of it of every length.
fn sentences() -> Vec<Vec<u32>> {
    let folder = ModelFolder::open(Path::new(MODEL), &Overrides::default()).unwrap();
    let tokenizer = Tokenizer::open(&folder.path, LONGEST).unwrap();
    let texts: BTreeSet<String> = prose().iter().flat_map(|text| split(text)).collect();
    let encode = |text: &String| tokenizer.encode(text, Truncation::Right).unwrap().ids;
    let texts: Vec<Vec<u32>> = texts.iter().map(encode).filter(|ids| ids.len() > 2).collect();
    // From all parts of the alphabet, and not more as the repository grows.
    let mut sentences: Vec<Vec<u32>> =
        (0..SINGLE).map(|index| texts[index * texts.len() / SINGLE].clone()).collect();
    sentences.dedup();

    let (first, last) = (sentences[0][0], sentences[0][sentences[0].len() - 1]);
    let inner = |ids: &Vec<u32>| ids[1..ids.len() - 1].to_vec();
    let all: Vec<u32> = texts.iter().flat_map(inner).collect();
    let mut start = 0;
    for tokens in 1..=LONGEST - 2 {
        if start + tokens > all.len() {
            start = 0;
        }
        sentences.push([&[first], &all[start..start + tokens], &[last]].concat());
        start += tokens;
    }
    sentences
}

/// Documents, and the comments of the source, each as running text.
fn prose() -> Vec<String> {
    let mut texts: Vec<String> =
        ["README.md", "models/README.md", "LICENSE", "models/all-MiniLM-L6-v2/README.md"]
            .iter()
            .flat_map(|file| {
                let text = fs::read_to_string(file).unwrap();
                text.split("\n\n").map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let mut comment = String::new();
        for line in fs::read_to_string(&file).unwrap().lines() {
            match line.trim_start().strip_prefix("//") {
                Some(text) => {
                    comment += &format!("{} ", text.trim_start_matches(['/', '!']).trim())
                }
                // A comment ends where code begins; what tests are named is prose as well.
                None => {
                    texts.push(std::mem::take(&mut comment));
                    let name =
                        line.trim_start().strip_prefix("fn ").and_then(|it| it.split_once('('));
                    texts.extend(name.map(|(name, _)| name.replace('_', " ")));
                }
            }
        }
        texts.push(comment);
    }
    texts
}

/// Sentences end with a full stop, a colon or a semicolon before a space.
fn split(text: &str) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.replace(". ", ".\n").replace(": ", ":\n").replace("; ", ";\n");
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn in_fp32(session: &mut Session, readout: Readout, sentences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let mut batch = RaggedBatch::new();
    sentences.iter().for_each(|ids| batch.push(ids));
    let read = |output: Output<'_>| {
        let rows = (0..sentences.len()).map(|row| output.vectors(row, None));
        rows.flat_map(|row| row.chunks_exact(output.width).map(<[f32]>::to_vec).collect::<Vec<_>>())
            .collect()
    };
    session.run(&batch, readout, read).unwrap()
}

fn pinned_file(path: &str) -> PathBuf {
    assert!(Path::new(path).is_file(), "{path} is missing: run `make test`, which fetches it");
    path.into()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(path.to_str().unwrap()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
