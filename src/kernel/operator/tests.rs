use std::path::Path;
use std::sync::LazyLock;

use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

use super::*;
use crate::encoder::folder::Pooling;
use crate::kernel::Instructions;
use crate::kernel::reference::{self, Random};

/// A process has one for good.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let library = Path::new("lib/libonnxruntime.so");
    assert!(library.is_file(), "lib is empty: run `make test`, which fills it");
    ort::init_from(library).unwrap().with_telemetry(false).build().unwrap()
});

/// A model and a session of it, where the CPU can run one.
fn session() -> Option<(FusedEncoder, Session)> {
    let Ok(instructions) = Instructions::detect() else {
        println!("NOT CHECKED: this CPU has no instructions for the fused encoder");
        return None;
    };
    let model = Random::new(400).model(reference::shape(64, 2, 2, 128));
    let encoder = FusedEncoder::new(&model, Pooling::Mean, instructions).unwrap();
    let builder = Session::builder(&ENVIRONMENT).unwrap();
    let builder = builder.with_operators(encoder.domain().unwrap());
    let session = builder.unwrap().commit_from_memory(&encoder.graph()).unwrap();
    Some((encoder, session))
}

fn run(session: &mut Session, ids: &[u32], ends: &[i64]) -> Result<Vec<f32>, String> {
    let ids = TensorRef::from_array_view(([ids.len()], ids)).unwrap();
    let ends = TensorRef::from_array_view(([ends.len()], ends)).unwrap();
    let outputs = session.run(ort::inputs!["input_ids" => ids, "sentence_ends" => ends]);
    let outputs = outputs.map_err(|error| error.to_string())?;
    let (shape, vectors) = outputs["sentence_embedding"].try_extract_tensor::<f32>().unwrap();
    assert_eq!(shape[0] * shape[1], vectors.len() as i64);
    Ok(vectors.to_vec())
}

#[test]
fn a_session_computes_bit_for_bit_what_the_encoder_does() {
    let Some((encoder, mut session)) = session() else { return };
    let mut random = Random::new(401);
    for lengths in [vec![1], vec![3, 64, 17], vec![30; 20]] {
        let mut end = 0;
        let ends: Vec<usize> = lengths
            .iter()
            .map(|tokens| {
                end += tokens;
                end
            })
            .collect();
        let ids = random.sentence(end, 50);
        let mut expected = vec![f32::NAN; ends.len() * 64];
        encoder.encode(&mut encoder.scratch(), &ids, &ends, &mut expected).unwrap();
        let ends: Vec<i64> = ends.iter().map(|&end| end as i64).collect();
        assert_eq!(run(&mut session, &ids, &ends).unwrap(), expected, "{lengths:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_of_the_session_and_it_goes_on() {
    let Some((_, mut session)) = session() else { return };
    for (ids, ends, reason) in [
        ([7, 7, 7, 50], vec![4], "token 3 has the id 50"),
        ([7; 4], vec![-1, 4], "sentence 0 ends at"),
        ([7; 4], vec![i64::MIN, 4], "sentence 0 ends at"),
        ([7; 4], vec![i64::MAX], "sentence 0 ends at"),
        ([7; 4], vec![3, 2], "sentence 1 ends at 2"),
        ([7; 4], vec![3], "the sentences end at 3"),
        ([7; 4], vec![4, 4], "sentence 1 has 0 tokens"),
    ] {
        let error = run(&mut session, &ids, &ends).unwrap_err();
        assert!(error.contains(reason), "{ends:?}: {error}");
        assert_eq!(run(&mut session, &[7; 4], &[1, 4]).unwrap().len(), 128);
    }
}
