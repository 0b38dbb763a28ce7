use std::path::Path;

use super::*;
use crate::encoder::batch::RaggedBatch;
use crate::encoder::folder::Pooling;
use crate::encoder::readout::Readout;
use crate::encoder::session::{OutputKind, Runtime, Session};
use crate::kernel::Instructions;
use crate::kernel::reference::{self, Random};

/// A model and a session of it, where the CPU can run one.
fn session() -> Option<(FusedEncoder, Session)> {
    let Ok(instructions) = Instructions::detect() else {
        println!("NOT CHECKED: this CPU has no instructions for the fused encoder");
        return None;
    };
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/libonnxruntime.so");
    let model = Random::new(400).model(reference::shape(64, 2, 2, 128));
    let encoder = FusedEncoder::new(&model, Pooling::Mean, instructions).unwrap();
    let session = Session::open_fused(&Runtime::load(&library).unwrap(), &encoder).unwrap();
    Some((encoder, session))
}

fn run(session: &mut Session, readout: Readout, sentences: &[&[u32]]) -> Result<Vec<f32>, String> {
    let mut batch = RaggedBatch::new();
    sentences.iter().for_each(|ids| batch.push(ids));
    let vectors = session.run(&batch, readout, |output| {
        assert_eq!(output.kind() == OutputKind::Pooled, readout == Readout::Sentence);
        let rows = 0..sentences.len();
        rows.flat_map(|row| output.vectors(row, None).into_owned()).collect()
    });
    vectors.map_err(|error| error.to_string())
}

#[test]
fn a_session_computes_bit_for_bit_what_the_encoder_does() {
    let Some((encoder, mut session)) = session() else { return };
    let mut random = Random::new(401);
    for lengths in [vec![1], vec![3, 64, 17], vec![30; 20]] {
        let sentences: Vec<Vec<u32>> =
            lengths.iter().map(|&tokens| random.sentence(tokens, 50)).collect();
        let ends = lengths.iter().scan(0, |end, tokens| {
            *end += tokens;
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let ids = sentences.concat();
        let sentences: Vec<&[u32]> = sentences.iter().map(Vec::as_slice).collect();
        for readout in [Readout::Sentence, Readout::Tokens] {
            let mut expected = vec![f32::NAN; readout.vectors(ends.len(), ids.len()) * 64];
            let mut scratch = encoder.scratch();
            encoder.encode(&mut scratch, &ids, &ends, readout, &mut expected).unwrap();
            let found = run(&mut session, readout, &sentences).unwrap();
            assert_eq!(found, expected, "{readout:?}, {lengths:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error_of_the_session_and_it_goes_on() {
    let Some((_, mut session)) = session() else { return };
    for (sentences, reason) in [
        ([&[7, 7][..], &[7, 50]], "token 3 has the id 50"),
        ([&[7, 7], &[7, u32::MAX]], "token 3 has the id 4294967295"),
        ([&[7, 7], &[]], "sentence 1 has 0 tokens"),
        ([&[7, 7], &[7; 513]], "sentence 1 has 513 tokens"),
    ] {
        for (readout, vectors) in [(Readout::Tokens, 5), (Readout::Sentence, 2)] {
            let error = run(&mut session, readout, &sentences).unwrap_err();
            assert!(error.contains(reason), "{error}");
            let found = run(&mut session, readout, &[&[7; 4], &[7]]).unwrap();
            assert_eq!(found.len(), vectors * 64);
        }
    }
}
