use std::collections::{BTreeMap, HashSet};

use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::{Value as Json, json};

use super::{
    weights::{BertShape, BertWeights},
    *,
};
use crate::onnx::{
    inspect,
    inspect::{GraphInput, GraphOutput, GraphPrecision},
    proto::{GraphProto, ModelProto},
};

const MEAN: ExportOptions =
    ExportOptions { precision: ExportPrecision::Fp32, pooling: Pooling::Mean, normalize: false };

fn config() -> Json {
    json!({
        "model_type": "bert",
        "hidden_act": "gelu",
        "vocab_size": 11,
        "hidden_size": 4,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 6,
        "max_position_embeddings": 8,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-5,
    })
}

/// The shapes of a BERT of [`config`], as transformers writes them, with parts that are not used.
fn shapes() -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize]| shapes.insert(name.to_owned(), shape.to_vec());
    add("embeddings.word_embeddings.weight", &[11, 4]);
    add("embeddings.position_embeddings.weight", &[8, 4]);
    add("embeddings.token_type_embeddings.weight", &[2, 4]);
    add("embeddings.LayerNorm.weight", &[4]);
    add("embeddings.LayerNorm.bias", &[4]);
    add("pooler.dense.weight", &[4, 4]);
    for layer in 0..2 {
        for (name, outputs, inputs) in [
            ("attention.self.query", 4, 4),
            ("attention.self.key", 4, 4),
            ("attention.self.value", 4, 4),
            ("attention.output.dense", 4, 4),
            ("intermediate.dense", 6, 4),
            ("output.dense", 4, 6),
        ] {
            let name = format!("encoder.layer.{layer}.{name}");
            add(&format!("{name}.weight"), &[outputs, inputs]);
            add(&format!("{name}.bias"), &[outputs]);
        }
        for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
            let name = format!("encoder.layer.{layer}.{name}");
            add(&format!("{name}.weight"), &[4]);
            add(&format!("{name}.bias"), &[4]);
        }
    }
    shapes
}

/// A file of these shapes, in which the values of each tensor are 0, 1, 2 …
fn file(shapes: &BTreeMap<String, Vec<usize>>) -> Vec<u8> {
    let data: Vec<(&str, &[usize], Vec<u8>)> = shapes
        .iter()
        .map(|(name, shape)| {
            let count = shape.iter().product::<usize>();
            let values = (0..count).flat_map(|value| (value as f32).to_le_bytes());
            (name.as_str(), shape.as_slice(), values.collect())
        })
        .collect();
    let views = data.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
        (*name, view)
    });
    serialize(views, None).unwrap()
}

fn export(config: &Json, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Vec<u8>, OnnxError> {
    export_bert(config.to_string().as_bytes(), &file(shapes), MEAN)
}

fn graph(options: ExportOptions) -> GraphProto {
    let file = export_bert(config().to_string().as_bytes(), &file(&shapes()), options).unwrap();
    let model = ModelProto::from_bytes(file.as_slice()).unwrap();
    model.graph.unwrap()
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|n| n.op_type.as_str()).collect()
}

#[test]
fn the_graph_takes_three_inputs_and_gives_embeddings_and_the_states_they_are_made_of() {
    let file = export(&config(), &shapes()).unwrap();
    let summary = inspect(file.as_slice()).unwrap();
    let input = |name: &str| GraphInput { name: name.to_owned(), elements: Some(DataType::Int64) };
    assert_eq!(summary.inputs, ["input_ids", "attention_mask", "token_type_ids"].map(input));
    let output = |(name, rank): (&str, usize)| GraphOutput {
        name: name.to_owned(),
        rank: Some(rank),
        width: Some(4),
    };
    let outputs = [("sentence_embedding", 2), ("token_embeddings", 3)].map(output);
    assert_eq!(summary.outputs, outputs);
    assert_eq!(summary.precision, GraphPrecision::Fp32);
    assert!(!summary.quantizes_per_batch);

    let model = ModelProto::from_bytes(file.as_slice()).unwrap();
    assert_eq!(model.producer_name, "polyhead");
}

#[test]
fn every_value_is_made_once_and_before_it_is_used() {
    let kinds = [
        (Pooling::Mean, ExportPrecision::Fp32),
        (Pooling::Cls, ExportPrecision::Fp32),
        (Pooling::Mean, ExportPrecision::Int8),
    ];
    for (pooling, precision) in kinds {
        let graph = graph(ExportOptions { precision, pooling, normalize: true });
        let inputs = graph.input.iter().map(|input| &input.name);
        let constants = graph.initializer.iter().map(|tensor| &tensor.name);
        let mut known = HashSet::new();
        for name in inputs.chain(constants) {
            assert!(known.insert(name.as_str()), "`{name}` is there twice");
        }
        for node in &graph.node {
            for name in &node.input {
                assert!(known.contains(name.as_str()), "`{name}` is used too early");
            }
            for name in &node.output {
                assert!(known.insert(name.as_str()), "`{name}` is made twice");
            }
        }
        assert!(graph.output.iter().all(|output| known.contains(output.name.as_str())));
    }
}

#[test]
fn weights_of_linear_layers_are_transposed_and_others_kept() {
    let graph = graph(MEAN);
    let tensor = |name: &str| {
        let tensor = graph.initializer.iter().find(|t| t.name == name).unwrap();
        let (values, _) = tensor.raw_data.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|&b| f32::from_le_bytes(b)).collect();
        (tensor.dims.clone(), values)
    };
    let (shape, values) = tensor("encoder.layer.1.intermediate.dense.weight");
    assert_eq!(shape, [4, 6]);
    assert_eq!(values[..7], [0., 4., 8., 12., 16., 20., 1.]);
    let (shape, values) = tensor("embeddings.token_type_embeddings.weight");
    assert_eq!(shape, [2, 4]);
    assert_eq!(values, [0., 1., 2., 3., 4., 5., 6., 7.]);
}

#[test]
fn pooling_and_normalisation_are_in_the_graph_only_when_asked_for() {
    for (pooling, normalize, means, lengths) in [
        (Pooling::Mean, false, 2, 0),
        (Pooling::Mean, true, 2, 1),
        (Pooling::Cls, false, 0, 0),
        (Pooling::Cls, true, 0, 1),
    ] {
        let graph = graph(ExportOptions { precision: ExportPrecision::Fp32, pooling, normalize });
        let operators = operators(&graph);
        let count = |name| operators.iter().filter(|&&op| op == name).count();
        assert_eq!(count("ReduceSum"), means, "{pooling:?}");
        assert_eq!(count("ReduceL2"), lengths, "{pooling:?}");
        assert_eq!(count("LayerNormalization"), 5);
    }
}

#[test]
fn a_tensor_that_is_missing_or_misshapen_is_named() {
    for name in shapes().keys().filter(|name| !name.starts_with("pooler")) {
        let mut missing = shapes();
        let expected = missing.remove(name).unwrap();
        match export(&config(), &missing) {
            Err(OnnxError::MissingTensor { name: n, expected: e }) => {
                assert_eq!((&n, &e), (name, &expected));
            }
            other => panic!("without `{name}`: {other:?}"),
        }

        let mut misshapen = shapes();
        misshapen.insert(name.clone(), vec![3]);
        match export(&config(), &misshapen) {
            Err(OnnxError::WrongShape { name: n, found, expected: e }) => {
                assert_eq!((&n, &e, found), (name, &expected, vec![3]));
            }
            other => panic!("with a misshapen `{name}`: {other:?}"),
        }
    }
}

#[test]
fn a_config_that_does_not_fit_the_weights_is_refused() {
    let mut wider = config();
    wider["hidden_size"] = json!(6);
    let error = export(&wider, &shapes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `embeddings.word_embeddings.weight` has shape [11, 4], \
         but config.json asks for [11, 6]"
    );
    let mut deeper = config();
    deeper["num_hidden_layers"] = json!(3);
    let error = export(&deeper, &shapes()).unwrap_err().to_string();
    assert!(error.contains("`encoder.layer.2.attention.self.query.weight`"), "{error}");
}

#[test]
fn weights_are_read_as_pytorch_stores_them_with_one_row_of_token_types() {
    let weights =
        BertWeights::from_safetensors(config().to_string().as_bytes(), &file(&shapes())).unwrap();
    let counting = |count: usize| -> Vec<f32> { (0..count).map(|value| value as f32).collect() };
    assert_eq!(
        weights.shape,
        BertShape {
            vocabulary: 11,
            hidden: 4,
            layers: 2,
            heads: 2,
            intermediate: 6,
            max_positions: 8,
            eps: 1e-5,
            activation: Activation::Gelu,
        }
    );
    assert_eq!(weights.words, counting(44));
    assert_eq!(weights.positions, counting(32));
    assert_eq!(weights.segment, counting(4));
    assert_eq!(weights.layers.len(), 2);
    let layer = &weights.layers[1];
    assert_eq!(layer.intermediate.weight, counting(24));
    assert_eq!(layer.intermediate.bias, counting(6));
    assert_eq!(layer.output.bias, counting(4));
    assert_eq!(layer.output_norm.gamma, counting(4));
}

#[test]
fn weights_that_do_not_fit_the_config_are_refused_in_the_same_words() {
    for name in shapes().keys().filter(|name| !name.starts_with("pooler")) {
        let mut missing = shapes();
        missing.remove(name);
        let exported = export(&config(), &missing).unwrap_err();
        let json = config().to_string();
        let read = BertWeights::from_safetensors(json.as_bytes(), &file(&missing)).unwrap_err();
        assert_eq!(read.to_string(), exported.to_string());
    }
}

#[test]
fn an_int8_graph_has_8_bit_weights_and_quantises_no_batch_as_a_whole() {
    let options = ExportOptions { precision: ExportPrecision::Int8, ..MEAN };
    let file = export_bert(config().to_string().as_bytes(), &file(&shapes()), options).unwrap();
    let summary = inspect(file.as_slice()).unwrap();
    assert_eq!(summary.precision, GraphPrecision::Int8);
    assert!(!summary.quantizes_per_batch);

    let graph = graph(options);
    for (name, shape) in [
        ("encoder.layer.0.attention.self.weight", [4, 12]),
        ("encoder.layer.0.attention.output.dense.weight", [4, 4]),
        ("encoder.layer.1.intermediate.dense.weight", [4, 6]),
        ("encoder.layer.1.output.dense.weight", [6, 4]),
    ] {
        let tensor = graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
        assert_eq!(tensor.data_type(), DataType::Int8, "{name}");
        assert_eq!(tensor.dims, shape, "{name}");
    }
    let products = operators(&graph).into_iter().filter(|&operator| operator == "MatMulInteger");
    assert_eq!(products.count(), 2 * 4);
}
