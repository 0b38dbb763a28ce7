use super::*;
use crate::kernel::reference::{self, Random, to_bf16};
use crate::kernel::units::units;

/// Every number of rows with two shapes, then the shapes of real models.
fn shapes(random: &mut Random) -> Vec<(usize, usize, usize)> {
    let mut any = || 32 * (1 + random.below(8));
    let mut shapes: Vec<_> =
        (1..=100).flat_map(|rows| [(rows, any(), any()), (rows, any(), any())]).collect();
    shapes.extend([(33, 384, 1152), (17, 1536, 384), (5, 1024, 96), (64, 32, 1024), (2, 4096, 32)]);
    shapes
}

/// The most that f32 sums of `inputs` products, taken one after the other, are off.
fn tolerance(row: &[f32], weights: &[f32], start: f32) -> f32 {
    let sizes = row.iter().zip(weights).map(|(x, weight)| (x * to_bf16(*weight)).abs());
    (row.len() + 2) as f32 * f32::EPSILON / 2.0 * (sizes.sum::<f32>() + start.abs())
}

#[test]
fn tiles_make_up_the_product_whatever_lies_around_the_rows() {
    let mut random = Random::new(1);
    for (name, unit) in units() {
        for (rows, inputs, outputs) in shapes(&mut random) {
            let layer = random.linear(outputs, inputs, 1.0);
            let x = reference::round(&random.rows(rows, inputs, 1.0), to_bf16);
            let expected = reference::linear(&x, &layer, 1.0, to_bf16);
            let packed = PackedLinear::pack(&[(&layer, 1.0)], inputs);
            let mut found = vec![vec![f32::NAN; outputs]; rows];
            packed.tiles(&unit, &reference::states(&x, 0), rows, |strip, first, tile| {
                let bias = packed.bias_of(strip);
                for (row, sums) in found[first..].iter_mut().zip(tile.chunks_exact(BLOCK)) {
                    for (column, sum) in sums.iter().enumerate() {
                        let value = &mut row[strip * BLOCK + column];
                        assert!(value.is_nan(), "{name}: {rows} × {inputs} × {outputs}: twice");
                        *value = sum + bias[column];
                    }
                }
            });
            for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
                for output in 0..outputs {
                    let weights = &layer.weight[output * inputs..][..inputs];
                    let error = (found[output] - expected[output]).abs();
                    let allowed = tolerance(&x[row], weights, layer.bias[output]);
                    assert!(
                        error <= allowed,
                        "{name}: {rows} × {inputs} × {outputs}, row {row}, output {output}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn adding_leaves_out_the_bias_and_touches_nothing_beside_the_rows() {
    const SENTINEL: f32 = 1e30;
    let mut random = Random::new(2);
    for (name, unit) in units() {
        for (rows, inputs, outputs) in shapes(&mut random) {
            let layer = random.linear(outputs, inputs, 1.0);
            let without_bias = Linear { bias: vec![0.0; outputs], weight: layer.weight.clone() };
            let x = reference::round(&random.rows(rows, inputs, 1.0), to_bf16);
            let product = reference::linear(&x, &without_bias, 1.0, to_bf16);
            let packed = PackedLinear::pack(&[(&layer, 1.0)], inputs);
            let stride = outputs + 16;
            let before = random.rows(rows, outputs, 1.0);
            let padded = rows.next_multiple_of(ROWS);
            let mut sums = Buffer::zeroed((padded + 1) * stride);
            sums.fill(SENTINEL);
            for (row, values) in before.iter().enumerate() {
                sums[row * stride..][..outputs].copy_from_slice(values);
            }
            packed.add(&unit, &reference::states(&x, 0), rows, (&mut sums, stride));
            for (row, sums) in sums.chunks_exact(stride).enumerate() {
                let case = format!("{name}: {rows} × {inputs} × {outputs}, row {row}");
                assert_eq!(sums[outputs..], [SENTINEL; 16], "{case}");
                if row >= padded {
                    assert!(sums.iter().all(|&it| it == SENTINEL), "{case}");
                }
                for output in 0..if row < rows { outputs } else { 0 } {
                    let weights = &layer.weight[output * inputs..][..inputs];
                    let expected = before[row][output] + product[row][output];
                    let error = (sums[output] - expected).abs();
                    let allowed = tolerance(&x[row], weights, before[row][output]);
                    assert!(error <= allowed, "{case}, output {output}: {error}");
                }
            }
        }
    }
}

#[test]
fn layers_are_packed_side_by_side_each_by_its_factor() {
    let mut random = Random::new(3);
    for (name, unit) in units() {
        let layers = [(64, 0.18), (32, 1.0), (96, -3.0)]
            .map(|(outputs, factor)| (random.linear(outputs, 160, 1.0), factor));
        let x = reference::round(&random.rows(40, 160, 1.0), to_bf16);
        let together =
            PackedLinear::pack(&layers.each_ref().map(|(it, factor)| (it, *factor)), 160);
        let mut found = vec![vec![f32::NAN; 192]; 40];
        together.tiles(&unit, &reference::states(&x, 0), 40, |strip, first, tile| {
            for (row, sums) in found[first..].iter_mut().zip(tile.chunks_exact(BLOCK)) {
                for (column, sum) in sums.iter().enumerate() {
                    row[strip * BLOCK + column] = sum + together.bias_of(strip)[column];
                }
            }
        });
        let expected = layers.map(|(it, factor)| reference::linear(&x, &it, factor, to_bf16));
        for (row, found) in found.iter().enumerate() {
            let expected: Vec<f32> = expected.iter().flat_map(|it| it[row].clone()).collect();
            // Sums of 160 products of about 0.1 · 3: f32 adds 1e-6, a wrong place about 1.
            assert!(reference::largest_error(found, &expected) <= 1e-4, "{name}: row {row}");
        }
    }
}
