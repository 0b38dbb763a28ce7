use half::bf16;

use super::*;
use crate::kernel::avx512::Avx512Bf16;
use crate::kernel::reference::{self, NAN, Random, exactly, to_bf16};
use crate::kernel::units::units;

/// Queries, keys and values of all heads of a sentence, side by side, in numbers that bf16 has.
fn projected(random: &mut Random, tokens: usize, width: usize, spread: f32) -> Vec<Vec<f32>> {
    // A score is a sum of `head` products: its deviation is `spread` for heads of 64.
    let mut rows = random.rows(tokens, width, (spread / 8.0).sqrt());
    for row in &mut rows {
        row[2 * width / 3..].copy_from_slice(&random.numbers(width / 3, 1.0));
    }
    reference::round(&rows, to_bf16)
}

/// Attends in a sentence that stands between rows of NaN, and asserts that its rows of the result
/// are right and that no others were written.
fn check(
    unit: &impl MatrixUnit,
    attention: &mut Attention,
    (rows, first): (&Vec<Vec<f32>>, usize),
    wanted: impl Fn(usize) -> bool,
    what: &str,
) {
    let tokens = rows.len();
    let width = rows[0].len() / 3;
    let head_width = attention.blocks * BLOCK;
    let mut context = reference::states(&vec![vec![f32::NAN; width]; tokens], first);
    // All lines of all blocks hold the sentinel now.
    for block in 0..width / BLOCK {
        for row in first..first + tokens {
            *context.line_mut(block, row) = [NAN; BLOCK];
        }
    }
    assert!(Avx512Bf16::detect().is_some());
    let projected = reference::states(rows, first);
    // SAFETY: the CPU has the features.
    unsafe { attention.apply(unit, &projected, first..first + tokens, &mut context) };

    for row in (0..context.stride() / BLOCK).filter(|row| !(first..first + tokens).contains(row)) {
        for block in 0..width / BLOCK {
            assert_eq!(*context.line(block, row), [NAN; BLOCK], "{what}, {tokens} tokens: {row}");
        }
    }
    for head in 0..attention.heads {
        let part = |row: &[f32], part: usize| -> Vec<f32> {
            row[part * width + head * head_width..][..head_width].to_vec()
        };
        let keys: Vec<_> = rows.iter().map(|row| part(row, 1)).collect();
        let values: Vec<_> = rows.iter().map(|row| part(row, 2)).collect();
        let sizes: Vec<Vec<f32>> =
            values.iter().map(|row| row.iter().map(|value| value.abs()).collect()).collect();
        for query in (0..tokens).filter(|&query| wanted(query)) {
            let q = part(&rows[query], 0);
            let expected = reference::attend(&q, &keys, &values, exactly);
            let sizes = reference::attend(&q, &keys, &sizes, exactly);
            for (column, (expected, size)) in expected.iter().zip(sizes).enumerate() {
                let column = head * head_width + column;
                let line = context.line(column / BLOCK, first + query);
                let found = f64::from(bf16::from_bits(line[column % BLOCK]));
                // Each weight is rounded to bf16, and so is their sum with the values; f32 sums of
                // scores are off by 1e-6 of their parts, which are up to ten times the score.
                let rounding = 2_f64.powi(-8);
                let allowed = rounding * (size + expected.abs()) * 1.01 + 1e-4 * size;
                let error = (found - expected).abs();
                assert!(
                    error <= allowed,
                    "{what}, {tokens} tokens, head {head}, query {query}, column {column}: \
                     {found}, not {expected}"
                );
            }
        }
    }
}

/// An attention whose every buffer holds NaN from a longer sentence.
fn soiled(unit: &impl MatrixUnit, heads: usize, blocks: usize) -> Attention {
    let mut attention = Attention::empty();
    attention.divide(heads, blocks);
    let width = heads * blocks * BLOCK;
    let nothing = vec![vec![f32::NAN; 3 * width]; 512];
    let mut context = reference::states(&vec![vec![0.0; width]; 512], 0);
    let projected = reference::states(&nothing, 0);
    // SAFETY: whoever made the unit has asked for the features.
    unsafe { attention.apply(unit, &projected, 0..512, &mut context) };
    soil(&mut attention);
    attention
}

fn soil(attention: &mut Attention) {
    attention.keys.fill(NAN);
    attention.values.fill(NAN);
    attention.weights.fill(NAN);
    attention.scores.fill(f32::NAN);
}

fn every_length(blocks: usize) {
    let mut random = Random::new(6);
    for (name, unit) in units() {
        let mut attention = soiled(&unit, 1, blocks);
        for tokens in 1..=512 {
            soil(&mut attention);
            let rows = projected(&mut random, tokens, 3 * blocks * BLOCK, 3.0);
            let first = random.below(70);
            // All queries of a short sentence; of a long one the first block, the last two and
            // some between: the reference takes tokens² steps.
            let some = random.below(23);
            let wanted = |query| query < 10 || query + 40 >= tokens || query % 23 == some;
            check(&unit, &mut attention, (&rows, first), wanted, name);
        }
    }
}

#[test]
fn a_head_of_32_attends_rightly_at_every_length_among_nan() {
    every_length(1);
}

#[test]
fn a_head_of_64_attends_rightly_at_every_length_among_nan() {
    every_length(2);
}

#[test]
fn heads_stay_apart() {
    let mut random = Random::new(7);
    for (name, unit) in units() {
        for (heads, blocks) in [(2, 1), (3, 2), (12, 1), (16, 2), (32, 1)] {
            let mut attention = soiled(&unit, heads, blocks);
            for tokens in [1, 2, 16, 31, 32, 33, 70] {
                let width = 3 * heads * blocks * BLOCK;
                let rows = projected(&mut random, tokens, width, 3.0);
                let what = format!("{name}, {heads} heads");
                check(&unit, &mut attention, (&rows, 5), |query| query % 5 == 0, &what);
            }
        }
    }
}

#[test]
fn a_lone_token_gets_its_own_value() {
    let mut random = Random::new(8);
    for (name, unit) in units() {
        let rows = projected(&mut random, 1, 3 * 64, 1e6);
        let mut attention = soiled(&unit, 1, 2);
        check(&unit, &mut attention, (&rows, 31), |_| true, name);
    }
}

#[test]
fn saturated_attention_takes_the_value_of_the_largest_score() {
    let mut random = Random::new(9);
    for (name, unit) in units() {
        for (tokens, spread) in [(7, 100.0), (40, 1e3), (130, 1e4)] {
            // Scores far apart, lest the order of sums decides: all keys are one key, some times.
            let mut rows = projected(&mut random, tokens, 3 * 64, 1.0);
            let direction = rows[0][64..128].to_vec();
            let strength: f32 = direction.iter().map(|value| value * value).sum();
            for (index, row) in rows.iter_mut().enumerate() {
                let times = to_bf16(((index * 37) % tokens) as f32 - tokens as f32 / 2.0);
                for (i, value) in direction.iter().enumerate() {
                    row[i] = to_bf16(value * spread / strength);
                    row[64 + i] = to_bf16(value * times);
                }
            }
            let mut attention = soiled(&unit, 1, 2);
            check(&unit, &mut attention, (&rows, 3), |_| true, &format!("{name}, ±{spread}"));
        }
    }
}
