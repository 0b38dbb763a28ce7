//! Fields that are objects, and nothing else: serde's derived decoders take lists as well, field by field,
//! which no client means.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The field is an object.
pub fn one<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// The field is an object or null.
pub fn optional<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.map(|Object(value)| value))
}

/// The field is a list of objects.
pub fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list: Vec<Object<T>> = Vec::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Object(value)| value).collect())
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Only<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Only(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Point {
        x: Option<i32>,
        y: Option<i32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        #[serde(default, deserialize_with = "super::one")]
        one: Point,
        #[serde(default, deserialize_with = "super::optional")]
        optional: Option<Point>,
        #[serde(default, deserialize_with = "super::list")]
        list: Vec<Point>,
    }

    #[test]
    fn a_list_is_no_object_even_if_it_has_all_its_fields() {
        let point = || Point { x: Some(1), y: None };
        let all = r#"{"one": {"x": 1}, "optional": {"x": 1}, "list": [{"x": 1}]}"#;
        let Fields { one, optional, list } = serde_json::from_str(all).unwrap();
        assert_eq!((one, optional, list), (point(), Some(point()), vec![point()]));
        assert_eq!(serde_json::from_str::<Fields>(r#"{"optional": null}"#).unwrap().optional, None);
        for wrong in [r#"{"one": [1, 2]}"#, r#"{"optional": [1, 2]}"#, r#"{"list": [[1, 2]]}"#] {
            let error = serde_json::from_str::<Fields>(wrong).unwrap_err().to_string();
            assert!(error.contains("invalid type: sequence, expected an object"), "{error}");
        }
    }
}
