//! When to stop a fit that no longer gets better on rows that it does not see.

/// The best state so far, and how long ago that was.
pub struct EarlyStopping<T> {
    patience: u32,
    /// With its validation loss.
    best: Option<(f64, T)>,
    epochs_since: u32,
}

impl<T> EarlyStopping<T> {
    /// One that is over when the loss has not fallen for `patience` epochs.
    pub fn new(patience: u32) -> Self {
        Self { patience, best: None, epochs_since: 0 }
    }

    /// Takes note of the validation loss after an epoch, and of the state then if that is the best.
    pub fn see(&mut self, loss: f64, state: impl FnOnce() -> T) {
        self.epochs_since += 1;
        if self.best.as_ref().is_none_or(|(least, _)| loss < *least) {
            self.best = Some((loss, state()));
            self.epochs_since = 0;
        }
    }

    /// Whether it is time to stop.
    pub fn is_over(&self) -> bool {
        self.epochs_since >= self.patience
    }

    /// The state with the least loss; of several, the first.
    pub fn into_best(self) -> Option<T> {
        self.best.map(|(_, state)| state)
    }
}
