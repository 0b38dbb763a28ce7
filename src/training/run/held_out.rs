//! The rows that are held out, and who has not been fit on them.

use crate::training::dataset::Dataset;
use crate::training::run::rows::Rows;
use crate::training::text_hash::TextHash;
use crate::training::unseen::Unseen;

/// Rows that no twin was fit on.
pub(in crate::training) struct HeldOut {
    pub data: Dataset,
    /// One a row.
    pub(super) texts: Vec<HeldOutText>,
}

/// The text of a held-out row.
#[derive(Clone, Copy)]
pub(super) struct HeldOutText {
    hash: TextHash,
    /// See [`Rows::is_new`].
    is_new: bool,
}

impl HeldOut {
    /// The position of a task in the data.
    ///
    /// # Panics
    /// If it is not one of the job's.
    pub fn place(&self, task: &str) -> usize {
        let place = self.data.tasks().position(|name| name == task);
        place.expect("a head is fit on a task of the data")
    }

    /// The rows that a head was not fit on which was there before: what was `unseen` then, and what is
    /// new. Without knowledge of that, all rows.
    pub fn fair_to(&self, unseen: Option<&Unseen>) -> Vec<usize> {
        let fair = |text: &HeldOutText| {
            text.is_new || unseen.is_none_or(|unseen| unseen.contains(&text.hash))
        };
        (0..self.texts.len()).filter(|&row| fair(&self.texts[row])).collect()
    }

    /// What a twin for the task at `place` was not fit on.
    pub fn unseen(&self, place: usize) -> Unseen {
        self.data.labelled(place).rows().iter().map(|&row| self.texts[row].hash).collect()
    }
}

impl HeldOutText {
    /// Those of the rows that are `held_out`, of which there is one entry a row.
    pub fn of(rows: &Rows, held_out: &[bool]) -> Vec<Self> {
        let text = |row| HeldOutText { hash: rows.hashes[row], is_new: rows.is_new(row) };
        (0..held_out.len()).filter(|&row| held_out[row]).map(text).collect()
    }
}
