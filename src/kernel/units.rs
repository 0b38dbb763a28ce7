//! The matrix units that the tests run on: all that this CPU has, and AMX in emulation where it
//! has none.

#[cfg(target_os = "linux")]
use super::amx::Amx;
use super::avx512::Avx512Bf16;
use super::product::{MatrixUnit, Product};

/// A matrix unit and its name.
pub type Named = (&'static str, Box<dyn MatrixUnit>);

/// All of them; without AVX512-BF16 none, for what surrounds the products is written in it too.
pub fn units() -> Vec<Named> {
    let Some(vectors) = Avx512Bf16::detect() else {
        println!("NOT CHECKED: the fused encoder; this CPU has no AVX512-BF16");
        return Vec::new();
    };
    let mut units: Vec<Named> = vec![("AVX512-BF16", Box::new(vectors))];
    #[cfg(target_os = "linux")]
    units.push(("AMX", Box::new(Amx::real_or_emulated().configure())));
    units
}

impl MatrixUnit for Box<dyn MatrixUnit> {
    unsafe fn multiply(&self, product: &Product) {
        // SAFETY: the caller answers for the pointers.
        unsafe { (**self).multiply(product) }
    }
}
