//! How a file lies in its chunk rows. Pure arithmetic and checks.

use std::fmt;

/// Length of a chunk as CockroachDB writes it: 4 MiB.
pub const CHUNK_LEN: usize = 4 << 20;

/// One chunk row without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkSpan {
    /// `byte_offset` as stored; negative only in damaged tables.
    pub offset: i64,
    /// Length of the payload in bytes; None: the payload is NULL.
    pub len: Option<u32>,
}

/// What is wrong with a file's chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// Nothing covers this position, but a later chunk exists, or the size reaches beyond it.
    Gap {
        /// First missing byte.
        at: u64,
        /// First byte after the gap, as far as known.
        until: u64,
    },
    /// A chunk begins before the end of the one in front of it.
    Overlap {
        /// Where the later chunk begins.
        at: u64,
        /// Where the earlier one ends.
        until: u64,
    },
    /// A chunk row without contents.
    Null {
        /// Its offset.
        at: i64,
    },
    /// A chunk row of no bytes.
    EmptyRow {
        /// Its offset.
        at: i64,
    },
    /// A chunk row at a negative offset.
    NegativeOffset {
        /// Its offset.
        at: i64,
    },
    /// The chunks end elsewhere than `file_size` says.
    Size {
        /// `file_size` as stored.
        stored: i64,
        /// Where the chunks end.
        end: u64,
    },
    /// Offsets or lengths beyond any possible file.
    OutOfRange {
        /// The offset of the row.
        at: i64,
    },
}

impl Damage {
    /// The position in the file that the damage is at, in bytes.
    pub fn offset(&self) -> i64 {
        let signed = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        match *self {
            Damage::Gap { at, .. } | Damage::Overlap { at, .. } => signed(at),
            Damage::Null { at }
            | Damage::EmptyRow { at }
            | Damage::NegativeOffset { at }
            | Damage::OutOfRange { at } => at,
            Damage::Size { stored, end } => stored.min(signed(end)),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Damage::Gap { at: 0, until } => {
                write!(f, "the beginning is missing: nothing before offset {until}")
            }
            Damage::Gap { at, until } => write!(f, "bytes are missing at offset {at}, up to {until}"),
            Damage::Overlap { at, until } => {
                write!(f, "the chunk at offset {at} overlaps the one before it, which ends at {until}")
            }
            Damage::Null { at } => write!(f, "the chunk at offset {at} is NULL"),
            Damage::EmptyRow { at } => write!(f, "the chunk at offset {at} is empty"),
            Damage::NegativeOffset { at } => write!(f, "there is a chunk at the negative offset {at}"),
            Damage::Size { stored, end } => {
                write!(f, "the chunks end at offset {end}, but the size is recorded as {stored}")
            }
            Damage::OutOfRange { at } => write!(f, "the chunk at offset {at} is out of range"),
        }
    }
}

/// Number of chunks of a file of `size` bytes that is written in chunks of `chunk_len`.
pub fn chunk_count(size: u64, chunk_len: usize) -> u64 {
    size.div_ceil((chunk_len as u64).max(1))
}

/// Length of the chunk at `offset` in a file of `size` bytes; 0 at or beyond its end.
pub fn chunk_len_at(offset: u64, size: u64, chunk_len: usize) -> usize {
    // The result is at most chunk_len, so it fits.
    size.saturating_sub(offset).min(chunk_len as u64) as usize
}

/// Checks that chunk rows, in order of their offsets, are one file without gaps. Returns where they end.
///
/// Rows of no bytes are tolerated where they do not hide anything (the real reader passes over them): an empty
/// row is an error only in a place where it stops that reader.
pub fn check_contiguous(spans: &[ChunkSpan]) -> Result<u64, Damage> {
    let mut end = 0u64;
    for span in spans {
        let at = span.offset;
        let Ok(offset) = u64::try_from(at) else {
            return Err(Damage::NegativeOffset { at });
        };
        let Some(len) = span.len else {
            return Err(Damage::Null { at });
        };
        if offset > end {
            return Err(Damage::Gap { at: end, until: offset });
        }
        if offset < end {
            return Err(Damage::Overlap { at: offset, until: end });
        }
        end = match offset.checked_add(u64::from(len)) {
            Some(e) if i64::try_from(e).is_ok() => e,
            _ => return Err(Damage::OutOfRange { at }),
        };
    }
    Ok(end)
}

/// As [`check_contiguous`], and the end must be the recorded size.
pub fn check(spans: &[ChunkSpan], stored_size: i64) -> Result<u64, Damage> {
    let end = check_contiguous(spans)?;
    if i64::try_from(end) != Ok(stored_size) {
        return Err(Damage::Size { stored: stored_size, end });
    }
    Ok(end)
}

/// Where a row's bytes go when a damaged file is put together by order alone: the recovery for files that the
/// wrong-offset bug of old CockroachDB versions damaged (all bytes are there, in order, at offsets too high).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveredSpan {
    /// Position in the recovered file.
    pub logical: u64,
    /// `byte_offset` of the row.
    pub stored: i64,
    /// Length in bytes, never 0.
    pub len: u32,
}

/// Concatenates the rows in order; NULL and empty ones are passed over.
pub fn recovered(spans: &[ChunkSpan]) -> Vec<RecoveredSpan> {
    let mut logical = 0u64;
    let mut out = Vec::with_capacity(spans.len());
    for span in spans {
        if let Some(len @ 1..) = span.len {
            out.push(RecoveredSpan { logical, stored: span.offset, len });
            logical = logical.saturating_add(u64::from(len));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(rows: &[(i64, i64)]) -> Vec<ChunkSpan> {
        rows.iter().map(|&(offset, len)| ChunkSpan { offset, len: u32::try_from(len).ok() }).collect()
    }

    #[test]
    fn counts_and_lengths() {
        for (size, count) in [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (u64::MAX, u64::MAX / 4 + 1)] {
            assert_eq!(chunk_count(size, 4), count);
        }
        assert_eq!(chunk_len_at(4, 6, 4), 2);
        assert_eq!(chunk_len_at(0, 6, 4), 4);
        assert_eq!(chunk_len_at(8, 6, 4), 0);
    }

    #[test]
    fn whole_files() {
        for (rows, size) in [
            (&[][..], 0),
            (&[(0, 5)], 5),
            (&[(0, 4), (4, 4), (8, 1)], 9),
            (&[(0, 3), (3, 7), (10, 2)], 12),
            (&[(0, 4), (4, 0)], 4),
        ] {
            assert_eq!(check(&spans(rows), size), Ok(size as u64), "{rows:?}");
        }
    }

    #[test]
    fn damaged_files() {
        for (rows, size, damage) in [
            (&[(4, 4)][..], 8, Damage::Gap { at: 0, until: 4 }),
            (&[(0, 4), (8, 4)], 12, Damage::Gap { at: 4, until: 8 }),
            (&[(0, 4), (3, 4)], 7, Damage::Overlap { at: 3, until: 4 }),
            (&[(0, 4), (4, -1)], 8, Damage::Null { at: 4 }),
            (&[(-4, 4), (0, 4)], 4, Damage::NegativeOffset { at: -4 }),
            (&[(0, 4)], 5, Damage::Size { stored: 5, end: 4 }),
            (&[(0, 4)], 0, Damage::Size { stored: 0, end: 4 }),
            (&[(0, 4)], -1, Damage::Size { stored: -1, end: 4 }),
        ] {
            assert_eq!(check(&spans(rows), size), Err(damage), "{rows:?}");
            assert!(!damage.to_string().is_empty());
            let _ = damage.offset();
        }
        let far =
            [ChunkSpan { offset: 0, len: Some(u32::MAX) }, ChunkSpan { offset: i64::MAX, len: Some(1) }];
        assert!(check_contiguous(&far).is_err());
    }

    #[test]
    fn recovery_goes_by_order() {
        let r = recovered(&spans(&[(4, 4), (12, 4), (16, -1), (20, 0), (24, 1)]));
        let want = [(0, 4, 4), (4, 12, 4), (8, 24, 1)];
        assert_eq!(r.len(), 3);
        for (got, (logical, stored, len)) in r.iter().zip(want) {
            assert_eq!(*got, RecoveredSpan { logical, stored, len });
        }
    }
}
