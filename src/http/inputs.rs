//! The texts of a request: one, or a list of them.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::config::Config;
use crate::encoder::Class;
use crate::http::error::Problem;
use crate::http::one_or_many::OneOrMany;

/// A string or a list of strings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Inputs(OneOrMany);

impl Inputs {
    /// The texts and the class that their number puts them in.
    pub fn check(self, config: &Config) -> Result<(Vec<String>, Class), Problem> {
        let texts = self.0.into_list();
        let class = check_texts(&texts, config)?;
        Ok((texts, class))
    }
}

/// The class that the number of texts puts them in.
///
/// # Errors
/// There are none or too many of them, or one of them is blank.
pub fn check_texts(texts: &[String], config: &Config) -> Result<Class, Problem> {
    let class = check_count(texts.len(), config)?;
    if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
        let detail = "an input is empty; allowed: text with at least one visible character";
        return Err(Problem::invalid("empty_input", detail).at(format!("inputs[{index}]")));
    }
    Ok(class)
}

/// The class that so many inputs are in.
///
/// # Errors
/// There are none, or too many.
pub fn check_count(inputs: usize, config: &Config) -> Result<Class, Problem> {
    let allowed = config.limits.inputs_per_request.get();
    if inputs == 0 {
        let detail = format!("there are no inputs; allowed: 1 to {allowed}");
        return Err(Problem::invalid("no_inputs", detail).at("inputs"));
    }
    if inputs > allowed {
        let detail = format!("there are {inputs} inputs; allowed: 1 to {allowed}");
        return Err(Problem::invalid("too_many_inputs", detail).at("inputs"));
    }
    let interactive = inputs <= config.batching.interactive_inputs;
    Ok(if interactive { Class::Interactive } else { Class::Bulk })
}
