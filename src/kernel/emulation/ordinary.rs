//! The ordinary instructions that stand between those of AMX in a product. The CPU has them; but
//! a trap takes as long as hundreds of them do here, and with these one trap serves a product.
//!
//! Encodings: Intel, Software Developer's Manual, volume 2, the pages of the instructions.

use std::arch::asm;

use super::code::{Code, Extensions, Registers};

/// Does what the instruction at `registers.instruction` does, whose bytes `fetch` gives. False,
/// and nothing done, if it is not one of these: PREFETCHh, JMP, JZ, JNZ, and on 64-bit registers
/// TEST, ADD and SUB.
pub fn step(fetch: impl Fn(usize) -> u8, registers: &mut Registers) -> bool {
    let mut code = Code::new(fetch);
    let Some(effect) = Effect::read(&mut code, registers) else {
        return false;
    };
    registers.instruction = registers.instruction.wrapping_add(code.length() as u64);
    match effect {
        Effect::None => {}
        Effect::Arithmetic { operation, register, operand } => {
            let value = &mut registers.general[register];
            let flags = operation.perform(value, operand);
            registers.flags = registers.flags & !STATUS | flags & STATUS;
        }
        Effect::Jump { distance } => {
            registers.instruction = registers.instruction.wrapping_add_signed(distance);
        }
    }
    true
}

enum Effect {
    None,
    Arithmetic {
        operation: Operation,
        register: usize,
        operand: u64,
    },
    /// From the next instruction.
    Jump {
        distance: i64,
    },
}

enum Operation {
    Add,
    Subtract,
    Test,
}

const ZERO: u64 = 1 << 6;
/// Overflow, sign, zero, auxiliary carry, parity, carry.
const STATUS: u64 = 1 << 11 | 1 << 7 | ZERO | 1 << 4 | 1 << 2 | 1;

impl Effect {
    fn read(code: &mut Code<impl Fn(usize) -> u8>, registers: &Registers) -> Option<Self> {
        let mut wide = Extensions::default();
        let mut is_64_bits = false;
        let mut opcode = code.byte();
        if opcode & 0xf0 == 0x40 {
            is_64_bits = opcode & 8 != 0;
            wide = Extensions { reg: opcode >> 2 & 1, index: opcode >> 1 & 1, base: opcode & 1 };
            opcode = code.byte();
        }
        let is_zero = registers.flags & ZERO != 0;
        match (opcode, is_64_bits) {
            (0x74, _) => Some(Self::jump_if(is_zero, code.signed_byte())),
            (0x75, _) => Some(Self::jump_if(!is_zero, code.signed_byte())),
            (0xeb, _) => Some(Self::jump_if(true, code.signed_byte())),
            (0xe9, _) => Some(Self::jump_if(true, code.signed_32())),
            (0x0f, _) => match code.byte() {
                0x84 => Some(Self::jump_if(is_zero, code.signed_32())),
                0x85 => Some(Self::jump_if(!is_zero, code.signed_32())),
                0x18 => {
                    let modrm = code.modrm();
                    if modrm.mode == 3 || modrm.reg > 3 {
                        return None;
                    }
                    code.address(modrm, wide, registers);
                    Some(Self::None)
                }
                _ => None,
            },
            (0x05, true) => {
                let operand = code.signed_32().cast_unsigned();
                Some(Self::Arithmetic { operation: Operation::Add, register: 0, operand })
            }
            (0x01 | 0x29 | 0x81 | 0x83 | 0x85, true) => {
                Self::arithmetic(code, opcode, wide, registers)
            }
            _ => None,
        }
    }

    fn jump_if(condition: bool, distance: i64) -> Self {
        if condition { Self::Jump { distance } } else { Self::None }
    }

    /// An instruction whose destination is a register in ModRM.rm.
    fn arithmetic(
        code: &mut Code<impl Fn(usize) -> u8>,
        opcode: u8,
        wide: Extensions,
        registers: &Registers,
    ) -> Option<Self> {
        let modrm = code.modrm();
        if modrm.mode != 3 {
            return None;
        }
        let operation = match (opcode, modrm.reg) {
            (0x85, _) => Operation::Test,
            (0x01, _) | (0x81 | 0x83, 0) => Operation::Add,
            (0x29, _) | (0x81 | 0x83, 5) => Operation::Subtract,
            _ => return None,
        };
        let operand = match opcode {
            0x81 => code.signed_32().cast_unsigned(),
            0x83 => code.signed_byte().cast_unsigned(),
            _ => registers.general[usize::from(wide.reg << 3 | modrm.reg)],
        };
        let register = usize::from(wide.base << 3 | modrm.rm);
        Some(Self::Arithmetic { operation, register, operand })
    }
}

impl Operation {
    /// Changes `value` and returns the flags, both as the CPU does.
    fn perform(&self, value: &mut u64, operand: u64) -> u64 {
        macro_rules! on_the_cpu {
            ($instruction:literal) => {{
                let flags: u64;
                // SAFETY: arithmetic on registers; what is pushed is popped.
                unsafe {
                    asm!(
                        concat!($instruction, " {value}, {operand}"),
                        "pushfq",
                        "pop {flags}",
                        value = inout(reg) *value,
                        operand = in(reg) operand,
                        flags = lateout(reg) flags,
                    );
                }
                flags
            }};
        }
        match self {
            Self::Add => on_the_cpu!("add"),
            Self::Subtract => on_the_cpu!("sub"),
            Self::Test => on_the_cpu!("test"),
        }
    }
}

#[cfg(test)]
mod tests;
