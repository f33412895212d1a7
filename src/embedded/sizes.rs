//! How much of a disk the private server takes for itself.

/// What follows from the length that the log is meant to have. All in MiB but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// That length, `max_wal_size`.
    pub wal: u64,
    /// Length of its files. A session may hold one that was removed until it writes again.
    pub segment: u64,
    /// Kept free besides: while a checkpoint runs the log outgrows its length, by about as much as is written meanwhile.
    pub reserve: u64,
    /// The work of a VACUUM within 2 ms: what it writes goes through the log as well, and must not outrun checkpoints.
    pub vacuum_cost: u64,
}

/// The least and the most for a new server.
const WAL_MIB: (u64, u64) = (64, 4096);

impl Sizes {
    /// For a disk of `total` MiB of which `free` are free: some three percent of it, and a quarter of what is free at most;
    /// on small disks more, or the server could not work at all.
    pub(super) fn of_disk(total: u64, free: u64) -> Sizes {
        Sizes::of_wal((total / 32).min(free / 8).clamp(WAL_MIB.0, WAL_MIB.1))
    }

    /// For a log of this length.
    pub(super) fn of_wal(wal: u64) -> Sizes {
        let segment = match wal {
            0..256 => 1,
            256..1024 => 4,
            _ => 16,
        };
        let reserve = wal.clamp(96, 1024);
        Sizes { wal, segment, reserve, vacuum_cost: (reserve * 4).clamp(400, 4000) }
    }

    /// For the settings of a server, of which the last of a name counts. PostgreSQL's own length where they do not say.
    pub(super) fn of_settings(conf: &str) -> Sizes {
        Sizes::of_wal(conf.lines().rev().find_map(wal_size).unwrap_or(1024))
    }

    /// Memory for pages, all of which a checkpoint may have to write.
    pub(super) fn buffers(self, memory: u64) -> u64 {
        (memory / 8).min(self.wal).clamp(32, 512)
    }
}

/// The value of a line `max_wal_size = 4GB`.
fn wal_size(line: &str) -> Option<u64> {
    let (name, value) = line.split('#').next()?.split_once(|c: char| c == '=' || c.is_whitespace())?;
    if name.trim() != "max_wal_size" {
        return None;
    }
    let value = value.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '\'');
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "" | "MB" => Some(number),
        "kB" => Some(number / 1024),
        "GB" => number.checked_mul(1024),
        "TB" => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Sizes;

    #[test]
    fn parts_of_disks() {
        let of = |total, free| {
            let s = Sizes::of_disk(total, free);
            (s.wal, s.segment, s.reserve, s.vacuum_cost, s.buffers(24 << 10))
        };
        assert_eq!(of(256 << 10, 75 << 10), (4096, 16, 1024, 4000, 512));
        assert_eq!(of(256 << 10, 4 << 10), (512, 4, 512, 2048, 512));
        assert_eq!(of(20 << 10, 15 << 10), (640, 4, 640, 2560, 512));
        assert_eq!(of(5000, 5000), (156, 1, 156, 624, 156));
        assert_eq!(of(300, 300), (64, 1, 96, 400, 64));
        assert_eq!(of(0, 0), (64, 1, 96, 400, 64));
        assert_eq!(Sizes::of_disk(0, 0).buffers(100), 32);
    }

    #[test]
    fn lengths_in_settings() {
        let wal = |conf| Sizes::of_settings(conf).wal;
        assert_eq!(wal("#max_wal_size = 5GB\n max_wal_size = 1GB # x\nmin_wal_size = 80MB\n"), 1024);
        assert_eq!(wal("max_wal_size = 1GB\nmax_wal_size=64MB\n\n"), 64);
        assert_eq!(wal("max_wal_size '2 GB'\n"), 2048);
        assert_eq!(wal("max_wal_size = 300\n"), 300);
        assert_eq!(wal("max_wal_size = 65536kB"), 64);
        assert_eq!(wal("max_wal_size = 99999999999999999999GB"), 1024);
        assert_eq!(wal("max_wal_size = x\n"), 1024);
        assert_eq!(wal(""), 1024);
    }
}
