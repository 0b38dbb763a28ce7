//! The fused encoder on CPUs that it is not written for: none can be made.

#[path = "error.rs"]
mod error;

pub use error::{BatchError, Missing, Unfit};

use crate::encoder::folder::Pooling;
use crate::encoder::readout::Readout;
use crate::onnx::bert::weights::BertWeights;

/// Matrix instructions that the fused encoder knows: none here.
#[derive(Clone, Copy)]
pub enum Instructions {}

/// Never made, for lack of [`Instructions`].
#[derive(Clone)]
pub enum FusedEncoder {}

/// Never made either.
pub enum Scratch {}

impl Instructions {
    /// Says that there are none.
    pub fn detect() -> Result<Instructions, Missing> {
        Err(Missing("this is not an x86-64 CPU".to_owned()))
    }

    pub fn as_str(self) -> &'static str {
        match self {}
    }

    pub fn outrun_f32(self) -> bool {
        match self {}
    }

    pub fn product_flops(self, _time: std::time::Duration) -> f64 {
        match self {}
    }
}

impl FusedEncoder {
    pub fn new(
        _weights: &BertWeights,
        _pooling: Pooling,
        instructions: Instructions,
    ) -> Result<FusedEncoder, Unfit> {
        match instructions {}
    }

    pub fn width(&self) -> usize {
        match *self {}
    }

    pub fn instructions(&self) -> Instructions {
        match *self {}
    }

    pub fn scratch(&self) -> Scratch {
        match *self {}
    }

    pub fn encode(
        &self,
        _scratch: &mut Scratch,
        _ids: &[u32],
        _ends: &[usize],
        _readout: Readout,
        _vectors: &mut [f32],
    ) -> Result<(), BatchError> {
        match *self {}
    }

    pub fn domain(&self) -> ort::Result<ort::operator::OperatorDomain> {
        match *self {}
    }

    pub fn graph(&self) -> Vec<u8> {
        match *self {}
    }
}
