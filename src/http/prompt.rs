//! What a model wants to be put before its inputs: the prompts of `config_sentence_transformers.json`.

use crate::encoder::ModelInfo;
use crate::http::error::Problem;

/// Puts the prompt of that name before each text; without a name, the model's default one, if it has
/// one.
pub fn put_before(
    texts: &mut [String],
    model: &ModelInfo,
    name: Option<&str>,
) -> Result<(), Problem> {
    let Some(name) = name.or(model.default_prompt_name.as_deref()) else { return Ok(()) };
    let prompt = model.prompts.get(name).ok_or_else(|| unknown(name, model))?;
    texts.iter_mut().for_each(|text| text.insert_str(0, prompt));
    Ok(())
}

fn unknown(name: &str, model: &ModelInfo) -> Problem {
    let known: Vec<&String> = model.prompts.keys().collect();
    // Clients of text-embeddings-inference look for these words to learn which prompts there are.
    let detail = format!("the model has no prompt {name:?}. Available prompts: {known:?}");
    Problem::invalid("unknown_prompt", detail).at("prompt_name")
}
