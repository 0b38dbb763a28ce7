//! A named label set on a model.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::name;

/// A named label set on a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    /// The name of the model whose embeddings the task's head reads.
    pub model: String,
    /// In the order of the head's output units.
    pub labels: Vec<String>,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub new_labels: NewLabels,
    /// The least probability, 0 to 1, at which a label is given. `None` leaves it to the head: a
    /// multi-label one has a threshold for each label, others have none.
    #[serde(default)]
    pub threshold: Option<f32>,
}

/// Whether a text has exactly one of a task's labels, or any number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    SingleLabel,
    /// None of them and all of them, too.
    MultiLabel,
}

/// What becomes of examples with labels that their task does not have yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NewLabels {
    /// They are refused: a label that nobody has declared is taken for a mistake.
    #[default]
    Refuse,
    /// They are trained on, and the task gets the labels, behind those that it has.
    Allow,
}

impl Kind {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::SingleLabel => "single_label",
            Kind::MultiLabel => "multi_label",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Kind> {
        [Kind::SingleLabel, Kind::MultiLabel].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How large a task may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLimits {
    pub labels: usize,
    /// Bytes of a label in UTF-8.
    pub label_bytes: usize,
}

/// Why a task cannot be as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TaskError {
    #[error("the name {0:?} is not allowed: a task's name has {ALLOWED}", ALLOWED = name::ALLOWED)]
    Name(String),
    #[error("the name {RESERVED_NAME:?} is reserved: it stands for the shared encoder in `freeze`")]
    ReservedName,
    #[error("{found} labels are too few: a task has at least {allowed}")]
    TooFewLabels { found: usize, allowed: usize },
    #[error("{found} labels are too many: a task has at most {allowed}")]
    TooManyLabels { found: usize, allowed: usize },
    #[error("labels[{index}] is {label:?}: a label is not empty and has no white space around it")]
    BlankOrPadded { index: usize, label: String },
    #[error("labels[{index}] has {found} bytes: a label has at most {allowed} (in UTF-8)")]
    LongLabel { index: usize, found: usize, allowed: usize },
    #[error("labels[{index}] repeats labels[{first}] ({label:?}): the labels of a task differ")]
    DuplicateLabel { index: usize, first: usize, label: String },
}

/// With fewer a single-label task has nothing to decide.
pub const MIN_LABELS: usize = 2;

/// A task of this name would be ambiguous where a training job names what it freezes.
const RESERVED_NAME: &str = "encoder";

impl Task {
    /// Whether the model exists is for the caller to know.
    pub fn new(
        name: String,
        model: String,
        labels: Vec<String>,
        kind: Kind,
        limits: &TaskLimits,
    ) -> Result<Self, TaskError> {
        check_name(&name)?;
        check_labels(&labels, kind, limits)?;
        Ok(Self { name, model, labels, kind, new_labels: NewLabels::default(), threshold: None })
    }

    /// Whether this is what `definition` has become, if anything: the same task, with further labels
    /// at most where these are allowed.
    pub fn is_grown_from(&self, definition: &Task) -> bool {
        let Task { name, model, labels, kind, .. } = definition;
        let same = self.labels == *labels
            || self.new_labels == NewLabels::Allow && self.labels.starts_with(labels);
        self.name == *name && self.model == *model && self.kind == *kind && same
    }
}

/// Checks what a task is called.
pub fn check_name(name: &str) -> Result<(), TaskError> {
    if !name::is_valid(name) {
        return Err(TaskError::Name(name.to_owned()));
    }
    if name == RESERVED_NAME {
        return Err(TaskError::ReservedName);
    }
    Ok(())
}

/// Checks a task's labels, in the order of the head's output units.
pub fn check_labels(labels: &[String], kind: Kind, limits: &TaskLimits) -> Result<(), TaskError> {
    let fewest = match kind {
        Kind::SingleLabel => MIN_LABELS,
        Kind::MultiLabel => 1,
    };
    if labels.len() < fewest {
        return Err(TaskError::TooFewLabels { found: labels.len(), allowed: fewest });
    }
    if labels.len() > limits.labels {
        return Err(TaskError::TooManyLabels { found: labels.len(), allowed: limits.labels });
    }
    let mut seen = HashMap::with_capacity(labels.len());
    for (index, label) in labels.iter().enumerate() {
        if label.is_empty() || label.trim() != label {
            return Err(TaskError::BlankOrPadded { index, label: label.clone() });
        }
        if label.len() > limits.label_bytes {
            return Err(TaskError::LongLabel {
                index,
                found: label.len(),
                allowed: limits.label_bytes,
            });
        }
        if let Some(first) = seen.insert(label, index) {
            return Err(TaskError::DuplicateLabel { index, first, label: label.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TaskLimits = TaskLimits { labels: 3, label_bytes: 8 };

    fn task(name: &str, labels: &[&str]) -> Result<Task, TaskError> {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        Task::new(name.to_owned(), "minilm".to_owned(), labels, Kind::SingleLabel, &LIMITS)
    }

    #[test]
    fn a_task_keeps_its_labels_in_order() {
        let task = task("sentiment", &["Positive", "Negative"]).unwrap();
        assert_eq!(task.labels, ["Positive", "Negative"]);
    }

    #[test]
    fn labels_differ_when_only_their_case_does() {
        assert!(task("units", &["mg", "Mg"]).is_ok());
    }

    #[test]
    fn a_task_cannot_take_a_name_that_a_url_or_a_job_would_misread() {
        assert_eq!(task("a/b", &["x", "y"]), Err(TaskError::Name("a/b".to_owned())));
        assert_eq!(task("", &["x", "y"]), Err(TaskError::Name(String::new())));
        assert_eq!(task("encoder", &["x", "y"]), Err(TaskError::ReservedName));
    }

    #[test]
    fn a_single_label_leaves_nothing_to_decide() {
        let too_few = |found| Err(TaskError::TooFewLabels { found, allowed: 2 });
        assert_eq!(task("t", &["x"]), too_few(1));
        assert_eq!(task("t", &[]), too_few(0));
    }

    #[test]
    fn a_single_label_of_a_multi_label_task_applies_or_not() {
        let multi_label = |labels: Vec<String>| {
            Task::new("t".to_owned(), "minilm".to_owned(), labels, Kind::MultiLabel, &LIMITS)
        };
        assert!(multi_label(vec!["toxic".to_owned()]).is_ok());
        let too_few = multi_label(Vec::new()).unwrap_err().to_string();
        assert_eq!(too_few, "0 labels are too few: a task has at least 1");
    }

    #[test]
    fn a_task_of_another_kind_is_another_task() {
        let single = task("t", &["x", "y"]).unwrap();
        let multi = Task { kind: Kind::MultiLabel, ..single.clone() };
        assert!(single.is_grown_from(&single) && multi.is_grown_from(&multi));
        assert!(!single.is_grown_from(&multi) && !multi.is_grown_from(&single));
    }

    #[test]
    fn labels_are_bounded_in_number_and_bytes() {
        assert_eq!(
            task("t", &["a", "b", "c", "d"]),
            Err(TaskError::TooManyLabels { found: 4, allowed: 3 })
        );
        // Five characters, nine bytes.
        assert_eq!(
            task("t", &["a", "ääääx"]),
            Err(TaskError::LongLabel { index: 1, found: 9, allowed: 8 })
        );
    }

    #[test]
    fn a_label_is_not_blank_and_not_padded() {
        for label in ["", " ", "x ", "\tx"] {
            assert_eq!(
                task("t", &["a", label]),
                Err(TaskError::BlankOrPadded { index: 1, label: label.to_owned() })
            );
        }
    }

    #[test]
    fn a_repeated_label_is_named_with_both_places() {
        let error = task("t", &["a", "b", "a"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "labels[2] repeats labels[0] (\"a\"): the labels of a task differ"
        );
    }
}
