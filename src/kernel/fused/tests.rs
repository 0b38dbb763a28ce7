use super::*;
use crate::kernel::reference::{self, Random};
use crate::onnx::bert::config::Activation;

/// A model of 64 positions and a vocabulary of 50.
fn encoder(hidden: usize, heads: usize, seed: u64) -> Option<FusedEncoder> {
    let Ok(instructions) = Instructions::detect() else {
        println!("NOT CHECKED: this CPU has no instructions for the fused encoder");
        return None;
    };
    let model = Random::new(seed).model(reference::shape(hidden, heads, 1, 64));
    Some(FusedEncoder::new(&model, Pooling::Mean, instructions).unwrap())
}

#[test]
fn a_batch_that_does_not_fit_is_refused_and_nothing_is_written() {
    const UNTOUCHED: f32 = 4.5;
    let Some(encoder) = encoder(64, 2, 1) else { return };
    let length = |sentence, tokens| BatchError::Length { sentence, tokens, longest: 64 };
    let token = |position, id| BatchError::Token { position, id, vocabulary: 50 };
    let ids = |tokens| vec![7; tokens];
    let with = |position: usize, id: u32| {
        let mut ids = ids(10);
        ids[position] = id;
        ids
    };
    let end = |sentence, end| BatchError::End { sentence, end, tokens: 10 };
    for (ids, ends, expected) in [
        (with(0, 50), vec![4, 10], token(0, 50)),
        (with(9, u32::MAX), vec![4, 10], token(9, u32::MAX)),
        (ids(10), vec![0, 10], length(0, 0)),
        (ids(10), vec![4, 4, 10], length(1, 0)),
        (ids(10), vec![4, 10, 10], length(2, 0)),
        (ids(65), vec![65], length(0, 65)),
        (ids(70), vec![5, 70], length(1, 65)),
        (ids(10), vec![6, 4, 10], end(1, 4)),
        (ids(10), vec![4, 11], end(1, 11)),
        (ids(10), vec![usize::MAX, 10], end(0, usize::MAX)),
        (ids(10), vec![4, 9], BatchError::Rest { end: 9, tokens: 10 }),
        (ids(10), vec![], BatchError::Rest { end: 0, tokens: 10 }),
        (ids(0), vec![0], length(0, 0)),
        (ids(0), vec![1], BatchError::End { sentence: 0, end: 1, tokens: 0 }),
    ] {
        for readout in [Readout::Sentence, Readout::Tokens] {
            let mut vectors = vec![UNTOUCHED; readout.vectors(ends.len(), ids.len()) * 64];
            let found = encoder.encode(&mut encoder.scratch(), &ids, &ends, readout, &mut vectors);
            assert_eq!(found, Err(expected.clone()), "{ends:?} of {} tokens", ids.len());
            assert!(vectors.iter().all(|&value| value == UNTOUCHED), "{ends:?}");
        }
    }
    for (readout, needed) in [(Readout::Sentence, 2 * 64), (Readout::Tokens, 10 * 64)] {
        for found in [0, 64, needed - 1, needed + 1, needed + 64] {
            let mut vectors = vec![UNTOUCHED; found];
            let (ids, ends) = (ids(10), [4, 10]);
            let answer = encoder.encode(&mut encoder.scratch(), &ids, &ends, readout, &mut vectors);
            assert_eq!(answer, Err(BatchError::Room { found, needed }));
            assert!(vectors.iter().all(|&value| value == UNTOUCHED), "{found}");
        }
    }
}

#[test]
fn no_sentences_are_no_error_and_the_limits_themselves_are_allowed() {
    let Some(encoder) = encoder(64, 2, 1) else { return };
    for readout in [Readout::Sentence, Readout::Tokens] {
        let mut scratch = encoder.scratch();
        assert_eq!(encoder.encode(&mut scratch, &[], &[], readout, &mut []), Ok(()));
        let mut vectors = vec![f32::NAN; readout.vectors(2, 65) * 64];
        let answer = encoder.encode(&mut scratch, &[49; 65], &[64, 65], readout, &mut vectors);
        assert_eq!(answer, Ok(()));
        assert!(vectors.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn scratch_memory_may_come_from_another_model() {
    let (Some(small), Some(large)) = (encoder(32, 1, 1), encoder(256, 4, 2)) else { return };
    let embed = |encoder: &FusedEncoder, scratch: &mut Scratch| {
        let mut vectors = vec![f32::NAN; encoder.width()];
        encoder.encode(scratch, &[3; 40], &[40], Readout::Sentence, &mut vectors).unwrap();
        vectors
    };
    for (one, other) in [(&small, &large), (&large, &small)] {
        let expected = embed(one, &mut one.scratch());
        let mut scratch = other.scratch();
        embed(other, &mut scratch);
        assert_eq!(embed(one, &mut scratch), expected);
    }
}

#[test]
fn a_shape_that_does_not_fit_the_tiles_is_refused() {
    let Ok(instructions) = Instructions::detect() else {
        return println!("NOT CHECKED: this CPU has no instructions for the fused encoder");
    };
    let refused = |change: fn(&mut BertShape)| {
        // The shape is looked at first, then whether the weights are of its sizes.
        let mut model = Random::new(1).model(reference::shape(64, 2, 1, 64));
        change(&mut model.shape);
        FusedEncoder::new(&model, Pooling::Cls, instructions).err()
    };
    for (change, expected) in [
        ((|shape| shape.hidden = 0) as fn(&mut BertShape), Unfit::Hidden(0)),
        (|shape| shape.hidden = 48, Unfit::Hidden(48)),
        (|shape| shape.hidden = 1056, Unfit::Hidden(1056)),
        (|shape| shape.intermediate = 0, Unfit::Intermediate(0)),
        (|shape| shape.intermediate = 100, Unfit::Intermediate(100)),
        (|shape| shape.heads = 0, Unfit::HeadWidth(64)),
        (|shape| shape.heads = 4, Unfit::HeadWidth(16)),
        (|shape| (shape.hidden, shape.heads) = (128, 1), Unfit::HeadWidth(128)),
        (|shape| (shape.hidden, shape.heads) = (1024, 31), Unfit::HeadWidth(33)),
        (|shape| shape.layers = 0, Unfit::Layers(0)),
        (|shape| shape.layers = 25, Unfit::Layers(25)),
        (|shape| shape.max_positions = 0, Unfit::Positions(0)),
        (|shape| shape.max_positions = 513, Unfit::Positions(513)),
        (|shape| shape.activation = Activation::GeluTanh, Unfit::Activation),
        (|shape| shape.activation = Activation::Relu, Unfit::Activation),
        (|shape| shape.layers = 2, Unfit::Weights),
        (|shape| shape.vocabulary += 1, Unfit::Weights),
        (|shape| shape.intermediate = 96, Unfit::Weights),
    ] {
        assert_eq!(refused(change), Some(expected));
    }
    assert_eq!(refused(|_| ()), None);
}
