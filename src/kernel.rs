//! The fused encoder: a whole BERT as one operator, in bf16, without padding.
//!
//! A graph of many operators reads and writes its activations at each of them, and pads sentences
//! to a rectangle. Here the tokens of all sentences stand one after another: linear layers see no
//! sentence borders, attention works sentence by sentence, and what follows a matrix product (bias,
//! GELU, rounding) happens while its result is in the first-level cache. Matrix operands are bf16,
//! sums and the residual stream f32.
//!
//! [`FusedEncoder::encode`] runs it directly; inside an ONNX Runtime session it is the operator of
//! [`FusedEncoder::domain`]. Weights are packed once and shared by all that is made from one
//! `FusedEncoder`.
//!
//! | file | what |
//! |---|---|
//! | `fused` | the public face: what is checked before anything runs |
//! | `instructions` | which matrix instructions this CPU has |
//! | `encoder` | the way from token ids to vectors of sentences or tokens |
//! | `linear`, `attention`, `layer_norm`, `softmax`, `gelu` | its parts |
//! | `product` | the one matrix product that all others are made of |
//! | `amx`, `avx512` | that product on two kinds of hardware |
//! | `buffer`, `states`, `vector` | memory, activations, registers |
//! | `peak` | how fast the instructions multiply at best |
//! | `operator` | the encoder as an ONNX Runtime operator |
//!
//! An embedding is bit-equal alone and in any company: every row of a product sums in the same
//! order wherever it stands, and nothing else crosses a sentence's border.
//!
//! This is the only module with `unsafe` code. It is unsafe for three reasons: instructions that
//! not every CPU has (proved by a value of the type that `instructions` gives out), pointers that
//! the matrix instructions take (checked against slices in `product`), and memory on cache lines
//! (owned by `buffer`). What comes from outside (ids, ends, lengths) is checked before any of it.

mod amx;
mod attention;
mod avx512;
mod buffer;
mod encoder;
mod error;
mod fused;
mod gelu;
mod instructions;
mod layer_norm;
mod linear;
mod operator;
mod peak;
mod product;
#[cfg(test)]
mod reference;
mod softmax;
mod states;
#[cfg(test)]
mod units;
mod vector;

#[cfg(all(test, target_os = "linux"))]
mod emulation;
#[cfg(all(test, unix))]
mod forked;
#[cfg(all(test, unix))]
mod guarded;

pub use error::{BatchError, Missing, Unfit};
pub use fused::{FusedEncoder, Scratch};
pub use instructions::Instructions;
