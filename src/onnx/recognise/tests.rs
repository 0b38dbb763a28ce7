use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::onnx::{
    ExportOptions, ExportPrecision, export_bert,
    proto::{AttributeProto, AttributeType, NodeProto, ValueInfoProto},
};

const EXPORTS: &str = "tests/fixtures/bert-exports";
const MEAN_NORMALIZED: Tail = Tail::Pooled { pooling: Pooling::Mean, normalized: true };

fn fixture(file: &str) -> Vec<u8> {
    fs::read(Path::new(EXPORTS).join(file)).unwrap()
}

fn config() -> Vec<u8> {
    fixture("config.json")
}

fn expected() -> BertWeights {
    BertWeights::from_safetensors(&config(), &fixture("model.safetensors")).unwrap()
}

/// What is found in an export after a change.
fn changed(file: &str, change: impl FnOnce(&mut GraphProto)) -> Result<Recognised, Unrecognised> {
    let mut model = ModelProto::from_bytes(fixture(file).as_slice()).unwrap();
    change(model.graph.as_mut().unwrap());
    recognise(Bytes::from(model.to_bytes().unwrap()), &config())
}

fn node<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut NodeProto {
    graph.node.iter_mut().find(|node| node.name == name).unwrap()
}

/// Replaces the number that a node has beside what it works on.
fn set_number(graph: &mut GraphProto, name: &str, value: f32) {
    let inputs = node(graph, name).input.clone();
    let mut constants =
        graph.node.iter_mut().filter(|n| n.op_type == "Constant" && inputs.contains(&n.output[0]));
    let tensor = constants.next().unwrap().attribute[0].t.as_mut().unwrap();
    assert_eq!(tensor.raw_data.len(), 4, "{name}");
    tensor.raw_data = Bytes::copy_from_slice(&value.to_le_bytes());
}

/// Puts a node behind the first output of another.
fn insert_behind(graph: &mut GraphProto, name: &str, operator: &str, inputs: &[&str]) {
    let at = graph.node.iter().position(|node| node.name == name).unwrap();
    let output = std::mem::replace(&mut graph.node[at].output[0], "moved".to_owned());
    let further = inputs.iter().map(|&input| input.to_owned());
    let inserted = NodeProto {
        input: ["moved".to_owned()].into_iter().chain(further).collect(),
        output: vec![output],
        name: "inserted".to_owned(),
        op_type: operator.to_owned(),
        ..NodeProto::default()
    };
    graph.node.insert(at + 1, inserted);
}

#[test]
fn the_weights_of_every_kind_of_export_are_those_of_the_safetensors_bit_for_bit() {
    let states = ("last_hidden_state", Some(Tail::TokenStates));
    let cls = Tail::Pooled { pooling: Pooling::Cls, normalized: false };
    let pooled = [
        ("token_embeddings", Some(Tail::TokenStates)),
        ("sentence_embedding", Some(MEAN_NORMALIZED)),
    ];
    for (file, outputs) in [
        ("legacy-11-eager-states.onnx", &[states][..]),
        ("legacy-14-sdpa-mean-normalized.onnx", &pooled),
        ("legacy-17-eager-cls.onnx", &[("sentence_embedding", Some(cls))]),
        // The pooler is the pre-training head's.
        ("dynamo-18-eager-pooler.onnx", &[states, ("pooler_output", None)]),
        ("dynamo-20-sdpa-mean-normalized.onnx", &pooled),
    ] {
        let found = recognise(Bytes::from(fixture(file)), &config())
            .unwrap_or_else(|reason| panic!("{file}: {reason}"));
        assert!(found.weights == expected(), "{file}: other weights");
        let tails = found.outputs.iter().map(|(name, tail)| (name.as_str(), tail.clone().ok()));
        assert_eq!(tails.collect::<Vec<_>>(), outputs, "{file}");
    }
}

#[test]
fn our_own_export_is_recognised_with_each_tail_and_activation() {
    for activation in ["gelu", "gelu_new", "relu"] {
        let mut config: serde_json::Value = serde_json::from_slice(&config()).unwrap();
        config["hidden_act"] = json!(activation);
        let config = config.to_string();
        for pooling in [Pooling::Mean, Pooling::Cls] {
            for normalize in [false, true] {
                let weights = fixture("model.safetensors");
                let options =
                    ExportOptions { precision: ExportPrecision::Fp32, pooling, normalize };
                let graph = export_bert(config.as_bytes(), &weights, options).unwrap();
                let found = recognise(Bytes::from(graph), config.as_bytes()).unwrap();
                let expected = BertWeights::from_safetensors(config.as_bytes(), &weights).unwrap();
                assert!(found.weights == expected);
                let tail = Tail::Pooled { pooling, normalized: normalize };
                let outputs =
                    [("sentence_embedding", tail), ("token_embeddings", Tail::TokenStates)];
                let outputs = outputs.map(|(name, tail)| (name.to_owned(), Ok(tail)));
                assert_eq!(found.outputs, outputs);
            }
        }
    }
}

#[test]
fn a_graph_that_computes_something_else_is_refused_at_the_node_that_differs() {
    type Change = fn(&mut GraphProto);
    const LAYER: &str = "/model/encoder/layer.1";
    let changes: [(&str, Change, &[&str]); 12] = [
        (
            "another scale of scores",
            |g| set_number(g, &format!("{LAYER}/attention/self/Mul"), 0.4),
            &["layer.1/attention/self", "scaled by 0.4"],
        ),
        (
            "shares over queries",
            |g| node(g, &format!("{LAYER}/attention/self/Softmax")).attribute[0].i = Some(2),
            &["layer.1/attention/self/Softmax", "over the keys"],
        ),
        (
            "a bias of scores, as of relative positions",
            |g| insert_behind(g, &format!("{LAYER}/attention/self/MatMul"), "Add", &["bias"]),
            &["inserted", "`bias`"],
        ),
        (
            "an activation between the others",
            |g| insert_behind(g, &format!("{LAYER}/output/Add"), "Tanh", &[]),
            &["inserted", "a BERT has no Tanh of a layer's output plus its input"],
        ),
        (
            "an activation that is none of the known ones",
            |g| {
                let name = format!("{LAYER}/intermediate/intermediate_act_fn/Mul_1");
                set_number(g, &name, 0.51);
            },
            &["intermediate_act_fn/Mul_1", "neither GELU"],
        ),
        (
            "another epsilon in one layer norm",
            |g| set_number(g, &format!("{LAYER}/output/LayerNorm/Add"), 1e-5),
            &["layer.1/attention/output/LayerNorm", "1e-5"],
        ),
        (
            "a power that is no square",
            |g| set_number(g, &format!("{LAYER}/output/LayerNorm/Pow"), 3.0),
            &["layer.1/output/LayerNorm/Pow"],
        ),
        (
            "queries from other states than keys",
            |g| {
                node(g, &format!("{LAYER}/attention/self/query/MatMul")).input[0] =
                    "/model/encoder/layer.0/attention/output/LayerNorm/Add_1_output_0".to_owned();
            },
            &["layer.1", "its input is not the one"],
        ),
        (
            "a residual of other states",
            |g| {
                node(g, &format!("{LAYER}/output/Add")).input[1] =
                    "/model/encoder/layer.0/output/LayerNorm/Add_1_output_0".to_owned();
            },
            &["layer.1", "its input is not the one"],
        ),
        (
            "heads and tokens mixed",
            |g| {
                let name = format!("{LAYER}/attention/self/Transpose_3");
                node(g, &name).attribute[0].ints = vec![0, 1, 2, 3];
            },
            &["layer.1/attention/self/Reshape_3", "mixes"],
        ),
        (
            "an input of its own",
            |g| {
                let input = ValueInfoProto { name: "position_ids".to_owned(), r#type: None };
                g.input.push(input);
                node(g, "/model/embeddings/position_embeddings/Gather").input[1] =
                    "position_ids".to_owned();
            },
            &["`position_ids`"],
        ),
        (
            "an operator of ONNX Runtime's optimiser",
            |g| node(g, &format!("{LAYER}/output/Add")).domain = "com.microsoft".to_owned(),
            &["layer.1/output/Add", "optimiser"],
        ),
    ];
    for (what, change, parts) in changes {
        let error = changed("legacy-11-eager-states.onnx", change).expect_err(what).to_string();
        for part in parts {
            assert!(error.contains(part), "{what}: `{error}` lacks `{part}`");
        }
    }
}

#[test]
fn no_operator_that_states_pass_through_may_be_another() {
    let file = "legacy-11-eager-states.onnx";
    let model = ModelProto::from_bytes(fixture(file).as_slice()).unwrap();
    let nodes = &model.graph.as_ref().unwrap().node;
    let mut swapped = 0;
    for (index, node) in nodes.iter().enumerate() {
        let passes = node.name.contains("LayerNorm/")
            || node.name.contains("/dense/")
            || node.name.contains("act_fn/")
            || node.name.ends_with("output/Add");
        let others: &[&str] = match node.op_type.as_str() {
            "Add" => &["Sub", "Mul", "Div", "Max"],
            "Sub" => &["Add", "Mul"],
            "Mul" => &["Add", "Div", "Sub"],
            "Div" => &["Mul", "Sub"],
            "Pow" => &["Mul", "Div"],
            "Sqrt" => &["Reciprocal", "Identity", "Erf", "Neg"],
            "Erf" => &["Tanh", "Identity"],
            "ReduceMean" => &["ReduceSum", "ReduceL2"],
            "MatMul" => &["Add", "Mul"],
            _ => &[],
        };
        for other in others.iter().filter(|_| passes) {
            let found = changed(file, |graph| graph.node[index].op_type = (*other).to_owned());
            assert!(found.is_err(), "{} as {other} was taken for the same", node.name);
            swapped += 1;
        }
    }
    assert!(swapped > 150, "only {swapped} were tried");
}

#[test]
fn a_mask_that_hides_tokens_of_a_full_text_is_refused() {
    // A decoder's attention: the keys that are seen depend on the query.
    let error = changed("legacy-11-eager-states.onnx", |graph| {
        let negation = graph.node.iter_mut().find(|node| node.op_type == "Not").unwrap();
        negation.op_type = "Identity".to_owned();
    });
    assert!(error.unwrap_err().to_string().contains("attention/self/Add"));
}

#[test]
fn a_graph_for_one_size_of_batch_is_refused() {
    let error = changed("legacy-11-eager-states.onnx", |graph| {
        let name = "/model/encoder/layer.0/attention/self/Concat";
        node(graph, name).input[0] = "fixed".to_owned();
        let fixed = crate::onnx::proto::TensorProto {
            dims: vec![1],
            data_type: crate::onnx::proto::DataType::Int64.into(),
            name: "fixed".to_owned(),
            int64_data: vec![3],
            ..Default::default()
        };
        graph.initializer.push(fixed);
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("/layer.0/attention/self/Reshape"), "{error}");
}

#[test]
fn weights_in_another_file_or_of_another_type_are_named() {
    let weight = "model.embeddings.word_embeddings.weight";
    let tensor = |graph: &mut GraphProto, change: fn(&mut crate::onnx::proto::TensorProto)| {
        change(graph.initializer.iter_mut().find(|tensor| tensor.name == weight).unwrap());
    };
    let file = "legacy-17-eager-cls.onnx";
    let external = changed(file, |graph| tensor(graph, |t| t.data_location = 1)).unwrap_err();
    let half = changed(file, |graph| tensor(graph, |t| t.data_type = 10)).unwrap_err();
    for (error, reason) in [(external, "another file"), (half, "Float16")] {
        let error = error.to_string();
        assert!(error.contains(weight) && error.contains(reason), "{error}");
    }
}

#[test]
fn a_quantised_graph_is_refused_as_such() {
    let path = "models/bge-small-en-v1.5";
    assert!(Path::new(path).join("model.onnx").is_file(), "{path} is missing: run `make test`");
    let read = |file: &str| fs::read(Path::new(path).join(file)).unwrap();
    let error = recognise(Bytes::from(read("model.onnx")), &read("config.json")).unwrap_err();
    assert!(error.to_string().contains("8-bit"), "{error}");
}

#[test]
fn a_config_that_does_not_fit_the_graph_is_refused() {
    for (key, value, words) in [
        ("num_attention_heads", json!(4), "config.json says 4 for `num_attention_heads`"),
        ("num_hidden_layers", json!(1), "the graph has 2"),
        ("layer_norm_eps", json!(1e-5), "`layer_norm_eps`"),
        ("hidden_act", json!("relu"), "config.json says Relu for `hidden_act`"),
        ("model_type", json!("roberta"), "model_type"),
        // More positions than the table has.
        ("max_position_embeddings", json!(13), "/model/embeddings/Add_1"),
    ] {
        let mut config: serde_json::Value = serde_json::from_slice(&config()).unwrap();
        config[key] = value;
        let graph = Bytes::from(fixture("legacy-17-eager-cls.onnx"));
        let error = recognise(graph, config.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{key}: `{error}` lacks `{words}`");
    }
}

#[test]
fn the_upstream_export_of_all_minilm_l6_v2_has_the_weights_of_its_safetensors() {
    let read = |file: &str| {
        let path = Path::new("models").join(file);
        fs::read(&path).unwrap_or_else(|_| panic!("{} is missing: run `make test`", path.display()))
    };
    let config = read("all-MiniLM-L6-v2/config.json");
    let expected =
        BertWeights::from_safetensors(&config, &read("all-MiniLM-L6-v2/model.safetensors"))
            .unwrap();
    let graph = Bytes::from(read("all-MiniLM-L6-v2-onnx/onnx/model.onnx"));
    let found = recognise(graph, &config).unwrap();
    assert!(found.weights == expected, "other weights");
    assert_eq!(found.outputs, [("last_hidden_state".to_owned(), Ok(Tail::TokenStates))]);
}

#[test]
fn a_damaged_graph_is_refused_without_a_panic() {
    let file = fixture("legacy-14-sdpa-mean-normalized.onnx");
    let mut random = 1_u64;
    for _ in 0..500 {
        let mut damaged = file.clone();
        for _ in 0..3 {
            // Knuth's linear congruential generator.
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let place = (random >> 33) as usize % damaged.len();
            damaged[place] = (random >> 24) as u8;
        }
        // A changed weight is no damage that could be seen.
        let _ = recognise(Bytes::from(damaged), &config());
    }
}

#[test]
fn extreme_integers_in_shapes_are_refused_without_a_panic() {
    for value in [i64::MIN, 1 << 40] {
        let model =
            ModelProto::from_bytes(fixture("legacy-14-sdpa-mean-normalized.onnx").as_slice());
        let count = model.unwrap().graph.unwrap().node.len();
        for index in 0..count {
            let found = changed("legacy-14-sdpa-mean-normalized.onnx", |graph| {
                for attribute in &mut graph.node[index].attribute {
                    extreme(attribute, value);
                }
            });
            if let Ok(found) = found {
                assert!(found.weights == expected(), "node {index} with {value}");
            }
        }
    }
}

fn extreme(attribute: &mut AttributeProto, value: i64) {
    if attribute.r#type() == AttributeType::Int {
        attribute.i = Some(value);
    }
    attribute.ints.iter_mut().for_each(|number| *number = value);
    if let Some(tensor) = &mut attribute.t
        && tensor.data_type == 7
    {
        let count = tensor.raw_data.len() / 8;
        tensor.raw_data = value.to_le_bytes().repeat(count).into();
    }
}

#[test]
fn a_configuration_of_any_number_of_positions_costs_no_memory() {
    for positions in [2049_u64, 1 << 33, 1 << 60, u64::MAX] {
        let mut config: serde_json::Value = serde_json::from_slice(&config()).unwrap();
        config["max_position_embeddings"] = json!(positions);
        let graph = Bytes::from(fixture("legacy-17-eager-cls.onnx"));
        let refused = recognise(graph, config.to_string().as_bytes()).unwrap_err().to_string();
        let told = format!("`max_position_embeddings` is {positions}; those of up to 2048");
        assert!(refused.contains(&told), "{refused}");
    }
}

#[test]
fn a_tensor_of_any_size_is_refused_and_an_empty_one_costs_no_memory() {
    use super::tensor::{Data, Tensor};
    let refused = Tensor::filled(&[1 << 40, 2], 1).unwrap_err();
    assert!(refused.contains("larger than any of a BERT"), "{refused}");
    let empty = Tensor { shape: vec![0, 1 << 30, 1 << 30], data: Data::Int(vec![]) };
    let turned = empty.strided(vec![1 << 30, 1 << 30, 0], &[1, 1, 1], 0).unwrap();
    assert_eq!((turned.shape, turned.data), (vec![1 << 30, 1 << 30, 0], Data::Int(vec![])));
}
