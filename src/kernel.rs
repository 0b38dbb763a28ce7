//! The fused encoder.

mod amx;
mod product;

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod emulation;
#[cfg(all(test, unix))]
mod forked;
#[cfg(all(test, unix))]
mod guarded;

pub use amx::AmxMissing;
