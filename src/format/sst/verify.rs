//! Everything about a table that can be verified without knowing what its rows mean.

use super::block::{Block, Cursor, split_key};
use super::error::{Error, ErrorKind, ReadError};
use super::footer::{Handle, TableFormat};
use super::iter::Stats;
use super::limits::BLOCK_LEN_MAX;
use super::properties::name;
use super::reader::Reader;
use super::source::ReadAt;

impl<R: ReadAt> Reader<R> {
    /// Reads the whole table and reports every damage found, in file order of the parts read; goes on after
    /// each. Returns what was seen.
    ///
    /// Together: [`Reader::verify_layout`], a checked iteration, and [`Reader::verify_stats`]. A caller that
    /// iterates anyway calls the first and the last itself.
    ///
    /// Fails only if the source does.
    pub fn verify(&self, report: &mut dyn FnMut(Error)) -> Result<Stats, R::Error> {
        self.verify_layout(report)?;
        let mut iter = self.iter().checked();
        loop {
            match iter.next() {
                Ok(Some(entry)) => {
                    if let Err(e) = entry.mvcc() {
                        report(e);
                    }
                }
                Ok(None) => break,
                Err(ReadError::Source(e)) => return Err(e),
                Err(ReadError::Table(e)) => report(e),
            }
        }
        let stats = iter.stats();
        self.verify_stats(&stats, report);
        Ok(stats)
    }

    /// Verifies all blocks but the data blocks, that blocks and footer fill the file without gaps or overlap,
    /// and that the footer's padding is zero.
    pub fn verify_layout(&self, report: &mut dyn FnMut(Error)) -> Result<(), R::Error> {
        let footer_at = self.len - self.footer.format.footer_len() as u64;
        if !self.footer.padding_is_zero {
            let detail = "bytes that every writer leaves zero are not";
            report(Error::new(ErrorKind::Corrupt, footer_at, "footer padding", detail));
        }
        if let Err(e) = take_source(self.range_keys())? {
            report(e);
        }
        let mut used = vec![self.footer.metaindex, self.footer.index];
        let (mut scratch, mut raw) = (Vec::new(), Vec::new());
        for meta in &self.metaindex {
            let read = self.read_raw(meta.handle, BLOCK_LEN_MAX, "meta block", &mut scratch, &mut raw);
            if let Err(e) = take_source(read)? {
                report(e);
            }
            used.push(meta.handle);
        }
        if let Err(e) = take_source(self.index_handles(&mut used))? {
            report(e);
            return Ok(());
        }
        if let Some(values) = &self.value_index {
            used.extend(values.blocks());
        }
        used.sort_unstable();
        used.dedup();
        let mut at = 0;
        for handle in used {
            if handle.offset != at {
                let detail = format!("the block before ends at {at}");
                report(Error::new(ErrorKind::Corrupt, handle.offset, "block offset", detail));
            }
            at = handle.end().unwrap_or(u64::MAX);
        }
        if at != footer_at {
            let detail = format!("the last block ends at {at}");
            report(Error::new(ErrorKind::Corrupt, footer_at, "footer offset", detail));
        }
        Ok(())
    }

    /// Collects the handles of data blocks and index partitions.
    fn index_handles(&self, used: &mut Vec<Handle>) -> Result<(), ReadError<R::Error>> {
        let (mut cursor, mut scratch) = (Cursor::default(), Vec::new());
        let mut partition = Block::default();
        while cursor.advance(&self.index)? {
            split_key(&self.index, &cursor.key, 0)?;
            let handle = self.handle(&self.index, &cursor)?;
            used.push(handle);
            if self.two_level {
                let field = "index partition";
                self.read_block(handle, BLOCK_LEN_MAX, field, &mut scratch, &mut partition)?;
                let mut inner = Cursor::default();
                while inner.advance(&partition)? {
                    used.push(self.handle(&partition, &inner)?);
                }
            }
        }
        Ok(())
    }

    /// Compares what a checked iteration over the whole table has seen with what the properties say.
    pub fn verify_stats(&self, stats: &Stats, report: &mut dyn FnMut(Error)) {
        let properties = &self.properties;
        let mut differ = |name: &'static str, stored: String, seen: String| {
            let detail = format!("{stored} is stored, {seen} was found");
            report(Error::new(ErrorKind::Corrupt, properties.offset, name, detail));
        };
        let numbers = [
            (name::NUM_ENTRIES, stats.entries),
            (name::NUM_DATA_BLOCKS, stats.blocks),
            (name::RAW_KEY_SIZE, stats.key_bytes),
            (name::RAW_VALUE_SIZE, stats.value_bytes),
        ];
        let comparable = self.footer.format < TableFormat::PebbleV3;
        for (name, seen) in numbers {
            match properties.number(name) {
                Ok(Some(stored)) if stored != seen && (comparable || name == name::NUM_ENTRIES) => {
                    differ(name, stored.to_string(), seen.to_string());
                }
                Ok(_) => {}
                Err(e) => differ(name, "a malformed number".to_owned(), e.to_string()),
            }
        }
        let versions = [(name::TS_MIN, &stats.version_min), (name::TS_MAX, &stats.version_max)];
        for (name, seen) in versions {
            if let Some(stored) = properties.get(name)
                && Some(stored) != seen.as_deref()
                && !stored.is_empty()
            {
                let seen = seen.as_deref().map_or_else(|| "none".to_owned(), super::iter::hex);
                differ(name, super::iter::hex(stored), seen);
            }
        }
    }
}

/// Separates failures of the source from damage.
fn take_source<T, E>(result: Result<T, ReadError<E>>) -> Result<Result<T, Error>, E> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ReadError::Table(e)) => Ok(Err(e)),
        Err(ReadError::Source(e)) => Err(e),
    }
}
