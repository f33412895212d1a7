//! Storing one local file under one name.

use super::control::{Room, supervised};
use super::source::{ChunkReader, Found, Opened, Piece, Source};
use super::{Budget, Cancel, Error, Meter, place, source};
use crate::chunk::{Attrs, FileTable, Old, Publish, Replace, Staging};
use crate::util::clock::now_micros;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the remains of a failed or interrupted upload may take to remove; what is left after that is
/// swept by a later command or mount.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Files of a tree that are known before they are begun.
const AHEAD_FILES: usize = 64;
/// How often the hidden rows of uploads under way are refreshed.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A writer that was not heard of for so long is dead; the mount's default is the same.
const LEASE: Duration = Duration::from_secs(600);
/// How long an upload runs before it looks for the remains of others.
const SWEEP_DELAY: Duration = Duration::from_secs(1);

/// What the options of `upload` ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct UploadOptions {
    /// Replace what stands at the name.
    pub overwrite: bool,
    /// Leave a stored file of the same name and size alone.
    pub skip_existing: bool,
    /// Only look.
    pub dry_run: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It is stored.
    Stored {
        /// Bytes stored.
        size: u64,
        /// Size of the source when it was opened, if that was another.
        expected: Option<u64>,
    },
    /// The same name with the same size is there already.
    Skipped,
    /// Would be stored (`dry_run`); `replaces` if something stands there.
    Planned {
        /// Size of the source; `None` for standard input.
        size: Option<u64>,
        /// Something stands at the name.
        replaces: bool,
    },
}

/// Uploads files; clones share the memory budget and the counters.
#[derive(Clone)]
pub struct Uploader {
    /// Where to.
    pub table: FileTable,
    /// How.
    pub options: UploadOptions,
    /// Counts bytes and files done.
    pub meter: Arc<Meter>,
    /// Memory for chunks.
    pub budget: Budget,
    /// Stops it.
    pub cancel: Cancel,
}

impl Uploader {
    /// Stores the source under the name. Nothing is visible before it is whole; when this returns `Ok` it is
    /// durable. On an error, and when cancelled, what was sent is removed again. Dropping the future leaves
    /// hidden rows, which a later sweep removes.
    pub async fn file(&self, source: &Source, name: &str) -> Result<Uploaded, Error> {
        let opening = source.clone();
        let opened = blocking(move || opening.open()).await?;
        place::check_name(name)?;
        let chunk_len = self.table.chunk_len();
        let small = opened.size.is_some_and(|size| size <= chunk_len as u64);
        let options = self.options;
        // A small new file needs no look: storing it says whether the name is taken.
        let mut old_size = None;
        if !small || options.overwrite || options.skip_existing || options.dry_run {
            old_size = self.table.lookup(name).await?.file.map(|row| u64::try_from(row.size).unwrap_or(0));
            if let Some(there) = old_size {
                if options.skip_existing && opened.size == Some(there) {
                    self.meter.add_bytes(there);
                    self.meter.add_file();
                    return Ok(Uploaded::Skipped);
                }
                if !options.overwrite {
                    let sizes = opened.size.filter(|_| options.skip_existing).map(|here| (there, here));
                    return Err(Error::Exists { name: name.to_owned(), sizes });
                }
            }
        }
        if options.dry_run {
            return Ok(Uploaded::Planned { size: opened.size, replaces: old_size.is_some() });
        }
        let replace = match options.overwrite {
            true => Replace::Displace(Old::Delete { size_hint: old_size.unwrap_or(0) }),
            false => Replace::Refuse,
        };
        let expected = opened.size;
        // Where that is known, a file that will not fit is refused before anything is sent.
        self.table.need_disk(expected.unwrap_or(0), self.budget.used()).await?;
        let size = self.send(opened, name, replace).await.map_err(|e| match e {
            Error::Table(crate::chunk::Error::Exists(_)) => {
                Error::Exists { name: name.to_owned(), sizes: None }
            }
            e => e,
        })?;
        self.meter.add_file();
        Ok(Uploaded::Stored { size, expected: expected.filter(|e| *e != size) })
    }

    async fn send(&self, opened: Opened, name: &str, replace: Replace) -> Result<u64, Error> {
        let Opened { reader, size } = opened;
        let (reader, piece, room) = self.interruptible(self.read(reader, size)).await?;
        let publish = |size| Publish {
            name: name.to_owned(),
            size,
            mtime: now_micros(),
            attrs: Attrs::default(),
            replace,
        };
        if piece.last {
            let size = piece.data.len() as u64;
            // Not interruptible: one round trip, and an answer that nobody waits for is worse.
            self.table.put_small(self.table.new_id(), &publish(size), &piece.data).await?;
            self.meter.add_bytes(size);
            return Ok(size);
        }
        let staging = self.table.stage().await?;
        let filled =
            self.interruptible(self.fill(&staging, reader, Bytes::from(piece.data), room, size)).await;
        let stored = match filled {
            Ok(size) => staging.publish(&publish(size)).await.map(|()| size).map_err(Error::from),
            Err(e) => Err(e),
        };
        if stored.is_err() {
            // The first error is the one to report; leftovers are hidden and swept later.
            let _ = tokio::time::timeout(DISCARD_TIMEOUT, staging.discard()).await;
        }
        stored
    }

    /// Sends the chunks, several at a time. Returns the number of bytes: what was read, whatever the size of
    /// the source was said to be.
    async fn fill(
        &self,
        staging: &Staging,
        reader: ChunkReader,
        first: Bytes,
        room: Room,
        expect: Option<u64>,
    ) -> Result<u64, Error> {
        let put = |offset: u64, data: Bytes, room: Room| async move {
            let len = data.len() as u64;
            // The chunk is in the budget itself.
            self.table.need_disk(1, self.budget.used()).await?;
            staging.put(offset, data).await?;
            drop(room);
            self.meter.add_bytes(len);
            Ok::<(), Error>(())
        };
        let mut size = first.len() as u64;
        let mut puts = FuturesUnordered::new();
        puts.push(put(0, first, room));
        let mut reading = Some(Box::pin(self.read(reader, expect.map(|e| e.saturating_sub(size)))));
        loop {
            tokio::select! {
                Some(done) = puts.next(), if !puts.is_empty() => done?,
                read = or_never(&mut reading), if reading.is_some() => {
                    let (reader, piece, room) = read?;
                    let offset = size;
                    size += piece.data.len() as u64;
                    let left = expect.map(|e| e.saturating_sub(size));
                    reading = (!piece.last).then(|| Box::pin(self.read(reader, left)));
                    puts.push(put(offset, Bytes::from(piece.data), room));
                }
                else => return Ok(size),
            }
        }
    }

    /// Reads the next chunk once there is room for it; `expect` is how many bytes are thought to be left.
    async fn read(
        &self,
        mut reader: ChunkReader,
        expect: Option<u64>,
    ) -> Result<(ChunkReader, Piece, Room), Error> {
        let len = self.table.chunk_len();
        let want = expect.map_or(len as u64, |e| e.min(len as u64));
        let room = self.budget.take(want).await;
        blocking(move || {
            let piece = reader.next(len, expect)?;
            Ok((reader, piece, room))
        })
        .await
    }

    async fn interruptible<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            () = self.cancel.cancelled() => Err(Error::Interrupted),
        }
    }
}

/// Looks after hidden rows while uploads run: removes those of writers that died, and keeps its own alive, so
/// that no other client takes them for a dead writer's. Never returns.
pub async fn housekeeping(table: &FileTable) {
    // A failure shows in the uploads themselves. Short uploads are over before this begins.
    let sweep = async {
        tokio::time::sleep(SWEEP_DELAY).await;
        let _ = table.sweep(LEASE).await;
    };
    // Beside it: much to remove may take longer than a lease.
    let beat = async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let _ = table.heartbeat().await;
        }
    };
    tokio::join!(sweep, beat);
}

/// Walks a tree on a thread of its own and hands over its files in order.
pub fn tree(root: PathBuf, skip_links: bool) -> mpsc::Receiver<Result<Found, Error>> {
    let (tx, rx) = mpsc::channel(AHEAD_FILES);
    let last_word = tx.clone();
    let walk = tokio::task::spawn_blocking(move || source::walk(&root, skip_links, &tx));
    supervised(walk, last_word);
    rx
}

async fn or_never<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Runs blocking work on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        // The runtime is going down.
        Err(_) => Err(Error::Interrupted),
    }
}
