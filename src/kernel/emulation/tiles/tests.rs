use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Instruction::*;
use super::*;

/// A configuration of eight tiles of these rows and bytes a row.
fn configuration(shapes: [(u8, u16); 8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    for (number, (rows, row_bytes)) in shapes.into_iter().enumerate() {
        bytes[16 + 2 * number..][..2].copy_from_slice(&row_bytes.to_le_bytes());
        bytes[48 + number] = rows;
    }
    bytes
}

fn configured(shapes: [(u8, u16); 8]) -> TileUnit {
    let mut unit = TileUnit::RELEASED;
    unit.configure(&configuration(shapes)).expect("the configuration is valid");
    unit
}

fn address<T>(of: &[T]) -> u64 {
    of.as_ptr().expose_provenance() as u64
}

fn execute(unit: &mut TileUnit, instruction: Instruction) -> Result<(), &'static str> {
    // SAFETY: the tests name memory of theirs.
    unsafe { unit.execute(instruction) }
}

#[test]
fn a_configuration_that_a_cpu_would_refuse_is_refused() {
    let valid = configuration([(16, 64); 8]);
    let changed = |at: usize, to: u8| {
        let mut bytes = valid;
        bytes[at] = to;
        bytes
    };
    let faults = [
        (changed(0, 2), "palette"),
        (changed(1, 1), "start row"),
        (changed(2, 1), "reserved"),
        (changed(15, 1), "reserved"),
        (changed(32, 64), "reserved"),
        (changed(56, 16), "reserved"),
        (changed(16, 65), "larger"),
        (changed(17, 1), "larger"),
        (changed(55, 17), "larger"),
        (changed(48, 0), "not both"),
        (changed(30, 0), "not both"),
    ];
    for (bytes, fault) in faults {
        let mut unit = TileUnit::RELEASED;
        let said = unit.configure(&bytes).expect_err(fault);
        assert!(said.contains(fault), "{said}");
        assert!(execute(&mut unit, Zero { tile: 1 }).is_err(), "refused, but configured");
    }
    let mut unit = TileUnit::RELEASED;
    unit.configure(&valid).expect("valid");
}

#[test]
fn tiles_that_are_not_configured_cannot_be_used() {
    let mut unit = TileUnit::RELEASED;
    assert!(execute(&mut unit, Zero { tile: 0 }).is_err());
    unit = configured([(16, 64), (16, 64), (0, 0), (1, 6), (16, 64), (16, 64), (8, 64), (16, 32)]);
    assert!(execute(&mut unit, Zero { tile: 0 }).is_ok());
    assert!(execute(&mut unit, Zero { tile: 2 }).is_err());
    assert!(execute(&mut unit, MultiplyBf16 { sum: 0, left: 1, right: 4 }).is_ok());
    let invalid = [(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 6, 1), (0, 1, 6), (0, 1, 7)];
    for (sum, left, right) in invalid {
        let done = execute(&mut unit, MultiplyBf16 { sum, left, right });
        assert!(done.is_err(), "{sum} {left} {right}");
    }
    let bytes = [0u8; 64];
    assert!(execute(&mut unit, Load { tile: 3, from: address(&bytes), stride: 0 }).is_err());
    execute(&mut unit, Release).expect("always possible");
    assert!(execute(&mut unit, Zero { tile: 0 }).is_err());
}

#[test]
fn a_load_and_a_store_move_the_tile_s_shape_and_no_more() {
    let mut unit = configured([(3, 8); 8]);
    let source: Vec<u8> = (0..64).collect();
    let mut target = [0xeeu8; 64];
    execute(&mut unit, Load { tile: 5, from: address(&source), stride: 10 }).expect("valid");
    let to = target.as_mut_ptr().expose_provenance() as u64;
    execute(&mut unit, Store { tile: 5, to, stride: 16 }).expect("valid");
    for (at, &byte) in target.iter().enumerate() {
        let (row, column) = (at / 16, at % 16);
        let stored = row < 3 && column < 8;
        assert_eq!(byte, if stored { source[10 * row + column] } else { 0xee }, "byte {at}");
    }
    // A negative stride goes backwards.
    let from = address(&source) + 40;
    execute(&mut unit, Load { tile: 5, from, stride: -20i64 as u64 }).expect("valid");
    execute(&mut unit, Store { tile: 5, to, stride: 8 }).expect("valid");
    let rows = [40..48, 20..28, 0..8].into_iter().flatten();
    assert!(target[..24].iter().copied().eq(rows));
    execute(&mut unit, Zero { tile: 5 }).expect("valid");
    execute(&mut unit, Store { tile: 5, to, stride: 8 }).expect("valid");
    assert_eq!(target[..24], [0; 24]);
}

#[test]
fn vectors_give_what_the_definition_gives_for_any_shape() {
    if !is_x86_feature_detected!("avx512f") {
        // Such a CPU never uses vectors here: it goes by the definition.
        return;
    }
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    for round in 0..300 {
        let exponents = [0..256u32, 100..140, 60..68][round % 3].clone();
        let mut shape = [0; 3].map(|_| generator.random_range(1..=16));
        if round % 4 == 0 {
            shape = [16; 3];
        }
        let [rows, inner, columns] = shape;
        let mut tile = |rows: usize, columns: usize| {
            let mut tile = Tile { rows, row_bytes: 4 * columns, ..Tile::NONE };
            for element in tile.contents[..rows].iter_mut().flat_map(|row| &mut row[..columns]) {
                let [low, high] = [0; 2].map(|_| {
                    let bits: u16 = generator.random();
                    bits & 0x807f | (generator.random_range(exponents.clone()) << 7) as u16
                });
                *element = u32::from(high) << 16 | u32::from(low);
            }
            tile
        };
        let (left, right, sum) = (tile(rows, inner), tile(inner, columns), tile(rows, columns));
        let (mut found, mut expected) = (sum, sum);
        // SAFETY: the CPU has AVX-512.
        unsafe { multiply_vectors(&mut found, &left, &right) };
        for row in 0..rows {
            multiply_row(&mut expected, &left, &right, row);
        }
        let pairs = found.contents.iter().flatten().zip(expected.contents.iter().flatten());
        for (&found, &expected) in pairs {
            let nan = f32::from_bits(found).is_nan() && f32::from_bits(expected).is_nan();
            assert!(found == expected || nan, "round {round}: {found:08x}, not {expected:08x}");
        }
    }
}
