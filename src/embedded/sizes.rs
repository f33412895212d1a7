//! How much of a disk the private server takes for itself.

/// MiB of a disk that is not the files' own. On large disks a few percent; on small ones more, or the server could not
/// work at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The log, as large as it is meant to get.
    pub wal: u64,
    /// Length of its files. A session may hold one that was removed until it writes again.
    pub segment: u64,
    /// Kept free besides: while a checkpoint runs the log outgrows its size, by about as much as is written meanwhile.
    pub reserve: u64,
    /// Memory for pages, all of which a checkpoint may have to write.
    pub buffers: u64,
    /// The work of a VACUUM within 2 ms: what it writes goes through the log as well, which must not outrun
    /// checkpoints.
    pub vacuum_cost: u64,
}

impl Sizes {
    /// For a disk and a memory of so many MiB.
    pub(super) fn of(disk: u64, memory: u64) -> Sizes {
        let reserve = (disk / 10).clamp(96, 1024);
        Sizes {
            wal: (disk / 16).clamp(64, 4096),
            segment: if disk < 16 << 10 { 1 } else { 16 },
            reserve,
            buffers: (memory / 8).min(disk / 16).clamp(32, 512),
            vacuum_cost: (reserve * 4).clamp(400, 4000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sizes;

    #[test]
    fn parts_of_disks() {
        let of = |disk, memory| {
            let s = Sizes::of(disk, memory);
            (s.wal, s.segment, s.reserve, s.buffers, s.vacuum_cost)
        };
        assert_eq!(of(256 << 10, 24 << 10), (4096, 16, 1024, 512, 4000));
        assert_eq!(of(20 << 10, 2 << 10), (1280, 16, 1024, 256, 4000));
        assert_eq!(of(2000, 24 << 10), (125, 1, 200, 125, 800));
        assert_eq!(of(300, 24 << 10), (64, 1, 96, 32, 400));
        assert_eq!(of(0, 0), (64, 1, 96, 32, 400));
    }
}
