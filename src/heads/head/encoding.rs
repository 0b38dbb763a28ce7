//! The durable form of a head: a safetensors file with `weight` and `bias`, named as in PyTorch's
//! `nn.Linear`, for a multi-label task also `threshold`; kind and labels in its metadata.

use std::collections::HashMap;
use std::sync::Arc;

use ndarray::{Array1, Array2};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

use super::{Decision, Head, HeadError, check_shape};
use crate::heads::task::Kind;

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const THRESHOLD: &str = "threshold";
const LABELS: &str = "labels";
const KIND: &str = "kind";
const ENCODER: &str = "encoder";

/// Where a head comes from, for those who find it in a file.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub task: &'a str,
    pub model: &'a str,
    /// The fingerprint of the encoder whose embeddings the head reads.
    pub encoder: &'a str,
    pub version: i64,
}

impl Head {
    /// A safetensors file: `weight` (labels × width) and `bias` (labels), both F32, and `labels`
    /// in the metadata as a JSON list. For a multi-label task also `threshold` (labels), and in the
    /// metadata `kind`. [`from_bytes`](Self::from_bytes) reads back the same bits.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(HashMap::new())
    }

    /// As [`to_bytes`](Self::to_bytes), with `task`, `model`, `encoder` and `version` in the metadata.
    pub fn export(&self, origin: &Origin<'_>) -> Vec<u8> {
        let version = origin.version.to_string();
        let entries = [
            ("task", origin.task),
            ("model", origin.model),
            (ENCODER, origin.encoder),
            ("version", &version),
        ];
        self.write(entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }

    fn write(&self, mut metadata: HashMap<String, String>) -> Vec<u8> {
        let weight = little_endian(self.weights.iter());
        let bias = little_endian(self.bias.iter());
        let view = |shape, bytes| {
            TensorView::new(Dtype::F32, shape, bytes).expect("four bytes for each element")
        };
        let labels = serde_json::to_string(&*self.labels).expect("strings are valid JSON");
        metadata.insert(LABELS.to_owned(), labels);
        let mut tensors = vec![
            (WEIGHT, view(self.weights.shape().to_vec(), &weight)),
            (BIAS, view(self.bias.shape().to_vec(), &bias)),
        ];
        let threshold;
        if let Decision::Sigmoid { thresholds } = &self.decision {
            threshold = little_endian(thresholds.iter());
            tensors.push((THRESHOLD, view(thresholds.shape().to_vec(), &threshold)));
            metadata.insert(KIND.to_owned(), self.kind().to_string());
        }
        serialize(tensors, Some(metadata)).expect("valid tensors and string metadata")
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. A file that names no kind is for a
    /// single-label task.
    ///
    /// # Errors
    /// Bytes that are not safetensors, tensors or labels that are missing or of another type or
    /// shape, a kind that there is not, and whatever [`Head::new`] and [`Head::with_decision`] refuse.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeadError> {
        let parts = Parts::read(bytes)?;
        let decision = parts.decision(parts.kind.unwrap_or_default())?;
        let labels = parts.labels.ok_or(HeadError::MissingLabels)?;
        Self::new(labels, parts.weights, parts.bias)?.with_decision(decision)
    }

    /// Reads a head for a task of a `kind` with `labels` on embeddings of `width` components. The
    /// file may come from elsewhere, such as the state of a PyTorch `nn.Linear`: labels and a kind in
    /// its metadata are not needed, but if it has them, they must be the task's. Without `threshold`
    /// such a file gets 0.5 for each label of a multi-label task.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and other labels, another kind or another width.
    pub fn import(
        bytes: &[u8],
        labels: impl Into<Arc<[String]>>,
        kind: Kind,
        width: usize,
    ) -> Result<Self, HeadError> {
        let labels = labels.into();
        let parts = Parts::read(bytes)?;
        // With labels but without a kind it is one of ours.
        let found =
            parts.kind.unwrap_or(if parts.labels.is_some() { Kind::default() } else { kind });
        if found != kind {
            return Err(HeadError::OtherKind { found, expected: kind });
        }
        if let Some(found) = &parts.labels
            && found[..] != labels[..]
        {
            let (found, expected) = (found.clone(), labels.to_vec());
            return Err(HeadError::OtherLabels { found, expected });
        }
        check_shape(WEIGHT, parts.weights.shape(), &[labels.len(), width])?;
        let decision = parts.decision(kind)?;
        Self::new(labels, parts.weights, parts.bias)?.with_decision(decision)
    }
}

/// The encoder's fingerprint in the metadata of a file, if it names one.
///
/// # Errors
/// Bytes that are not safetensors.
pub fn encoder_of(bytes: &[u8]) -> Result<Option<String>, HeadError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(ENCODER)).cloned())
}

/// What a file holds, before it is known to fit together.
struct Parts {
    kind: Option<Kind>,
    labels: Option<Vec<String>>,
    weights: Array2<f32>,
    bias: Array1<f32>,
    thresholds: Option<Array1<f32>>,
}

impl Parts {
    fn read(bytes: &[u8]) -> Result<Self, HeadError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let entry = |key| header.metadata().as_ref().and_then(|metadata| metadata.get(key));
        let kind =
            |text: &String| Kind::parse(text).ok_or_else(|| HeadError::UnknownKind(text.clone()));
        let kind = entry(KIND).map(kind).transpose()?;
        let labels = entry(LABELS)
            .map(|labels| serde_json::from_str(labels).map_err(HeadError::MalformedLabels))
            .transpose()?;
        let tensors = SafeTensors::deserialize(bytes)?;
        let (shape, weights) = values(&tensors, WEIGHT)?;
        let (rows, width) = match shape[..] {
            [0, _] => return Err(HeadError::NoLabels),
            [_, 0] => return Err(HeadError::NoWidth),
            [rows, width] => (rows, width),
            _ => return Err(HeadError::NotAMatrix(shape)),
        };
        let (shape, bias) = values(&tensors, BIAS)?;
        check_shape(BIAS, &shape, &[rows])?;
        let weights = Array2::from_shape_vec((rows, width), weights)
            .expect("safetensors checked the length against the shape");
        let thresholds = match tensors.tensor(THRESHOLD) {
            Ok(_) if kind != Some(Kind::SingleLabel) => {
                let (shape, thresholds) = values(&tensors, THRESHOLD)?;
                check_shape(THRESHOLD, &shape, &[rows])?;
                Some(Array1::from_vec(thresholds))
            }
            _ => None,
        };
        Ok(Self { kind, labels, weights, bias: Array1::from_vec(bias), thresholds })
    }

    /// How a head for a task of this kind decides by what the file holds.
    fn decision(&self, kind: Kind) -> Result<Decision, HeadError> {
        match (kind, &self.thresholds) {
            (Kind::SingleLabel, _) => Ok(Decision::Softmax),
            (Kind::MultiLabel, Some(it)) => Ok(Decision::Sigmoid { thresholds: it.clone() }),
            // One of ours has lost them; others need not know of thresholds.
            (Kind::MultiLabel, None) if self.kind.is_some() => Err(HeadError::MissingThresholds),
            (Kind::MultiLabel, None) => Ok(Decision::undecided(kind, self.bias.len())),
        }
    }
}

fn values(tensors: &SafeTensors, name: &'static str) -> Result<(Vec<usize>, Vec<f32>), HeadError> {
    let view = tensors.tensor(name).map_err(|_| HeadError::MissingTensor(name))?;
    if view.dtype() != Dtype::F32 {
        return Err(HeadError::Type { tensor: name, found: view.dtype().to_string() });
    }
    let (quads, _) = view.data().as_chunks::<4>();
    Ok((view.shape().to_vec(), quads.iter().map(|quad| f32::from_le_bytes(*quad)).collect()))
}

fn little_endian<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<u8> {
    values.flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;
    use proptest::prelude::*;

    use super::*;

    fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)], labels: Option<&str>) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        });
        let metadata = labels.map(|labels| HashMap::from([("labels".into(), labels.into())]));
        serialize(views, metadata).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        little_endian(values.iter())
    }

    fn labels() -> Vec<String> {
        vec!["Negative".into(), "Positive".into()]
    }

    #[test]
    fn the_state_of_a_linear_layer_is_a_head_for_a_task_that_fits() {
        let weight = ("weight", Dtype::F32, &[2, 3][..], floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let bias = ("bias", Dtype::F32, &[2][..], floats(&[7.0, 8.0]));
        let bytes = file(&[weight, bias], None);
        let head = Head::import(&bytes, labels(), Kind::SingleLabel, 3).unwrap();
        assert_eq!(head.weights().row(1), arr1(&[4.0, 5.0, 6.0]));
        assert_eq!(head.bias(), arr1(&[7.0, 8.0]));

        let reason = |found: Result<Head, HeadError>| found.unwrap_err().to_string();
        assert_eq!(
            reason(Head::import(&bytes, labels(), Kind::SingleLabel, 4)),
            "the tensor `weight` has the shape [2, 3], but the head needs [2, 4]"
        );
        assert_eq!(reason(Head::from_bytes(&bytes)), "the file's metadata has no `labels`");
    }

    #[test]
    fn an_exported_head_says_where_it_comes_from_and_is_read_back() {
        let head = Head::seeded(labels(), 3, 1).unwrap();
        let origin = Origin { task: "mood", model: "minilm", encoder: "abc", version: 7 };
        let bytes = head.export(&origin);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let expected = [
            ("encoder", "abc"),
            ("labels", "[\"Negative\",\"Positive\"]"),
            ("model", "minilm"),
            ("task", "mood"),
            ("version", "7"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(header.metadata().as_ref().unwrap(), &HashMap::from(expected));
        assert_eq!(Head::import(&bytes, labels(), Kind::SingleLabel, 3).unwrap(), head);
        assert_eq!(encoder_of(&bytes).unwrap().as_deref(), Some("abc"));
        assert_eq!(encoder_of(&head.to_bytes()).unwrap(), None);
    }

    fn multi_label() -> Head {
        let thresholds = arr1(&[0.25, 0.75]);
        let head = Head::seeded(labels(), 3, 1).unwrap();
        head.with_decision(Decision::Sigmoid { thresholds }).unwrap()
    }

    #[test]
    fn a_multi_label_head_is_read_back_with_its_thresholds() {
        let head = multi_label();
        assert_eq!(Head::from_bytes(&head.to_bytes()).unwrap(), head);
        let origin = Origin { task: "mood", model: "minilm", encoder: "abc", version: 7 };
        let bytes = head.export(&origin);
        assert_eq!(Head::import(&bytes, labels(), Kind::MultiLabel, 3).unwrap(), head);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["kind"], "multi_label");
    }

    #[test]
    fn a_head_is_not_taken_for_one_of_the_other_kind() {
        let reason = |head: Head, kind| {
            Head::import(&head.to_bytes(), labels(), kind, 3).unwrap_err().to_string()
        };
        assert_eq!(
            reason(multi_label(), Kind::SingleLabel),
            "the file is for a task of the kind multi_label, but the task is single_label"
        );
        assert_eq!(
            reason(Head::seeded(labels(), 3, 1).unwrap(), Kind::MultiLabel),
            "the file is for a task of the kind single_label, but the task is multi_label"
        );
    }

    #[test]
    fn the_state_of_a_linear_layer_is_of_the_kind_of_the_task_with_its_thresholds_or_even_ones() {
        let weight = || ("weight", Dtype::F32, &[2, 1][..], floats(&[1.0, 2.0]));
        let bias = || ("bias", Dtype::F32, &[2][..], floats(&[0.0, 0.0]));
        let threshold = ("threshold", Dtype::F32, &[2][..], floats(&[0.1, 0.9]));
        for (bytes, thresholds) in [
            (file(&[weight(), bias()], None), [0.5, 0.5]),
            (file(&[weight(), bias(), threshold], None), [0.1, 0.9]),
        ] {
            let head = Head::import(&bytes, labels(), Kind::MultiLabel, 1).unwrap();
            assert_eq!(head.decision(), &Decision::Sigmoid { thresholds: arr1(&thresholds) });
            let head = Head::import(&bytes, labels(), Kind::SingleLabel, 1).unwrap();
            assert_eq!(head.decision(), &Decision::Softmax);
        }
    }

    #[test]
    fn damaged_thresholds_are_refused_with_the_reason() {
        let reason = |kind: &str, threshold: Option<(Dtype, &[usize], Vec<u8>)>| {
            let tensors = [
                ("weight", Dtype::F32, &[2, 1][..], floats(&[1.0, 2.0])),
                ("bias", Dtype::F32, &[2][..], floats(&[0.0, 0.0])),
            ];
            let threshold =
                threshold.map(|(dtype, shape, bytes)| ("threshold", dtype, shape, bytes));
            let tensors: Vec<_> = tensors.into_iter().chain(threshold).collect();
            let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
                (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
            });
            let labels = serde_json::to_string(&labels()).unwrap();
            let metadata = [("labels", labels.as_str()), ("kind", kind)];
            let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let bytes = serialize(views, Some(metadata.into())).unwrap();
            Head::from_bytes(&bytes).unwrap_err().to_string()
        };
        assert_eq!(
            reason("multi_label", None),
            "the tensor `threshold` is missing; a multi-label head has one threshold a label"
        );
        assert_eq!(
            reason("multi_label", Some((Dtype::F64, &[2], vec![0; 16]))),
            "the tensor `threshold` is of type F64; only F32 is allowed"
        );
        assert_eq!(
            reason("multi_label", Some((Dtype::F32, &[2, 1], floats(&[0.5, 0.5])))),
            "the tensor `threshold` has the shape [2, 1], but the head needs [2]"
        );
        assert_eq!(
            reason("multi_label", Some((Dtype::F32, &[2], floats(&[0.5, 1.0])))),
            "the tensor `threshold` holds 1 at position 1; only numbers above 0 and below 1 are allowed"
        );
        assert_eq!(
            reason("ranking", None),
            "the `kind` in the file's metadata is \"ranking\"; \
             allowed: \"single_label\" and \"multi_label\""
        );
    }

    #[test]
    fn labels_in_another_order_are_refused() {
        let bytes = Head::seeded(labels(), 3, 1).unwrap().to_bytes();
        let turned: Vec<String> = labels().into_iter().rev().collect();
        assert_eq!(
            Head::import(&bytes, turned, Kind::SingleLabel, 3).unwrap_err().to_string(),
            "the file is for the labels [\"Negative\", \"Positive\"], but the task has \
             [\"Positive\", \"Negative\"], in this order"
        );
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_reason() {
        let weight = || ("weight", Dtype::F32, &[2, 1][..], floats(&[1.0, 2.0]));
        let bias = || ("bias", Dtype::F32, &[2][..], floats(&[0.0, 0.0]));
        let cases = [
            (
                file(&[weight()], None),
                "the tensor `bias` is missing; a head needs `weight` and `bias`",
            ),
            (
                file(&[weight(), ("bias", Dtype::F64, &[1], vec![0; 8])], None),
                "the tensor `bias` is of type F64; only F32 is allowed",
            ),
            (
                file(&[weight(), ("bias", Dtype::F32, &[1], floats(&[0.0]))], None),
                "the tensor `bias` has the shape [1], but the head needs [2]",
            ),
            (
                file(&[("weight", Dtype::F32, &[2], floats(&[1.0, 2.0])), bias()], None),
                "the tensor `weight` has the shape [2], but it must be a matrix, labels × width",
            ),
            (
                file(&[("weight", Dtype::F32, &[2, 1], floats(&[1.0, f32::NAN])), bias()], None),
                "the tensor `weight` holds NaN at position 1; only finite numbers are allowed",
            ),
            (
                file(&[("weight", Dtype::F32, &[0, 1 << 60], vec![]), bias()], None),
                "a head needs at least one label",
            ),
            (
                file(&[weight(), bias()], Some("Negative, Positive")),
                "the `labels` in the file's metadata are not a JSON list of strings: \
                 expected value at line 1 column 1",
            ),
        ];
        for (bytes, reason) in cases {
            assert_eq!(
                Head::import(&bytes, labels(), Kind::SingleLabel, 1).unwrap_err().to_string(),
                reason
            );
        }
        let bytes = file(&[weight(), bias()], None);
        let cut =
            Head::import(&bytes[..bytes.len() - 1], labels(), Kind::SingleLabel, 1).unwrap_err();
        assert!(cut.to_string().starts_with("not a safetensors file"), "{cut}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_bits_of_a_head_survive_the_round_trip(
            (names, width, values) in (
                prop::collection::btree_set(".{0,9}", 1..6),
                1usize..9,
                prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 48),
            )
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let weights = Array2::from_shape_vec((names.len(), width), values[..names.len() * width].to_vec()).unwrap();
            let bias = Array1::from_vec(values[48 - names.len()..].to_vec());
            let head = Head::new(names, weights, bias).unwrap();
            let read = Head::from_bytes(&head.to_bytes()).unwrap();
            prop_assert_eq!(read.labels(), head.labels());
            let bits = |head: &Head| -> Vec<u32> {
                head.weights().iter().chain(head.bias()).map(|value| value.to_bits()).collect()
            };
            prop_assert_eq!(bits(&read), bits(&head));
            prop_assert_eq!(read.to_bytes(), head.to_bytes());
        }
    }
}
