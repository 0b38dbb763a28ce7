//! Memory for tests: every buffer between two pages that may not be touched.
//!
//! A buffer ends where the upper page begins, so that one element too far ends the process. Where
//! its length is no multiple of a cache line, it begins on one all the same, and fewer than 64
//! bytes lie between its end and that page; these, and those before its beginning, are zero from
//! first to last, or whoever frees the buffer panics.

use std::ptr::NonNull;

use super::LINE;

pub fn allocate(bytes: usize) -> NonNull<u8> {
    let page = page();
    let inside = inside(bytes);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory at an address of the system's choice; a whole number of pages.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), inside + 2 * page, libc::PROT_NONE, flags, -1, 0)
    };
    assert!(start != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    // SAFETY: the pages between the first one and the last one of those.
    let first = unsafe { start.cast::<u8>().add(page) };
    // SAFETY: as above.
    let opened = inside == 0
        || unsafe { libc::mprotect(first.cast(), inside, libc::PROT_READ | libc::PROT_WRITE) == 0 };
    assert!(opened, "{}", std::io::Error::last_os_error());
    // SAFETY: `before` is at most `inside`.
    NonNull::new(unsafe { first.add(before(bytes)) }).expect("the first page was left out")
}

pub fn free(start: NonNull<u8>, bytes: usize) {
    let page = page();
    let (inside, before) = (inside(bytes), before(bytes));
    // SAFETY: what `allocate` has opened, and has given to none but the buffer, which is gone.
    let (first, all) = unsafe {
        let first = start.as_ptr().sub(before);
        (first, std::slice::from_raw_parts(first, inside))
    };
    let around = all[..before].iter().chain(&all[before + bytes..]);
    let untouched = around.copied().all(|byte| byte == 0);
    // SAFETY: what `allocate` has mapped.
    let freed = unsafe { libc::munmap(first.sub(page).cast(), inside + 2 * page) };
    assert!(freed == 0, "{}", std::io::Error::last_os_error());
    // A second panic would hide the first one.
    assert!(untouched || std::thread::panicking(), "something wrote beside a buffer");
}

/// Bytes of the pages that may be touched.
fn inside(bytes: usize) -> usize {
    bytes.next_multiple_of(page())
}

/// Bytes of these that come before the buffer.
fn before(bytes: usize) -> usize {
    inside(bytes) - bytes.next_multiple_of(LINE)
}

fn page() -> usize {
    // SAFETY: asks the system for a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).expect("pages have a size")
}
