//! The code to decode is the assembler's own.

use std::arch::global_asm;
use std::ptr;

use super::Instruction::*;
use super::*;

// Never run.
global_asm!(
    ".pushsection .rodata.amx_samples, \"a\"",
    "amx_samples:",
    "ldtilecfg [rdi]",
    "ldtilecfg [r12 + 8]",
    "ldtilecfg [rbp + 2*r9 - 128]",
    "ldtilecfg [rip + 256]",
    "ldtilecfg [4096]",
    "tilerelease",
    "tilezero tmm0",
    "tilezero tmm7",
    "tileloadd tmm1, [rax + rcx*1]",
    "tileloadd tmm2, [rbp + rdx*2]",
    "tileloadd tmm3, [r13 + r14*4 - 4096]",
    "tileloadd tmm4, [rsp + r12*8 + 64]",
    "tileloadd tmm5, [rbx]",
    "tileloadd tmm5, [8*rsi + 1024]",
    "tileloaddt1 tmm6, [r8 + r15*1 + 1024]",
    "tilestored [rsi + rdi*1 + 64], tmm7",
    "tilestored [r12 + r13*2], tmm0",
    "tdpbf16ps tmm1, tmm2, tmm3",
    "tdpbf16ps tmm7, tmm0, tmm6",
    "amx_samples_end:",
    ".popsection",
);

unsafe extern "C" {
    static amx_samples: u8;
    static amx_samples_end: u8;
}

/// Register n holds (n + 1)·2^20.
fn registers() -> Registers {
    Registers {
        general: std::array::from_fn(|number| (number as u64 + 1) << 20),
        instruction: 0,
        flags: 0,
    }
}

fn decoded(code: &[u8]) -> Option<(Instruction, usize)> {
    decode(|at| code[at], &registers())
}

#[test]
fn what_the_assembler_writes_is_read_back() {
    let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, _, _, r12, r13, r14, r15] =
        registers().general;
    let expected = [
        LoadConfiguration { from: rdi },
        LoadConfiguration { from: r12 + 8 },
        LoadConfiguration { from: rbp + 2 * r9 - 128 },
        // The instruction, of 9 bytes, is said to be at 0.
        LoadConfiguration { from: 9 + 256 },
        LoadConfiguration { from: 4096 },
        Release,
        Zero { tile: 0 },
        Zero { tile: 7 },
        Load { tile: 1, from: rax, stride: rcx },
        Load { tile: 2, from: rbp, stride: 2 * rdx },
        Load { tile: 3, from: r13 - 4096, stride: 4 * r14 },
        Load { tile: 4, from: rsp + 64, stride: 8 * r12 },
        Load { tile: 5, from: rbx, stride: 0 },
        Load { tile: 5, from: 1024, stride: 8 * rsi },
        Load { tile: 6, from: r8 + 1024, stride: r15 },
        Store { tile: 7, to: rsi + 64, stride: rdi },
        Store { tile: 0, to: r12, stride: 2 * r13 },
        MultiplyBf16 { sum: 1, left: 2, right: 3 },
        MultiplyBf16 { sum: 7, left: 0, right: 6 },
    ];
    let start = &raw const amx_samples;
    let length = (&raw const amx_samples_end).addr() - start.addr();
    // SAFETY: the bytes between the two symbols, which nobody changes.
    let mut code = unsafe { &*ptr::slice_from_raw_parts(start, length) };
    for expected in expected {
        let (instruction, length) = decoded(code).expect("an instruction of AMX");
        assert_eq!(instruction, expected, "{:02x?}", &code[..length]);
        code = &code[length..];
    }
    assert!(code.is_empty(), "more samples than expectations");
}

#[test]
fn other_instructions_are_refused() {
    let others: [(&str, &[u8]); 17] = [
        ("ud2", &[0x0f, 0x0b]),
        ("ret", &[0xc3]),
        ("vzeroupper, VEX of two bytes", &[0xc5, 0xf8, 0x77]),
        ("vfmadd231ps, another opcode", &[0xc4, 0xe2, 0x71, 0xb8, 0xc2]),
        ("map 0F instead of 0F38", &[0xc4, 0xe1, 0x7b, 0x4b, 0x04, 0x07]),
        ("W = 1", &[0xc4, 0xe2, 0xfb, 0x4b, 0x04, 0x07]),
        ("L = 1", &[0xc4, 0xe2, 0x7f, 0x4b, 0x04, 0x07]),
        ("tileloadd with a vvvv", &[0xc4, 0xe2, 0x73, 0x4b, 0x04, 0x07]),
        ("tileloadd without SIB", &[0xc4, 0xe2, 0x7b, 0x4b, 0x07]),
        ("tileloadd of a register", &[0xc4, 0xe2, 0x7b, 0x4b, 0xc4]),
        ("a move without mandatory prefix", &[0xc4, 0xe2, 0x78, 0x4b, 0x04, 0x07]),
        ("tileloadd tmm8", &[0xc4, 0x62, 0x7b, 0x4b, 0x04, 0x07]),
        ("sttilecfg", &[0xc4, 0xe2, 0x79, 0x49, 0x07]),
        ("tilezero of rm 1", &[0xc4, 0xe2, 0x7b, 0x49, 0xc1]),
        ("tdpfp16ps", &[0xc4, 0xe2, 0x63, 0x5c, 0xca]),
        ("tdpbf16ps of memory", &[0xc4, 0xe2, 0x62, 0x5c, 0x0a]),
        ("tdpbf16ps with tmm11", &[0xc4, 0xe2, 0x22, 0x5c, 0xca]),
    ];
    for (name, code) in others {
        // Indexing panics where the decoder would read past the code.
        assert_eq!(decoded(code), None, "{name}");
    }
}
