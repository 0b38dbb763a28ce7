//! What is reported of a wrong file, word for word.

use super::*;

#[test]
fn says_the_key_what_was_found_and_what_is_allowed() {
    for (file, expected) in [
        (
            "server.lisen = 1",
            "server.lisen: unknown key \"lisen\", allowed: listen, request_timeout, cors_origins, tls, shutdown",
        ),
        (
            "server.listen = \"localhost\"",
            "server.listen: found \"localhost\", allowed: an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:80\"",
        ),
        (
            "server.cors_origins = [\"https://example.org/\"]",
            "server.cors_origins: found \"https://example.org/\", allowed: origins as browsers send them, such as \"https://example.org\" or \"http://localhost:3000\" without a slash at the end, or \"*\" for any",
        ),
        (
            "server.tls.certificate = \"server.pem\"",
            "server.tls.key: found none beside server.tls.certificate, allowed: both keys or neither",
        ),
        (
            "server.tls.key = \"server.key\"",
            "server.tls.certificate: found none beside server.tls.key, allowed: both keys or neither",
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
        (
            "batching.batch_time = \"0s\"",
            "batching.batch_time: found no time at all, allowed: more than \"0s\", such as \"5ms\"",
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
        ("limits.tasks = 1.5", "limits.tasks: found 1.5, allowed: a whole number of at least 1"),
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
            "limits.tokens_per_request: found 131072, allowed: at most 1000, which is batching.queue_tokens: a larger request could never be admitted",
        ),
        (
            "default_model = \"minlm\"",
            "default_model: found \"minlm\", which is no model here, allowed: \"bert\", \"minilm\"",
        ),
        (
            "[models.a]\npath = \"a\"\n[models.b]\npath = \"b\"",
            "default_model: found \"minilm\", which is no model here, allowed: \"a\", \"b\"",
        ),
        ("models = {}", "models: found none, allowed: at least one [models.NAME] with its path"),
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
        problem.starts_with("models.\"a b\": found the name \"a b\", allowed: 1 to 64 characters"),
        "{problem}"
    );
}

#[test]
fn with_a_task_is_specific() {
    for (section, expected) in [
        (
            "[tasks.t]\nlabels = [\"a\", \"b\"]\nthreshold = 1.5",
            "tasks.t.threshold: found 1.5, allowed: 0 to 1",
        ),
        (
            "[tasks.t]\nlabels = [\"a\", \"b\"]\nthreshold = nan",
            "tasks.t.threshold: found NaN, allowed: 0 to 1",
        ),
        (
            "[tasks.t]\nlabels = [\"a\", \"b\"]\nthreshold = \"high\"",
            "tasks.t.threshold: found \"high\", allowed: a number",
        ),
        ("[tasks.t]", "tasks.t.labels: 0 labels are too few: a task has at least 2"),
        (
            "[tasks.t]\nlabels = [\"a\"]",
            "tasks.t.labels: 1 labels are too few: a task has at least 2",
        ),
        (
            "[tasks.t]\nlabels = []\nmulti_label = true",
            "tasks.t.labels: 0 labels are too few: a task has at least 1",
        ),
        (
            "[tasks.t]\nlabels = [\"a\"]\nmulti_label = \"yes\"",
            "tasks.t.multi_label: found \"yes\", allowed: true or false",
        ),
        (
            "[tasks.t]\nlabels = [\"a\", \"b\", \"a\"]",
            "tasks.t.labels: labels[2] repeats labels[0] (\"a\"): the labels of a task differ",
        ),
        (
            "[tasks.t]\nlabels = [\"a\", \"\"]",
            "tasks.t.labels: labels[1] is \"\": a label is not empty and has no white space around it",
        ),
        ("[tasks.t]\nlabels = \"a\"", "tasks.t.labels: found \"a\", allowed: an array of texts"),
        ("[tasks.t]\nlabels = [\"a\", 5]", "tasks.t.labels[1]: found 5, allowed: text in quotes"),
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
    assert!(problem.starts_with("store.url: found the scheme \"mysql\", allowed: "), "{problem}");
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
    let error = load(file, &[("POLYHEAD__TRAINING__QUEUED_JOBS", "none")]).unwrap_err().to_string();
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
    assert!(problem.len() < 300 && problem.contains('…') && !problem.contains('\n'), "{problem}");
}
