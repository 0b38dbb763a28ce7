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
        let allowed = config.limits.inputs_per_request.get();
        if texts.is_empty() {
            let detail = format!("there are no inputs; allowed: 1 to {allowed}");
            return Err(Problem::invalid("no_inputs", detail).at("inputs"));
        }
        if texts.len() > allowed {
            let detail = format!("there are {} inputs; allowed: 1 to {allowed}", texts.len());
            return Err(Problem::invalid("too_many_inputs", detail).at("inputs"));
        }
        if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
            let detail = "an input is empty; allowed: text with at least one visible character";
            return Err(Problem::invalid("empty_input", detail).at(format!("inputs[{index}]")));
        }
        let interactive = texts.len() <= config.batching.interactive_inputs;
        Ok((texts, if interactive { Class::Interactive } else { Class::Bulk }))
    }
}
