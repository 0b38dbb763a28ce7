//! The Open Inference Protocol.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem};

const TEXTS: [&str; 2] = ["a great film", "the stock market was good"];
const INFER: &str = "/v2/models/model/infer";

fn request(data: Value) -> Value {
    let shape = [data.as_array().unwrap().len()];
    json!({"inputs": [{"name": "text", "shape": shape, "datatype": "BYTES", "data": data}]})
}

#[tokio::test]
async fn server_and_model_tell_of_themselves() {
    let app = TestApp::start().await;
    let (_, server) = app.get("/v2").await;
    assert_eq!(
        (&server["name"], &server["extensions"]),
        (&json!("polyhead"), &json!(["binary_tensor_data"]))
    );
    let (_, model) = app.get("/v2/models/model").await;
    assert_eq!(model["inputs"], json!([{"name": "text", "datatype": "BYTES", "shape": [-1]}]));
    assert_eq!(
        model["outputs"],
        json!([{"name": "embedding", "datatype": "FP32", "shape": [-1, 32]}])
    );
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/model/ready"] {
        assert_eq!(app.get(path).await.0, StatusCode::OK, "{path}");
    }
    for path in ["/v2/models/other", "/v2/models/other/ready"] {
        assert_problem(&app.get(path).await, 404, "unknown_model", Some("model"), &["other"]);
    }
}

#[tokio::test]
async fn texts_get_the_embeddings_of_embed() {
    let app = TestApp::start().await;
    let expected = app.bits(&TEXTS).await.concat();
    let mut body = request(json!(TEXTS));
    body["id"] = json!("call 7");
    body["outputs"] = json!([{"name": "embedding"}]);
    let (status, answer) = app.post(INFER, body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["id"], &answer["model_name"]), (&json!("call 7"), &json!("model")));
    let output = &answer["outputs"][0];
    assert_eq!((&output["name"], &output["datatype"]), (&json!("embedding"), &json!("FP32")));
    assert_eq!(output["shape"], json!([2, 32]));
    assert_eq!(serde_json::from_value::<Vec<f32>>(output["data"].clone()).unwrap(), expected);

    // As a column, and with parameters of which some are none of ours.
    body["inputs"][0]["shape"] = json!([2, 1]);
    body["inputs"][0]["data"] = json!([[TEXTS[0]], [TEXTS[1]]]);
    body["parameters"] = json!({"dimensions": 8, "priority": 3});
    let (_, short) = app.post(INFER, body).await;
    let (_, expected) = app.post("/embed", json!({"inputs": TEXTS, "dimensions": 8})).await;
    let rows: Vec<Vec<f32>> = serde_json::from_value(expected).unwrap();
    assert_eq!(
        serde_json::from_value::<Vec<f32>>(short["outputs"][0]["data"].clone()).unwrap(),
        rows.concat()
    );
}

#[tokio::test]
async fn tensors_may_stand_behind_the_json_both_ways() {
    let app = TestApp::start().await;
    let expected = app.bits(&TEXTS).await.concat();
    let mut tensor = Vec::new();
    for text in TEXTS {
        tensor.extend((text.len() as u32).to_le_bytes());
        tensor.extend(text.as_bytes());
    }
    let json = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [{
            "name": "text", "shape": [2], "datatype": "BYTES",
            "parameters": {"binary_data_size": tensor.len()},
        }],
    })
    .to_string();
    let send = |json_length: usize, tensor: &[u8]| {
        let body = [json.as_bytes(), tensor].concat();
        let request = app.request(Method::POST, INFER).body(body);
        request.header("inference-header-content-length", json_length)
    };
    let response = send(json.len(), &tensor).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let length = &response.headers()["inference-header-content-length"];
    let length: usize = length.to_str().unwrap().parse().unwrap();
    let body = response.bytes().await.unwrap();
    let (head, numbers) = body.split_at(length);
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], numbers.len());
    assert!(head["outputs"][0].get("data").is_none());
    let numbers = numbers.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap()));
    assert_eq!(numbers.collect::<Vec<f32>>(), expected);

    let place = "inference-header-content-length";
    let too_long = answer(send(json.len() + tensor.len() + 1, &tensor)).await;
    assert_problem(&too_long, 400, "invalid_json_length", Some(place), &["bytes"]);
    let cut = answer(send(json.len(), &tensor[..tensor.len() - 1])).await;
    let place = "inputs[0].parameters.binary_data_size";
    assert_problem(&cut, 422, "invalid_tensor", Some(place), &["follow the JSON"]);
}

#[tokio::test]
async fn requests_that_do_not_fit_the_model_are_refused_with_their_place() {
    let app = TestApp::start().await;
    let changed = |change: fn(&mut Value)| {
        let mut body = request(json!(TEXTS));
        change(&mut body);
        body
    };
    for (body, code, position, told) in [
        (
            changed(|it| it["inputs"][0]["name"] = json!("x")),
            "unknown_tensor",
            "inputs[0].name",
            "text",
        ),
        (
            changed(|it| it["inputs"][0]["datatype"] = json!("FP32")),
            "invalid_tensor",
            "inputs[0].datatype",
            "BYTES",
        ),
        (
            changed(|it| it["inputs"][0]["shape"] = json!([3])),
            "invalid_tensor",
            "inputs[0].shape",
            "2 texts",
        ),
        (
            changed(|it| it["inputs"][0]["data"][1] = json!(" ")),
            "empty_input",
            "inputs[0].data[1]",
            "visible",
        ),
        (changed(|it| it["inputs"] = json!([])), "invalid_tensor", "inputs", "one"),
        (
            changed(|it| it["outputs"] = json!([{"name": "x"}])),
            "unknown_tensor",
            "outputs[0].name",
            "embedding",
        ),
        (
            changed(|it| it["parameters"] = json!({"dimensions": 99})),
            "invalid_dimensions",
            "parameters.dimensions",
            "32",
        ),
    ] {
        let refused = app.post(INFER, body).await;
        assert_problem(&refused, 422, code, Some(position), &[told]);
    }
    let other = app.post("/v2/models/other/infer", request(json!(TEXTS))).await;
    assert_problem(&other, 404, "unknown_model", Some("model"), &["other"]);
}
