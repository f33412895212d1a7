//! Memory that is freed goes back to the system.
//!
//! The C library keeps freed blocks of some MiB once it has seen a few, in several arenas: a mount
//! that passes gigabytes through 4 MiB buffers would hold several times what it uses.

/// Blocks from this size on are given back when freed, in bytes.
const GIVE_BACK_FROM_BYTES: libc::c_int = 1 << 20;
/// Heaps shared by all threads.
const ARENAS: libc::c_int = 2;

/// Sets the allocator's limits; to be called before threads exist.
pub fn bound_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVE_BACK_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, GIVE_BACK_FROM_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}
