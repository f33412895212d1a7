//! How freed memory is kept.
//!
//! Contents pass through buffers of some MiB. Given back to the system at once, each costs a page fault for every
//! 4 KiB of contents, a third of a mount's time; kept in several heaps, a mount that passes gigabytes through would
//! hold several times what it uses. One heap that keeps a little is the measured middle.

/// Blocks below this size come from the heap, in bytes: the largest threshold that glibc takes.
const HEAP_BELOW_BYTES: libc::c_int = 32 << 20;
/// Free memory that stays at the end of the heap, in bytes.
const KEEP_BYTES: libc::c_int = 16 << 20;
/// Heaps shared by all threads.
const HEAPS: libc::c_int = 1;

/// Sets the allocator's limits; to be called before threads exist.
pub fn bound_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP_BELOW_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}
