//! `POST /v2/models/{model}/infer`.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::{Deadline, EmbedOptions, Embeddings};
use crate::http::body::object;
use crate::http::cost::Meter;
use crate::http::error::Problem;
use crate::http::inputs::check_texts;
use crate::http::one_or_many::OneOrMany;
use crate::http::open_inference::body::{JSON_LENGTH, TwoParts, strings};
use crate::http::open_inference::{INPUT, OUTPUT};
use crate::http::parameters::Segment;
use crate::http::{AppState, prompt, vectors};

/// An inference request. Parameters that are not known are passed over, as the protocol has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InferRequest {
    id: Option<String>,
    #[serde(default, deserialize_with = "object::one")]
    parameters: Parameters,
    /// One, called `text`.
    #[serde(deserialize_with = "object::list")]
    #[schema(min_items = 1, max_items = 1)]
    inputs: Vec<InputTensor>,
    #[serde(default, deserialize_with = "object::list")]
    outputs: Vec<WantedTensor>,
}

/// The options of `/embed`, and the form of outputs that do not say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = InferParameters)]
struct Parameters {
    normalize: Option<bool>,
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    prompt_name: Option<String>,
    #[serde(default)]
    binary_data_output: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InputTensor {
    name: String,
    /// Their product is the number of texts.
    #[schema(min_items = 1)]
    shape: Vec<usize>,
    datatype: String,
    #[serde(default, deserialize_with = "object::one")]
    parameters: InputParameters,
    /// The texts, which may stand in lists.
    data: Option<Vec<OneOrMany>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct InputParameters {
    /// Bytes of the tensor behind the JSON.
    binary_data_size: Option<usize>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedTensor {
    name: String,
    #[serde(default, deserialize_with = "object::one")]
    parameters: WantedParameters,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct WantedParameters {
    binary_data: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct InferResponse<'a> {
    model_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: [OutputTensor<'a>; 1],
}

#[derive(Serialize, ToSchema)]
struct OutputTensor<'a> {
    name: &'static str,
    datatype: &'static str,
    shape: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<OutputParameters>,
    /// Row-major.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a [f32]>,
}

#[derive(Serialize, ToSchema)]
struct OutputParameters {
    binary_data_size: usize,
}

/// Embeds texts, as tensors in and out.
///
/// With the header `inference-header-content-length`, the body is so many bytes of JSON, and behind it the
/// tensor in bytes: each text behind its length as a little-endian u32. An answer in bytes has the same
/// header, and behind its JSON the embeddings as little-endian f32.
#[utoipa::path(
    post, path = "/v2/models/{model}/infer", tag = "Open Inference Protocol", operation_id = "infer",
    params(("model" = String, Path, description = "The model's name")),
    request_body = InferRequest,
    responses(
        (
            status = 200, description = "The embeddings, in JSON or behind it",
            content(
                (InferResponse = "application/json"),
                (Vec<u8> = "application/octet-stream"),
            ),
            headers(("inference-header-content-length", description = "Of an answer in bytes: how many of them are JSON")),
        ),
        (status = 400, description = "invalid_json_length"),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, too_many_tokens, unknown_prompt, invalid_dimensions, normalized_in_graph, unknown_tensor, invalid_tensor"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn infer(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Segment(model): Segment,
    TwoParts { json, tensors }: TwoParts,
) -> Result<Response, Problem> {
    let encoder = state.encoder(Some(&model))?;
    let InferRequest { id, parameters, inputs, outputs } = json.decode().await?;
    let binary = wants_binary(&outputs, &parameters)?;
    let mut texts = texts(inputs, tensors)?;
    let renamed = |problem: Problem| problem.naming_inputs_of("inputs[0].data");
    let class = check_texts(&texts, &state.config).map_err(renamed)?;
    let meter = Meter::start(&texts);
    prompt::put_before(&mut texts, encoder.info(), parameters.prompt_name.as_deref())
        .map_err(in_parameters)?;
    let options = EmbedOptions {
        prompted: true,
        normalize: parameters.normalize,
        dimensions: parameters.dimensions,
        ..EmbedOptions::new(class, deadline)
    };
    let embedded = encoder.embed(texts, options).await;
    let embeddings = embedded.map_err(|error| in_parameters(renamed(error.into())))?;
    let cost = meter.read(encoder.info(), embeddings.tokens, embeddings.spent);
    let answer = match binary {
        true => in_binary(&embeddings, &model, id.as_deref())?,
        false => {
            let values = embeddings.values.len();
            let write = move || {
                let data = Some(&embeddings.values[..]);
                serde_json::to_vec(&response(&embeddings, &model, id.as_deref(), data))
            };
            vectors::respond(values, write).await?
        }
    };
    Ok((cost, answer).into_response())
}

/// Whether the embeddings are told in bytes.
fn wants_binary(outputs: &[WantedTensor], parameters: &Parameters) -> Result<bool, Problem> {
    if let Some((index, other)) = outputs.iter().enumerate().find(|(_, it)| it.name != OUTPUT) {
        let detail = format!("there is no output {:?}; allowed: {OUTPUT}", other.name);
        let problem = Problem::invalid("unknown_tensor", detail);
        return Err(problem.at(format!("outputs[{index}].name")));
    }
    let asked = outputs.last().and_then(|output| output.parameters.binary_data);
    Ok(asked.unwrap_or(parameters.binary_data_output))
}

/// The texts of the only input tensor.
fn texts(inputs: Vec<InputTensor>, bytes: Bytes) -> Result<Vec<String>, Problem> {
    let count = inputs.len();
    let Ok([input]) = <[InputTensor; 1]>::try_from(inputs) else {
        let detail = format!("there are {count} input tensors; allowed: one, called {INPUT}");
        return Err(Problem::invalid("invalid_tensor", detail).at("inputs"));
    };
    let invalid = |field: &str, detail: String| {
        Problem::invalid("invalid_tensor", detail).at(format!("inputs[0].{field}"))
    };
    if input.name != INPUT {
        let detail = format!("there is no input {:?}; allowed: {INPUT}", input.name);
        return Err(Problem::invalid("unknown_tensor", detail).at("inputs[0].name"));
    }
    if input.datatype != "BYTES" {
        let detail = format!("the datatype is {}; allowed: BYTES", input.datatype);
        return Err(invalid("datatype", detail));
    }
    let texts = match (input.data, input.parameters.binary_data_size) {
        (Some(data), None) => data.into_iter().flat_map(OneOrMany::into_list).collect(),
        (None, Some(size)) if size == bytes.len() => {
            strings(&bytes).map_err(|detail| invalid("data", detail))?
        }
        (None, Some(size)) => {
            let detail =
                format!("binary_data_size is {size}; {} bytes follow the JSON", bytes.len());
            return Err(invalid("parameters.binary_data_size", detail));
        }
        _ => {
            let detail = "expected either data, or binary_data_size in the parameters";
            return Err(invalid("data", detail.to_owned()));
        }
    };
    let shaped = input.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if input.shape.is_empty() || shaped != Some(texts.len()) {
        let detail = format!("the shape is {:?}, but there are {} texts", input.shape, texts.len());
        return Err(invalid("shape", detail));
    }
    Ok(texts)
}

/// Names the options of `/embed` as the request does.
fn in_parameters(problem: Problem) -> Problem {
    let options = ["normalize", "dimensions", "prompt_name"];
    match options.into_iter().find(|option| problem.is_at(option)) {
        Some(option) => problem.at(format!("parameters.{option}")),
        None => problem,
    }
}

/// The answer with its numbers in `data`, or behind it.
fn response<'a>(
    embeddings: &Embeddings,
    model_name: &'a str,
    id: Option<&'a str>,
    data: Option<&'a [f32]>,
) -> InferResponse<'a> {
    let binary_data_size = size_of_val(&embeddings.values[..]);
    let output = OutputTensor {
        name: OUTPUT,
        datatype: "FP32",
        shape: [embeddings.rows().len(), embeddings.width],
        parameters: data.is_none().then_some(OutputParameters { binary_data_size }),
        data,
    };
    InferResponse { model_name, id, outputs: [output] }
}

/// The JSON and the numbers behind it.
fn in_binary(embeddings: &Embeddings, model: &str, id: Option<&str>) -> Result<Response, Problem> {
    let json = serde_json::to_vec(&response(embeddings, model, id, None));
    let mut body = json.map_err(|cause| Problem::internal(&cause))?;
    let length = body.len().to_string();
    body.extend(vectors::bytes(&embeddings.values));
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (JSON_LENGTH, length.as_str())];
    Ok((headers, body).into_response())
}
