//! A field that is a text, the token ids of one, or a list of either.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, SeqAccess, Unexpected, Visitor};
use utoipa::ToSchema;

/// Texts, or texts that the client has tokenised by itself.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[serde(untagged)]
pub enum TextsOrIds {
    Texts(Vec<String>),
    /// One list of ids a text.
    Ids(Vec<Vec<u32>>),
}

impl<'de> Deserialize<'de> for TextsOrIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextsOrIds, D::Error> {
        // Not by trying one form after the other: an error inside a list then names its place.
        deserializer.deserialize_any(Whole)
    }
}

/// The whole field.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = TextsOrIds;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a string, a list of strings, a list of token ids or a list of such")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TextsOrIds, E> {
        Ok(TextsOrIds::Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TextsOrIds, A::Error> {
        // The first element says what the others have to be.
        match list.next_element_seed(Expected::Any)? {
            None => Ok(TextsOrIds::Texts(Vec::new())),
            Some(Element::Text(first)) => {
                let mut texts = vec![first];
                while let Some(Element::Text(text)) = list.next_element_seed(Expected::Text)? {
                    texts.push(text);
                }
                Ok(TextsOrIds::Texts(texts))
            }
            Some(Element::Id(first)) => {
                let mut ids = vec![first];
                while let Some(Element::Id(id)) = list.next_element_seed(Expected::Id)? {
                    ids.push(id);
                }
                Ok(TextsOrIds::Ids(vec![ids]))
            }
            Some(Element::Ids(first)) => {
                let mut sentences = vec![first];
                while let Some(Element::Ids(ids)) = list.next_element_seed(Expected::Ids)? {
                    sentences.push(ids);
                }
                Ok(TextsOrIds::Ids(sentences))
            }
        }
    }
}

enum Element {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

/// What an element has to be.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Any,
    Text,
    Id,
    Ids,
}

impl Expected {
    fn allows(self, other: Expected) -> bool {
        self == Expected::Any || self == other
    }
}

impl<'de> DeserializeSeed<'de> for Expected {
    type Value = Element;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Element, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Expected {
    type Value = Element;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Expected::Any => "a string, a token id or a list of token ids",
            Expected::Text => "a string, as the first element is one",
            Expected::Id => "a token id, as the first element is one",
            Expected::Ids => "a list of token ids, as the first element is one",
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
        match self.allows(Expected::Text) {
            true => Ok(Element::Text(text.to_owned())),
            false => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Element, E> {
        let id = u32::try_from(number).ok().filter(|_| self.allows(Expected::Id));
        id.map(Element::Id).ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        if !self.allows(Expected::Ids) {
            return Err(de::Error::invalid_type(Unexpected::Seq, &self));
        }
        let mut ids = Vec::new();
        while let Some(id) = list.next_element()? {
            ids.push(id);
        }
        Ok(Element::Ids(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<TextsOrIds, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_and_ids_come_alone_or_in_lists() {
        let texts = |texts: &[&str]| {
            Ok(TextsOrIds::Texts(texts.iter().map(|&text| text.to_owned()).collect()))
        };
        let ids = |ids: &[&[u32]]| {
            Ok(TextsOrIds::Ids(ids.iter().map(|&sentence| sentence.to_vec()).collect()))
        };
        assert_eq!(read(r#""a""#), texts(&["a"]));
        assert_eq!(read(r#"["a", "b"]"#), texts(&["a", "b"]));
        assert_eq!(read("[]"), texts(&[]));
        assert_eq!(read("[1, 2]"), ids(&[&[1, 2]]));
        assert_eq!(read("[[1, 2], [], [3]]"), ids(&[&[1, 2], &[], &[3]]));
    }

    #[test]
    fn a_list_of_several_kinds_is_refused_and_so_is_what_is_no_id() {
        for (json, told) in [
            (r#"["a", 1]"#, "integer `1`, expected a string, as the first element is one"),
            (r#"[1, "a"]"#, "string \"a\", expected a token id"),
            (r#"[[1], 2]"#, "integer `2`, expected a list of token ids"),
            (r#"["a", ["b"]]"#, "sequence, expected a string"),
            (r#"[["a"]]"#, "string \"a\", expected u32"),
            ("[-1]", "integer `-1`, expected a string, a token id"),
            ("[4294967296]", "integer `4294967296`, expected a string, a token id"),
            ("3", "integer `3`, expected a string, a list of strings, a list of token ids"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(told), "{json}: {error}");
        }
    }
}
