use std::collections::BTreeSet;
use std::fs;

use toml::{Table, Value};

use super::*;

const DOCUMENTED: &str = include_str!("../../config.toml");

/// Loads a file with this text.
fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|&(name, text)| (name.to_owned(), text.to_owned()));
    Config::load(Some(&path), environment)
}

/// What is wrong with a file, one line a problem.
fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    match load(file, environment) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(Problem::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

/// The only thing that is wrong with a file.
fn problem(file: &str) -> String {
    let problems = problems(file, &[]);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.concat()
}

/// Every key that has a value, with the value.
fn leaves(table: &Table) -> BTreeMap<String, Value> {
    fn visit(table: &Table, prefix: &str, leaves: &mut BTreeMap<String, Value>) {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                Value::Table(section) => visit(section, &format!("{key}."), leaves),
                leaf => drop(leaves.insert(key, leaf.clone())),
            }
        }
    }
    let mut all = BTreeMap::new();
    visit(table, "", &mut all);
    all
}

/// The defaults, with a model and a task that set their optional keys as well. Written out in full,
/// so that a new key does not compile until it is here.
fn every_key() -> Table {
    let minilm = ModelConfig {
        path: PathBuf::from("models/all-MiniLM-L6-v2"),
        precision: Precision::Auto,
        provider: Provider::Auto,
        file: Some(PathBuf::from("onnx/model.onnx")),
        pooling: Some(Pooling::Mean),
        normalize: Some(true),
        max_seq_length: NonZeroUsize::new(256),
    };
    let topic = TaskConfig {
        model: Some("minilm".to_owned()),
        labels: ["Finance", "Entertainment", "Technology"].map(str::to_owned).into(),
    };
    let mut config = Config::default();
    config.models.insert("minilm".to_owned(), minilm);
    config.tasks.insert("topic".to_owned(), topic);
    Table::try_from(config).unwrap()
}

mod the_documented_file {
    use super::*;

    #[test]
    fn is_the_defaults() {
        assert_eq!(load(DOCUMENTED, &[]).unwrap(), Config::default());
    }

    /// The file as if the optional keys, which stand in comments, were set.
    fn with_optional_keys() -> String {
        let is_key =
            |text: &str| text.starts_with(char::is_lowercase) && text.parse::<Table>().is_ok();
        DOCUMENTED
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|text| is_key(text)).unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn has_every_key_with_the_optional_ones_as_comments() {
        let file = with_optional_keys();
        load(&file, &[]).unwrap();
        assert_eq!(leaves(&file.parse().unwrap()), leaves(&every_key()));
    }

    #[test]
    fn explains_each_key_where_it_first_appears() {
        let mut explained = BTreeSet::new();
        let mut previous = "";
        let file = with_optional_keys();
        for line in file.lines() {
            if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                assert!(previous.starts_with('#') || explained.contains(key), "{line}");
                explained.insert(key);
            }
            previous = line;
        }
        assert!(explained.contains("max_seq_length"));
    }
}

mod a_file {
    use super::*;

    #[test]
    fn that_is_absent_or_empty_gives_the_defaults() {
        assert_eq!(Config::load(None, []).unwrap(), Config::default());
        assert_eq!(load("", &[]).unwrap(), Config::default());
    }

    #[test]
    fn overrides_only_the_keys_that_it_has() {
        let config = load("server.shutdown.grace = \"250ms\"\n[models.bert]\npath = \"b\"\n[models.minilm]\npath = \"m\"", &[]).unwrap();
        assert_eq!(config.server.shutdown.grace, Duration::from_millis(250));
        assert_eq!(config.server.shutdown.delay, Duration::ZERO);
        assert_eq!(config.models["bert"], ModelConfig::at("b"));
    }

    #[test]
    fn with_models_gets_neither_default_models_nor_default_tasks() {
        let config =
            load("default_model = \"a\"\n[models.a]\npath = \"a\"\n[models.b]\npath = \"b\"", &[])
                .unwrap();
        assert_eq!(config.models.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(config.tasks.is_empty());
    }

    #[test]
    fn with_tasks_keeps_the_default_models() {
        let config = load("[tasks.spam]\nlabels = [\"spam\", \"ham\"]", &[]).unwrap();
        assert_eq!(config.models, Config::default().models);
        assert_eq!(config.tasks.keys().collect::<Vec<_>>(), ["spam"]);
    }

    #[test]
    fn with_a_single_model_need_not_call_it_the_default() {
        let config =
            load("[models.only]\npath = \"only\"\n[tasks.t]\nlabels = [\"a\", \"b\"]", &[])
                .unwrap();
        assert_eq!(config.default_model, "only");
        let [task] = &config.declared_tasks()[..] else { panic!("one task is declared") };
        assert_eq!((task.name.as_str(), task.model.as_str()), ("t", "only"));
        assert_eq!(task.labels, ["a", "b"]);
    }

    #[test]
    fn that_cannot_be_read_is_named() {
        let error = Config::load(Some(std::path::Path::new("no/such.toml")), []).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot read the configuration no/such.toml: "),
            "{error}"
        );
    }

    #[test]
    fn that_is_not_toml_shows_line_and_column() {
        for (file, place) in
            [("[log]\nlevel = info", "line 2, column 9"), ("[log]\n[log]", "line 2, column 2")]
        {
            let error = load(file, &[]).unwrap_err();
            assert!(
                matches!(error, ConfigError::Syntax { .. }) && error.to_string().contains(place),
                "{error}"
            );
        }
    }
}

mod the_environment {
    use super::*;

    /// For every key, the text of a variable that sets it to something else than `every_key` does.
    const OTHERS: &[(&str, &str, &str)] = &[
        // Key, text, and the same in TOML.
        ("batching.batch_tokens", "512", "512"),
        ("batching.interactive_inputs", "0", "0"),
        ("batching.queue_tokens", "300000", "300000"),
        ("default_model", "bert", "\"bert\""),
        ("limits.body_bytes", "1024", "1024"),
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
        ("server.listen", "0.0.0.0:80", "\"0.0.0.0:80\""),
        ("server.request_timeout", "5s", "\"5s\""),
        ("server.shutdown.delay", "1m 30s", "\"1m 30s\""),
        ("server.shutdown.grace", "250ms", "\"250ms\""),
        ("store.url", "sqlite::memory:", "\"sqlite::memory:\""),
        ("tasks.sentiment.labels", "['-', '+', '1']", "['-', '+', '1']"),
        ("tasks.topic.labels", "[\"a\", \"b\"]", "[\"a\", \"b\"]"),
        ("tasks.topic.model", "bert", "\"bert\""),
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
        let loaded = leaves(
            &Table::try_from(load(&every_key().to_string(), &environment).unwrap()).unwrap(),
        );
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
        for variable in
            ["POLYHEAD__MODELS__MINILM_L6_V2__PATH", "polyhead__models__minilm-l6.v2__path"]
        {
            let config = load(file, &[(variable, "c")]).unwrap();
            assert_eq!(config.models["MiniLM-L6.v2"].path, PathBuf::from("c"));
            assert_eq!(config.models.len(), 2);
        }
    }

    #[test]
    fn prefers_the_very_name_and_reports_names_that_it_cannot_tell_apart() {
        let file =
            "default_model = \"a-b\"\n[models.a-b]\npath = \"1\"\n[models.a_b]\npath = \"2\"";
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
            "POLYHEAD__SERVER__LISEN (sets server.lisen): unknown key \"lisen\", allowed: listen, request_timeout, shutdown",
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
            problem
                .starts_with("RUST_LOG (sets log.level): found \"loud\", allowed: a level (off, "),
            "{problem}"
        );
    }
}

mod a_problem {
    use super::*;

    #[test]
    fn says_the_key_what_was_found_and_what_is_allowed() {
        for (file, expected) in [
            (
                "server.lisen = 1",
                "server.lisen: unknown key \"lisen\", allowed: listen, request_timeout, shutdown",
            ),
            (
                "server.listen = \"localhost\"",
                "server.listen: found \"localhost\", allowed: an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:80\"",
            ),
            (
                "server.request_timeout = 30",
                "server.request_timeout: found 30, allowed: a duration that is not negative, such as \"250ms\", \"30s\" or \"1m 30s\"",
            ),
            (
                "server.request_timeout = \"-5s\"",
                "server.request_timeout: found \"-5s\", allowed: a duration that is not negative, such as \"250ms\", \"30s\" or \"1m 30s\"",
            ),
            (
                "server.request_timeout = \"0s\"",
                "server.request_timeout: found no time at all, allowed: more than \"0s\", such as \"30s\"",
            ),
            ("server = 3", "server: found 3, allowed: a section, [server] with keys below it"),
            ("[[server]]", "server: found [{}], allowed: a section, [server] with keys below it"),
            (
                "models.minilm = []",
                "models.minilm: found [], allowed: a section, [models.minilm] with keys below it",
            ),
            ("log.format = \"xml\"", "log.format: found \"xml\", allowed: text or json"),
            ("limits.tasks = 0", "limits.tasks: found 0, allowed: a whole number of at least 1"),
            ("limits.tasks = -1", "limits.tasks: found -1, allowed: a whole number of at least 1"),
            (
                "limits.tasks = 1.5",
                "limits.tasks: found 1.5, allowed: a whole number of at least 1",
            ),
            (
                "limits.tasks = \"8\"",
                "limits.tasks: found \"8\", allowed: a whole number of at least 1",
            ),
            (
                "runtime.workers = -1",
                "runtime.workers: found -1, allowed: a whole number of at least 0",
            ),
            (
                "training.serve_untrained = \"yes\"",
                "training.serve_untrained: found \"yes\", allowed: true or false",
            ),
            ("default_model = 3", "default_model: found 3, allowed: text in quotes"),
            ("runtime.library = 3", "runtime.library: found 3, allowed: text in quotes"),
            (
                "runtime.library = \"\"",
                "runtime.library: found \"\", allowed: the path of ONNX Runtime's shared library",
            ),
            (
                "limits.labels_per_task = 1",
                "limits.labels_per_task: found 1, allowed: a whole number of at least 2, as a task has no fewer labels",
            ),
            (
                "batching.queue_tokens = 1000",
                "limits.tokens_per_request: found 262144, allowed: at most 1000, which is batching.queue_tokens: a larger request could never be admitted",
            ),
            (
                "default_model = \"minlm\"",
                "default_model: found \"minlm\", which is no model here, allowed: \"bert\", \"minilm\"",
            ),
            (
                "[models.a]\npath = \"a\"\n[models.b]\npath = \"b\"",
                "default_model: found \"minilm\", which is no model here, allowed: \"a\", \"b\"",
            ),
            (
                "models = {}",
                "models: found none, allowed: at least one [models.NAME] with its path",
            ),
        ] {
            assert_eq!(problem(file), expected);
        }
    }

    #[test]
    fn with_a_model_is_specific() {
        for (keys, expected) in [
            (
                "",
                "models.a.path: found none, allowed: the path of a folder in the sentence-transformers layout",
            ),
            (
                "path = \"\"",
                "models.a.path: found none, allowed: the path of a folder in the sentence-transformers layout",
            ),
            ("path = 5", "models.a.path: found 5, allowed: text in quotes"),
            (
                "path = \"a\"\nprecision = \"fp8\"",
                "models.a.precision: found \"fp8\", allowed: auto, fp32, bf16, int8",
            ),
            (
                "path = \"a\"\nprecision = 16",
                "models.a.precision: found 16, allowed: auto, fp32, bf16, int8",
            ),
            (
                "path = \"a\"\nprovider = \"tpu\"",
                "models.a.provider: found \"tpu\", allowed: auto, cpu, cuda",
            ),
            (
                "path = \"a\"\npooling = \"max\"",
                "models.a.pooling: found \"max\", allowed: mean or cls",
            ),
            ("path = \"a\"\nnormalize = 1", "models.a.normalize: found 1, allowed: true or false"),
            (
                "path = \"a\"\nmax_seq_length = 0",
                "models.a.max_seq_length: found 0, allowed: a whole number of at least 1",
            ),
            (
                "path = \"a\"\nfile = \"../model.onnx\"",
                "models.a.file: found \"../model.onnx\", allowed: the path of an .onnx or .safetensors file inside the model's folder",
            ),
            (
                "path = \"a\"\nfile = \"/model.onnx\"",
                "models.a.file: found \"/model.onnx\", allowed: the path of an .onnx or .safetensors file inside the model's folder",
            ),
            (
                "path = \"a\"\nfile = \"pytorch_model.bin\"",
                "models.a.file: found \"pytorch_model.bin\", allowed: the path of an .onnx or .safetensors file inside the model's folder",
            ),
        ] {
            assert_eq!(problem(&format!("[models.a]\n{keys}")), expected);
        }
        let problem = problem("[models.\"a b\"]\npath = \"a\"");
        assert!(
            problem
                .starts_with("models.\"a b\": found the name \"a b\", allowed: 1 to 64 characters"),
            "{problem}"
        );
    }

    #[test]
    fn with_a_task_is_specific() {
        for (section, expected) in [
            ("[tasks.t]", "tasks.t.labels: 0 labels are too few: a task has at least 2"),
            (
                "[tasks.t]\nlabels = [\"a\"]",
                "tasks.t.labels: 1 labels are too few: a task has at least 2",
            ),
            (
                "[tasks.t]\nlabels = [\"a\", \"b\", \"a\"]",
                "tasks.t.labels: labels[2] repeats labels[0] (\"a\"): the labels of a task differ",
            ),
            (
                "[tasks.t]\nlabels = [\"a\", \"\"]",
                "tasks.t.labels: labels[1] is \"\": a label is not empty and has no white space around it",
            ),
            (
                "[tasks.t]\nlabels = \"a\"",
                "tasks.t.labels: found \"a\", allowed: an array of texts",
            ),
            (
                "[tasks.t]\nlabels = [\"a\", 5]",
                "tasks.t.labels[1]: found 5, allowed: text in quotes",
            ),
            (
                "[tasks.t]\nmodel = \"berd\"\nlabels = [\"a\", \"b\"]",
                "tasks.t.model: found \"berd\", which is no model here, allowed: \"bert\", \"minilm\"",
            ),
            (
                "[tasks.encoder]\nlabels = [\"a\", \"b\"]",
                "tasks.encoder: the name \"encoder\" is reserved: it stands for the shared encoder in `freeze`",
            ),
            (
                "[tasks.\"a/b\"]\nlabels = [\"a\", \"b\"]",
                "tasks.\"a/b\": the name \"a/b\" is not allowed: a task's name has 1 to 64 characters of A-Z a-z 0-9 _ . - other than \".\" and \"..\"",
            ),
            ("limits.tasks = 1", "tasks: found 2, allowed: at most 1, which is limits.tasks"),
            (
                "limits.labels_per_task = 2",
                "tasks.topic.labels: 3 labels are too many: a task has at most 2",
            ),
            (
                "limits.label_bytes = 10",
                "tasks.topic.labels: labels[1] has 13 bytes: a label has at most 10 (in UTF-8)",
            ),
        ] {
            assert_eq!(problem(section), expected);
        }
    }

    #[test]
    fn with_the_store_does_not_show_a_password() {
        let problem = problem("store.url = \"mysql://polyhead:secret@db/heads\"");
        assert!(
            problem.starts_with("store.url: found the scheme \"mysql\", allowed: "),
            "{problem}"
        );
        assert!(!problem.contains("secret"));
    }

    #[test]
    fn never_comes_alone_when_there_are_more() {
        let file = r#"
            default_model = "x"
            unknown = 1
            server = { listen = "nowhere", lisen = "1.1.1.1:1", shutdown = { grace = "soon" } }
            limits = { tasks = 0, body_bytes = "8MB" }
            models.minilm = { path = "m", precision = "fp8", provider = "cuda", pol = 1 }
            tasks.a = { labels = ["x"] }
            tasks.b = { labels = [1, "y", 2], model = "gone" }
            tasks.encoder = { labels = ["x", "y"] }
        "#;
        let error =
            load(file, &[("POLYHEAD__TRAINING__QUEUED_JOBS", "none")]).unwrap_err().to_string();
        let keys = [
            "default_model: ",
            "unknown: ",
            "server.listen: ",
            "server.lisen: ",
            "server.shutdown.grace: ",
            "limits.tasks: ",
            "limits.body_bytes: ",
            "models.minilm.precision: ",
            "models.minilm.pol: ",
            "tasks.a.labels: ",
            "tasks.b.labels[0]: ",
            "tasks.b.labels[2]: ",
            "tasks.b.model: ",
            "tasks.encoder: ",
            "POLYHEAD__TRAINING__QUEUED_JOBS (sets training.queued_jobs): ",
        ];
        for key in keys {
            assert!(error.contains(&format!("\n  {key}")), "{key} is not in\n{error}");
        }
        assert_eq!(
            error.lines().next().unwrap(),
            format!("{} problems in the configuration:", keys.len()),
            "{error}"
        );
    }

    #[test]
    fn does_not_bring_problems_that_only_follow_from_it() {
        // Nothing about the task and the default that name the model, nor about too few labels.
        assert_eq!(
            problem(
                "default_model = \"m\"\nmodels.m = 5\ntasks.t = { model = \"m\", labels = [\"a\", \"b\"] }"
            ),
            "models.m: found 5, allowed: a section, [models.m] with keys below it"
        );
        assert_eq!(
            problem("tasks.t.labels = 5"),
            "tasks.t.labels: found 5, allowed: an array of texts"
        );
        assert_eq!(
            problem("batching.queue_tokens = \"few\""),
            "batching.queue_tokens: found \"few\", allowed: a whole number of at least 1"
        );
    }

    #[test]
    fn shows_long_values_shortened_on_one_line() {
        let problem = problem(&format!("log.format = \"\\n{}\"", "ä".repeat(5_000)));
        assert!(
            problem.len() < 300 && problem.contains('…') && !problem.contains('\n'),
            "{problem}"
        );
    }
}

#[test]
fn zero_workers_stand_for_the_cores_that_the_process_may_use() {
    let cores = std::thread::available_parallelism().unwrap();
    assert_eq!(RuntimeConfig { workers: 0, ..RuntimeConfig::default() }.worker_threads(), cores);
    let workers = RuntimeConfig { workers: 3, ..RuntimeConfig::default() }.worker_threads();
    assert_eq!(workers.get(), 3);
}
