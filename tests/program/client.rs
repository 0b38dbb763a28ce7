//! `polyhead classify` and `polyhead embed`, in pipes and on files.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use toml::toml;

use crate::server::{Server, examples};
use crate::site::Site;

/// More than one request's worth.
const COUNT: usize = 150;

/// A site with a trained server and a file of texts.
fn trained() -> (Site, Server, Vec<String>) {
    let site = Site::new();
    let server = site.start();
    let job = server.train(&json!({"examples": examples(30, 0)}));
    assert_eq!(server.finished(&job)["state"], "succeeded");
    let words = ["good film", "bad stock price", "great computer work"];
    let texts: Vec<String> =
        (0..COUNT).map(|number| format!("{} {number}", words[number % words.len()])).collect();
    fs::write(site.path().join("texts.txt"), format!("{}\n", texts.join("\n"))).unwrap();
    (site, server, texts)
}

/// Runs a client with a file as its standard input.
fn piped(site: &Site, server: &Server, arguments: &[&str], input: &str) -> Output {
    let input = File::open(site.path().join(input)).unwrap();
    let mut command = site.polyhead(arguments);
    command.env("POLYHEAD_SERVER", &server.url).stdin(input).output().unwrap()
}

#[track_caller]
fn lines(output: &Output) -> Vec<&str> {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

#[test]
fn every_text_is_classified_in_its_order() {
    let (site, server, texts) = trained();
    let arguments = ["classify", "--tasks", "topic,sentiment", "texts.txt"];
    let of_file = site.polyhead(&arguments).args(["--server", &server.url]).output().unwrap();
    // In requests as the client makes them: a last digit may depend on a text's companions.
    let results: Vec<Value> = texts
        .chunks(64)
        .flat_map(|texts| {
            let answer = server.post("/classify", &json!({"inputs": texts})).body;
            answer["results"].as_array().unwrap().clone()
        })
        .collect();
    let expected = texts.iter().zip(&results);
    let (topic, sentiment) = ("topic", "sentiment");
    let rows: Vec<String> = expected
        .clone()
        .map(|(text, result)| {
            let cells = [topic, sentiment].map(|task| {
                let label = result[task]["label"].as_str().unwrap();
                format!("{label}\t{}", result[task]["score"])
            });
            format!("{}\t{text}", cells.join("\t"))
        })
        .collect();
    assert_eq!(lines(&of_file), rows);
    let of_pipe = piped(&site, &server, &["classify", "--tasks", "topic,sentiment"], "texts.txt");
    assert_eq!(lines(&of_pipe), rows);

    let as_json = piped(&site, &server, &["classify", "--json", "-"], "texts.txt");
    for (line, (text, result)) in lines(&as_json).iter().zip(expected) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["text"], &line["results"]), (&json!(text), result));
    }
    server.stop();
}

#[test]
fn all_labels_that_apply_stand_in_one_column_and_their_scores_in_the_next() {
    let site = Site::with(toml! {
        [tasks.tags]
        labels = ["art", "trade", "new"]
        multi_label = true
    });
    let server = site.start();
    let sets =
        [("film", vec!["art"]), ("stock market", vec!["trade"]), ("the idea", vec!["new", "art"])];
    let examples: Vec<Value> =
        sets.iter().map(|(text, tags)| json!({"text": text, "labels": {"tags": tags}})).collect();
    let job = server.train(&json!({"examples": examples}));
    assert_eq!(server.finished(&job)["state"], "succeeded");
    fs::write(site.path().join("texts.txt"), "film\nstock market\n").unwrap();
    let ask = |threshold: &str| {
        let arguments = ["classify", "--tasks", "tags", "--threshold", threshold];
        piped(&site, &server, &arguments, "texts.txt")
    };
    let all = server.post("/classify", &json!({"inputs": ["film", "stock market"]})).body;
    for (line, (text, answer)) in lines(&ask("0"))
        .iter()
        .zip(["film", "stock market"].into_iter().zip(all["results"].as_array().unwrap()))
    {
        let scores = answer["tags"]["scores"].as_array().unwrap().iter();
        let (labels, scores): (Vec<&str>, Vec<String>) =
            scores.map(|it| (it["label"].as_str().unwrap(), it["score"].to_string())).unzip();
        assert_eq!(*line, format!("{}\t{}\t{text}", labels.join("|"), scores.join("|")));
    }
    assert_eq!(lines(&ask("1")), ["\t\tfilm", "\t\tstock market"], "none applies");
    server.stop();
}

#[test]
fn labels_need_no_training_and_a_threshold_leaves_them_out() {
    let site = Site::new();
    let server = site.start();
    fs::write(site.path().join("texts.txt"), "a good film\n").unwrap();
    let arguments = ["classify", "--labels", "film,market", "--template", "this is {}"];
    let sure = piped(&site, &server, &arguments, "texts.txt");
    let row: Vec<&str> = lines(&sure)[0].split('\t').collect();
    assert!(["film", "market"].contains(&row[0]), "{row:?}");
    assert!((0.5..=1.0).contains(&row[1].parse::<f64>().unwrap()), "{row:?}");
    assert_eq!(row[2], "a good film");
    let unsure =
        piped(&site, &server, &[&arguments[..], &["--threshold", "1"]].concat(), "texts.txt");
    assert_eq!(lines(&unsure)[0], ["", row[1], row[2]].join("\t"));
    server.stop();
}

#[test]
fn no_label_gives_the_terminal_an_order_or_makes_a_column() {
    let site = Site::new();
    let server = site.start();
    fs::write(site.path().join("texts.txt"), "a good film\n").unwrap();
    // To clear the screen, in one character too; a column; a line.
    let labels = "\u{1b}[2Jfilm\tand\nmore,\u{9b}2Jmarket";
    let classified = piped(&site, &server, &["classify", "--labels", labels], "texts.txt");
    let row: Vec<&str> = lines(&classified)[0].split('\t').collect();
    assert_eq!((lines(&classified).len(), row.len(), row[2]), (1, 3, "a good film"), "{row:?}");
    assert!([" [2Jfilm and more", " 2Jmarket"].contains(&row[0]), "{row:?}");
    server.stop();
}

#[test]
fn embeddings_are_those_of_the_server_as_lines_and_as_an_array() {
    let (site, server, texts) = trained();
    let expected = server.post("/embed", &json!({"inputs": texts})).body;
    let expected = expected.as_array().unwrap();

    let output = piped(&site, &server, &["embed"], "texts.txt");
    let lines = lines(&output);
    assert_eq!(lines.len(), COUNT);
    for ((line, text), embedding) in lines.iter().zip(&texts).zip(expected) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["text"], *text);
        for (found, expected) in
            line["embedding"].as_array().unwrap().iter().zip(embedding.as_array().unwrap())
        {
            // Requests of other sizes may sum in another order.
            let difference = found.as_f64().unwrap() - expected.as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{text}: {difference}");
        }
    }

    let arguments = ["embed", "--format", "npy", "--dimensions", "8", "texts.txt"];
    let array = piped(&site, &server, &arguments, "texts.txt").stdout;
    let (header, numbers) = array.split_at(128);
    let header = String::from_utf8_lossy(header);
    assert!(header.contains("'shape': (150, 8)") && header.contains("'<f4'"), "{header}");
    assert_eq!(numbers.len(), COUNT * 8 * 4);
    let row: Vec<f32> =
        numbers[..32].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let norm = row.iter().map(|component| component * component).sum::<f32>();
    // Squares of eight numbers in single precision.
    assert!((norm - 1.0).abs() < 1e-5, "{row:?}");
    server.stop();
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_writer_quietly() {
    let (site, server, _) = trained();
    // Far more than fits into a pipe.
    let many = "a good film about a long journey\n".repeat(5000);
    fs::write(site.path().join("many.txt"), many).unwrap();
    for command in ["classify", "embed"] {
        let mut client = site
            .polyhead(&[command, "many.txt", "--server", &server.url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(client.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("a good film"), "{first}");
        let ended = client.wait_with_output().unwrap();
        assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    }
    server.stop();
}

#[test]
fn answers_come_while_the_input_is_still_open() {
    let (site, server, _) = trained();
    let mut command: Command = site.polyhead(&["classify", "--server", &server.url]);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    for text in ["a good film", "a bad price"] {
        writeln!(input, "{text}").unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with(&format!("\t{text}\n")), "{answer}");
    }
    drop(input);
    assert!(client.wait().unwrap().success());
    server.stop();
}

#[test]
fn what_the_server_refuses_is_told_in_its_words() {
    let site = Site::new();
    let server = site.start();
    let long = format!("{}{}\n", "short\n".repeat(70), "film ".repeat(100));
    fs::write(site.path().join("long.txt"), long).unwrap();
    fs::write(site.path().join("gap.txt"), "a\n\nb\n").unwrap();
    for (arguments, expected) in [
        (vec!["classify", "long.txt"], "no training has published a head"),
        (vec!["classify", "long.txt", "--tasks", "mood"], "there is no task \"mood\""),
        (vec!["embed", "long.txt", "--dimensions", "9999"], "dimensions"),
        (vec!["embed", "gap.txt"], "line 2"),
        (vec!["embed", "gone.txt"], "gone.txt"),
    ] {
        let mut command = site.polyhead(&arguments);
        let ended = command.env("POLYHEAD_SERVER", &server.url).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {ended:?}");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(told.starts_with("polyhead: ") && told.contains(expected), "{arguments:?}: {told}");
    }
    let both = site.run(&["classify", "gap.txt", "--tasks", "topic", "--labels", "a,b"]);
    assert_eq!(both.status.code(), Some(2), "{both:#?}");
    let url = server.url.clone();
    server.stop();
    let nobody = site.run(&["embed", "long.txt", "--server", &url]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(nobody.stderr.concat().contains(&url), "{nobody:#?}");
}
