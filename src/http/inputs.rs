//! The texts of a request: one, or a list of them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::config::Config;
use crate::encoder::Class;
use crate::http::error::Problem;

/// A string or a list of strings.
#[derive(Debug)]
pub struct Inputs(Vec<String>);

impl Inputs {
    /// The texts and the class that their number puts them in.
    pub fn check(self, config: &Config) -> Result<(Vec<String>, Class), Problem> {
        let texts = self.0;
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

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Inputs, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Inputs;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Inputs, E> {
                Ok(Inputs(vec![text.to_owned()]))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Inputs, E> {
                Ok(Inputs(vec![text]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Inputs(texts))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}
