//! Whether this process should get requests: an orchestrator's three questions, one state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
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
pub struct Readiness(Arc<AtomicU8>);

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness(Arc::new(AtomicU8::new(Phase::Starting as u8)))
    }
}

impl Readiness {
    pub fn phase(&self) -> Phase {
        let phase = self.0.load(Ordering::Acquire);
        [Phase::Starting, Phase::Ready, Phase::Draining, Phase::Failed]
            .into_iter()
            .find(|&known| known as u8 == phase)
            .expect("only phases are stored")
    }

    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }
}
