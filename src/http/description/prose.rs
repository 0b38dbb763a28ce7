//! Descriptions come from comments in the source, which link to its items; readers of the API have only
//! the words.

use serde_json::Value;

/// Puts what is said of a choice between something and null where it is said of other fields.
pub fn hoist(value: &mut Value) {
    if let Some(Value::Array(choices)) = value.get_mut("oneOf")
        && choices.iter().any(|choice| choice["type"] == "null")
    {
        let mut choices = choices.iter_mut().filter_map(Value::as_object_mut);
        let said = choices.find_map(|choice| choice.remove("description"));
        if let (Value::Object(whole), Some(said)) = (&mut *value, said) {
            whole.entry("description").or_insert(said);
        }
    }
    match value {
        Value::Object(parts) => parts.values_mut().for_each(hoist),
        Value::Array(parts) => parts.iter_mut().for_each(hoist),
        _ => {}
    }
}

/// Takes the links to items out of all descriptions.
pub fn clean(value: &mut Value) {
    match value {
        Value::Object(parts) => {
            for (key, part) in parts {
                match part {
                    Value::String(text) if key == "description" || key == "summary" => {
                        *text = without_links(text);
                    }
                    part => clean(part),
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(clean),
        _ => {}
    }
}

/// `` [`Verdict`](crate::verdict) `` becomes `` `Verdict` ``. Brackets in code stay.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_code = false;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        if character == '['
            && !in_code
            && let Some((words, behind)) = after.split_once(']')
        {
            plain.push_str(words);
            let target = behind.strip_prefix('(').and_then(|it| it.split_once(')'));
            rest = target.map_or(behind, |(_, behind)| behind);
            continue;
        }
        in_code ^= character == '`';
        plain.push(character);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::without_links;

    #[test]
    fn links_become_words_and_code_stays() {
        for (text, plain) in [
            ("See [`expected`].", "See `expected`."),
            ("by [as many as say something](crate::a::B::c).", "by as many as say something."),
            ("at `inputs[3]`, in `[0, 1)`", "at `inputs[3]`, in `[0, 1)`"),
            ("an open [ stays", "an open [ stays"),
        ] {
            assert_eq!(without_links(text), plain);
        }
    }
}
