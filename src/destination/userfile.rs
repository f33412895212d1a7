//! A prefix of userfile tables.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::chunk::{Chunk, FileRow, FileTable};

use super::{Error, File, Listed, Source};

/// Rows of one listing statement.
const PAGE: usize = 10_000;

/// Files whose stored names begin with a path. Reads wait for the server: not for use in asynchronous code.
#[derive(Clone)]
pub struct Userfile {
    table: FileTable,
    runtime: Handle,
    /// `""` or `/a/b`.
    root: String,
    address: String,
}

struct Open {
    table: FileTable,
    runtime: Handle,
    row: FileRow,
    len: u64,
    place: String,
    /// The chunk read last: blocks are much smaller.
    last: Mutex<Option<Chunk>>,
}

impl Userfile {
    /// `path` is where the files are, with or without slashes at its ends; `address` is shown in messages.
    pub fn new(table: FileTable, runtime: Handle, path: &str, address: String) -> Self {
        let path = path.trim_matches('/');
        let root = if path.is_empty() { String::new() } else { format!("/{path}") };
        Self { table, runtime, root, address }
    }

    fn error(&self, name: &str, cause: &dyn std::fmt::Display) -> Error {
        Error::Io { place: self.place(name), cause: cause.to_string() }
    }

    /// Every file row below the path, also those whose names are not UTF-8.
    pub fn rows(&self) -> Result<Vec<FileRow>, Error> {
        self.rows_with("")
    }

    /// Whether the chunks of a file are all there.
    pub fn verify(&self, row: &FileRow) -> Result<u64, crate::chunk::Error> {
        self.runtime.block_on(self.table.verify(row))
    }

    fn rows_with(&self, prefix: &str) -> Result<Vec<FileRow>, Error> {
        let prefix = format!("{}/{prefix}", self.root);
        let mut found: Vec<FileRow> = Vec::new();
        loop {
            let after = found.last().map(|row| row.name.clone());
            let page = self
                .runtime
                .block_on(self.table.list_files(&prefix, after.as_deref(), PAGE))
                .map_err(|error| self.error("", &error))?;
            let more = page.len() == PAGE;
            found.extend(page);
            if !more {
                return Ok(found);
            }
        }
    }
}

impl Source for Userfile {
    fn describe(&self) -> String {
        self.address.clone()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let inside = format!("{}/", self.root);
        let rows = self.rows_with(prefix)?;
        let mut found: Vec<Listed> = rows
            .iter()
            .filter_map(|row| {
                let name = std::str::from_utf8(&row.name).ok()?.strip_prefix(&inside)?;
                Some(Listed { name: name.to_owned(), len: u64::try_from(row.size).unwrap_or(0) })
            })
            .collect();
        found.sort();
        Ok(found)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, Error> {
        let stored = format!("{}/{name}", self.root);
        let lookup =
            self.runtime.block_on(self.table.lookup(&stored)).map_err(|error| self.error(name, &error))?;
        let row = lookup.file.ok_or_else(|| Error::NotFound { place: self.place(name) })?;
        let len = u64::try_from(row.size).map_err(|_| self.error(name, &"the stored size is negative"))?;
        Ok(Arc::new(Open {
            table: self.table.clone(),
            runtime: self.runtime.clone(),
            row,
            len,
            place: self.place(name),
            last: Mutex::new(None),
        }))
    }
}

impl Open {
    fn chunk(&self, at: u64) -> Result<Chunk, Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = last.as_ref().filter(|chunk| chunk.offset <= at && at < chunk.end()) {
            return Ok(chunk.clone());
        }
        let error = |cause: String| Error::Io { place: self.place.clone(), cause };
        let read = self.runtime.block_on(self.table.chunk_at(self.row.id, at));
        match read.map_err(|cause| error(cause.to_string()))? {
            Some(chunk) if at < chunk.end() => {
                *last = Some(chunk.clone());
                Ok(chunk)
            }
            _ => Err(error(format!("no chunk holds byte {at}, but the file has {} bytes", self.len))),
        }
    }
}

impl File for Open {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize, buf: &mut Vec<u8>) -> Result<(), Error> {
        buf.clear();
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = len.min(rest);
        while buf.len() < want {
            let at = offset + buf.len() as u64;
            let chunk = self.chunk(at)?;
            let bytes = chunk.from_pos(at);
            let take = bytes.len().min(want - buf.len());
            buf.extend_from_slice(bytes.get(..take).unwrap_or(bytes));
        }
        Ok(())
    }
}
