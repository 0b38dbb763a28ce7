//! `polyhead classify`.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::cli::client::{self, Client, Server};
use crate::cli::output::unless_nobody_reads;
use crate::cli::texts::{Batch, Source};

/// Classify texts by a running server, one a line.
///
/// Prints for each text one line: label and score of each task, then the text, with tabs between
/// them. The label is empty where its score is below the task's threshold. Of a multi-label task, all
/// labels that apply and their scores are printed, with | between them.
#[derive(Debug, clap::Args)]
pub struct Classify {
    #[command(flatten)]
    source: Source,
    /// By default all tasks of the model that are trained.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "labels")]
    tasks: Option<Vec<String>>,
    /// Classify by these labels, without training.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// The sentence that labels are put into, such as "This text is about {}."
    #[arg(long, value_name = "TEXT", requires = "labels")]
    template: Option<String>,
    /// The model of the labels, or whose tasks to ask.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Give no label whose score is below.
    #[arg(long, value_name = "0..1")]
    threshold: Option<f32>,
    /// Print one JSON object a line, with all scores.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Classify {
    pub fn run(self) -> anyhow::Result<()> {
        unless_nobody_reads(self.print())
    }

    fn print(self) -> anyhow::Result<()> {
        let client = self.server.client()?;
        let mut texts = self.source.open()?;
        let mut out = BufWriter::new(io::stdout().lock());
        while let Some(batch) = texts.next_batch()? {
            let results = self.ask(&client, &batch).map_err(|error| batch.locate(error))?;
            for (text, result) in batch.texts.iter().zip(&results) {
                if self.json {
                    writeln!(out, "{}", json!({"text": text, "results": result}))?;
                } else {
                    writeln!(out, "{}", self.row(text, result))?;
                }
            }
            // Whoever reads a pipe sees each answer when it is there.
            out.flush()?;
        }
        Ok(())
    }

    fn ask(&self, client: &Client, batch: &Batch) -> anyhow::Result<Vec<Map<String, Value>>> {
        let mut body = json!({"inputs": batch.texts});
        for (name, value) in [
            ("tasks", json!(self.tasks)),
            ("labels", json!(self.labels)),
            ("template", json!(self.template)),
            ("model", json!(self.model)),
            ("threshold", json!(self.threshold)),
        ] {
            if !value.is_null() {
                body[name] = value;
            }
        }
        let mut answer = client::json(client.post("/classify", &body, "application/json")?)?;
        serde_json::from_value(answer["results"].take())
            .context("the server's answer has no results")
    }

    /// Tasks in the order in which they were asked for, else in that of their names.
    fn row(&self, text: &str, result: &Map<String, Value>) -> String {
        let tasks = self.tasks.clone().unwrap_or_else(|| result.keys().cloned().collect());
        let mut row = String::new();
        for task in tasks {
            let (labels, scores) = cells(&result[&task]);
            // The text stands last, so that nothing but a label could be taken for a column, or for an
            // order to the terminal.
            row += &format!("{}\t{scores}\t", labels.replace(char::is_control, " "));
        }
        row + text
    }
}

/// A task's label and its score; or all labels that apply, and theirs.
fn cells(answer: &Value) -> (String, String) {
    let Some(labels) = answer["labels"].as_array() else {
        let label = answer["label"].as_str().unwrap_or_default();
        return (label.to_owned(), answer["score"].to_string());
    };
    let scores = answer["scores"].as_array().into_iter().flatten();
    let applies = scores.filter(|score| labels.contains(&score["label"]));
    let (labels, scores): (Vec<String>, Vec<String>) = applies
        .map(|it| (it["label"].as_str().unwrap_or_default().to_owned(), it["score"].to_string()))
        .unzip();
    (labels.join("|"), scores.join("|"))
}
