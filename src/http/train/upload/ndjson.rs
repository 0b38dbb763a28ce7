//! One example a line, each as in the JSON body; empty lines are passed over.

use super::{MOST_ROW_BYTES, row_too_long};
use crate::http::body::parse_json;
use crate::http::error::Problem;
use crate::http::train::rows::{Place, Rows};

/// Takes a body in pieces.
#[derive(Default)]
pub struct Reader {
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
    /// Lines that have ended.
    lines: u64,
}

impl Reader {
    pub fn feed(&mut self, piece: &[u8], rows: &mut Rows) -> Result<(), Problem> {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            if self.begun.len() + part.len() > MOST_ROW_BYTES {
                return Err(row_too_long(self.lines + 1));
            }
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line(rows)?;
            }
        }
        Ok(())
    }

    pub fn finish(mut self, rows: &mut Rows) -> Result<(), Problem> {
        self.line(rows)
    }

    fn line(&mut self, rows: &mut Rows) -> Result<(), Problem> {
        self.lines += 1;
        let place = Place::Line(self.lines);
        let row = match self.begun.trim_ascii() {
            [] => Ok(()),
            line => match parse_json(line) {
                Ok(raw) => rows.push(place, raw),
                Err(problem) => rows.skip(place, Problem::within(problem, &place.to_string())),
            },
        };
        self.begun.clear();
        row
    }
}
