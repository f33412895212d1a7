//! Several tables of about a target size, cut only between rows.

use super::key;
use super::writer::{Finished, WriteError, Writer, WriterOptions};
use std::cmp::Ordering;

/// Decides where a file may end.
pub trait RowBoundary {
    /// Whether a file may end between these two different roachkeys, `before` being the last one of the file.
    fn may_split(&mut self, before: &[u8], after: &[u8]) -> bool;
}

impl<F: FnMut(&[u8], &[u8]) -> bool> RowBoundary for F {
    fn may_split(&mut self, before: &[u8], after: &[u8]) -> bool {
        self(before, after)
    }
}

/// A writer that starts a new table when the current one has reached the target size.
///
/// All versions of a key stay in one table, and so do all keys between which the boundary refuses a split.
#[derive(Debug)]
pub struct SplitWriter<B> {
    options: WriterOptions,
    target_len: u64,
    boundary: B,
    writer: Option<Writer>,
}

impl<B: RowBoundary> SplitWriter<B> {
    /// `target_len`: bytes of keys and values per table; CockroachDB uses 64 MiB.
    pub fn new(options: WriterOptions, target_len: u64, boundary: B) -> Self {
        SplitWriter { options, target_len, boundary, writer: None }
    }

    /// Appends an entry, as [`Writer::add`].
    ///
    /// If that began a new table, returns what the one before holds: then everything in `out` after the call
    /// belongs to the table before, to its very end.
    pub fn add(
        &mut self,
        user_key: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Finished>, WriteError> {
        let full = self.writer.as_ref().is_some_and(|w| w.raw_len() >= self.target_len);
        let in_order = |w: &Writer| key::compare(w.last_key(), user_key) == Ordering::Less;
        if !full || !self.writer.as_ref().is_some_and(in_order) || !self.may_split(user_key) {
            self.add_here(user_key, value, out)?;
            return Ok(None);
        }
        // The first entry of a table never produces bytes, so what `finish` appends comes first.
        let mut next = Writer::new(self.options.clone())?;
        next.add(user_key, value, out)?;
        Ok(self.writer.replace(next).map(|writer| writer.finish(out)))
    }

    fn add_here(&mut self, user_key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(Writer::new(self.options.clone())?),
        };
        writer.add(user_key, value, out)
    }

    fn may_split(&mut self, user_key: &[u8]) -> bool {
        let Some(writer) = &self.writer else { return false };
        match (key::split(writer.last_key()), key::split(user_key)) {
            (Some((before, _)), Some((after, _))) => {
                before != after && self.boundary.may_split(before, after)
            }
            _ => false,
        }
    }

    /// Finishes the last table; `None` if nothing was added since the one before.
    pub fn finish(self, out: &mut Vec<u8>) -> Option<Finished> {
        self.writer.filter(|w| w.entries() > 0).map(|writer| writer.finish(out))
    }
}
