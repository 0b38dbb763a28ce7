//! API keys, which no error shows.

use super::*;

/// What stands for a key that must not be seen.
const SECRET: &str = "ph_do-not-show-me";

#[test]
fn a_plain_key_is_hashed_wherever_it_comes_from() {
    let table = "[auth.keys.ci]\nscopes = [\"infer\", \"train\"]\n";
    let by_hash = format!("{table}sha256 = \"{}\"", KeyHash::of(SECRET));
    let expected = load(&by_hash, &[]).unwrap();
    assert_eq!(expected.auth.keys["ci"].scopes, [Scope::Infer, Scope::Train].into());
    let by_key = load(&format!("{table}key = \"{SECRET}\""), &[]).unwrap();
    let by_variable = load(table, &[("POLYHEAD__AUTH__KEYS__CI__KEY", SECRET)]).unwrap();
    assert_eq!((&by_key, &by_variable), (&expected, &expected));
    let all_by_variables = [
        ("POLYHEAD__AUTH__KEYS__CI__KEY", SECRET),
        ("POLYHEAD__AUTH__KEYS__CI__SCOPES", "['infer', 'train']"),
    ];
    assert_eq!(load("", &all_by_variables).unwrap(), expected);
    assert!(!format!("{by_key:?}").contains(SECRET));
}

#[test]
fn what_is_wrong_with_a_key_is_said_without_showing_it() {
    let usable =
        "16 or more letters, digits and - . _ ~ + / =, such as a key that `polyhead key` makes";
    let hidden = "found a value that is not shown here";
    for (keys, expected) in [
        ("key = \"ph_do-not-show\"", format!("auth.keys.ci.key: found 14 bytes, allowed: {usable}")),
        (
            "key = \"ph_do not show me\"",
            format!("auth.keys.ci.key: found a character that no key has, allowed: {usable}"),
        ),
        ("key = 5", format!("auth.keys.ci.key: found no text, allowed: {usable}")),
        (
            "key = \"ph_do-not-show-me\"\nsha256 = \"\"",
            "auth.keys.ci.key: found sha256 beside it, allowed: one of the two".to_owned(),
        ),
        (
            "sha256 = \"ph_do-not-show-me\"",
            format!("auth.keys.ci.sha256: {hidden}, allowed: 64 hexadecimal digits, the SHA-256 of the key"),
        ),
        (
            "kee = \"ph_do-not-show-me\"",
            "auth.keys.ci.kee: unknown key \"kee\", allowed: scopes, key, sha256, requests_per_minute, tokens_per_minute".to_owned(),
        ),
        ("", "auth.keys.ci: found no key, allowed: sha256, its hash, or key, the key itself".to_owned()),
    ] {
        let found = problems(&format!("[auth.keys.ci]\nscopes = [\"infer\"]\n{keys}"), &[]);
        assert_eq!(found[0], expected);
        assert!(!found.concat().contains("show-me"), "{found:?}");
    }
    for file in [
        format!("[auth.keys]\nci = \"{SECRET}\""),
        format!("[auth]\nkeys = [\"{SECRET}\"]"),
        format!("[auth]\nkeys = \"{SECRET}\""),
    ] {
        let problem = problem(&file);
        assert!(problem.contains(hidden) && !problem.contains(SECRET), "{problem}");
    }
    let unclosed = load(&format!("[auth.keys.ci]\nkey = \"{SECRET}"), &[]).unwrap_err().to_string();
    assert!(unclosed.contains("line 2") && !unclosed.contains(SECRET), "{unclosed}");
    let variable = [("POLYHEAD__AUTH__KEYS__CI__KEY", "ph_do-not-show")];
    let found = problems("[auth.keys.ci]\nscopes = [\"infer\"]", &variable);
    let blamed = "POLYHEAD__AUTH__KEYS__CI__KEY (sets auth.keys.ci.key): found 14 bytes, allowed: ";
    assert!(found.len() == 1 && found[0].starts_with(blamed), "{found:?}");
}

#[test]
fn keys_have_scopes_that_there_are_and_differ() {
    let hash = KeyHash::of(SECRET);
    for (file, expected) in [
        (
            format!("[auth.keys.ci]\nsha256 = \"{hash}\""),
            "auth.keys.ci.scopes: found none, allowed: one or more of infer, train, admin",
        ),
        (
            format!("[auth.keys.ci]\nscopes = [\"write\"]\nsha256 = \"{hash}\""),
            "auth.keys.ci.scopes[0]: found \"write\", allowed: infer, train, admin",
        ),
        (
            format!("[auth.keys.\"a b\"]\nscopes = [\"infer\"]\nsha256 = \"{hash}\""),
            "auth.keys.\"a b\": found the name \"a b\", allowed: 1 to 64 characters of A-Z a-z 0-9 _ . - other than \".\" and \"..\"",
        ),
        (
            format!(
                "[auth.keys.a]\nscopes = [\"infer\"]\nsha256 = \"{hash}\"\n[auth.keys.b]\nscopes = [\"train\"]\nkey = \"{SECRET}\""
            ),
            "auth.keys.b: found the same key as that of \"a\", allowed: one name for each key",
        ),
        (
            "[auth]\nopen = [\"health\"]".to_owned(),
            "auth.open[0]: found \"health\", allowed: metrics, docs, page",
        ),
        (
            "[auth]\nfile = \"\"".to_owned(),
            "auth.file: found \"\", allowed: the path of a file with keys",
        ),
    ] {
        assert_eq!(problem(&file), expected);
    }
}
