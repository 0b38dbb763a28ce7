//! `polyhead embed`.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::client::{Client, Server};
use crate::cli::output::unless_nobody_reads;
use crate::cli::texts::{Batch, Source};
use crate::npy;

/// Embed texts by a running server, one a line.
#[derive(Debug, clap::Args)]
pub struct Embed {
    #[command(flatten)]
    source: Source,
    /// How embeddings are printed.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// The model that embeds; the server's default without it.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Whether embeddings have length 1; the model's own habit by default.
    #[arg(long, value_name = "true|false")]
    normalize: Option<bool>,
    /// Keep so many leading elements.
    #[arg(long, value_name = "COUNT")]
    dimensions: Option<usize>,
    /// The name of the model's prompt that is put before each text.
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// One JSON object a line, with `text` and `embedding`.
    Ndjson,
    /// One array for NumPy, texts × dimensions, in single precision. All texts are read first.
    Npy,
}

/// Embeddings of one request, row after row.
struct Rows {
    width: usize,
    /// Little-endian f32.
    bytes: Vec<u8>,
}

/// A line of the output.
#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    embedding: Vec<f32>,
}

impl Embed {
    pub fn run(self) -> anyhow::Result<()> {
        if self.format == Format::Npy && io::stdout().is_terminal() {
            bail!("an array is nothing for a terminal; send it to a file: > embeddings.npy");
        }
        unless_nobody_reads(match self.format {
            Format::Ndjson => self.print_lines(),
            Format::Npy => self.print_array(),
        })
    }

    fn print_lines(&self) -> anyhow::Result<()> {
        let client = self.server.client()?;
        let mut texts = self.source.open()?;
        let mut out = BufWriter::new(io::stdout().lock());
        while let Some(batch) = texts.next_batch()? {
            let rows = self.embed(&client, &batch)?;
            let components = rows.bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
            let components: Vec<f32> = components.collect();
            for (text, embedding) in batch.texts.iter().zip(components.chunks(rows.width)) {
                let line = serde_json::to_string(&Line { text, embedding: embedding.to_vec() })?;
                writeln!(out, "{line}")?;
            }
            // Whoever reads a pipe sees each answer when it is there.
            out.flush()?;
        }
        Ok(())
    }

    /// The array's header says how many rows follow.
    fn print_array(&self) -> anyhow::Result<()> {
        let client = self.server.client()?;
        let mut texts = self.source.open()?;
        let mut batches = Vec::new();
        while let Some(batch) = texts.next_batch()? {
            batches.push(batch);
        }
        let count = batches.iter().map(|batch| batch.texts.len()).sum();
        let mut out = BufWriter::new(io::stdout().lock());
        let mut width = None;
        for batch in &batches {
            let rows = self.embed(&client, batch)?;
            if width.is_none() {
                out.write_all(&npy::header(count, rows.width))?;
            } else if width != Some(rows.width) {
                bail!("the server's embeddings have changed their width: is it another model?");
            }
            width = Some(rows.width);
            out.write_all(&rows.bytes)?;
        }
        if width.is_none() {
            out.write_all(&npy::header(0, 0))?;
        }
        out.flush()?;
        Ok(())
    }

    fn embed(&self, client: &Client, batch: &Batch) -> anyhow::Result<Rows> {
        let mut body = json!({"inputs": batch.texts});
        for (name, value) in [
            ("model", json!(self.model)),
            ("normalize", json!(self.normalize)),
            ("dimensions", json!(self.dimensions)),
            ("prompt_name", json!(self.prompt_name)),
        ] {
            if value != Value::Null {
                body[name] = value;
            }
        }
        let answer = client.post("/embed", &body, "application/octet-stream");
        let answer = answer.map_err(|error| batch.locate(error))?;
        let mut bytes = Vec::new();
        answer.into_body().into_reader().read_to_end(&mut bytes).context("the answer broke off")?;
        let row = bytes.len() / batch.texts.len();
        if row == 0 || row * batch.texts.len() != bytes.len() || !row.is_multiple_of(4) {
            bail!("the server's answer is not one embedding for each text");
        }
        Ok(Rows { width: row / 4, bytes })
    }
}
