//! Variables that set keys.

use super::*;

/// For every key, the text of a variable that sets it to something else than `every_key` does.
const OTHERS: &[(&str, &str, &str)] = &[
    // Key, text, and the same in TOML.
    ("auth.file", "other.toml", "\"other.toml\""),
    ("auth.keys.ci.requests_per_minute", "7", "7"),
    ("auth.keys.ci.scopes", "['admin']", "['admin']"),
    (
        "auth.keys.ci.sha256",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
    ),
    ("auth.keys.ci.tokens_per_minute", "7", "7"),
    ("auth.open", "['metrics']", "['metrics']"),
    ("auth.requests_per_minute", "7", "7"),
    ("auth.tokens_per_minute", "7", "7"),
    ("batching.batch_time", "20ms", "\"20ms\""),
    ("batching.batch_tokens", "512", "512"),
    ("batching.interactive_inputs", "0", "0"),
    ("batching.queue_tokens", "300000", "300000"),
    ("default_model", "bert", "\"bert\""),
    ("limits.body_bytes", "1024", "1024"),
    ("limits.body_bytes_in_flight", "100000000", "100000000"),
    ("limits.connections", "7", "7"),
    ("limits.epochs_per_job", "7", "7"),
    ("limits.examples_per_job", "7", "7"),
    ("limits.inputs_per_request", "7", "7"),
    ("limits.label_bytes", "99", "99"),
    ("limits.labels_per_task", "9", "9"),
    ("limits.tasks", "9", "9"),
    ("limits.tokens_per_request", "4096", "4096"),
    ("limits.train_body_bytes", "1_000", "1000"),
    ("log.format", "json", "\"json\""),
    ("log.level", "warn,polyhead=trace", "\"warn,polyhead=trace\""),
    ("models.bert.normalize", "false", "false"),
    ("models.bert.path", "5", "\"5\""),
    ("models.bert.pooling", "mean", "\"mean\""),
    ("models.bert.precision", "int8", "\"int8\""),
    ("models.bert.provider", "cuda", "\"cuda\""),
    ("models.minilm.file", "model.safetensors", "\"model.safetensors\""),
    ("models.minilm.max_seq_length", "128", "128"),
    ("models.minilm.normalize", "false", "false"),
    ("models.minilm.path", "true", "\"true\""),
    ("models.minilm.pooling", "cls", "\"cls\""),
    ("models.minilm.precision", "bf16", "\"bf16\""),
    ("models.minilm.provider", "cpu", "\"cpu\""),
    ("runtime.library", "\"quoted\"", "'\"quoted\"'"),
    ("runtime.workers", "3", "3"),
    ("server.cors_origins", "['https://example.org']", "['https://example.org']"),
    ("server.listen", "0.0.0.0:80", "\"0.0.0.0:80\""),
    ("server.request_timeout", "5s", "\"5s\""),
    ("server.shutdown.delay", "1m 30s", "\"1m 30s\""),
    ("server.shutdown.grace", "250ms", "\"250ms\""),
    ("server.tls.certificate", "other.pem", "\"other.pem\""),
    ("server.tls.key", "other.key", "\"other.key\""),
    ("store.texts", "false", "false"),
    ("store.url", "sqlite::memory:", "\"sqlite::memory:\""),
    ("tasks.sentiment.labels", "['-', '+', '1']", "['-', '+', '1']"),
    ("tasks.topic.labels", "[\"a\", \"b\"]", "[\"a\", \"b\"]"),
    ("tasks.topic.model", "bert", "\"bert\""),
    ("tasks.topic.multi_label", "false", "false"),
    ("tasks.topic.new_labels", "refuse", "\"refuse\""),
    ("tasks.topic.threshold", "0.75", "0.75"),
    ("training.lease", "1m", "\"1m\""),
    ("training.on_restart", "fail", "\"fail\""),
    ("training.queued_jobs", "1", "1"),
    ("training.serve_untrained", "true", "true"),
];

fn variable(key: &str) -> String {
    format!("POLYHEAD__{}", key.replace('.', "__").to_uppercase())
}

#[test]
fn can_set_every_key_that_there_is() {
    let keys: Vec<String> = leaves(&every_key()).into_keys().collect();
    let covered: Vec<&str> = OTHERS.iter().map(|(key, ..)| *key).collect();
    assert_eq!(covered, keys);

    let environment: Vec<(String, &str)> =
        OTHERS.iter().map(|(key, text, _)| (variable(key), *text)).collect();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let loaded =
        leaves(&Table::try_from(load(&every_key().to_string(), &environment).unwrap()).unwrap());
    for (key, _, value) in OTHERS {
        let value: Value = value.parse().unwrap();
        assert_ne!(leaves(&every_key())[*key], value, "{key}: this tries nothing");
        assert_eq!(loaded[*key], value, "{key}");
    }
}

#[test]
fn can_set_each_key_alone_and_nothing_else_with_it() {
    let file = every_key().to_string();
    for (key, text, value) in OTHERS {
        let config = load(&file, &[(&variable(key), text)]).unwrap();
        let mut expected = leaves(&every_key());
        expected.insert((*key).to_owned(), value.parse().unwrap());
        assert_eq!(leaves(&Table::try_from(config).unwrap()), expected, "{key}");
    }
}

#[test]
fn overrides_the_default_entries_without_a_file() {
    let config = load("", &[("POLYHEAD__MODELS__MINILM__PRECISION", "fp32")]).unwrap();
    let mut expected = Config::default();
    expected.models.get_mut("minilm").unwrap().precision = Precision::Fp32;
    assert_eq!(config, expected);
}

#[test]
fn makes_new_entries_in_lower_case() {
    let config = load(
        "",
        &[
            ("POLYHEAD__MODELS__TINY__PATH", "models/tiny"),
            ("POLYHEAD__TASKS__SPAM__LABELS", "['spam', 'ham']"),
        ],
    )
    .unwrap();
    assert_eq!(config.models["tiny"], ModelConfig::at("models/tiny"));
    assert_eq!(config.models.len(), 3);
    assert_eq!(config.tasks["spam"].labels, ["spam", "ham"]);
    assert_eq!(config.tasks.len(), 3);
}

#[test]
fn finds_names_whatever_their_case_and_dashes() {
    let file = "default_model = \"MiniLM-L6.v2\"\n[models.\"MiniLM-L6.v2\"]\npath = \"a\"\n[models.b]\npath = \"b\"";
    for variable in ["POLYHEAD__MODELS__MINILM_L6_V2__PATH", "polyhead__models__minilm-l6.v2__path"]
    {
        let config = load(file, &[(variable, "c")]).unwrap();
        assert_eq!(config.models["MiniLM-L6.v2"].path, PathBuf::from("c"));
        assert_eq!(config.models.len(), 2);
    }
}

#[test]
fn prefers_the_very_name_and_reports_names_that_it_cannot_tell_apart() {
    let file = "default_model = \"a-b\"\n[models.a-b]\npath = \"1\"\n[models.a_b]\npath = \"2\"";
    let config = load(file, &[("POLYHEAD__MODELS__A_B__PATH", "3")]).unwrap();
    assert_eq!(config.models["a-b"].path, PathBuf::from("1"));
    assert_eq!(config.models["a_b"].path, PathBuf::from("3"));

    let file =
        "default_model = \"a-b\"\n[models.a-b]\npath = \"1\"\n[models.\"a.b\"]\npath = \"2\"";
    assert_eq!(
        problems(file, &[("POLYHEAD__MODELS__A_B__PATH", "3")]),
        ["POLYHEAD__MODELS__A_B__PATH (sets models.a_b): ambiguous, could be a-b or a.b"]
    );
}

#[test]
fn is_reported_by_the_variable_for_unknown_keys_and_wrong_values() {
    let environment = [
        ("POLYHEAD__LIMITS__TASKS", "many"),
        ("POLYHEAD__LIMITS__BODY_BYTES", "0"),
        ("POLYHEAD__LOG__FORMAT", "5"),
        ("POLYHEAD__SERVER__LISEN", "0.0.0.0:80"),
        ("POLYHEAD__SERVR__LISTEN", "0.0.0.0:80"),
        ("POLYHEAD__LOG__LEVEL__X", "1"),
        ("POLYHEAD__LOG", "{}"),
        ("POLYHEAD__", "1"),
        ("POLYHEAD__TASKS__TOPIC__LABELS", "['a', 5]"),
        ("POLYHEADS__X", "not ours"),
        ("PATH", "/bin"),
    ];
    let problems = problems("log.level = \"warn\"", &environment);
    let expected = [
        "POLYHEAD__ (sets \"\"): unknown key \"\", allowed: default_model, server, ",
        "POLYHEAD__LIMITS__BODY_BYTES (sets limits.body_bytes): found 0, allowed: a whole number of at least 1",
        "POLYHEAD__LIMITS__TASKS (sets limits.tasks): found \"many\", allowed: a whole number of at least 1",
        "POLYHEAD__LOG (sets log): a section, allowed: ",
        "POLYHEAD__LOG__FORMAT (sets log.format): found 5, allowed: text or json",
        "POLYHEAD__LOG__LEVEL__X (sets log.level.x): unknown key, as log.level has no keys in it",
        "POLYHEAD__SERVER__LISEN (sets server.lisen): unknown key \"lisen\", allowed: listen, request_timeout, cors_origins, tls, shutdown",
        "POLYHEAD__SERVR__LISTEN (sets servr.listen): unknown key \"servr\", allowed: default_model, server, ",
        "POLYHEAD__TASKS__TOPIC__LABELS (sets tasks.topic.labels[1]): found 5, allowed: text in quotes",
    ];
    let mut sorted = problems.clone();
    sorted.sort();
    assert_eq!(sorted.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in sorted.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn cannot_set_one_key_by_two_variables() {
    let twice = [("POLYHEAD__LOG__FORMAT", "json"), ("polyhead__log__format", "text")];
    assert_eq!(
        problems("", &twice),
        [
            "polyhead__log__format (sets log.format): already set by POLYHEAD__LOG__FORMAT, allowed: one of the two"
        ]
    );
}

#[test]
fn rust_log_wins_unless_it_is_empty() {
    let level = |rust_log| {
        let environment = [("RUST_LOG", rust_log), ("POLYHEAD__LOG__LEVEL", "error")];
        load("log.level = \"warn\"", &environment).unwrap().log.level
    };
    assert_eq!(level("polyhead=debug"), "polyhead=debug".parse().unwrap());
    assert_eq!(level(""), "error".parse().unwrap());
    let [problem] = &problems("", &[("RUST_LOG", "loud")])[..] else { panic!("one problem") };
    assert!(
        problem.starts_with("RUST_LOG (sets log.level): found \"loud\", allowed: a level (off, "),
        "{problem}"
    );
}
