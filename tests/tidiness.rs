//! The invariants of the source that a reader relies on, checked by reading it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, its tests not counted.
const LONGEST_FILE: usize = 400;

#[test]
fn onnx_runtime_is_named_by_the_session_and_the_kernel_only() {
    assert_only_in(&["src/encoder/session", "src/kernel"], |code| names_crate(code, "ort"));
    assert_only_in(&["src/encoder/session", "src/kernel"], |code| names_crate(code, "ort_sys"));
}

#[test]
fn http_is_spoken_by_the_http_module_only() {
    for name in ["axum", "tower", "tower_http"] {
        // The application joins a listener and a router; what these do is none of its business.
        let home = ["src/http", "src/app"];
        assert_only_in(&home, |code| names_crate(code, name));
    }
    // The hub is a client: the statuses that it reads are another server's.
    assert_only_in(&["src/http", "src/hub"], |code| has_word(code, "StatusCode"));
    let app = code("src/app.rs");
    for (number, line) in app.lines().enumerate().filter(|(_, line)| names_crate(line, "axum")) {
        let serving = ["use axum::Router;", "use axum::serve::ListenerExt;", "axum::serve("];
        assert!(serving.iter().any(|it| line.contains(it)), "src/app.rs:{}: {line}", number + 1);
    }
}

#[test]
fn the_tokenizer_library_is_named_by_the_tokenizer_only() {
    assert_only_in(&["src/encoder/tokenizer"], |code| names_crate(code, "tokenizers"));
}

#[test]
fn sql_is_written_in_the_store_only() {
    assert_only_in(&["src/store"], |code| names_crate(code, "sqlx"));
    for statement in ["SELECT ", "INSERT INTO ", "DELETE FROM ", "UPDATE jobs "] {
        assert_only_in(&["src/store"], |code| code.contains(statement));
    }
}

#[test]
fn unsafe_is_for_the_kernel_only() {
    assert_only_in(&["src/kernel"], |code| has_word(code, "unsafe"));
}

#[test]
fn the_encoder_knows_neither_heads_nor_training_nor_http() {
    let foreign = ["heads", "training", "store", "http", "app"];
    assert_none_in(&["src/encoder", "src/onnx"], &foreign, names_module);
}

#[test]
fn heads_know_neither_http_nor_how_they_are_trained() {
    assert_none_in(&["src/heads"], &["http", "app", "cli", "encoder::session"], names_module);
    // A head's record tells how it was made; the head itself only predicts.
    assert_none_in(&["src/heads/head"], &["training", "store", "encoder"], names_module);
}

#[test]
fn training_and_store_do_not_know_http() {
    assert_none_in(
        &["src/training", "src/store", "src/hub"],
        &["http", "app", "cli"],
        names_module,
    );
}

#[test]
fn prediction_pooling_and_solvers_are_pure() {
    let pure = [
        "src/heads/head",
        "src/encoder/pooling",
        "src/training/calibration",
        "src/training/evaluation",
        "src/training/learn",
        "src/training/predictions",
        "src/training/selection",
        "src/training/solver",
        "src/training/thresholds",
    ];
    let impure = [
        "std::time",
        "Instant",
        "SystemTime",
        "jiff",
        "std::fs",
        "std::io",
        "std::net",
        "std::env",
        "std::thread",
        "tokio",
        "rand::rng",
        "thread_rng",
        "from_os_rng",
        "tracing",
        "println",
        "static mut",
        "OnceLock",
        "Mutex",
    ];
    assert_none_in(&pure, &impure, has_word);
}

#[test]
fn nothing_is_left_to_do_later() {
    for word in ["todo!", "unimplemented!", "dbg!", "#[ignore", "FIXME", "TODO", "XXX"] {
        let mut files = rust_files("src");
        files.extend(rust_files("tests"));
        let here = Path::new("tests/tidiness.rs");
        for file in files.iter().filter(|file| *file != here) {
            for (number, line) in read(file).lines().enumerate() {
                assert!(!line.contains(word), "{}:{}: {line}", file.display(), number + 1);
            }
        }
    }
}

#[test]
fn nothing_is_unwrapped_without_a_reason() {
    assert_only_in(&[], |code| code.contains(".unwrap()"));
    // A lint that is switched off hides what it would have found.
    assert_only_in(&[], |code| code.contains("allow(clippy") || code.contains("allow(dead_code"));
    assert_only_in(&[], |code| code.contains("allow(unused"));
}

#[test]
fn no_file_is_too_long_to_be_read_at_a_sitting() {
    for file in source_files() {
        let lines = without_tests(&read(&file)).lines().count();
        let name = file.display();
        assert!(lines <= LONGEST_FILE, "{name} has {lines} lines; allowed: {LONGEST_FILE}");
    }
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = read(&file);
        let is_test_module = is_test_file(&file);
        assert!(is_test_module || text.starts_with("//! "), "{} has no heading", file.display());
    }
}

#[test]
fn no_module_is_a_drawer_for_odds_and_ends() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        for part in file.components() {
            let part = part.as_os_str().to_str().unwrap().trim_end_matches(".rs");
            let drawers = ["util", "utils", "helper", "helpers", "misc", "common", "mod"];
            assert!(!drawers.contains(&part), "{}", file.display());
        }
    }
}

#[test]
fn nothing_depends_on_somebodys_machine_or_mirror() {
    let manifests =
        ["Makefile", "Dockerfile", "Cargo.toml", ".cargo/config.toml", "models/pins.ini"];
    let scripts = [
        "models/fetch.py",
        ".ci/run",
        "benches/run.py",
        "benches/requirements.txt",
        "benches/requirements-torch.txt",
        "tests/schema/requirements.txt",
        "tests/schema/run.py",
    ];
    let mirrors = [
        "index-url",
        "index_url",
        "extra-index",
        "trusted-host",
        "find-links",
        "replace-with",
        "[source.",
        "[registries",
        "/root/",
        "/home/",
    ];
    for file in manifests.into_iter().chain(scripts) {
        let text = read(Path::new(file));
        for mirror in mirrors {
            assert!(!text.contains(mirror), "{file} names {mirror}");
        }
    }
    let lock = read(Path::new("Cargo.lock"));
    let sources: BTreeSet<&str> = lock.lines().filter(|line| line.starts_with("source")).collect();
    assert_eq!(sources.len(), 1, "crates come from one registry: {sources:?}");
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        if file == Path::new("tests/tidiness.rs") {
            continue;
        }
        for machine in ["/root/", "/home/user"] {
            assert!(!read(&file).contains(machine), "{} names {machine}", file.display());
        }
    }
}

#[test]
fn every_make_command_that_is_told_of_exists() {
    let makefile = read(Path::new("Makefile"));
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ', '#', '.']) && !line.contains('='))
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    for target in ["run", "test", "build", "models", "lint", "image", "bench"] {
        assert!(targets.contains(target), "there is no `make {target}`");
    }
    let readme = read(Path::new("README.md"));
    for command in ["make run", "make test"] {
        assert!(readme.contains(command), "README.md does not tell of `{command}`");
    }
    let mut told = files_below(Path::new("."), &|file| {
        ["md", "toml"].iter().any(|it| file.extension().is_some_and(|extension| extension == *it))
    });
    told.extend(rust_files("src"));
    for file in told {
        for target in commands(&read(&file), "make") {
            assert!(targets.contains(&*target), "{}: there is no `make {target}`", file.display());
        }
    }
}

#[test]
fn every_subcommand_that_is_told_of_exists() {
    let commands: BTreeSet<String> = rust_files("src/cli")
        .iter()
        .filter(|file| file.parent() == Some(Path::new("src/cli")))
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut told =
        files_below(Path::new("."), &|file| file.extension().is_some_and(|it| it == "md"));
    told.extend(["config.toml", "Dockerfile", "Makefile"].map(PathBuf::from));
    for file in told {
        for command in self::commands(&read(&file), "polyhead") {
            let file = file.display();
            assert!(commands.contains(&command), "{file}: there is no `polyhead {command}`");
        }
    }
}

#[test]
fn every_file_that_a_page_links_to_exists() {
    for page in files_below(Path::new("."), &|file| file.extension().is_some_and(|it| it == "md")) {
        let text = read(&page);
        for (start, _) in text.match_indices("](") {
            let target = &text[start + 2..];
            let target = &target[..target.find(')').unwrap()];
            let file = target.split('#').next().unwrap();
            if file.contains("://") || file.is_empty() {
                continue;
            }
            let linked = page.parent().unwrap().join(file);
            assert!(linked.exists(), "{}: there is no {file}", page.display());
        }
    }
}

#[test]
fn the_scan_tells_code_from_comments_strings_of_other_names_and_tests() {
    assert!(names_crate("use ort::session;", "ort") && names_crate("    ort::info()", "ort"));
    for other in ["sort::by()", "crate::ort::x", "import ort", "support", "my_ort::x"] {
        assert!(!names_crate(other, "ort"), "{other}");
    }
    assert!(names_module("use crate::heads::head::Head;", "heads"));
    assert!(names_module("use super::super::heads::Head;", "heads"));
    assert!(names_module("use crate::{config, heads::Task};", "heads"));
    assert!(!names_module("let heads = 3; heads.len()", "heads"));
    assert!(has_word("let x = Instant::now();", "Instant") && !has_word("Instantly", "Instant"));
    let text = "//! ort::x\ncode();\n/// ort::y\nlet u = \"http://x\"; // ort::z\n\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(without_comments(&without_tests(text)), "\ncode();\n\nlet u = \"http://x\"; \n\n");
    let text = "run `make models`, to make it so\n```sh\nmake run # x\n./target/polyhead serve\n```\nmake do";
    assert_eq!(commands(text, "make"), ["models", "run"]);
    assert_eq!(commands(text, "polyhead"), ["serve"]);
}

/// Fails on code outside `homes` of which `is_so` holds. A home is the beginning of a path.
fn assert_only_in(homes: &[&str], is_so: impl Fn(&str) -> bool) {
    for file in source_files() {
        if homes.iter().any(|home| is_within(&file, home)) {
            continue;
        }
        assert_no_line(&file, &is_so);
    }
}

/// Fails on code below `places` that has one of `words` in the sense of `has`.
fn assert_none_in(places: &[&str], words: &[&str], has: fn(&str, &str) -> bool) {
    for place in places {
        let files: Vec<PathBuf> =
            source_files().into_iter().filter(|file| is_within(file, place)).collect();
        assert!(!files.is_empty(), "there is nothing at {place}");
        for file in files {
            assert_no_line(&file, &|line: &str| words.iter().any(|word| has(line, word)));
        }
    }
}

fn assert_no_line(file: &Path, is_so: &impl Fn(&str) -> bool) {
    for (number, line) in code(file).lines().enumerate() {
        assert!(!is_so(line), "{}:{}: {line}", file.display(), number + 1);
    }
}

/// Whether a file is the module at `place`, such as `src/encoder/session`, or one inside it.
fn is_within(file: &Path, place: &str) -> bool {
    file.starts_with(place) || file.with_extension("") == Path::new(place)
}

/// A file's code: no comments, no tests.
fn code(file: impl AsRef<Path>) -> String {
    without_comments(&without_tests(&read(file.as_ref())))
}

/// All code files but those with tests only.
fn source_files() -> Vec<PathBuf> {
    let mut files = rust_files("src");
    files.retain(|file| !is_test_file(file));
    assert!(files.len() > 50, "the source has been found");
    files
}

/// Whether a file, or the module that it is in, is declared below `#[cfg(test)]`.
fn is_test_file(file: &Path) -> bool {
    let is_declared_for_tests = |module: &Path| {
        let (Some(parent), Some(name)) = (module.parent(), module.file_stem()) else {
            return false;
        };
        let declaration = format!("#[cfg(test)]\nmod {};", name.to_str().unwrap());
        [parent.with_extension("rs"), parent.join("lib.rs")]
            .iter()
            .any(|parent| fs::read_to_string(parent).is_ok_and(|text| text.contains(&declaration)))
    };
    file.ancestors().any(is_declared_for_tests)
}

/// What comes before the tests, which stand last in a file.
fn without_tests(text: &str) -> String {
    match text.find("\n#[cfg(test)]\nmod tests {") {
        Some(end) => text[..=end].to_owned(),
        None => text.to_owned(),
    }
}

/// The lines with line comments, the only ones in use, cut off.
fn without_comments(text: &str) -> String {
    let cut = |line: &str| {
        let start = line.match_indices("//").find(|(start, _)| {
            // Within a text, as in a URL, an odd number of quotes comes before.
            line[..*start].matches('"').count().is_multiple_of(2)
        });
        format!("{}\n", &line[..start.map_or(line.len(), |(start, _)| start)])
    };
    text.lines().map(cut).collect()
}

/// Whether `code` starts a path at the crate `name`.
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        before.is_none_or(|it| !it.is_alphanumeric() && it != '_' && it != ':')
    })
}

/// Whether `code` goes through the module `name` of this crate.
fn names_module(code: &str, name: &str) -> bool {
    let is_path = code.contains("crate::") || code.contains("super::");
    is_path
        && ["::", "{", ", "].iter().any(|before| {
            [format!("{before}{name}::"), format!("{before}{name};"), format!("{before}{name},")]
                .iter()
                .any(|path| code.contains(path))
        })
}

/// Whether `word` stands in `code` and is no part of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    let inner = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(word).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        !before.is_some_and(inner) && !after.is_some_and(inner)
    })
}

/// The first words behind `program` in backquotes, or at the start of a line of a fenced block.
fn commands(text: &str, program: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        let pieces: Vec<&str> = if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        } else if fenced {
            vec![line.trim_start().trim_start_matches("$ ")]
        } else {
            line.split('`').skip(1).step_by(2).collect()
        };
        let argument = |piece: &str| -> Option<String> {
            let (command, rest) = piece.split_once(' ')?;
            let is_it = command == program || command.ends_with(&format!("/{program}"));
            let word = rest.chars().take_while(|it| it.is_ascii_alphanumeric()).collect::<String>();
            (is_it && !word.is_empty()).then_some(word)
        };
        found.extend(pieces.into_iter().filter_map(argument));
    }
    found
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    files_below(Path::new(folder), &|file| file.extension().is_some_and(|it| it == "rs"))
}

/// Files of the repository, in order; not what is built or fetched.
fn files_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            let foreign = name.starts_with('.')
                || ["target", "lib", "data", "node_modules"].contains(&name)
                || path.parent() == Some(Path::new("models"));
            if !foreign {
                found.extend(files_below(&path, wanted));
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
