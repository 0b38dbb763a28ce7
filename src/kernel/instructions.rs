//! Which matrix instructions this CPU has.

use super::amx::Amx;
use super::avx512::Avx512Bf16;
use super::error::Missing;

/// Matrix instructions that this process may use.
#[derive(Clone, Copy)]
pub struct Instructions(pub(super) Set);

#[derive(Clone, Copy)]
pub(super) enum Set {
    /// Tiles of 16 × 32 bf16 values: Intel, from Sapphire Rapids on.
    Amx(Amx, Avx512Bf16),
    /// Vectors of 32: AMD from Zen 4 on, and Intel from Cooper Lake on.
    Avx512Bf16(Avx512Bf16),
}

impl Instructions {
    /// The fastest set that there is.
    pub fn detect() -> Result<Instructions, Missing> {
        let vectors = Avx512Bf16::detect().ok_or_else(|| {
            Missing("CPUID lacks AVX512-BF16, without which there is no AMX".to_owned())
        })?;
        Ok(Instructions(match Amx::detect() {
            Ok(tiles) => Set::Amx(tiles, vectors),
            Err(missing) => {
                tracing::debug!(%missing, "no AMX");
                Set::Avx512Bf16(vectors)
            }
        }))
    }

    /// The set's name.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Set::Amx(..) => "amx-bf16",
            Set::Avx512Bf16(_) => "avx512-bf16",
        }
    }

    /// Whether bf16 multiplies faster than f32 by these instructions: Intel's AVX512-BF16 does not,
    /// AMD's does so twice as fast.
    pub fn outrun_f32(self) -> bool {
        match self.0 {
            Set::Amx(..) => true,
            Set::Avx512Bf16(_) => made_by_amd(),
        }
    }
}

fn made_by_amd() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    // The vendor's twelve letters come in this order of registers.
    let vendor = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
    vendor.as_flattened() == b"AuthenticAMD"
}
