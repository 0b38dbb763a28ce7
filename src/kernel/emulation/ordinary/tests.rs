use std::arch::global_asm;
use std::ptr;

use super::*;

const CARRY: u64 = 1;
const SIGN: u64 = 1 << 7;
/// A flag of none of the instructions: direction.
const OTHER: u64 = 1 << 10;

const RAX: usize = 0;
const RCX: usize = 1;
const R8: usize = 8;
const R15: usize = 15;

// What the assembler makes of the instructions: never run from here.
global_asm!(
    ".pushsection .rodata.ordinary_samples, \"a\"",
    "ordinary_samples:",
    "prefetcht1 [rax + 64]",
    "prefetcht0 [r8 + 1024]",
    "prefetchnta [rsp + rcx*2]",
    "test rcx, rcx",
    "jz 2f",
    "jnz 2f",
    "2:",
    "test r15, r15",
    "jz 3f",
    "ud2",
    "3:",
    "add rcx, 1",
    "add rax, 2048",
    "add r8, 2048",
    "add r8, rcx",
    "sub rcx, 3",
    "sub r15, r8",
    "jnz 5f",
    ".skip 200",
    "5:",
    "jmp 6f",
    "ud2",
    "6:",
    "jmp 7f",
    ".skip 200",
    "7:",
    "ordinary_samples_end:",
    ".popsection",
);

unsafe extern "C" {
    static ordinary_samples: u8;
    static ordinary_samples_end: u8;
}

#[test]
fn what_the_assembler_writes_has_the_effect_that_it_names() {
    let start = &raw const ordinary_samples;
    let length = (&raw const ordinary_samples_end).addr() - start.addr();
    // SAFETY: the bytes between the two symbols, which nobody changes.
    let code = unsafe { &*ptr::slice_from_raw_parts(start, length) };

    let mut registers = Registers { general: [0; 16], instruction: 0, flags: OTHER };
    registers.general[RCX] = 1;
    let mut step = |register: usize| {
        let at = registers.instruction as usize;
        assert!(step(|byte| code[at + byte], &mut registers), "unknown, at {at}");
        (registers.general[register], registers.flags & (ZERO | CARRY | SIGN | OTHER))
    };
    for _prefetch in 0..3 {
        assert_eq!(step(RAX), (0, OTHER));
    }
    assert_eq!(step(RCX), (1, OTHER), "test");
    assert_eq!(step(RCX), (1, OTHER), "jz, not taken");
    assert_eq!(step(RCX), (1, OTHER), "jnz, taken");
    assert_eq!(step(R15), (0, OTHER | ZERO), "test");
    assert_eq!(step(R15), (0, OTHER | ZERO), "jz, taken");
    assert_eq!(step(RCX), (2, OTHER), "add, a byte");
    assert_eq!(step(RAX), (2048, OTHER), "add to rax, its short form");
    assert_eq!(step(R8), (2048, OTHER), "add, 32 bits");
    assert_eq!(step(R8), (2050, OTHER), "add, a register");
    assert_eq!(step(RCX), (u64::MAX, OTHER | CARRY | SIGN), "sub, a byte");
    let wrapped = 0u64.wrapping_sub(2050);
    assert_eq!(step(R15), (wrapped, OTHER | CARRY | SIGN), "sub, a register");
    assert_eq!(step(RAX), (2048, OTHER | CARRY | SIGN), "jnz, far");
    assert_eq!(step(RAX), (2048, OTHER | CARRY | SIGN), "jmp");
    assert_eq!(step(RAX), (2048, OTHER | CARRY | SIGN), "jmp, far");
    assert_eq!(registers.instruction as usize, length);
}

#[test]
fn other_instructions_are_left_to_the_cpu() {
    let others: [(&str, &[u8]); 12] = [
        ("ud2", &[0x0f, 0x0b]),
        ("ret", &[0xc3]),
        ("jb", &[0x72, 0x01]),
        ("nop of 0f 18", &[0x0f, 0x18, 0x20]),
        ("prefetch of a register", &[0x0f, 0x18, 0xd0]),
        ("add ecx, eax", &[0x01, 0xc1]),
        ("add [rcx], rax", &[0x48, 0x01, 0x01]),
        ("and rcx, 1", &[0x48, 0x83, 0xe1, 0x01]),
        ("cmp rcx, rax", &[0x48, 0x39, 0xc1]),
        ("test ecx, ecx", &[0x85, 0xc9]),
        ("add with an operand size prefix", &[0x66, 0x01, 0xc1]),
        ("tilerelease", &[0xc4, 0xe2, 0x78, 0x49, 0xc0]),
    ];
    for (name, code) in others {
        let before = Registers { general: [7; 16], instruction: 100, flags: OTHER };
        let mut registers = before;
        // Indexing panics where the decoder would read past the code.
        assert!(!step(|at| code[at], &mut registers), "{name}");
        assert_eq!(registers, before, "{name}");
    }
}
