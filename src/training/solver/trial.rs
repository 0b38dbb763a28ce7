//! Adam an epoch at a time, for choosing how many there are to be.

use super::adam::{Adam, Settings};
use super::{Fitter, rounded};
use crate::heads::head::Head;
use crate::training::dataset::Dataset;

/// A fit of one task by Adam to some of the rows, as [`fit`](super::fit) would go about it.
pub struct Trial<'a> {
    fit: Adam<'a>,
    start: Head,
}

impl<'a> Trial<'a> {
    /// A fit to `rows`, those included that say nothing of the task: they have their places in
    /// mini-batches.
    ///
    /// # Panics
    /// If the task has other classes than `start` has labels, or the embeddings another width.
    pub fn new(
        data: &'a Dataset,
        task: usize,
        rows: Vec<usize>,
        start: &Head,
        settings: Settings,
    ) -> Self {
        Self { fit: Adam::new(data, task, rows, start, settings), start: start.clone() }
    }

    /// Goes one epoch further. Gives the head as it is then, or `None` if the weights grew beyond all
    /// bounds.
    pub fn epoch(&mut self) -> Option<Head> {
        self.fit.epoch();
        rounded(self.fit.parameters(), &self.start)
    }
}
