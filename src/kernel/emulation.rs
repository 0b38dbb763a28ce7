//! AMX in software, for tests on a CPU without it: each of its instructions raises SIGILL there,
//! and the handler does what the instruction would have done.

mod code;
mod decoding;
mod ordinary;
mod tiles;

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::Once;
use std::{mem, ptr};

use self::code::Registers;
use self::decoding::decode;
use self::tiles::TileUnit;

/// From now on, AMX instructions of any thread of this process are emulated. Any other illegal
/// instruction ends the process as before.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler calls nothing that a signal handler must not: it neither allocates
        // nor locks, and its thread-local state needs no initialisation. It runs on the thread's
        // own stack, an alternative one being too small for tiles.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = on_illegal_instruction as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGILL, &action, ptr::null_mut()), 0);
        }
    });
}

/// Runs `action` with nothing but AMX emulated: slow, as the CPU comes back to us for each of its
/// instructions.
pub(super) fn by_single_instructions<T>(action: impl FnOnce() -> T) -> T {
    SINGLE_INSTRUCTIONS.set(true);
    let result = action();
    SINGLE_INSTRUCTIONS.set(false);
    result
}

thread_local! {
    static TILES: RefCell<TileUnit> = const { RefCell::new(TileUnit::RELEASED) };
    static SINGLE_INSTRUCTIONS: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn on_illegal_instruction(
    signal: libc::c_int,
    _: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: the third argument of a handler with SA_SIGINFO.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let saved = &mut context.uc_mcontext.gregs;
    let mut registers = Registers::saved(saved);
    if !emulate(&mut registers) {
        // Back to the instruction, which now ends the process.
        // SAFETY: allowed in a handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    while !SINGLE_INSTRUCTIONS.get() && (emulate(&mut registers) || pass(&mut registers)) {}
    registers.restore(saved);
}

/// Emulates the instruction at which `registers` are, if it is of AMX; says whether.
fn emulate(registers: &mut Registers) -> bool {
    let Some((instruction, length)) = decode(fetch(registers), registers) else {
        return false;
    };
    // SAFETY: what an instruction reads and writes is the business of the code that has it.
    let done = TILES.with_borrow_mut(|tiles| unsafe { tiles.execute(instruction) });
    done.unwrap_or_else(|fault| abort(fault));
    registers.instruction = registers.instruction.wrapping_add(length as u64);
    true
}

/// Goes past an ordinary instruction between those of AMX, if it is a known one; says whether.
fn pass(registers: &mut Registers) -> bool {
    ordinary::step(fetch(registers), registers)
}

/// The bytes of the instruction at which `registers` are.
fn fetch(registers: &Registers) -> impl Fn(usize) -> u8 + use<> {
    let code = ptr::with_exposed_provenance::<u8>(registers.instruction as usize);
    // SAFETY: the CPU was to run what is there, and those who fetch ask for no byte after one that
    // belongs to no instruction they know.
    move |at| unsafe { code.add(at).read() }
}

fn abort(fault: &str) -> ! {
    for part in ["AMX emulation: ", fault, "\n"] {
        // SAFETY: writes the bytes of a string; allowed in a handler.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: allowed in a handler.
    unsafe { libc::abort() }
}

#[cfg(test)]
mod tests {
    use std::arch::asm;

    use super::super::forked::death_of;
    use super::*;

    #[test]
    fn an_illegal_instruction_that_is_none_of_amx_still_ends_the_process() {
        install();
        // SAFETY: ends a process of its own.
        let death = death_of(|| unsafe { asm!("ud2") });
        assert_eq!(death, Some(libc::SIGILL));
        // TDPBSSD: of AMX, but for integers. A CPU that has it finds no tiles configured.
        // SAFETY: as above.
        let death = death_of(|| unsafe { asm!("tdpbssd tmm0, tmm1, tmm2") });
        assert_eq!(death, Some(libc::SIGILL));
    }

    #[test]
    fn a_tile_that_is_not_configured_ends_the_process() {
        install();
        // A CPU with AMX raises SIGILL for it too, and the handler says what is wrong.
        // SAFETY: ends a process of its own.
        let death = death_of(|| unsafe { asm!("tilezero tmm0") });
        assert_eq!(death, Some(libc::SIGABRT));
    }
}
