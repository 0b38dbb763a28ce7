//! `POST /tokenize` and `POST /decode`, in the shape of text-embeddings-inference.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json as Answer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::Deadline;
use crate::encoder::tokenizer::PlacedToken;
use crate::http::AppState;
use crate::http::body::Json;
use crate::http::error::Problem;
use crate::http::inputs::{Inputs, check_count};
use crate::http::texts_or_ids::TextsOrIds;
use crate::http::{prompt, vectors};

/// What a client asks `/tokenize` for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizeRequest {
    inputs: Inputs,
    /// Those that the model wants around every sentence, such as `[CLS]`; true by default.
    add_special_tokens: Option<bool>,
    /// The name of one of the model's prompts, which is put before each input.
    prompt_name: Option<String>,
    /// The default one if it is left out.
    model: Option<String>,
}

/// A token of the answer, which has a list of them for each input.
#[derive(Serialize, ToSchema)]
struct Token {
    id: u32,
    text: String,
    special: bool,
    /// The first character, and the one behind the last; `null` for special tokens.
    start: Option<usize>,
    stop: Option<usize>,
}

impl From<PlacedToken> for Token {
    fn from(PlacedToken { id, text, range }: PlacedToken) -> Token {
        let (start, stop) = (range.as_ref().map(|it| it.start), range.as_ref().map(|it| it.end));
        Token { id, text, special: range.is_none(), start, stop }
    }
}

/// Splits texts into the model's tokens.
#[utoipa::path(
    post, path = "/tokenize", tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "The tokens of each input", body = Vec<Vec<Token>>),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, too_many_tokens, unknown_prompt"),
    ),
)]
pub async fn tokenize(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<TokenizeRequest>,
) -> Result<Response, Problem> {
    let encoder = state.encoder(request.model.as_deref())?;
    let (mut texts, _) = request.inputs.check(&state.config)?;
    prompt::put_before(&mut texts, encoder.info(), request.prompt_name.as_deref())?;
    let special_tokens = request.add_special_tokens.unwrap_or(true);
    let tokens = encoder.tokens(texts, special_tokens, deadline).await?;
    let write = move || {
        let tokens = tokens.into_iter().map(|tokens| tokens.into_iter().map(Token::from).collect());
        serde_json::to_vec(&tokens.collect::<Vec<Vec<Token>>>())
    };
    vectors::respond(usize::MAX, write).await
}

/// What a client asks `/decode` for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeRequest {
    /// Token ids of one text, or a list of such.
    #[schema(value_type = Vec<u32>)]
    ids: TextsOrIds,
    /// Leaves out `[CLS]` and the like; true by default.
    skip_special_tokens: Option<bool>,
    /// The default one if it is left out.
    model: Option<String>,
}

/// Makes texts of token ids.
#[utoipa::path(
    post, path = "/decode", tag = "text-embeddings-inference",
    request_body = DecodeRequest,
    responses(
        (status = 200, description = "The text of each list of ids", body = Vec<String>),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, invalid_token_ids, invalid_input, too_many_tokens"),
    ),
)]
pub async fn decode(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<DecodeRequest>,
) -> Result<Answer<Vec<String>>, Problem> {
    let encoder = state.encoder(request.model.as_deref())?;
    let renamed = |problem: Problem| problem.naming_inputs_of("ids");
    let sentences = match request.ids {
        TextsOrIds::Ids(sentences) => sentences,
        TextsOrIds::Texts(none) if none.is_empty() => Vec::new(),
        TextsOrIds::Texts(_) => {
            let detail = "found text; expected a list of token ids or a list of such";
            return Err(Problem::invalid("invalid_request", detail).at("ids"));
        }
    };
    check_count(sentences.len(), &state.config).map_err(renamed)?;
    let skip_special_tokens = request.skip_special_tokens.unwrap_or(true);
    let texts = encoder.decode(sentences, skip_special_tokens, deadline).await;
    texts.map(Answer).map_err(|error| renamed(error.into()))
}
