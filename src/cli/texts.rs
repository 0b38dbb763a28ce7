//! Texts from a file or a pipe, one a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::cli::client::Refusal;

/// Texts of one request.
const MOST: usize = 64;

/// Where texts come from.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// Texts, one a line; - or nothing for standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Texts that are still to be read.
pub struct Texts {
    input: BufReader<Box<dyn Read>>,
    /// Lines that have been read.
    lines: usize,
}

/// The texts of one request.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// The line of the first text, which counts from 1.
    first_line: usize,
    pub texts: Vec<String>,
}

impl Source {
    pub fn open(&self) -> anyhow::Result<Texts> {
        Ok(Texts { input: BufReader::new(input(self.file.as_deref())?), lines: 0 })
    }
}

impl Texts {
    /// The next texts, 64 at most; fewer when no more have come yet, so that someone who types sees
    /// answers at once. `None` at the end.
    ///
    /// # Errors
    /// A line that is no text, with its number.
    pub fn next_batch(&mut self) -> anyhow::Result<Option<Batch>> {
        let mut batch = Batch { first_line: self.lines + 1, texts: Vec::with_capacity(MOST) };
        let mut line = Vec::new();
        while batch.texts.len() < MOST {
            line.clear();
            if self.input.read_until(b'\n', &mut line).context("cannot read the texts")? == 0 {
                break;
            }
            self.lines += 1;
            batch.texts.push(text(&line).with_context(|| format!("line {}", self.lines))?);
            if !self.input.buffer().contains(&b'\n') {
                break;
            }
        }
        Ok((!batch.texts.is_empty()).then_some(batch))
    }
}

impl Batch {
    /// Says on which line of the file a refused input is.
    pub fn locate(&self, error: anyhow::Error) -> anyhow::Error {
        let index = error.downcast_ref().and_then(|refusal: &Refusal| {
            let position = refusal.position.as_deref()?.strip_prefix("inputs[")?;
            position.strip_suffix(']')?.parse::<usize>().ok()
        });
        match (index, error.downcast()) {
            (Some(index), Ok(Refusal { detail, .. })) => {
                let line = self.first_line + index;
                anyhow::Error::msg(format!("line {line}: {detail}"))
            }
            (_, Ok(refusal)) => refusal.into(),
            (_, Err(error)) => error,
        }
    }
}

/// A file, or standard input for - or nothing.
pub fn input(file: Option<&Path>) -> anyhow::Result<Box<dyn Read>> {
    match file.filter(|file| *file != Path::new("-")) {
        None => Ok(Box::new(io::stdin())),
        Some(file) => {
            let opened = File::open(file);
            Ok(Box::new(opened.with_context(|| format!("cannot read {}", file.display()))?))
        }
    }
}

fn text(line: &[u8]) -> anyhow::Result<String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).context("not UTF-8")?;
    if text.trim().is_empty() {
        bail!("the line is empty; a text has at least one visible character");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &'static [u8]) -> Texts {
        Texts { input: BufReader::new(Box::new(bytes)), lines: 0 }
    }

    #[test]
    fn lines_come_in_order_and_at_most_64_at_a_time() {
        let lines: String = (1..=130).map(|number| format!("text {number}\n")).collect();
        let mut texts = texts(lines.leak().as_bytes());
        let mut seen = Vec::new();
        for (first_line, length) in [(1, 64), (65, 64), (129, 2)] {
            let batch = texts.next_batch().unwrap().unwrap();
            assert_eq!((batch.first_line, batch.texts.len()), (first_line, length));
            seen.extend(batch.texts);
        }
        assert_eq!(texts.next_batch().unwrap(), None);
        assert_eq!((&*seen[0], &*seen[129]), ("text 1", "text 130"));
    }

    #[test]
    fn a_line_ends_as_on_any_system_and_the_last_one_need_not() {
        let batch = texts(b"a\r\n b \nc").next_batch().unwrap().unwrap();
        assert_eq!(batch.texts, ["a", " b "]);
        let mut texts = texts(b"a\nb");
        texts.next_batch().unwrap();
        assert_eq!(texts.next_batch().unwrap().unwrap().texts, ["b"]);
    }

    #[test]
    fn a_line_that_is_no_text_is_named() {
        for (bytes, reason) in [(&b"a\n \nb\n"[..], "empty"), (b"a\n\xff\n", "UTF-8")] {
            let error = format!("{:#}", texts(bytes).next_batch().unwrap_err());
            assert!(error.contains("line 2") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_refused_input_is_named_by_its_line() {
        let batch = Batch { first_line: 65, texts: Vec::new() };
        let refusal = |position: &str| -> anyhow::Error {
            Refusal { detail: "no".to_owned(), position: Some(position.to_owned()) }.into()
        };
        assert_eq!(batch.locate(refusal("inputs[3]")).to_string(), "line 68: no");
        assert_eq!(batch.locate(refusal("tasks[0]")).to_string(), "no (at tasks[0])");
    }
}
