//! Fetching one stored file into one local file.

use super::partial::Partial;
use super::upload::blocking;
use super::{Budget, Cancel, Error, Meter};
use crate::chunk::{ChunkData, FileRow, FileTable, layout};
use futures_util::stream::{self, StreamExt};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Chunks of one file that are asked for ahead.
const AHEAD_CHUNKS: usize = 4;
/// How often a file that is replaced while it is read is begun again.
const CHANGES_MAX: u32 = 3;

/// What the options of `get` ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct GetOptions {
    /// Replace local files.
    pub overwrite: bool,
    /// Leave a local file of the same size alone.
    pub skip_existing: bool,
    /// Only look.
    pub dry_run: bool,
    /// The table was opened to read chunks by their order alone.
    pub recover: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is there, with so many bytes.
    Stored(u64),
    /// A local file of the same size was there already.
    Skipped,
    /// Would be fetched (`dry_run`).
    Planned,
}

/// Fetches files; clones share the memory budget and the counters.
#[derive(Clone)]
pub struct Downloader {
    /// Where from.
    pub table: FileTable,
    /// How.
    pub options: GetOptions,
    /// Counts bytes and files done.
    pub meter: Arc<Meter>,
    /// Memory for chunks.
    pub budget: Budget,
    /// Stops it.
    pub cancel: Cancel,
}

impl Downloader {
    /// Fetches the file. The local file appears under its name only when it is whole, with mode 0600 and, if
    /// need be, with new directories of mode 0700. On an error, and when cancelled or dropped, nothing of it
    /// remains.
    pub async fn file(&self, row: &FileRow, to: &Path) -> Result<Fetched, Error> {
        let size = u64::try_from(row.size).unwrap_or(0);
        if let Ok(meta) = std::fs::metadata(to) {
            let kind = meta.file_type();
            if kind.is_char_device() || kind.is_fifo() {
                return self.to_device(row, to).await;
            }
            if self.options.skip_existing && kind.is_file() && meta.len() == size {
                self.meter.add_bytes(size);
                self.meter.add_file();
                return Ok(Fetched::Skipped);
            }
        }
        if std::fs::symlink_metadata(to).is_ok_and(|m| m.is_dir()) {
            return Err(Error::Clash(to.display().to_string()));
        }
        if !self.options.overwrite && std::fs::symlink_metadata(to).is_ok() {
            let here = std::fs::metadata(to).ok().filter(|m| self.options.skip_existing && m.is_file());
            let sizes = here.map(|m| (m.len(), size));
            return Err(Error::LocalExists { path: to.display().to_string(), sizes });
        }
        if self.options.dry_run {
            return Ok(Fetched::Planned);
        }
        let path = to.to_owned();
        let (file, partial) = blocking(move || Partial::create(&path)).await?;
        let (file, size) = self.fetch(row, file, to).await?;
        let overwrite = self.options.overwrite;
        blocking(move || partial.finish(&file, overwrite)).await?;
        self.meter.add_file();
        Ok(Fetched::Stored(size))
    }

    /// Fetches the file into something that is open already (standard output).
    pub async fn to_file(&self, row: &FileRow, to: File, name: &Path) -> Result<u64, Error> {
        let (_file, size) = self.fetch(row, to, name).await?;
        self.meter.add_file();
        Ok(size)
    }

    async fn to_device(&self, row: &FileRow, to: &Path) -> Result<Fetched, Error> {
        if self.options.dry_run {
            return Ok(Fetched::Planned);
        }
        let path = to.to_owned();
        let file =
            blocking(move || File::options().write(true).open(&path).map_err(Error::os("open", &path)))
                .await?;
        self.to_file(row, file, to).await.map(Fetched::Stored)
    }

    /// Copies the contents; begins again where the file is replaced meanwhile, as long as nothing is written.
    async fn fetch(&self, row: &FileRow, file: File, to: &Path) -> Result<(File, u64), Error> {
        let mut out = Out { file: Some(file), to: to.to_owned(), written: 0 };
        let mut row = row.clone();
        let mut changes = 0;
        loop {
            let done = tokio::select! {
                done = self.contents(&row, &mut out) => done,
                () = self.cancel.cancelled() => Err(Error::Interrupted),
            };
            let error = match done {
                Ok(()) => {
                    let written = out.written;
                    return Ok((out.file.take().ok_or(Error::Interrupted)?, written));
                }
                Err(e) => e,
            };
            // Damage, or somebody replaced the file: a look tells which.
            if !error.may_be_a_change() {
                return Err(error);
            }
            let now = match std::str::from_utf8(&row.name) {
                Ok(name) => self.table.lookup(name).await?.file,
                Err(_) => return Err(error),
            };
            match now {
                Some(now) if now.id != row.id || now.size != row.size => row = now,
                Some(_) => return Err(error),
                None => return Err(crate::chunk::Error::NotFound(super::address::lossy(&row.name)).into()),
            }
            changes += 1;
            if changes > CHANGES_MAX || !out.rewind().await? {
                return Err(Error::Unstable(super::address::lossy(&row.name)));
            }
        }
    }

    async fn contents(&self, row: &FileRow, out: &mut Out) -> Result<(), Error> {
        let size = u64::try_from(row.size).map_err(|_| damaged(row, 0, "its recorded size is negative"))?;
        let first = if size > self.table.chunk_len() as u64 {
            self.chunk(row, 0).await?
        } else {
            // Normally the only chunk; the last one in any case.
            self.chunk(row, i64::MAX as u64).await?
        };
        let step = match &first {
            Some((0, data)) => data.len() as u64,
            Some(_) => 0,
            None if size == 0 => return Ok(()),
            None => return Err(damaged(row, 0, "there are no contents")),
        };
        let mut at = 0;
        if let Some((0, data)) = first {
            at = self.accept(row, out, 0, (0, data)).await?;
        }
        // Whether the last chunk row was seen to be the last.
        let mut complete = step > 0 && at == size && size <= self.table.chunk_len() as u64;
        if step > 0 && at < size {
            (at, complete) = self.uniform(row, out, size, step).await?;
        }
        // Other clients may store chunks of any lengths: then one behind the other.
        while at < size {
            let chunk = self.chunk(row, at).await?;
            let chunk = chunk.ok_or_else(|| damaged(row, at, "bytes are missing here"))?;
            at = self.accept(row, out, at, chunk).await?;
        }
        if at > size {
            return Err(damaged(row, size, &format!("the chunks end at {at}, the recorded size is {size}")));
        }
        if !complete && !self.options.recover {
            // Nothing may follow.
            let spans = self.table.layout(row.id).await?;
            layout::check(&spans, row.size)
                .map_err(|d| damaged(row, u64::try_from(d.offset()).unwrap_or(0), &d.to_string()))?;
        }
        Ok(())
    }

    /// Reads on while the chunks lie `step` bytes apart, several at a time. Returns where that ended, and
    /// whether it ended with the last chunk row there is.
    async fn uniform(
        &self,
        row: &FileRow,
        out: &mut Out,
        size: u64,
        step: u64,
    ) -> Result<(u64, bool), Error> {
        let ahead = std::iter::successors(Some(step), |at| at.checked_add(step)).take_while(|at| *at < size);
        // In the last place the last row of all is asked for: it must be the one that belongs there.
        let wanted = ahead.map(|at| if size - at <= step { i64::MAX as u64 } else { at });
        let mut chunks =
            std::pin::pin!(stream::iter(wanted).map(|at| self.chunk(row, at)).buffered(AHEAD_CHUNKS));
        let mut at = step;
        while let Some(chunk) = chunks.next().await {
            match chunk? {
                Some((offset, data)) if offset == at && !data.is_empty() => {
                    let len = data.len() as u64;
                    at = self.accept(row, out, at, (offset, data)).await?;
                    if len != step {
                        return Ok((at, at == size));
                    }
                }
                _ => return Ok((at, false)),
            }
        }
        Ok((at, at == size))
    }

    /// Writes a chunk that must begin where the last one ended; returns where it ends.
    async fn accept(
        &self,
        row: &FileRow,
        out: &mut Out,
        at: u64,
        (offset, data): (u64, Piece),
    ) -> Result<u64, Error> {
        let end = offset.saturating_add(data.len() as u64);
        if offset != at || end <= at {
            return Err(damaged(row, at, "bytes are missing here, or chunks overlap"));
        }
        let len = data.len() as u64;
        out.write(data).await?;
        self.meter.add_bytes(len);
        Ok(end)
    }

    /// The chunk that covers a position, with its room in the budget.
    async fn chunk(&self, row: &FileRow, at: u64) -> Result<Option<(u64, Piece)>, Error> {
        let size = u64::try_from(row.size).unwrap_or(0);
        let room = self.budget.take(size.min(self.table.chunk_len() as u64)).await;
        let chunk = self.table.chunk_at(row.id, at).await?;
        Ok(chunk.map(|c| (c.offset, Piece { data: c.data, _room: room })))
    }
}

struct Piece {
    data: ChunkData,
    _room: super::control::Room,
}

impl std::ops::Deref for Piece {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.data
    }
}

/// A local file that is being written.
struct Out {
    file: Option<File>,
    to: PathBuf,
    written: u64,
}

impl Out {
    async fn write(&mut self, piece: Piece) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else { return Err(Error::Interrupted) };
        let to = self.to.clone();
        let (file, len) = blocking(move || {
            file.write_all(&piece).map_err(Error::os("write", &to))?;
            Ok((file, piece.len() as u64))
        })
        .await?;
        self.file = Some(file);
        self.written += len;
        Ok(())
    }

    /// Back to an empty file; false if what was written cannot be taken back.
    async fn rewind(&mut self) -> Result<bool, Error> {
        if self.written == 0 {
            return Ok(true);
        }
        let Some(mut file) = self.file.take() else { return Err(Error::Interrupted) };
        let (file, done) = blocking(move || {
            let done = io::Seek::rewind(&mut file).and_then(|()| file.set_len(0)).is_ok();
            Ok((file, done))
        })
        .await?;
        self.file = Some(file);
        self.written = 0;
        Ok(done)
    }
}

fn damaged(row: &FileRow, offset: u64, what: &str) -> Error {
    Error::Damaged { name: super::address::lossy(&row.name), offset, what: what.to_owned() }
}
