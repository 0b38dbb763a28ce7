//! Buffers at a border that nobody may cross: an access beyond it ends the test.

use std::ops::{Deref, DerefMut};
use std::{ptr, slice};

/// A slice in pages of its own, before and after which no access is allowed.
///
/// Its end or its start touches such a border; what is left between the other side and the border
/// there is filled with [`FILLER`], not a number in f32 and bf16, and must be so still on drop.
pub(super) struct Guarded<T> {
    /// The mapping: a page without access, the accessible bytes, a page without access.
    mapping: *mut u8,
    mapped: usize,
    elements: *mut T,
    length: usize,
}

const FILLER: u8 = 0xff;

impl<T: Copy> Guarded<T> {
    /// A copy of `contents` whose end touches the border. Aligned to 64 bytes if it is a multiple
    /// of 64 bytes long.
    pub fn at_end(contents: &[T]) -> Self {
        Self::placed(contents, |accessible| accessible - size_of_val(contents))
    }

    /// A copy of `contents` whose start touches the border. Aligned to 64 bytes.
    pub fn at_start(contents: &[T]) -> Self {
        Self::placed(contents, |_| 0)
    }

    fn placed(contents: &[T], offset: impl FnOnce(usize) -> usize) -> Self {
        let page = page_size();
        assert!(align_of::<T>() <= page);
        let accessible = size_of_val(contents).next_multiple_of(page).max(page);
        let mapped = page + accessible + page;
        // SAFETY: a fresh private mapping, of which only the middle is made accessible and written;
        // the place of the elements is within it, and aligned, being a page's start or a multiple
        // of the element's size before a page's end.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = libc::mmap(ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED, "mmap failed");
            let mapping = mapping.cast::<u8>();
            let middle = mapping.add(page);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(middle.cast(), accessible, access), 0, "mprotect failed");
            middle.write_bytes(FILLER, accessible);
            let elements = middle.add(offset(accessible)).cast::<T>();
            elements.copy_from_nonoverlapping(contents.as_ptr(), contents.len());
            Self { mapping, mapped, elements, length: contents.len() }
        }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `length` initialised elements lie there until drop.
        unsafe { slice::from_raw_parts(self.elements, self.length) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.elements, self.length) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let page = page_size();
        let middle = self.mapping.wrapping_add(page);
        let before = self.elements.addr() - middle.addr();
        let occupied = self.length * size_of::<T>();
        // SAFETY: the accessible bytes of the mapping, all initialised.
        let bytes = unsafe { slice::from_raw_parts(middle, self.mapped - 2 * page) };
        let stray =
            bytes[..before].iter().chain(&bytes[before + occupied..]).any(|&byte| byte != FILLER);
        // SAFETY: the mapping is ours, and nothing borrows from it any more.
        unsafe { libc::munmap(self.mapping.cast(), self.mapped) };
        assert!(!stray || std::thread::panicking(), "something wrote beside a guarded slice");
    }
}

fn page_size() -> usize {
    // SAFETY: has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("pages have a size")
}

#[cfg(test)]
mod tests {
    use super::super::forked::death_of;
    use super::*;

    #[test]
    fn contents_are_kept_and_can_be_changed() {
        let mut buffer = Guarded::at_end(&[1u16, 2, 3]);
        buffer[1] = 7;
        assert_eq!(*buffer, [1, 7, 3]);
        assert_eq!(*Guarded::at_start(&[1u16, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn a_read_past_the_guarded_end_ends_the_process() {
        let buffer = Guarded::at_end(&[1f32; 48]);
        let last = buffer.as_ptr().wrapping_add(47);
        assert_eq!(death_of(|| read(last)), None);
        assert_eq!(death_of(|| read(last.wrapping_add(1))), Some(libc::SIGSEGV));
    }

    #[test]
    fn a_read_before_the_guarded_start_ends_the_process() {
        let buffer = Guarded::at_start(&[1f32; 48]);
        assert_eq!(death_of(|| read(buffer.as_ptr())), None);
        assert_eq!(death_of(|| read(buffer.as_ptr().wrapping_sub(1))), Some(libc::SIGSEGV));
    }

    #[test]
    #[should_panic(expected = "something wrote beside a guarded slice")]
    fn a_write_on_the_unguarded_side_is_found_on_drop() {
        let buffer = Guarded::at_end(&[1f32; 48]);
        // SAFETY: within the mapping's accessible page.
        unsafe { buffer.elements.sub(1).write(0.0) };
    }

    #[test]
    fn whole_lines_are_aligned_to_lines() {
        assert_eq!(Guarded::at_end(&[0f32; 48]).as_ptr().addr() % 64, 0);
        assert_eq!(Guarded::at_start(&[0u16; 3]).as_ptr().addr() % 64, 0);
    }

    fn read(at: *const f32) {
        // SAFETY: none: that is what the tests are about, and a process of its own pays for it.
        unsafe { at.read_volatile() };
    }
}
