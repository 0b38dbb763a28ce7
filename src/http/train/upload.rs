//! Examples as CSV or NDJSON, read piece by piece, with errors that name the line.

mod csv;
mod ndjson;

use crate::http::body::Pieces;
use crate::http::error::Problem;
use crate::http::train::rows::Rows;

/// Bytes of one row, or fields of it; a server does not hold more than that of a row which never ends.
const MOST_ROW_BYTES: usize = 1 << 20;

/// How examples are written in an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
}

impl Format {
    /// Of a media type in lower case.
    pub fn of(media_type: &str) -> Option<Format> {
        match media_type {
            "text/csv" => Some(Format::Csv),
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Format::Ndjson)
            }
            _ => None,
        }
    }
}

/// Reads a body's rows to its end. What is held at a time is a piece of the body and a row.
pub async fn read(format: Format, mut body: Pieces, rows: &mut Rows) -> Result<(), Problem> {
    match format {
        Format::Csv => {
            let mut reader = csv::Reader::default();
            while let Some(piece) = body.next().await? {
                reader.feed(&piece, rows)?;
                body.hold(rows.held())?;
            }
            reader.finish(rows)
        }
        Format::Ndjson => {
            let mut reader = ndjson::Reader::default();
            while let Some(piece) = body.next().await? {
                reader.feed(&piece, rows)?;
                body.hold(rows.held())?;
            }
            reader.finish(rows)
        }
    }
}

fn row_too_long(line: u64) -> Problem {
    let detail = format!("a row has more than {MOST_ROW_BYTES} bytes or fields");
    Problem::malformed("row_too_long", detail).at(format!("line {line}"))
}
