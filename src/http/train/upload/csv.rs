//! CSV (RFC 4180) with a header: `text`, then one column a task. An empty cell says nothing for its
//! task. Where several labels may apply, `|` stands between them, and alone says that none does.

use csv_core::ReadRecordResult;

use super::{MOST_ROW_BYTES, row_too_long};
use crate::heads::Kind;
use crate::http::error::Problem;
use crate::http::one_or_many::OneOrMany;
use crate::http::train::rows::{Place, RawExample, Rows, Rules, WEIGHTS_ALLOWED};

/// The column that holds the texts.
const TEXT: &str = "text";

/// The column that holds the labels of the one task that the request names.
const LABEL: &str = "label";

/// The column that holds the examples' weights, unless a task is called so.
const WEIGHT: &str = "weight";

/// Stands between the labels in a cell of a multi-label task.
const SEPARATOR: char = '|';

/// Takes a body in pieces.
pub struct Reader {
    parser: csv_core::Reader,
    /// The fields of the current row one after another, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// How much of these two is in use.
    filled: usize,
    ended: usize,
    /// The line that is being read, and the one on which the current row began.
    line: u64,
    began: Option<u64>,
    columns: Option<Columns>,
}

/// What the header says.
struct Columns {
    count: usize,
    text: usize,
    weight: Option<usize>,
    tasks: Vec<TaskColumn>,
}

/// The column that holds the labels for a task.
struct TaskColumn {
    index: usize,
    task: String,
    kind: Kind,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            parser: csv_core::Reader::new(),
            fields: vec![0; 1 << 10],
            ends: vec![0; 1 << 4],
            filled: 0,
            ended: 0,
            line: 1,
            began: None,
            columns: None,
        }
    }
}

impl Reader {
    pub fn feed(&mut self, mut piece: &[u8], rows: &mut Rows) -> Result<(), Problem> {
        while !piece.is_empty() {
            if self.began.is_none() {
                let blank = piece.iter().take_while(|&&byte| b"\r\n".contains(&byte)).count();
                self.pass(&mut piece, blank);
                if piece.is_empty() {
                    break;
                }
                self.began = Some(self.line);
            }
            let (result, read) = self.parse(piece);
            self.pass(&mut piece, read);
            self.take(result, rows)?;
        }
        Ok(())
    }

    pub fn finish(mut self, rows: &mut Rows) -> Result<(), Problem> {
        loop {
            let (result, _) = self.parse(&[]);
            if result == ReadRecordResult::End {
                break;
            }
            self.take(result, rows)?;
        }
        match self.columns {
            Some(_) => Ok(()),
            None => Err(bad_header("the body is empty; expected a header".to_owned())),
        }
    }

    /// Moves on, and counts lines.
    fn pass(&mut self, piece: &mut &[u8], read: usize) {
        let (passed, rest) = piece.split_at(read);
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        *piece = rest;
    }

    fn parse(&mut self, piece: &[u8]) -> (ReadRecordResult, usize) {
        let (fields, ends) = (&mut self.fields[self.filled..], &mut self.ends[self.ended..]);
        let (result, read, written, ended) = self.parser.read_record(piece, fields, ends);
        self.filled += written;
        self.ended += ended;
        (result, read)
    }

    /// Makes room, or takes the row that is complete.
    fn take(&mut self, result: ReadRecordResult, rows: &mut Rows) -> Result<(), Problem> {
        match result {
            ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            ReadRecordResult::OutputFull if self.fields.len() < MOST_ROW_BYTES => {
                self.fields.resize(self.fields.len() * 2, 0);
            }
            ReadRecordResult::OutputEndsFull if self.ends.len() < MOST_ROW_BYTES => {
                self.ends.resize(self.ends.len() * 2, 0);
            }
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err(row_too_long(self.began.unwrap_or(self.line)));
            }
            ReadRecordResult::Record => {
                let line = self.began.take().unwrap_or(self.line);
                let row = self.row(line, rows);
                (self.filled, self.ended) = (0, 0);
                return row;
            }
        }
        Ok(())
    }

    fn row(&mut self, line: u64, rows: &mut Rows) -> Result<(), Problem> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let bounds = starts.zip(&self.ends[..self.ended]);
        let cells = bounds.map(|(start, &end)| std::str::from_utf8(&self.fields[start..end]));
        let cells: Result<Vec<&str>, _> = cells.collect();
        let place = Place::Line(line);
        let Ok(cells) = cells else {
            let not_utf8 = malformed(place, "the row is not UTF-8".to_owned());
            return if self.columns.is_some() { rows.skip(place, not_utf8) } else { Err(not_utf8) };
        };
        let Some(columns) = &self.columns else {
            self.columns = Some(Columns::of(&cells, rows.rules())?);
            return Ok(());
        };
        if cells.len() != columns.count {
            let (found, expected) = (cells.len(), columns.count);
            let detail = format!("the row has {found} fields, but the header has {expected}");
            return rows.skip(place, malformed(place, detail));
        }
        let said =
            |column: &TaskColumn| Some((column.task.clone(), column.labels(cells[column.index])?));
        let labels = columns.tasks.iter().filter_map(said);
        let (text, labels) = (cells[columns.text].to_owned(), labels.collect());
        match columns.weight(place, &cells) {
            Ok(weight) => rows.push(place, RawExample { text, labels, label: None, weight }),
            Err(problem) => rows.skip(place, problem),
        }
    }
}

impl Columns {
    fn of(header: &[&str], rules: &Rules) -> Result<Columns, Problem> {
        let mut names = header.to_vec();
        // Spreadsheets put a byte order mark first; the parser misses one that comes in two pieces.
        names[0] = names[0].trim_start_matches('\u{feff}');
        let find = |name: &str| names.iter().position(|&column| column == name);
        let repeated = |&(index, name): &(usize, &&str)| find(name) != Some(index);
        if let Some((_, name)) = names.iter().enumerate().find(repeated) {
            return Err(bad_header(format!("the header has the column {name:?} twice")));
        }
        let missing = |name: &str| {
            let found = names.join(", ");
            bad_header(format!(
                "the header has no column {name:?}; expected {TEXT} and one column a task, found: {found}"
            ))
        };
        let text = find(TEXT).ok_or_else(|| missing(TEXT))?;
        let weight = find(WEIGHT).filter(|_| !rules.heads.contains_key(WEIGHT));
        let tasks: Vec<(usize, &str)> = match &rules.tasks[..] {
            [] => {
                let others = names.iter().copied().enumerate();
                others.filter(|&(it, _)| it != text && Some(it) != weight).collect()
            }
            [task] => {
                let column = find(task).or_else(|| find(LABEL)).ok_or_else(|| missing(task))?;
                vec![(column, task)]
            }
            tasks => {
                let column = |task| Ok((find(task).ok_or_else(|| missing(task))?, task));
                tasks.iter().map(String::as_str).map(column).collect::<Result<_, Problem>>()?
            }
        };
        let column = |(index, task): (usize, &str)| match rules.heads.get(task) {
            Some(live) => Ok(TaskColumn { index, task: task.to_owned(), kind: live.task.kind }),
            None => Err(rules.unknown_task(task).at("line 1")),
        };
        let tasks = tasks.into_iter().map(column).collect::<Result<_, _>>()?;
        Ok(Columns { count: names.len(), text, weight, tasks })
    }

    /// An empty cell is no weight, as it is no label.
    fn weight(&self, place: Place, cells: &[&str]) -> Result<Option<f64>, Problem> {
        let Some(cell) = self.weight.map(|column| cells[column]).filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let weight = cell.trim().parse().map(Some);
        weight.map_err(|_| {
            let detail = format!("a weight is {cell:?}; allowed: {WEIGHTS_ALLOWED}");
            Problem::invalid("invalid_weight", detail).at(place.of(WEIGHT))
        })
    }
}

impl TaskColumn {
    /// What a cell says, if anything.
    fn labels(&self, cell: &str) -> Option<OneOrMany> {
        match self.kind {
            Kind::SingleLabel => (!cell.is_empty()).then(|| OneOrMany::One(cell.to_owned())),
            Kind::MultiLabel => {
                let labels = cell.split(SEPARATOR).map(str::trim).filter(|it| !it.is_empty());
                let labels = labels.map(str::to_owned).collect();
                (!cell.trim().is_empty()).then_some(OneOrMany::Many(labels))
            }
        }
    }
}

fn bad_header(detail: String) -> Problem {
    Problem::invalid("invalid_csv", detail).at("line 1")
}

fn malformed(place: Place, detail: String) -> Problem {
    Problem::malformed("invalid_csv", detail).at(place.to_string())
}
