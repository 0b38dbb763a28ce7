//! When to stop a fit that no longer gets better on rows that it does not see.

use super::Fitted;
use crate::training::job::TaskReport;

/// The best head so far, and how long ago that was.
pub(super) struct EarlyStopping {
    patience: u32,
    /// With its validation loss.
    best: Option<(f64, Fitted)>,
    epochs_since: u32,
}

impl EarlyStopping {
    pub(super) fn new(patience: u32) -> Self {
        Self { patience, best: None, epochs_since: 0 }
    }

    /// Takes note of where an epoch ended, and how. Without validation scores there is nothing to note.
    pub(super) fn see(&mut self, report: &TaskReport, fitted: impl FnOnce() -> Fitted) {
        let Some(validation) = report.validation else { return };
        self.epochs_since += 1;
        if self.best.as_ref().is_none_or(|(loss, _)| validation.loss < *loss) {
            self.best = Some((validation.loss, fitted()));
            self.epochs_since = 0;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.epochs_since >= self.patience
    }

    pub(super) fn into_best(self) -> Option<Fitted> {
        self.best.map(|(_, fitted)| fitted)
    }
}
