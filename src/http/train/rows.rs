//! Examples on their way from a request to a job: each is checked as it comes, so that a long upload
//! is never held as text.

mod labels;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::heads::live::Snapshot;
use crate::heads::task::TaskLimits;
use crate::http::error::Problem;
use crate::http::one_or_many::OneOrMany;
use crate::training::job::{Example, SkippedRows};

/// Bytes that an example takes beside its text: measured with one short label, rounded up.
const EXAMPLE_BYTES: usize = 640;

/// Skipped rows that an answer lists.
const MOST_LISTED: usize = 100;

/// What examples may weigh, so that the sum over a job can neither overflow nor vanish.
const WEIGHTS: RangeInclusive<f64> = 1e-6..=1e6;
pub const WEIGHTS_ALLOWED: &str = "a number from 0.000001 to 1000000";

/// Characters of the reason for which a row was skipped: it may quote the row.
const MOST_REASON: usize = 300;

/// An example as it is written in JSON.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Example)]
#[serde(deny_unknown_fields)]
pub struct RawExample {
    pub text: String,
    /// Task to label, or to all the labels that apply.
    #[serde(default)]
    pub labels: BTreeMap<String, OneOrMany>,
    /// The same for the one task that the request names.
    pub label: Option<OneOrMany>,
    /// How often the example counts; 1 by default.
    #[schema(minimum = 0.000001, maximum = 1000000)]
    pub weight: Option<f64>,
}

/// What becomes of a request in which some rows cannot be examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// All of it is refused.
    #[default]
    Refuse,
    /// The others are trained on.
    Skip,
}

/// Where an example stands in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Counts from 0.
    Example(usize),
    /// On which it begins; counts from 1.
    Line(u64),
}

/// What examples are checked against.
pub struct Rules {
    pub heads: Arc<Snapshot>,
    /// The tasks whose labels count; all of them where it is empty.
    pub tasks: Vec<String>,
    pub on_bad_row: OnBadRow,
    /// Examples of one job.
    pub most: usize,
    /// What bounds the labels that examples bring.
    pub limits: TaskLimits,
}

/// The examples so far.
pub struct Rows {
    rules: Rules,
    checked: Checked,
    /// One an example.
    places: Vec<Place>,
    /// From the hash of a text and a task to the first example of that text with a label for that task.
    /// The texts themselves stand in the examples only.
    labelled: HashMap<u64, usize>,
    hasher: RandomState,
    /// The labels that each task has or gets from these examples, once one was looked for.
    known: HashMap<String, HashSet<String>>,
}

/// Examples that a job can be made of.
pub struct Checked {
    pub examples: Vec<Example>,
    /// All tasks that they have labels for.
    pub tasks: BTreeSet<String>,
    /// The one model that these are on.
    pub model: String,
    /// Task to the labels that it does not have yet.
    pub new_labels: BTreeMap<String, Vec<String>>,
    pub skipped: Skipped,
}

/// Rows that were left out.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Skipped {
    count: usize,
    /// Rows by the codes of their reasons.
    reasons: BTreeMap<&'static str, u64>,
    /// The first hundred.
    rows: Vec<SkippedRow>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SkippedRow {
    #[serde(flatten)]
    place: Place,
    code: &'static str,
    detail: String,
}

impl Rows {
    /// # Errors
    /// `rules` name a task that does not exist.
    pub fn new(rules: Rules) -> Result<Rows, Problem> {
        if let Some(task) = rules.tasks.iter().find(|task| !rules.heads.contains_key(*task)) {
            return Err(rules.unknown_task(task).at("task"));
        }
        let checked = Checked {
            examples: Vec::new(),
            tasks: BTreeSet::new(),
            model: String::new(),
            new_labels: BTreeMap::new(),
            skipped: Skipped::default(),
        };
        Ok(Rows {
            rules,
            checked,
            places: Vec::new(),
            labelled: HashMap::new(),
            hasher: RandomState::new(),
            known: HashMap::new(),
        })
    }

    /// Bytes that the examples take beside their texts.
    pub fn held(&self) -> usize {
        self.places.len() * EXAMPLE_BYTES
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Adds an example, or skips one that cannot be, if that is allowed.
    pub fn push(&mut self, place: Place, raw: RawExample) -> Result<(), Problem> {
        let most = self.rules.most;
        if self.checked.examples.len() >= most {
            let detail = format!("there are more than {most} examples; allowed: 1 to {most}");
            return Err(Problem::invalid("too_many_examples", detail).at(place.to_string()));
        }
        match self.check(place, raw) {
            Ok(example) => {
                self.checked.examples.push(example);
                self.places.push(place);
                Ok(())
            }
            Err(problem) => self.skip(place, problem),
        }
    }

    /// Skips a row for the reason that is given, or refuses all for it.
    pub fn skip(&mut self, place: Place, problem: Problem) -> Result<(), Problem> {
        if self.rules.on_bad_row == OnBadRow::Refuse {
            return Err(problem);
        }
        let skipped = &mut self.checked.skipped;
        let (code, detail) = problem.reason();
        skipped.count += 1;
        *skipped.reasons.entry(code).or_default() += 1;
        if skipped.rows.len() < MOST_LISTED {
            let detail = detail.chars().take(MOST_REASON).collect();
            skipped.rows.push(SkippedRow { place, code, detail });
        }
        Ok(())
    }

    /// # Errors
    /// There is no example.
    pub fn finish(self) -> Result<Checked, Problem> {
        if !self.checked.examples.is_empty() {
            return Ok(self.checked);
        }
        let most = self.rules.most;
        let mut detail = format!("there are no examples; allowed: 1 to {most}");
        if let Some(first) = self.checked.skipped.rows.first() {
            let count = self.checked.skipped.count;
            detail += &format!("; {count} were skipped, {} for: {}", first.place, first.detail);
        }
        Err(Problem::invalid("no_examples", detail).at("examples"))
    }

    fn check(&mut self, place: Place, raw: RawExample) -> Result<Example, Problem> {
        if raw.text.trim().is_empty() {
            let detail = "a text is empty; allowed: text with at least one visible character";
            return Err(Problem::invalid("empty_text", detail).at(place.of("text")));
        }
        if raw.text.contains('\0') {
            let detail = "a text holds a NUL character, which no database stores";
            return Err(Problem::invalid("nul_character", detail).at(place.of("text")));
        }
        if let Some(weight) = raw.weight.filter(|weight| !WEIGHTS.contains(weight)) {
            let detail = format!("a weight is {weight}; allowed: {WEIGHTS_ALLOWED}");
            return Err(Problem::invalid("invalid_weight", detail).at(place.of("weight")));
        }
        let said = self.rules.counting(place, raw.labels, raw.label)?;
        let (labels, model) = self.targets(place, said)?;
        let example = Example { text: raw.text, labels, weight: raw.weight };
        self.check_conflicts(place, &example)?;
        // Only now: a row that is skipped adds neither a task nor a label nor a model.
        self.checked.model = model;
        for (task, target) in &example.labels {
            if !self.checked.tasks.contains(task) {
                self.checked.tasks.insert(task.clone());
            }
            target.labels().for_each(|label| self.bring(task, label));
        }
        Ok(example)
    }

    /// Exact repetitions are harmless and merged; a text of which two things are said for one task is
    /// a mistake that only its author can mend.
    fn check_conflicts(&mut self, place: Place, example: &Example) -> Result<(), Problem> {
        let mut new = Vec::with_capacity(example.labels.len());
        for (task, target) in &example.labels {
            let index = match self.first_with(&example.text, task) {
                Ok(index) => index,
                Err(free) => {
                    new.push(free);
                    continue;
                }
            };
            let other = &self.checked.examples[index].labels[task];
            if other != target {
                let first = self.places[index];
                let detail = format!(
                    "the same text is labelled {other} for task {task:?} in {first} and {target} here"
                );
                let position = place.of(&format!("labels.{task}"));
                return Err(Problem::invalid("conflicting_labels", detail).at(position));
            }
        }
        let index = self.checked.examples.len();
        self.labelled.extend(new.into_iter().map(|key| (key, index)));
        Ok(())
    }

    /// The first example of a text with a label for a task, or the key that one is to be put under.
    fn first_with(&self, text: &str, task: &str) -> Result<usize, u64> {
        let mut key = self.hasher.hash_one((text, task));
        // Two pairs of one hash, which never happens, stand one after the other.
        while let Some(&index) = self.labelled.get(&key) {
            let example = &self.checked.examples[index];
            if example.text == text && example.labels.contains_key(task) {
                return Ok(index);
            }
            key = key.wrapping_add(1);
        }
        Err(key)
    }
}

impl Skipped {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// For the job's record, which quotes no rows.
    pub fn summary(&self) -> Option<SkippedRows> {
        let reasons = self.reasons.iter().map(|(&code, &rows)| (code.to_owned(), rows)).collect();
        (!self.is_empty()).then_some(SkippedRows { count: self.count as u64, reasons })
    }
}

impl Place {
    /// Where a field of the example is.
    pub fn of(self, field: &str) -> String {
        match self {
            Place::Example(index) => format!("examples[{index}].{field}"),
            Place::Line(line) => format!("line {line}, {field}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::Example(index) => write!(formatter, "examples[{index}]"),
            Place::Line(line) => write!(formatter, "line {line}"),
        }
    }
}
