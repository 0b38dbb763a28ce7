//! How fast the instructions multiply when nothing else is done.

use std::hint::black_box;
use std::time::{Duration, Instant};

use half::bf16;

use super::buffer::Buffer;
use super::instructions::{Instructions, Set};
use super::product::{BLOCK, MatrixUnit, Operands, PACKED_BLOCK, ROWS};

/// Blocks of a product: with 8, A and B fill half of a first-level cache of 32 KB.
const BLOCKS: usize = 8;

/// Products between two looks at the clock.
const PRODUCTS: usize = 1000;

impl Instructions {
    /// Multiplies random numbers for about so long on the calling thread, operands in the first-level
    /// cache; returns floating-point operations per second, two for each multiplication and addition.
    pub fn product_flops(self, time: Duration) -> f64 {
        match self.0 {
            Set::Amx(amx, _) => flops(&amx.configure(), time),
            Set::Avx512Bf16(unit) => flops(&unit, time),
        }
    }
}

fn flops(unit: &impl MatrixUnit, time: Duration) -> f64 {
    let (a, b) = (random(BLOCKS * ROWS * BLOCK), random(BLOCKS * PACKED_BLOCK));
    let mut c = [0.0; ROWS * BLOCK];
    let (mut products, started) = (0, Instant::now());
    while started.elapsed() < time {
        for _ in 0..PRODUCTS {
            let operands =
                Operands { a: &a, a_stride: ROWS * BLOCK, b: &b, next_b: None, rows: ROWS };
            operands.write(unit, black_box(&mut c), BLOCK);
        }
        products += PRODUCTS;
    }
    (2 * ROWS * BLOCK * BLOCKS * BLOCK * products) as f64 / started.elapsed().as_secs_f64()
}

/// Numbers between -1 and 1 from a linear congruential generator (Knuth's MMIX).
fn random(len: usize) -> Buffer<u16> {
    let mut values = Buffer::zeroed(len);
    let mut state = 1_u64;
    for value in values.iter_mut() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *value = bf16::from_f32((state >> 32) as i32 as f32 / (1_u64 << 31) as f32).to_bits();
    }
    values
}
