//! Long computations of a training job, out of the way of requests.

use std::io;
use std::thread;

use thiserror::Error;
#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::oneshot;

/// Why a computation gave nothing.
#[derive(Debug, Error)]
pub enum BackgroundError {
    #[error("cannot start a thread for the training")]
    Thread(#[from] io::Error),
    #[error("the training panicked; see the server's log")]
    Panicked,
}

/// Computes something on a thread of its own that gives way to all others: where requests and training
/// want the same core, the requests get it. It starts at once, and runs to its end even if nobody waits
/// for that any more.
///
/// # Errors
/// There are no more threads; a panic.
pub fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, BackgroundError>> {
    let (sender, done) = oneshot::channel();
    let started = thread::Builder::new().name("training".to_owned()).spawn(move || {
        give_way();
        // Nobody waits for it any more where this fails.
        let _ = sender.send(work());
    });
    async {
        started?;
        done.await.map_err(|_| BackgroundError::Panicked)
    }
}

/// Has the system run this thread only where no other one of normal policy wants the core. Niceness is
/// not enough: a nice thread is let go on for milliseconds before one that wakes up gets its turn, and
/// with that the slowest answers took three times as long.
/// <https://man7.org/linux/man-pages/man7/sched.7.html>
#[cfg(target_os = "linux")]
fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    if let Err(error) = set {
        tracing::debug!(%error, "training keeps the priority of requests");
    }
}

/// Other systems have no such policy for threads.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_computed_comes_back_and_a_panic_is_told() {
        assert_eq!(compute(|| 6 * 7).await.unwrap(), 42);
        let told = compute(|| -> usize { panic!("on purpose") }).await;
        assert!(matches!(told, Err(BackgroundError::Panicked)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_the_computation_gives_way() {
        let policy = || thread_priority::thread_schedule_policy().unwrap();
        let before = policy();
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_ne!(before, idle);
        assert_eq!(compute(policy).await.unwrap(), idle);
        assert_eq!(policy(), before);
    }
}
