//! Whether this process should get requests: an orchestrator's three questions, one state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The phase, shared by all who ask and the one who sets it; and whether the store is out of reach,
/// which is no reason to send requests elsewhere: embeddings and heads do without it.
#[derive(Clone, Debug)]
pub struct Readiness {
    phase: Arc<watch::Sender<Phase>>,
    store_away: Arc<AtomicBool>,
}

impl Default for Readiness {
    fn default() -> Readiness {
        let phase = Arc::new(watch::Sender::new(Phase::Starting));
        Readiness { phase, store_away: Arc::default() }
    }
}

impl Readiness {
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Whether the store was out of reach at the last look.
    pub fn is_store_away(&self) -> bool {
        self.store_away.load(Ordering::Relaxed)
    }

    /// Says how the last look at the store went; gives how the one before did.
    pub fn set_store_away(&self, away: bool) -> bool {
        self.store_away.swap(away, Ordering::Relaxed)
    }

    /// Changes when the phase does.
    pub fn changes(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}
