use std::collections::BTreeSet;
use std::fs;

use toml::{Table, Value};

use super::*;

use crate::auth::{KeyHash, Scope};

mod a_problem;
mod keys;
mod the_environment;

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
        multi_label: Some(true),
        threshold: Some(0.5),
        new_labels: Some(NewLabels::Allow),
    };
    let ci = KeyConfig {
        scopes: [Scope::Infer, Scope::Train].into(),
        sha256: Some(KeyHash::of("hello")),
        requests_per_minute: NonZeroUsize::new(60),
        tokens_per_minute: NonZeroUsize::new(100_000),
    };
    let mut config = Config::default();
    config.server.tls.certificate = Some(PathBuf::from("server.pem"));
    config.server.tls.key = Some(PathBuf::from("server.key"));
    config.auth.file = Some(PathBuf::from("keys.toml"));
    config.auth.requests_per_minute = NonZeroUsize::new(600);
    config.auth.tokens_per_minute = NonZeroUsize::new(1_000_000);
    config.auth.keys.insert("ci".to_owned(), ci);
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
        let is_key = |text: &str| {
            let is_one = |it: char| it.is_lowercase() || it == '[';
            text.starts_with(is_one) && text.parse::<Table>().is_ok()
        };
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
    fn may_declare_a_single_label_that_applies_or_not() {
        let file = "[tasks.toxic]\nlabels = [\"toxic\"]\nmulti_label = true\n[tasks.t]\nlabels = [\"a\", \"b\"]";
        let tasks = load(file, &[]).unwrap().declared_tasks();
        let kinds: Vec<_> = tasks.iter().map(|task| (task.name.as_str(), task.kind)).collect();
        assert_eq!(kinds, [("t", Kind::SingleLabel), ("toxic", Kind::MultiLabel)]);
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

#[test]
fn zero_workers_stand_for_the_cores_that_the_process_may_use() {
    let cores = std::thread::available_parallelism().unwrap();
    assert_eq!(RuntimeConfig { workers: 0, ..RuntimeConfig::default() }.worker_threads(), cores);
    let workers = RuntimeConfig { workers: 3, ..RuntimeConfig::default() }.worker_threads();
    assert_eq!(workers.get(), 3);
}
