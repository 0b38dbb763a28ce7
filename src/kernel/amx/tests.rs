//! Every comparison is exact to the bit: Intel defines each rounding, so there is nothing to
//! tolerate. Only which not-a-number comes out is left open.

use std::arch::asm;
use std::ops::Range;
use std::{array, fs, ptr, thread};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::emulation::by_single_instructions;
use super::super::forked::death_of;
use super::super::guarded::Guarded;
use super::super::product::reference;
use super::*;

/// Buffers of one product, each flush with a page that nobody may touch.
struct Buffers {
    a: Guarded<u16>,
    b: Guarded<u16>,
    c: Guarded<f32>,
    product: Product,
}

/// What a product's buffers are like.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    blocks: usize,
    /// Elements between the blocks of A, and between the rows of C.
    gaps: (usize, usize),
    accumulate: bool,
    /// Whether the buffers' ends are guarded, or else their starts.
    at_end: bool,
}

/// The numbers of a product of 32 rows, of which smaller ones take the upper rows.
struct Numbers {
    blocks: usize,
    /// 32 rows × 32·blocks.
    a: Vec<u16>,
    /// As packed.
    b: Vec<u16>,
    /// 32 × 32.
    c: Vec<f32>,
}

impl Numbers {
    fn new<G>(
        blocks: usize,
        generator: &mut G,
        bf16: impl Fn(&mut G) -> u16,
        f32: impl Fn(&mut G) -> f32,
    ) -> Self {
        Self {
            blocks,
            a: (0..32 * 32 * blocks).map(|_| bf16(generator)).collect(),
            b: (0..32 * 32 * blocks).map(|_| bf16(generator)).collect(),
            c: (0..32 * 32).map(|_| f32(generator)).collect(),
        }
    }

    /// Of a network's size.
    fn ordinary(blocks: usize, generator: &mut impl Rng) -> Self {
        let bf16 = |number| bf16::from_f32(number).to_bits();
        Self::new(
            blocks,
            generator,
            |generator| bf16(generator.random_range(-2.0..2.0)),
            |generator| generator.random_range(-2.0..2.0),
        )
    }

    fn row_of_a(&self, row: usize) -> &[u16] {
        &self.a[row * 32 * self.blocks..][..32 * self.blocks]
    }

    fn buffers(&self, shape: Shape) -> Buffers {
        fn guarded<T: Copy>(contents: &[T], shape: Shape) -> Guarded<T> {
            if shape.at_end { Guarded::at_end(contents) } else { Guarded::at_start(contents) }
        }
        assert_eq!(self.blocks, shape.blocks);
        let rows = shape.rows.next_multiple_of(16);
        let (a_stride, c_stride) = (32 * rows + shape.gaps.0, 32 + shape.gaps.1);
        let mut a = vec![u16::MAX; (shape.blocks - 1) * a_stride + 32 * rows];
        let mut c = vec![f32::MAX; (rows - 1) * c_stride + 32];
        for row in 0..rows {
            for (block, part) in self.row_of_a(row).chunks(32).enumerate() {
                a[block * a_stride + 32 * row..][..32].copy_from_slice(part);
            }
            c[row * c_stride..][..32].copy_from_slice(&self.c[32 * row..][..32]);
        }
        let a = guarded(&a, shape);
        let b = guarded(&self.b, shape);
        let mut c = guarded(&c, shape);
        let product = Product {
            a: a.as_ptr(),
            a_stride,
            b: b.as_ptr(),
            c: c.as_mut_ptr(),
            c_stride,
            blocks: shape.blocks,
            rows: shape.rows,
            accumulate: shape.accumulate,
            // A page that must not be read: a prefetch does not mind.
            next_b: if shape.rows.is_multiple_of(2) { b.as_ptr_range().end } else { ptr::null() },
        };
        Buffers { a, b, c, product }
    }

    /// The reference's C, of 32 rows, whose stride is 32.
    fn expected(&self, accumulate: bool) -> Vec<f32> {
        let shape = Shape { accumulate, ..whole(self.blocks) };
        let buffers = self.buffers(shape);
        // SAFETY: the product is of these buffers.
        unsafe { reference(&buffers.product) };
        buffers.c.to_vec()
    }
}

fn whole(blocks: usize) -> Shape {
    Shape { rows: 32, blocks, gaps: (0, 0), accumulate: false, at_end: true }
}

/// C as the tiles compute it, without the gaps between its rows, which must be as they were.
fn multiplied(tiles: &Tiles, numbers: &Numbers, shape: Shape) -> Vec<f32> {
    let buffers = numbers.buffers(shape);
    // SAFETY: the product is of these buffers.
    unsafe { tiles.multiply(&buffers.product) };
    let stride = buffers.product.c_stride;
    for row in buffers.c.chunks(stride) {
        assert!(row[32..].iter().all(|&gap| gap == f32::MAX), "something wrote between rows");
    }
    buffers.c.chunks(stride).flat_map(|row| row[..32].to_vec()).collect()
}

#[track_caller]
fn assert_same(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
            "row {}, column {}: {found:e}, expected {expected:e}",
            at / 32,
            at % 32
        );
    }
}

#[test]
fn every_number_of_rows_and_blocks_gives_the_reference_s_bits() {
    let tiles = Amx::real_or_emulated().configure();
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    for blocks in 1..=48 {
        let numbers = Numbers::ordinary(blocks, &mut generator);
        for accumulate in [false, true] {
            let expected = numbers.expected(accumulate);
            for rows in 1..=32 {
                let at_end = (rows + blocks) % 2 == 0;
                let shape = Shape { rows, accumulate, at_end, ..whole(blocks) };
                let computed = 32 * rows.next_multiple_of(16);
                assert_same(&multiplied(&tiles, &numbers, shape), &expected[..computed]);
            }
        }
    }
}

#[test]
fn strides_may_be_any() {
    let tiles = Amx::real_or_emulated().configure();
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    for round in 0..400 {
        let numbers = Numbers::ordinary(generator.random_range(1..6), &mut generator);
        let shape = Shape {
            rows: generator.random_range(1..=32),
            gaps: (generator.random_range(0..100), generator.random_range(0..100)),
            accumulate: round % 2 == 0,
            at_end: round % 3 == 0,
            ..whole(numbers.blocks)
        };
        let computed = 32 * shape.rows.next_multiple_of(16);
        let expected = numbers.expected(shape.accumulate);
        assert_same(&multiplied(&tiles, &numbers, shape), &expected[..computed]);
    }
}

#[test]
fn extreme_numbers_give_the_reference_s_bits() {
    let tiles = Amx::real_or_emulated().configure();
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    // Exponents, biased by 127, of the factors and of C.
    let ranges = [
        // All bit patterns; then those without infinities and not-a-numbers.
        (0..256, 0..256),
        (0..255, 0..255),
        // Denormal factors; then products and sums about the smallest normal number.
        (0..1, 0..2),
        (58..70, 0..20),
        (62..66, 0..3),
        // Sums that overflow, and differences of infinities.
        (185..195, 240..255),
        (253..256, 250..256),
    ];
    for (factors, sums) in ranges {
        for round in 0..12 {
            // Coarse mantissas make ties and exact cancellations.
            let mantissa = [0x007f_ffff, 0x0060_0000, 0][round % 3];
            let bits = |generator: &mut ChaCha8Rng, exponents: &Range<u32>| {
                let exponent = generator.random_range(exponents.clone());
                generator.random::<u32>() & (1 << 31 | mantissa) | exponent << 23
            };
            let blocks = 1 + round % 4;
            let numbers = Numbers::new(
                blocks,
                &mut generator,
                |generator| (bits(generator, &factors) >> 16) as u16,
                |generator| f32::from_bits(bits(generator, &sums)),
            );
            for accumulate in [false, true] {
                let shape = Shape { accumulate, ..whole(blocks) };
                let found = multiplied(&tiles, &numbers, shape);
                assert_same(&found, &numbers.expected(accumulate));
            }
        }
    }
}

#[test]
fn a_row_s_bits_depend_neither_on_its_place_nor_on_its_company() {
    let tiles = Amx::real_or_emulated().configure();
    let mut generator = ChaCha8Rng::seed_from_u64(4);
    let blocks = 12;
    let numbers = Numbers::ordinary(blocks, &mut generator);
    let alone = multiplied(&tiles, &numbers, Shape { rows: 1, ..whole(blocks) });
    for place in 0..32 {
        // The others: whatever was left in memory, not-a-numbers among it.
        let mut others: Vec<u16> = numbers.a.iter().map(|_| generator.random()).collect();
        let width = 32 * blocks;
        others[place * width..][..width].copy_from_slice(numbers.row_of_a(0));
        let company = Numbers { a: others, b: numbers.b.clone(), c: numbers.c.clone(), blocks };
        for rows in [place + 1, 32] {
            let found = multiplied(&tiles, &company, Shape { rows, ..whole(blocks) });
            assert_same(&found[32 * place..][..32], &alone[..32]);
        }
    }
}

#[test]
fn the_cpu_s_own_ordinary_instructions_change_nothing() {
    let tiles = Amx::real_or_emulated().configure();
    let mut generator = ChaCha8Rng::seed_from_u64(6);
    for blocks in 1..=4 {
        let numbers = Numbers::ordinary(blocks, &mut generator);
        // Of an even number of rows, products prefetch.
        for (rows, accumulate) in [(15, false), (16, true), (31, true), (32, false)] {
            let shape = Shape { rows, accumulate, ..whole(blocks) };
            let found = by_single_instructions(|| multiplied(&tiles, &numbers, shape));
            assert_same(&found, &multiplied(&tiles, &numbers, shape));
        }
    }
}

#[test]
fn a_product_beyond_its_buffers_ends_the_process() {
    let tiles = Amx::real_or_emulated().configure();
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let numbers = Numbers::ordinary(2, &mut generator);
    let buffers = numbers.buffers(Shape { rows: 16, ..whole(2) });
    let product = buffers.product;
    // SAFETY: the first is of its buffers; the others are not, and a process of its own pays.
    let death = |product: Product| death_of(|| unsafe { tiles.multiply(&product) });
    assert_eq!(death(product), None);
    let beyond = [
        Product { a: buffers.a.as_ptr().wrapping_add(1), ..product },
        Product { b: buffers.b.as_ptr().wrapping_add(1), ..product },
        Product { c: product.c.wrapping_add(1), ..product },
        Product { c: product.c.wrapping_add(1), accumulate: true, ..product },
        Product { a_stride: product.a_stride + 1, ..product },
        Product { c_stride: product.c_stride + 1, ..product },
        Product { blocks: 3, ..product },
        Product { rows: 17, ..product },
    ];
    for product in beyond {
        assert_eq!(death(product), Some(libc::SIGSEGV), "{product:?}");
    }
}

#[test]
fn each_thread_has_tiles_of_its_own() {
    let amx = Amx::real_or_emulated();
    let held = amx.configure();
    let threads: [_; 4] = array::from_fn(|seed| {
        thread::spawn(move || {
            let mut generator = ChaCha8Rng::seed_from_u64(seed as u64);
            let tiles = amx.configure();
            for _ in 0..50 {
                let numbers = Numbers::ordinary(3, &mut generator);
                let found = multiplied(&tiles, &numbers, whole(3));
                assert_same(&found, &numbers.expected(false));
            }
        })
    });
    for thread in threads {
        thread.join().expect("its products are right");
    }
    drop(held);
}

#[test]
fn tiles_are_released_with_their_guard() {
    drop(Amx::real_or_emulated().configure());
    // SAFETY: ends a process of its own.
    let death = death_of(|| unsafe { asm!("tilezero tmm0", out("tmm0") _) });
    // What the CPU does, or the emulation.
    assert!(matches!(death, Some(libc::SIGILL | libc::SIGABRT)), "{death:?}");
    drop(Amx::real_or_emulated().configure());
}

#[test]
#[should_panic(expected = "configured once at a time")]
fn a_thread_s_tiles_cannot_be_configured_twice() {
    let amx = Amx::real_or_emulated();
    let _held = amx.configure();
    amx.configure();
}

#[test]
fn amx_is_found_where_linux_reports_it() {
    let cpu = fs::read_to_string("/proc/cpuinfo").expect("Linux describes its CPU");
    let reported = ["amx_tile", "amx_bf16"].iter().all(|&it| cpu.split(' ').any(|flag| flag == it));
    match Amx::detect() {
        // Linux reports it even to those whom it then refuses.
        Ok(_) | Err(AmxMissing::Refused { .. }) => assert!(reported),
        Err(missing) => assert!(!reported, "{missing}"),
    }
}

#[test]
fn what_is_missing_is_said() {
    let said = AmxMissing::Cpu("AMX-BF16").to_string();
    assert_eq!(said, "this CPU does not offer AMX with bf16: CPUID lacks AMX-BF16");
    let said = AmxMissing::Refused { errno: libc::EPERM }.to_string();
    assert!(said.contains("Operation not permitted") && said.contains("arch_prctl"), "{said}");
}
