//! A field that is a string or a list of strings.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use utoipa::ToSchema;

/// A string or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// A single string as a list of one.
    pub fn into_list(self) -> Vec<String> {
        match self {
            OneOrMany::One(string) => vec![string],
            OneOrMany::Many(list) => list,
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, string: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(string.to_owned()))
            }

            fn visit_string<E: de::Error>(self, string: String) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(string))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut strings = Vec::new();
                while let Some(string) = list.next_element()? {
                    strings.push(string);
                }
                Ok(OneOrMany::Many(strings))
            }
        }

        // Not by trying one after the other: an error inside a list then names its place.
        deserializer.deserialize_any(Either)
    }
}
