//! What a client in Rust does: `async-openai` against the server at `URL`. Prints a line of JSON for
//! each check, as the other clients do.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::embeddings::{
    CreateEmbeddingRequest, CreateEmbeddingRequestArgs, EncodingFormat,
};
use serde_json::json;

const TEXTS: [&str; 2] = ["The film was a masterpiece.", "Shares fell sharply after the bad news."];

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::var("URL").expect("URL says where the server is");
    let config = OpenAIConfig::new().with_api_base(format!("{url}/v1")).with_api_key("none");
    let client = Client::with_config(config);
    report("floats and base64 are the same numbers; usage; models().list()", embeds(&client).await);
    report("ApiError with code and param", fails(&client).await);
}

fn report(asserted: &str, outcome: Outcome) {
    let failure = outcome.err().map(|error| error.to_string());
    let line = json!({
        "client": "async-openai (Rust)", "version": "0.43.0", "asserted": asserted,
        "failure": failure,
    });
    println!("{line}");
}

async fn embeds(client: &Client<OpenAIConfig>) -> Outcome {
    let floats = client.embeddings().create(request("minilm", EncodingFormat::Float)?).await?;
    let base64 =
        client.embeddings().create_base64(request("minilm", EncodingFormat::Base64)?).await?;
    let decoded = base64.data.into_iter().map(|data| Vec::<f32>::from(data.embedding));
    let floats: Vec<Vec<f32>> = floats.data.into_iter().map(|data| data.embedding).collect();
    check(floats.len() == 2 && floats[0].len() == 384, "two embeddings of 384 numbers")?;
    check(decoded.collect::<Vec<_>>() == floats, "base64 holds the numbers of the floats")?;
    check(base64.usage.prompt_tokens > 12, "tokens are counted")?;
    let models = client.models().list().await?;
    check(models.data.iter().any(|model| model.id == "minilm"), "minilm is listed")
}

async fn fails(client: &Client<OpenAIConfig>) -> Outcome {
    match client.embeddings().create(request("other", EncodingFormat::Float)?).await {
        Err(OpenAIError::ApiError(error)) => {
            let error = error.api_error;
            check(error.code.as_deref() == Some("model_not_found"), "the code is model_not_found")?;
            check(error.param.as_deref() == Some("model"), "the param is model")
        }
        other => Err(format!("expected an ApiError, found {other:?}").into()),
    }
}

fn request(model: &str, format: EncodingFormat) -> Result<CreateEmbeddingRequest, OpenAIError> {
    CreateEmbeddingRequestArgs::default().model(model).input(TEXTS).encoding_format(format).build()
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
