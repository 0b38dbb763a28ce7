//! Whether this process should get requests: an orchestrator's three questions, one state.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Models, heads or the store are still being loaded.
    Starting,
    Ready,
    /// Asked to end: still answering, but not to be sent anything new.
    Draining,
    /// A part died; the process is about to end.
    Failed,
}

/// The phase, shared by all who ask and the one who sets it.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Phase>>);

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness(Arc::new(watch::Sender::new(Phase::Starting)))
    }
}

impl Readiness {
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    pub fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    /// Changes when the phase does.
    pub fn changes(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }
}
