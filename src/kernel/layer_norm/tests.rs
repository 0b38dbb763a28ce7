use super::*;
use crate::kernel::reference::{self, Random};
use crate::onnx::bert::weights::Norm;

const EPS: f32 = 1e-12;

/// Normalises a row with random gamma, beta and bias; asserts that it is what the reference gives.
fn check(row: &[f32], bias: &[f32], random: &mut Random, what: &str) {
    let width = row.len();
    let norm = random.norm(width);
    let found = normalized(row, bias, &norm);
    let biased = || row.iter().zip(bias).map(|(x, bias)| f64::from(x + bias));
    let expected = reference::layer_norm(&biased().collect::<Vec<_>>(), &norm, EPS);

    // The mean is a sum of `width` / 32 numbers in each of 32 lanes, then of these; each addition
    // rounds by up to half a unit of the largest number. Relative to the deviation, that moves all
    // results, and adds as much to the deviation itself.
    let largest = biased().map(f64::abs).fold(0.0, f64::max);
    let mean = biased().sum::<f64>() / width as f64;
    let variance = biased().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
    let deviation = (variance + f64::from(EPS)).sqrt();
    let additions = width as f64 / 32.0 + 8.0;
    let unit = f64::from(f32::EPSILON) / 2.0;
    let moved = additions * unit * largest / deviation;
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let z = (biased().nth(i).unwrap() - mean).abs() / deviation;
        let allowed = (moved * (1.0 + z) + additions * unit * (1.0 + z))
            * f64::from(norm.gamma[i].abs())
            + unit * 2.0 * f64::from(norm.beta[i].abs());
        let error = (f64::from(found) - expected).abs();
        assert!(error <= allowed, "{what}, {width} wide, element {i}: {found}, not {expected}");
    }
}

fn normalized(row: &[f32], bias: &[f32], norm: &Norm) -> Vec<f32> {
    let copy = |values: &[f32]| {
        let mut buffer = Buffer::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    };
    let (gamma, beta) = (copy(&norm.gamma), copy(&norm.beta));
    let norm = LayerNorm { bias: copy(bias), gamma, beta, eps: EPS };
    let mut row = copy(row);
    assert!(is_x86_feature_detected!("avx512f"));
    // SAFETY: the CPU has AVX-512.
    unsafe { norm.apply(&mut row) };
    row.to_vec()
}

fn each_width(mut check: impl FnMut(usize, &mut Random)) {
    if !is_x86_feature_detected!("avx512f") {
        return println!("NOT CHECKED: this CPU has no AVX-512");
    }
    let mut random = Random::new(5);
    (32..=1024).step_by(32).for_each(|width| check(width, &mut random));
}

#[test]
fn it_follows_the_reference_at_every_width() {
    each_width(|width, random| {
        let (row, bias) = (random.numbers(width, 1.0), random.numbers(width, 0.3));
        check(&row, &bias, random, "usual numbers");
        let row = random.numbers(width, 1e4);
        check(&row, &bias, random, "large numbers");
    });
}

#[test]
fn a_tiny_variance_is_not_lost() {
    each_width(|width, random| {
        let (row, bias) = (random.numbers(width, 1e-5), random.numbers(width, 1e-5));
        check(&row, &bias, random, "a deviation of 1e-5");
        let row = random.numbers(width, 1e-7);
        check(&row, &vec![0.0; width], random, "less than eps");
    });
}

#[test]
fn a_large_offset_costs_only_the_digits_that_f32_lacks() {
    each_width(|width, random| {
        for offset in [100.0, -1e4, 1e6] {
            let row: Vec<f32> = random.numbers(width, 1.0).iter().map(|x| x + offset).collect();
            check(&row, &random.numbers(width, 0.3), random, "a large offset");
        }
        let mut row = random.numbers(width, 1.0);
        row[random.below(width)] = 3e3;
        check(&row, &vec![0.0; width], random, "one feature far out");
    });
}

#[test]
fn a_constant_row_gives_beta() {
    each_width(|width, random| {
        let norm = random.norm(width);
        // Numbers whose sums are exact.
        for constant in [0.0, 1.0, -0.5, 1024.0] {
            let found = normalized(&vec![constant; width], &vec![0.25; width], &norm);
            assert_eq!(found, norm.beta, "{constant}, {width} wide");
        }
    });
}

#[test]
fn a_row_of_any_constant_stays_within_one_deviation() {
    each_width(|width, random| {
        let norm = random.norm(width);
        let constant = random.number(100.0);
        let found = normalized(&vec![constant; width], &vec![0.0; width], &norm);
        // What rounding makes of the mean may be larger than eps, and is then the deviation.
        for ((found, gamma), beta) in found.iter().zip(&norm.gamma).zip(&norm.beta) {
            let moved = (found - beta).abs();
            assert!(moved <= gamma.abs() * 1.001, "{constant}, {width} wide: {moved}");
        }
    });
}

#[test]
fn what_is_no_number_is_not_hidden() {
    each_width(|width, random| {
        let norm = random.norm(width);
        let mut row = random.numbers(width, 1.0);
        row[random.below(width)] = f32::NAN;
        let found = normalized(&row, &vec![0.0; width], &norm);
        assert!(found.iter().all(|value| value.is_nan()), "{width} wide");
    });
}
