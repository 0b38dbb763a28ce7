//! Which AMX instruction it is. Those that products need are known.
//!
//! Encodings: Intel, Software Developer's Manual, volume 2, section 2.3.5 (VEX) and the pages of
//! the instructions.

use super::code::{Code, Extensions, Registers};

/// An instruction with its addresses computed. Tiles are numbers below 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    LoadConfiguration { from: u64 },
    Release,
    Zero { tile: usize },
    Load { tile: usize, from: u64, stride: u64 },
    Store { tile: usize, to: u64, stride: u64 },
    MultiplyBf16 { sum: usize, left: usize, right: usize },
}

/// The instruction whose bytes `fetch` gives, and its length; none if it is not one of these.
/// Bytes are fetched in order, and none after the first that does not fit.
pub fn decode(fetch: impl Fn(usize) -> u8, registers: &Registers) -> Option<(Instruction, usize)> {
    let mut code = Code::new(fetch);
    let prefix = Prefix::read(&mut code)?;
    let instruction = match code.byte() {
        0x49 => configuring(&mut code, &prefix, registers)?,
        0x4b => moving(&mut code, &prefix, registers)?,
        0x5c => multiplying(&mut code, &prefix)?,
        _ => return None,
    };
    Some((instruction, code.length()))
}

/// What AMX leaves open in a VEX prefix, inversions undone.
struct Prefix {
    wide: Extensions,
    /// The operand in the prefix.
    vvvv: u8,
    mandatory: Mandatory,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mandatory {
    None,
    P66,
    PF3,
    PF2,
}

impl Prefix {
    /// A prefix of three bytes, of opcode map 0F38, with W = 0 and L = 0.
    fn read(code: &mut Code<impl Fn(usize) -> u8>) -> Option<Self> {
        if code.byte() != 0xc4 {
            return None;
        }
        let extensions = code.byte();
        if extensions & 0x1f != 2 {
            return None;
        }
        let operands = code.byte();
        if operands & 0x84 != 0 {
            return None;
        }
        let inverted = |bit: u8| !extensions >> bit & 1;
        Some(Self {
            wide: Extensions { reg: inverted(7), index: inverted(6), base: inverted(5) },
            vvvv: !operands >> 3 & 15,
            mandatory: match operands & 3 {
                0 => Mandatory::None,
                1 => Mandatory::P66,
                2 => Mandatory::PF3,
                _ => Mandatory::PF2,
            },
        })
    }
}

/// LDTILECFG, TILERELEASE and TILEZERO.
fn configuring(
    code: &mut Code<impl Fn(usize) -> u8>,
    prefix: &Prefix,
    registers: &Registers,
) -> Option<Instruction> {
    let modrm = code.modrm();
    if prefix.vvvv != 0 {
        return None;
    }
    match (prefix.mandatory, modrm.mode, modrm.reg, modrm.rm) {
        (Mandatory::None, 3, 0, 0) => Some(Instruction::Release),
        (Mandatory::PF2, 3, reg, 0) => {
            Some(Instruction::Zero { tile: tile(prefix.wide.reg, reg)? })
        }
        (Mandatory::None, 0..=2, 0, _) => {
            let address = code.address(modrm, prefix.wide, registers);
            // The next instruction begins where this one has been read to.
            let next = registers.instruction.wrapping_add(code.length() as u64);
            let base = address.base.unwrap_or(next);
            let from = base.wrapping_add(address.index).wrapping_add_signed(address.displacement);
            Some(Instruction::LoadConfiguration { from })
        }
        _ => None,
    }
}

/// TILELOADD, TILELOADDT1 and TILESTORED: the index of their address lies between rows.
fn moving(
    code: &mut Code<impl Fn(usize) -> u8>,
    prefix: &Prefix,
    registers: &Registers,
) -> Option<Instruction> {
    let modrm = code.modrm();
    let has_sib = modrm.mode != 3 && modrm.rm == 4;
    if prefix.vvvv != 0 || !has_sib || prefix.mandatory == Mandatory::None {
        return None;
    }
    let tile = tile(prefix.wide.reg, modrm.reg)?;
    let address = code.address(modrm, prefix.wide, registers);
    let start = address.base?.wrapping_add_signed(address.displacement);
    let stride = address.index;
    Some(match prefix.mandatory {
        Mandatory::PF3 => Instruction::Store { tile, to: start, stride },
        _ => Instruction::Load { tile, from: start, stride },
    })
}

/// TDPBF16PS: its first factor is in ModRM.rm, its second in the prefix.
fn multiplying(code: &mut Code<impl Fn(usize) -> u8>, prefix: &Prefix) -> Option<Instruction> {
    let modrm = code.modrm();
    if prefix.mandatory != Mandatory::PF3 || modrm.mode != 3 {
        return None;
    }
    Some(Instruction::MultiplyBf16 {
        sum: tile(prefix.wide.reg, modrm.reg)?,
        left: tile(prefix.wide.base, modrm.rm)?,
        right: tile(prefix.vvvv >> 3, prefix.vvvv & 7)?,
    })
}

/// There are eight: an extended number is none.
fn tile(extension: u8, number: u8) -> Option<usize> {
    (extension == 0).then_some(usize::from(number))
}

#[cfg(test)]
mod tests;
