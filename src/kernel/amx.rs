//! Matrix products on AMX, the tile unit of Intel's CPUs from Sapphire Rapids on.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use half::bf16;
use thiserror::Error;

use super::product::Product;

#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), path = "amx/elsewhere.rs")]
mod instructions;

/// Proof that this process may use bf16 tiles of AMX, and that they multiply as they should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amx(());

/// Why there is no AMX here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmxMissing {
    #[error("AMX is there on x86-64 Linux only")]
    Platform,
    #[error("this CPU does not offer AMX with bf16: CPUID lacks {0}")]
    Cpu(&'static str),
    #[error("the operating system does not save AMX tiles: XCR0 lacks bit 17, bit 18 or both")]
    OperatingSystem,
    #[error(
        "Linux refused this process the use of AMX tiles: {}; the call, arch_prctl with \
         ARCH_REQ_XCOMP_PERM, needs Linux 5.16 and must not be barred by the container",
        io::Error::from_raw_os_error(*.errno)
    )]
    Refused { errno: i32 },
    #[error("AMX multiplies wrongly on this machine: a small product differs from the true one")]
    WrongResults,
}

impl Amx {
    /// Asks CPU and system, requests the permission for this process and multiplies a known
    /// product; all of it once a process, later calls repeat the answer.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn detect() -> Result<Self, AmxMissing> {
        static ANSWER: OnceLock<Result<Amx, AmxMissing>> = OnceLock::new();
        *ANSWER.get_or_init(|| {
            instructions::enable()?;
            Self(()).proven()
        })
    }

    /// The machine's AMX, or else its emulation: tests run on both.
    #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
    pub fn real_or_emulated() -> Self {
        match Self::detect() {
            Err(AmxMissing::WrongResults) => panic!("{}", AmxMissing::WrongResults),
            Ok(amx) => amx,
            Err(_) => {
                super::emulation::install();
                Self(()).proven().expect("the emulation multiplies correctly")
            }
        }
    }

    /// Configures this thread's tiles, until the guard is dropped. While tiles are in use the
    /// system saves 8 KB more of a thread at each switch: hold the guard for work, not for waiting.
    ///
    /// # Panics
    ///
    /// When this thread holds such a guard already: its end would take the tiles from the other.
    pub fn configure(self) -> Tiles {
        assert!(!CONFIGURED.replace(true), "a thread's AMX tiles are configured once at a time");
        // SAFETY: the token says that AMX is enabled.
        unsafe { instructions::configure() };
        Tiles { of_this_thread: PhantomData }
    }

    /// Itself if a small product is right: small integers, whose sums are exact in any order.
    fn proven(self) -> Result<Self, AmxMissing> {
        const BLOCKS: usize = 2;
        const INNER: usize = 32 * BLOCKS;
        let left = |row: usize, inner: usize| ((5 * row + 3 * inner) % 17) as f32 - 8.0;
        let right = |inner: usize, column: usize| ((7 * inner + 11 * column) % 19) as f32 - 9.0;

        let mut a = [0; 32 * INNER];
        let mut b = [0; INNER * 32];
        for inner in 0..INNER {
            for other in 0..32 {
                a[inner / 32 * 1024 + other * 32 + inner % 32] =
                    bf16::from_f32(left(other, inner)).to_bits();
                let line = inner / 32 * 32 + other / 16 * 16 + inner % 32 / 2;
                b[line * 32 + other % 16 * 2 + inner % 2] =
                    bf16::from_f32(right(inner, other)).to_bits();
            }
        }

        let mut c = [f32::NAN; 32 * 32];
        let whole = Product {
            a: a.as_ptr(),
            a_stride: 1024,
            b: b.as_ptr(),
            c: c.as_mut_ptr(),
            c_stride: 32,
            blocks: BLOCKS,
            rows: 32,
            accumulate: false,
            next_b: b.as_ptr(),
        };
        let upper_half_again = Product { rows: 16, accumulate: true, next_b: ptr::null(), ..whole };
        let tiles = self.configure();
        // SAFETY: the arrays are of the sizes that the products state, and live on.
        unsafe {
            tiles.multiply(&whole);
            tiles.multiply(&upper_half_again);
        }
        drop(tiles);

        let right_everywhere = (0..32 * 32).all(|at| {
            let (row, column) = (at / 32, at % 32);
            let product = (0..INNER).map(|k| left(row, k) * right(k, column)).sum::<f32>();
            c[at] == if row < 16 { 2.0 * product } else { product }
        });
        right_everywhere.then_some(self).ok_or(AmxMissing::WrongResults)
    }
}

thread_local! {
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// This thread's tiles, configured for products; released on drop.
#[derive(Debug)]
pub(super) struct Tiles {
    /// Tiles are a thread's own: neither `Send` nor `Sync`.
    of_this_thread: PhantomData<*const ()>,
}

impl Tiles {
    /// Computes `product`.
    ///
    /// # Safety
    ///
    /// What [`Product`] says of its fields must be true, and nothing else may touch C meanwhile.
    pub unsafe fn multiply(&self, product: &Product) {
        debug_assert!((1..=32).contains(&product.rows) && product.blocks > 0, "{product:?}");
        // SAFETY: the tiles of this thread are configured; the rest is the caller's promise.
        unsafe { instructions::multiply(product) }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: only a token's holder makes a guard.
        unsafe { instructions::release() };
        CONFIGURED.set(false);
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;
