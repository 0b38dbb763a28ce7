//! A named label set on a model.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name;

/// A named label set on a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    /// The name of the model whose embeddings the task's head reads.
    pub model: String,
    /// In the order of the head's output units.
    pub labels: Vec<String>,
    #[serde(default)]
    pub new_labels: NewLabels,
}

/// What becomes of examples with labels that their task does not have yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewLabels {
    /// They are refused: a label that nobody has declared is taken for a mistake.
    #[default]
    Refuse,
    /// They are trained on, and the task gets the labels, behind those that it has.
    Allow,
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
    #[error("{0} labels are too few: a task has at least {MIN_LABELS}")]
    TooFewLabels(usize),
    #[error("{found} labels are too many: a task has at most {allowed}")]
    TooManyLabels { found: usize, allowed: usize },
    #[error("labels[{index}] is {label:?}: a label is not empty and has no white space around it")]
    BlankOrPadded { index: usize, label: String },
    #[error("labels[{index}] has {found} bytes: a label has at most {allowed} (in UTF-8)")]
    LongLabel { index: usize, found: usize, allowed: usize },
    #[error("labels[{index}] repeats labels[{first}] ({label:?}): the labels of a task differ")]
    DuplicateLabel { index: usize, first: usize, label: String },
}

/// With fewer there is nothing to decide.
pub const MIN_LABELS: usize = 2;

/// A task of this name would be ambiguous where a training job names what it freezes.
const RESERVED_NAME: &str = "encoder";

impl Task {
    /// Whether the model exists is for the caller to know.
    pub fn new(
        name: String,
        model: String,
        labels: Vec<String>,
        limits: &TaskLimits,
    ) -> Result<Self, TaskError> {
        check_name(&name)?;
        check_labels(&labels, limits)?;
        Ok(Self { name, model, labels, new_labels: NewLabels::default() })
    }

    /// Whether this is what `definition` has become, if anything: the same task, with further labels
    /// at most where these are allowed.
    pub fn is_grown_from(&self, definition: &Task) -> bool {
        let Task { name, model, labels, .. } = definition;
        let same = self.labels == *labels
            || self.new_labels == NewLabels::Allow && self.labels.starts_with(labels);
        self.name == *name && self.model == *model && same
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
pub fn check_labels(labels: &[String], limits: &TaskLimits) -> Result<(), TaskError> {
    if labels.len() < MIN_LABELS {
        return Err(TaskError::TooFewLabels(labels.len()));
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
        Task::new(name.to_owned(), "minilm".to_owned(), labels, &LIMITS)
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
        assert_eq!(task("t", &["x"]), Err(TaskError::TooFewLabels(1)));
        assert_eq!(task("t", &[]), Err(TaskError::TooFewLabels(0)));
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
