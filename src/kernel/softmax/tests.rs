use half::bf16;

use super::*;
use crate::kernel::avx512::Avx512Bf16;
use crate::kernel::reference::{self, NAN, Random};

/// Runs the softmax of one row among NaN, and compares it with the reference.
fn check(scores: &[f32], what: &str) {
    let keys = scores.len();
    let padded = keys.next_multiple_of(BLOCK);
    let mut row = vec![f32::from_bits(0xffc1_2345); padded];
    row[..keys].copy_from_slice(scores);
    // Lines of two rows alternate: the other row's must stay.
    let mut weights = vec![NAN; padded * 2];
    assert!(Avx512Bf16::detect().is_some());
    // SAFETY: the CPU has the features.
    let sum = unsafe { softmax(&row, keys, &mut weights, 2 * BLOCK) };

    let expected = reference::softmax(&scores.iter().copied().map(f64::from).collect::<Vec<_>>());
    let expected_sum: f64 = expected.iter().sum();
    // The polynomial's 2.6e-6; differences of up to 150 are rounded to 2^-17, which is 5e-6 of a
    // power; sums of up to 512 positive numbers in 32 lanes.
    let relative = 2.6e-6 + 5.3e-6 + 1.5e-6;
    let error = (f64::from(sum) / expected_sum - 1.0).abs();
    assert!(error <= relative, "{what}, {keys} keys: the sum is off by {error:e}");
    for (line, lines) in weights.chunks_exact(2 * BLOCK).enumerate() {
        assert_eq!(lines[BLOCK..], [NAN; BLOCK], "{what}, {keys} keys: beside line {line}");
    }
    for key in 0..padded {
        let found = weights[key / BLOCK * 2 * BLOCK + key % BLOCK];
        let Some(expected) = expected.get(key) else {
            assert_eq!(found, 0, "{what}, {keys} keys: beyond them, at {key}");
            continue;
        };
        // bf16 keeps 8 bits, and rounds by up to half of the last one; what has no normal f32 counts as nothing.
        let allowed = (2_f64.powi(-8) + relative) * expected + 2_f64.powi(-126);
        let found = f64::from(bf16::from_bits(found));
        let error = (found - expected).abs();
        assert!(error <= allowed, "{what}, {keys} keys, key {key}: {found}, not {expected}");
    }
}

fn each_length(mut scores: impl FnMut(usize, &mut Random) -> (Vec<f32>, &'static str)) {
    if Avx512Bf16::detect().is_none() {
        return println!("NOT CHECKED: this CPU has no AVX512-BF16");
    }
    let mut random = Random::new(4);
    for keys in 1..=512 {
        let (scores, what) = scores(keys, &mut random);
        assert_eq!(scores.len(), keys);
        check(&scores, what);
    }
}

#[test]
fn it_follows_the_reference_at_every_length() {
    each_length(|keys, random| (random.numbers(keys, 3.0), "usual scores"));
    each_length(|keys, random| (random.numbers(keys, 30.0), "wide scores"));
}

#[test]
fn scores_of_ten_thousand_neither_overflow_nor_vanish() {
    each_length(|keys, random| {
        let around = if keys % 2 == 0 { 1e4 } else { -1e4 };
        (random.numbers(keys, 4.0).iter().map(|score| score + around).collect(), "around ±1e4")
    });
    each_length(|keys, random| (random.numbers(keys, 1e4), "from -1e4 to 1e4"));
}

#[test]
fn equal_scores_share_equally() {
    for score in [0.0, -0.0, 1e4, -1e4, 1e-30, f32::MAX, f32::MIN] {
        each_length(|keys, _| (vec![score; keys], "equal scores"));
    }
}

#[test]
fn one_score_may_dominate_wherever_it_stands() {
    each_length(|keys, random| {
        let mut scores = random.numbers(keys, 1.0);
        scores[random.below(keys)] = 1e4;
        (scores, "one of 1e4")
    });
    each_length(|keys, random| {
        let mut scores = vec![-1e4; keys];
        scores[random.below(keys)] = -9e3;
        (scores, "one of -9e3 among -1e4")
    });
    each_length(|keys, _| ((0..keys).map(|key| -(key as f32)).collect(), "falling by 1"));
}

#[test]
fn a_score_that_is_no_number_is_not_hidden() {
    if Avx512Bf16::detect().is_none() {
        return println!("NOT CHECKED: this CPU has no AVX512-BF16");
    }
    for keys in [1_usize, 16, 17, 33, 512] {
        for at in [0, keys / 2, keys - 1] {
            for wrong in [f32::NAN, f32::INFINITY] {
                let mut scores = vec![1.0; keys.next_multiple_of(BLOCK)];
                scores[at] = wrong;
                let mut weights = vec![0; scores.len()];
                // SAFETY: the CPU has the features.
                let sum = unsafe { softmax(&scores, keys, &mut weights, BLOCK) };
                assert!(sum.is_nan(), "{wrong} as score {at} of {keys}: the sum is {sum}");
            }
        }
    }
}
