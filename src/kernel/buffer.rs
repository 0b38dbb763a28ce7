//! Zeroed memory on cache-line borders.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a cache line, of an AVX-512 register and of a line of a tile.
pub(super) const LINE: usize = 64;

/// Types that may be zeroed memory and own nothing.
pub(super) trait Plain: Copy + Send + Sync {}

impl Plain for f32 {}
impl Plain for u16 {}

/// A boxed slice that begins on a cache line: a vector or a line of a tile never straddles two.
pub(super) struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
    owns: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Buffer<T> {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer fits into memory");
        Buffer { start: memory::allocate(bytes).cast(), len, owns: PhantomData }
    }

    /// Makes room for at least `len` elements; what it held is lost if it has to grow.
    pub fn reserve(&mut self, len: usize) {
        if self.len < len {
            // The old memory goes first: both at once would double the peak.
            *self = Buffer::zeroed(0);
            *self = Buffer::zeroed(len);
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` holds `len` elements, initialised to zeros, for which any bits are valid.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        memory::free(self.start.cast(), self.len * size_of::<T>());
    }
}

// SAFETY: a buffer owns its memory as a `Box<[T]>` does, and `T` may cross threads.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: shared access is read-only.
unsafe impl<T: Plain> Sync for Buffer<T> {}

// The allocator says nothing of what is written beside a block; these pages do.
#[cfg(all(test, target_os = "linux"))]
mod memory;

#[cfg(not(all(test, target_os = "linux")))]
mod memory {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::ptr::NonNull;

    use super::LINE;

    pub fn allocate(bytes: usize) -> NonNull<u8> {
        let layout = layout(bytes);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
    }

    pub fn free(start: NonNull<u8>, bytes: usize) {
        // SAFETY: `start` came from `allocate` with the same number of bytes.
        unsafe { dealloc(start.as_ptr(), layout(bytes)) }
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes.max(1), LINE).expect("a buffer fits into memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_zero_on_a_cache_line_and_has_its_length() {
        for len in [0, 1, 7, 16, 31, 32, 1000, 1024, 4096, 100_000] {
            let mut buffer = Buffer::<f32>::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.as_ptr().addr().is_multiple_of(LINE));
            assert!(buffer.iter().all(|&value| value == 0.0));
            buffer.fill(1.0);
        }
    }

    #[test]
    fn reserving_less_keeps_and_reserving_more_gives_zeros() {
        let mut buffer = Buffer::<u16>::zeroed(100);
        buffer.fill(7);
        buffer.reserve(60);
        assert_eq!(*buffer, [7; 100]);
        buffer.reserve(101);
        assert_eq!(*buffer, [0; 101]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_beside_a_buffer_cannot_be_touched_in_tests() {
        let buffer = Buffer::<f32>::zeroed(1024);
        let mut pipe = [0; 2];
        // SAFETY: an array of two.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        for (at, expected) in [(-1, -1), (0, 1), (1023, 1), (1024, -1)] {
            let address = buffer.as_ptr().wrapping_offset(at);
            // SAFETY: the system checks the address and reads one byte, or fails.
            assert_eq!(unsafe { libc::write(pipe[1], address.cast(), 1) }, expected, "{at}");
        }
        // SAFETY: nothing else has the two.
        assert_eq!(pipe.map(|end| unsafe { libc::close(end) }), [0, 0]);
    }
}
