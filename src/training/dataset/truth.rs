//! What is known of a row.

use std::slice;
use std::sync::Arc;

/// What a row is labelled with for a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// The class of its one label, for a single-label task.
    Class(usize),
    /// The classes of all labels that apply, in order, for a multi-label task.
    Set(Arc<[usize]>),
}

/// How much rows count for a label, times their own weight. A row of a single-label task counts by
/// its class alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balance {
    /// Of rows to which the label applies.
    pub present: f64,
    /// Of the others.
    pub absent: f64,
}

impl Truth {
    /// A set of classes in any order.
    pub(super) fn set(mut classes: Vec<usize>) -> Self {
        classes.sort_unstable();
        classes.dedup();
        Self::Set(classes.into())
    }

    /// The classes of the labels that apply, in order.
    pub fn classes(&self) -> &[usize] {
        match self {
            Self::Class(class) => slice::from_ref(class),
            Self::Set(classes) => classes,
        }
    }

    /// For each label in order, whether it applies, and how much the row counts for it, times its
    /// weight. `balance` has an entry a label.
    pub fn labels<'a>(&'a self, balance: &'a [Balance]) -> impl Iterator<Item = (bool, f64)> {
        let mut present = self.classes().iter().peekable();
        balance.iter().enumerate().map(move |(class, balance)| {
            match present.next_if_eq(&&class).is_some() {
                true => (true, balance.present),
                false => (false, balance.absent),
            }
        })
    }
}

impl Default for Balance {
    fn default() -> Self {
        Self { present: 1.0, absent: 1.0 }
    }
}
