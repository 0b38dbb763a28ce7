//! The instructions themselves. The compiler's own functions for them are unstable, hence `asm!`.
//!
//! Opcodes, operands and the configuration's layout: Intel, Software Developer's Manual, volume 1,
//! chapter "Programming with Intel AMX", and volume 2.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use super::AmxMissing;
use crate::kernel::product::Product;

/// Asks the CPU and the system for bf16 tiles, and Linux for the permission to use them in this
/// process.
pub fn enable() -> Result<(), AmxMissing> {
    const EXTENDED_FEATURES: u32 = 7;
    if __cpuid(0).eax < EXTENDED_FEATURES {
        return Err(AmxMissing::Cpu("AMX-TILE"));
    }
    let features = __cpuid_count(EXTENDED_FEATURES, 0).edx;
    for (bit, name) in [(24, "AMX-TILE"), (22, "AMX-BF16")] {
        if features & 1 << bit == 0 {
            return Err(AmxMissing::Cpu(name));
        }
    }
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    // SAFETY: OSXSAVE says that XGETBV may be used.
    if __cpuid(1).ecx & OSXSAVE == 0 || unsafe { xcr0() } & TILE_STATE != TILE_STATE {
        return Err(AmxMissing::OperatingSystem);
    }
    request_permission()
}

#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: register 0 is there wherever XGETBV is.
    unsafe { _xgetbv(0) }
}

/// Linux hands tiles only to processes that ask: "Using XSTATE features in user space
/// applications", in its documentation of x86.
fn request_permission() -> Result<(), AmxMissing> {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XTILEDATA: i64 = 18;
    let answer: i64;
    // SAFETY: a system call that touches no memory of ours; it clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    match answer {
        0 => Ok(()),
        refused => Err(AmxMissing::Refused { errno: -refused as i32 }),
    }
}

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

/// Palette 1 has 8 tiles of at most 16 rows of 64 bytes; the other entries must be 0.
static ALL_TILES_WHOLE: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Makes this thread's eight tiles 16 rows × 64 bytes of zeros.
///
/// # Safety
///
/// AMX must be [enabled](enable).
pub unsafe fn configure() {
    // SAFETY: AMX is enabled and the configuration valid. No compiled code uses tiles.
    unsafe {
        asm!(
            "ldtilecfg [{configuration}]",
            configuration = in(reg) &ALL_TILES_WHOLE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags),
        );
    }
}

/// Hands this thread's tiles back.
///
/// # Safety
///
/// AMX must be [enabled](enable).
pub unsafe fn release() {
    // SAFETY: AMX is enabled. No compiled code uses tiles.
    unsafe {
        asm!(
            "tilerelease",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags),
        );
    }
}

/// A quarter of what is drawn towards the cache while a block is multiplied: 8 lines of 64 bytes
/// from `$first` on, unless there is no next strip.
macro_rules! prefetch_quarter {
    ($first:literal $(, $then:literal)?) => {
        concat!(
            "test {next_b}, {next_b}\n",
            "jz 9f\n",
            "prefetcht1 [{next_b} + ", $first, "]\n",
            "prefetcht1 [{next_b} + ", $first, " + 64]\n",
            "prefetcht1 [{next_b} + ", $first, " + 128]\n",
            "prefetcht1 [{next_b} + ", $first, " + 192]\n",
            "prefetcht1 [{next_b} + ", $first, " + 256]\n",
            "prefetcht1 [{next_b} + ", $first, " + 320]\n",
            "prefetcht1 [{next_b} + ", $first, " + 384]\n",
            "prefetcht1 [{next_b} + ", $first, " + 448]\n",
            $($then, "\n",)?
            "9:",
        )
    };
}

/// # Safety
///
/// The tiles of this thread must be [configured](configure), and what [`Product`] says of its
/// fields must be true.
pub unsafe fn multiply(product: &Product) {
    // SAFETY: the caller's promise.
    unsafe { if product.rows > 16 { multiply_32_rows(product) } else { multiply_16_rows(product) } }
}

/// 2 × 2 tiles of sums: rows 0..16 in tmm0 and tmm1, rows 16..32 in tmm2 and tmm3.
///
/// One block is 64 cycles of multiplication (TDPBF16PS: one in 16 cycles, 52 until its sum can be
/// added to again) and four tiles to load. These wait for nothing but their addresses, so the CPU
/// fetches the next block while this one is multiplied: tile registers are renamed like others.
///
/// A streams by once for each strip of B, whereas a strip of B stays for all rows: A is loaded
/// with the hint (T1) that it need not displace B in the innermost cache.
unsafe fn multiply_32_rows(product: &Product) {
    let c_row = product.c_stride * size_of::<f32>();
    // SAFETY: reads A and B and writes C within the bounds that the caller promises: 32 rows,
    // `blocks` blocks, 2 × 64 bytes of a row of C. `next_b` is a prefetch's address only.
    unsafe {
        asm!(
            "test {accumulate}, {accumulate}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{c} + {c_row}*1]",
            "tileloadd tmm1, [{c} + {c_row}*1 + 64]",
            "tileloadd tmm2, [{c_lower} + {c_row}*1]",
            "tileloadd tmm3, [{c_lower} + {c_row}*1 + 64]",
            "3:",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tileloaddt1 tmm4, [{a} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            prefetch_quarter!("0"),
            "tileloadd tmm7, [{b} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            prefetch_quarter!("512"),
            "tileloaddt1 tmm5, [{a} + {line}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            prefetch_quarter!("1024"),
            "tdpbf16ps tmm3, tmm5, tmm7",
            prefetch_quarter!("1536", "add {next_b}, 2048"),
            "add {a}, {a_block}",
            "add {b}, 2048",
            "sub {blocks}, 1",
            "jnz 3b",
            "tilestored [{c} + {c_row}*1], tmm0",
            "tilestored [{c} + {c_row}*1 + 64], tmm1",
            "tilestored [{c_lower} + {c_row}*1], tmm2",
            "tilestored [{c_lower} + {c_row}*1 + 64], tmm3",
            accumulate = in(reg) usize::from(product.accumulate),
            line = in(reg) 64usize,
            a = inout(reg) product.a => _,
            a_block = in(reg) product.a_stride * size_of::<u16>(),
            b = inout(reg) product.b => _,
            c = in(reg) product.c,
            c_lower = in(reg) product.c.wrapping_byte_add(16 * c_row),
            c_row = in(reg) c_row,
            blocks = inout(reg) product.blocks => _,
            next_b = inout(reg) product.next_b => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// 1 × 2 tiles of sums, in tmm0 and tmm1.
///
/// So few rows are a short sentence alone, or a batch's last ones. Alone, it is A that stays and B
/// that streams by: here B has the hint.
unsafe fn multiply_16_rows(product: &Product) {
    // SAFETY: reads A and B and writes C within the bounds that the caller promises: 16 rows,
    // `blocks` blocks, 2 × 64 bytes of a row of C. `next_b` is a prefetch's address only.
    unsafe {
        asm!(
            "test {accumulate}, {accumulate}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{c} + {c_row}*1]",
            "tileloadd tmm1, [{c} + {c_row}*1 + 64]",
            "3:",
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloaddt1 tmm6, [{b} + {line}*1]",
            prefetch_quarter!("0"),
            "tdpbf16ps tmm0, tmm4, tmm6",
            prefetch_quarter!("512"),
            "tileloaddt1 tmm7, [{b} + {line}*1 + 1024]",
            prefetch_quarter!("1024"),
            "tdpbf16ps tmm1, tmm4, tmm7",
            prefetch_quarter!("1536", "add {next_b}, 2048"),
            "add {a}, {a_block}",
            "add {b}, 2048",
            "sub {blocks}, 1",
            "jnz 3b",
            "tilestored [{c} + {c_row}*1], tmm0",
            "tilestored [{c} + {c_row}*1 + 64], tmm1",
            accumulate = in(reg) usize::from(product.accumulate),
            line = in(reg) 64usize,
            a = inout(reg) product.a => _,
            a_block = in(reg) product.a_stride * size_of::<u16>(),
            b = inout(reg) product.b => _,
            c = in(reg) product.c,
            c_row = in(reg) product.c_stride * size_of::<f32>(),
            blocks = inout(reg) product.blocks => _,
            next_b = inout(reg) product.next_b => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
