//! Weights of a model: the tensors of a safetensors file, as f32.

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::error::OnnxError;

/// The tensors of one safetensors file, under the names of transformers' `BertModel`.
///
/// A task model (`BertForMaskedLM`) stores the same tensors with the prefix `bert.`, and
/// checkpoints converted from TensorFlow call a layer norm's weight `gamma` and its bias `beta`:
/// both are found.
pub struct Weights<'file> {
    tensors: SafeTensors<'file>,
}

impl<'file> Weights<'file> {
    /// Reads the header of a safetensors file.
    ///
    /// # Errors
    /// [`OnnxError::Safetensors`] if the file is truncated or not of this format.
    pub fn parse(file: &'file [u8]) -> Result<Self, OnnxError> {
        let tensors = SafeTensors::deserialize(file).map_err(OnnxError::Safetensors)?;
        Ok(Self { tensors })
    }

    /// The values of a tensor, row-major. F16 and BF16 are widened, which is exact.
    ///
    /// # Errors
    /// [`OnnxError::MissingTensor`], [`OnnxError::WrongShape`], [`OnnxError::WrongType`] or
    /// [`OnnxError::NotFinite`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, OnnxError> {
        let Some((stored_name, tensor)) = self.find(name) else {
            return Err(OnnxError::MissingTensor {
                name: name.to_owned(),
                expected: shape.to_vec(),
            });
        };
        if tensor.shape() != shape {
            return Err(OnnxError::WrongShape {
                name: stored_name,
                expected: shape.to_vec(),
                found: tensor.shape().to_vec(),
            });
        }
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => widen(data, f32::from_le_bytes),
            Dtype::F16 => widen(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => widen(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            found => return Err(OnnxError::WrongType { name: stored_name, found }),
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => {
                Err(OnnxError::NotFinite { name: stored_name, index, value: values[index] })
            }
        }
    }

    fn find(&self, name: &str) -> Option<(String, TensorView<'file>)> {
        let legacy = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        [name, &legacy]
            .into_iter()
            .flat_map(|name| [name.to_owned(), format!("bert.{name}")])
            .find_map(|name| {
                let tensor = self.tensors.tensor(&name).ok()?;
                Some((name, tensor))
            })
    }
}

fn widen<const N: usize>(data: &[u8], to_f32: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = data.as_chunks::<N>();
    elements.iter().map(|&bytes| to_f32(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::serialize;

    use super::*;

    fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let views = tensors.iter().map(|&(name, dtype, shape, data)| {
            let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
            (name, view)
        });
        serialize(views, None).unwrap()
    }

    #[test]
    fn half_precision_is_widened_exactly() {
        let halves: Vec<u8> = [1.5_f32, -0.25, 65504.0]
            .iter()
            .flat_map(|&value| f16::from_f32(value).to_le_bytes())
            .collect();
        let brains: Vec<u8> = [1.5_f32, -0.25, 3.0e38]
            .iter()
            .flat_map(|&value| bf16::from_f32(value).to_le_bytes())
            .collect();
        let file =
            file(&[("half", Dtype::F16, &[3], &halves), ("brain", Dtype::BF16, &[3], &brains)]);
        let weights = Weights::parse(&file).unwrap();
        assert_eq!(weights.tensor("half", &[3]).unwrap(), [1.5, -0.25, 65504.0]);
        let brain = weights.tensor("brain", &[3]).unwrap();
        assert_eq!(brain, [1.5, -0.25, bf16::from_f32(3.0e38).to_f32()]);
    }

    #[test]
    fn a_prefix_and_old_names_of_layer_norm_are_found() {
        let two = 2.0_f32.to_le_bytes();
        let file = file(&[
            ("bert.embeddings.LayerNorm.gamma", Dtype::F32, &[1], &two),
            ("embeddings.LayerNorm.beta", Dtype::F32, &[1], &two),
            ("bert.pooler.dense.bias", Dtype::F32, &[1], &two),
        ]);
        let weights = Weights::parse(&file).unwrap();
        for name in
            ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias", "pooler.dense.bias"]
        {
            assert_eq!(weights.tensor(name, &[1]).unwrap(), [2.0], "{name}");
        }
    }

    #[test]
    fn a_missing_tensor_is_named_with_the_shape_it_should_have() {
        let file = file(&[]);
        let weights = Weights::parse(&file).unwrap();
        let error = weights.tensor("pooler.dense.weight", &[4, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the weights have no tensor `pooler.dense.weight` of shape [4, 3] \
             (looked for it with and without the prefix `bert.`)"
        );
    }

    #[test]
    fn a_wrong_shape_is_reported_with_the_expected_one() {
        let file = file(&[("bert.w", Dtype::F32, &[1, 2], &[0; 8])]);
        let weights = Weights::parse(&file).unwrap();
        let error = weights.tensor("w", &[2, 1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor `bert.w` has shape [1, 2], but config.json asks for [2, 1]"
        );
    }

    #[test]
    fn a_value_that_is_no_finite_number_is_refused_in_every_type() {
        let single: Vec<u8> = [1.0, f32::NAN].iter().flat_map(|it| it.to_le_bytes()).collect();
        let half: Vec<u8> =
            [f16::MAX, f16::INFINITY].iter().flat_map(|it| it.to_le_bytes()).collect();
        let brain: Vec<u8> =
            [bf16::ZERO, bf16::NEG_INFINITY].iter().flat_map(|it| it.to_le_bytes()).collect();
        for (dtype, data, told) in [
            (Dtype::F32, single, "value 1 is NaN"),
            (Dtype::F16, half, "value 1 is inf"),
            (Dtype::BF16, brain, "value 1 is -inf"),
        ] {
            let file = file(&[("bert.w", dtype, &[2], &data)]);
            let error = Weights::parse(&file).unwrap().tensor("w", &[2]).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("`bert.w`") && message.contains(told), "{message}");
        }
    }

    #[test]
    fn an_integer_tensor_is_refused() {
        let file = file(&[("w", Dtype::I8, &[2], &[0; 2])]);
        let error = Weights::parse(&file).unwrap().tensor("w", &[2]).unwrap_err();
        assert_eq!(error.to_string(), "tensor `w` holds I8, but only F32, F16 and BF16 are read");
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let file = file(&[("w", Dtype::F32, &[4], &[0; 16])]);
        for length in 0..file.len() {
            let cut = Weights::parse(&file[..length]);
            assert!(
                matches!(cut, Err(OnnxError::Safetensors(_))),
                "{length} of {} bytes were taken for a file",
                file.len()
            );
        }
    }
}
