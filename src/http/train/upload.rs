//! Examples as CSV or NDJSON, with errors that name the line.

use std::collections::BTreeMap;

use crate::http::body::parse_json;
use crate::http::error::Problem;
use crate::http::train::request::RawExample;

/// The column that holds the texts; every other one is a task.
const TEXT: &str = "text";

/// Reads CSV with a header: `text`, then one column a task. An empty cell is no label.
pub fn csv(body: &[u8]) -> Result<Vec<RawExample>, Problem> {
    let mut reader = csv::Reader::from_reader(body);
    let columns = reader.headers().map_err(|error| malformed(&error))?.clone();
    let text = columns.iter().position(|column| column == TEXT).ok_or_else(|| {
        let detail = format!(
            "the header has no column {TEXT:?}; expected {TEXT} and one column a task, found: {}",
            columns.iter().collect::<Vec<_>>().join(", ")
        );
        Problem::invalid("invalid_csv", detail).at("line 1")
    })?;
    let repeated =
        |&(index, column): &(usize, &str)| columns.iter().take(index).any(|c| c == column);
    if let Some((_, column)) = columns.iter().enumerate().find(repeated) {
        let detail = format!("the header has the column {column:?} twice");
        return Err(Problem::invalid("invalid_csv", detail).at("line 1"));
    }
    let example = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(|error| malformed(&error))?;
        let cells = columns.iter().zip(record.iter()).enumerate();
        let labels: BTreeMap<String, String> = cells
            .filter(|&(index, (_, cell))| index != text && !cell.is_empty())
            .map(|(_, (task, label))| (task.to_owned(), label.to_owned()))
            .collect();
        Ok(RawExample { text: record[text].to_owned(), labels, weight: None })
    };
    reader.into_records().map(example).collect()
}

/// Reads one example a line, each as in the JSON body; empty lines are passed over.
pub fn ndjson(body: &[u8]) -> Result<Vec<RawExample>, Problem> {
    let lines = body.split(|&byte| byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(index, line)| {
            parse_json(line).map_err(|problem: Problem| {
                let place = format!("line {}", index + 1);
                problem.within(&place)
            })
        })
        .collect()
}

fn malformed(error: &csv::Error) -> Problem {
    let problem = Problem::malformed("invalid_csv", format!("the body is not valid CSV: {error}"));
    match error.position() {
        Some(position) => problem.at(format!("line {}", position.line())),
        None => problem,
    }
}
