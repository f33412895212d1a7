//! The one place that reads the wall clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch, UTC; negative before 1970.
///
/// This is the resolution of the servers' `TIMESTAMP`, so a value survives a round trip through a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// Rounds down to whole microseconds; times outside the range of `i64` microseconds are clamped to it.
    pub fn from_system_time(t: SystemTime) -> Micros {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => Micros(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => {
                let d = before.duration();
                let up = u128::from(!d.subsec_nanos().is_multiple_of(1_000));
                Micros(i64::try_from(d.as_micros() + up).map(|m| -m).unwrap_or(i64::MIN))
            }
        }
    }

    /// The same instant; clamped to the epoch where the platform's clock cannot hold it.
    pub fn to_system_time(self) -> SystemTime {
        let d = Duration::from_micros(self.0.unsigned_abs());
        if self.0 >= 0 { UNIX_EPOCH.checked_add(d) } else { UNIX_EPOCH.checked_sub(d) }.unwrap_or(UNIX_EPOCH)
    }

    /// Whole seconds (rounded down) and the nanoseconds above them, as `struct timespec` has them.
    pub fn to_timespec(self) -> (i64, u32) {
        let nanos = self.0.rem_euclid(1_000_000) as u32 * 1_000;
        (self.0.div_euclid(1_000_000), nanos)
    }

    /// From seconds and nanoseconds as in `struct timespec`; nanoseconds are rounded down to microseconds.
    pub fn from_timespec(seconds: i64, nanos: i64) -> Micros {
        Micros(seconds.saturating_mul(1_000_000).saturating_add(nanos.div_euclid(1_000)))
    }
}

impl fmt::Display for Micros {
    /// `2021-03-04 05:06:07.000008`, or the bare number of microseconds outside the calendar's range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(t) => write!(f, "{}", t.format("%Y-%m-%d %H:%M:%S%.6f")),
            None => write!(f, "{} us", self.0),
        }
    }
}

/// The present time.
pub fn now_micros() -> Micros {
    Micros::from_system_time(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_time_round_trip() {
        for m in [0, 1, -1, 999_999, -999_999, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            assert_eq!(Micros::from_system_time(Micros(m).to_system_time()), Micros(m));
            let (s, n) = Micros(m).to_timespec();
            assert_eq!(Micros::from_timespec(s, i64::from(n)), Micros(m));
        }
        assert_eq!(Micros::from_system_time(UNIX_EPOCH - Duration::from_nanos(1)), Micros(-1));
        assert_eq!(Micros::from_timespec(i64::MAX, 0), Micros(i64::MAX));
    }

    #[test]
    fn display() {
        assert_eq!(Micros(1_614_834_367_000_008).to_string(), "2021-03-04 05:06:07.000008");
        assert_eq!(Micros(i64::MIN).to_string(), format!("{} us", i64::MIN));
    }
}
