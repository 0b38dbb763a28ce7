//! Machine code as bytes: operands and what they are computed from.
//!
//! Encodings: Intel, Software Developer's Manual, volume 2, chapter 2.

/// What a program's instructions work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// In the order of their numbers: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub general: [u64; 16],
    /// The address of the instruction, rip.
    pub instruction: u64,
    pub flags: u64,
}

impl Registers {
    /// Those that Linux saved for a signal handler.
    pub fn saved(saved: &[libc::greg_t; 23]) -> Self {
        let value = |index: libc::c_int| saved[index as usize].cast_unsigned();
        Self {
            general: NUMBERED.map(value),
            instruction: value(libc::REG_RIP),
            flags: value(libc::REG_EFL),
        }
    }

    /// Makes them those with which the program goes on.
    pub fn restore(&self, saved: &mut [libc::greg_t; 23]) {
        let mut set = |index: libc::c_int, value: u64| saved[index as usize] = value.cast_signed();
        for (index, value) in NUMBERED.into_iter().zip(self.general) {
            set(index, value);
        }
        set(libc::REG_RIP, self.instruction);
        set(libc::REG_EFL, self.flags);
    }
}

const NUMBERED: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// The bytes of an instruction, read in order.
pub struct Code<F> {
    fetch: F,
    read: usize,
}

/// Bits that a prefix adds to the numbers of registers, each 0 or 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions {
    pub reg: u8,
    pub index: u8,
    /// That of the base, or of ModRM.rm.
    pub base: u8,
}

/// The byte after the opcode.
#[derive(Clone, Copy, Debug)]
pub struct ModRm {
    /// 3 for a register, else an address.
    pub mode: u8,
    pub reg: u8,
    pub rm: u8,
}

/// A memory operand: the sum of its parts.
pub struct Address {
    /// None if it is relative to the instruction's end.
    pub base: Option<u64>,
    /// Scaled.
    pub index: u64,
    pub displacement: i64,
}

impl<F: Fn(usize) -> u8> Code<F> {
    pub fn new(fetch: F) -> Self {
        Self { fetch, read: 0 }
    }

    /// Bytes read so far.
    pub fn length(&self) -> usize {
        self.read
    }

    pub fn byte(&mut self) -> u8 {
        self.read += 1;
        (self.fetch)(self.read - 1)
    }

    pub fn signed_byte(&mut self) -> i64 {
        i64::from(self.byte().cast_signed())
    }

    pub fn signed_32(&mut self) -> i64 {
        let bytes = [self.byte(), self.byte(), self.byte(), self.byte()];
        i64::from(i32::from_le_bytes(bytes))
    }

    pub fn modrm(&mut self) -> ModRm {
        let byte = self.byte();
        ModRm { mode: byte >> 6, reg: byte >> 3 & 7, rm: byte & 7 }
    }

    /// What follows `modrm`, whose mode must not be 3.
    pub fn address(&mut self, modrm: ModRm, wide: Extensions, registers: &Registers) -> Address {
        let general =
            |extension: u8, number: u8| registers.general[usize::from(extension << 3 | number)];
        let has_sib = modrm.rm == 4;
        let (base, index) = if has_sib {
            let sib = self.byte();
            let index = match (wide.index, sib >> 3 & 7) {
                (0, 4) => 0,
                (extension, number) => general(extension, number) << (sib >> 6),
            };
            (sib & 7, index)
        } else {
            (modrm.rm, 0)
        };
        // In mode 0, base 5 stands for none.
        let (base, displacement) = match (modrm.mode, base) {
            (0, 5) => (has_sib.then_some(0), self.signed_32()),
            (0, _) => (Some(general(wide.base, base)), 0),
            (1, _) => (Some(general(wide.base, base)), self.signed_byte()),
            _ => (Some(general(wide.base, base)), self.signed_32()),
        };
        Address { base, index, displacement }
    }
}
