//! What becomes of a process, seen from outside: for what ends one.

use std::ptr;

/// The signal that `action` dies of in a copy of this process; none if it returns.
///
/// The copy has one thread of many, so `action` must neither allocate nor lock.
pub(super) fn death_of(action: impl FnOnce()) -> Option<libc::c_int> {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the child calls nothing but what is allowed after a fork, runs `action` and exits.
    let child = unsafe {
        match libc::fork() {
            0 => {
                libc::setrlimit(libc::RLIMIT_CORE, &no_core);
                // The test harness's own handler would speak of a stack overflow.
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                libc::close(libc::STDERR_FILENO);
                action();
                libc::_exit(0)
            }
            child => child,
        }
    };
    assert!(child > 0, "fork failed");
    let mut status = 0;
    // SAFETY: the child is ours and not waited for yet.
    let waited = unsafe { libc::waitpid(child, ptr::from_mut(&mut status), 0) };
    assert_eq!(waited, child);
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}
