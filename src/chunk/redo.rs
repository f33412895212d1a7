//! What was stored without waiting for the disk, kept until the disk has it.
//!
//! On PostgreSQL chunks on their way in are committed with `synchronous_commit = off`, so a crash of the server may
//! take back the last ones that it acknowledged. Each such step is kept here, with its data, until a durable commit
//! that came after it is acknowledged on a connection that is older than the step: the server has then not crashed in
//! between. Where only a newer connection can be had, the steps before it are done again, in their order; each of
//! them may be done twice. CockroachDB loses nothing that it acknowledged, and nothing is kept for it.

use super::error::Error;
use super::table::{FileTable, retrying};
use super::types::FileId;
use crate::sql::{self, Conn, Lane};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::RwLockReadGuard;
use tokio::time::Instant;

/// Bytes of data kept before the disk is waited for. Writers go on meanwhile, up to twice as much.
const BYTES: usize = 16 << 20;
/// Steps kept before the disk is waited for.
const STEPS: usize = 256;

/// Makes everything durable that was committed before, without touching a row.
const FLUSH: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'userfilefs', '')::text";

/// One acknowledged statement.
#[derive(Clone)]
pub(super) enum Step {
    /// The hidden row was inserted.
    Begin,
    /// A chunk was stored.
    Put { offset: u64, data: Bytes },
    /// Chunks were copied from another file.
    Copy { base: FileId, offsets: Vec<i64> },
    /// The chunks from this offset on were removed.
    Trim { len: u64 },
}

impl Step {
    /// Whether it decides what the chunk at this offset holds.
    fn touches(&self, offset: u64) -> bool {
        match self {
            Step::Begin => false,
            Step::Put { offset: at, .. } => *at == offset,
            Step::Copy { offsets, .. } => i64::try_from(offset).is_ok_and(|offset| offsets.contains(&offset)),
            Step::Trim { len } => offset >= *len,
        }
    }
}

struct Kept {
    file: FileId,
    /// When the statement was sent.
    sent: Instant,
    step: Step,
}

impl Kept {
    fn bytes(&self) -> usize {
        if let Step::Put { data, .. } = &self.step { data.len() } else { 0 }
    }
}

#[derive(Default)]
struct State {
    /// Number of the next step.
    next: u64,
    bytes: usize,
    steps: BTreeMap<u64, Kept>,
}

impl State {
    fn retain(&mut self, mut keep: impl FnMut(u64, &Kept) -> bool) {
        let bytes = &mut self.bytes;
        self.steps.retain(|n, kept| {
            let keep = keep(*n, kept);
            if !keep {
                *bytes -= kept.bytes();
            }
            keep
        });
    }

    fn exceeds(&self, times: usize) -> bool {
        self.bytes > BYTES * times || self.steps.len() > STEPS * times
    }
}

/// The steps of all files of a [`FileTable`] that a crash of the server could take back.
#[derive(Default)]
pub(super) struct Redo {
    state: Mutex<State>,
    flushing: tokio::sync::Mutex<()>,
    /// Held for reading from before a statement is sent until its step is kept, and while a file is published; for
    /// writing while steps are done again: an older chunk must not overtake a newer one.
    order: tokio::sync::RwLock<()>,
}

impl Redo {
    /// To be held while a statement is sent and its step kept.
    pub async fn doing(&self) -> RwLockReadGuard<'_, ()> {
        self.order.read().await
    }

    /// Keeps a step that the server acknowledged; `sent` is a time before its statement was sent.
    fn keep(&self, file: FileId, sent: Instant, step: Step) {
        let mut state = self.state.lock();
        match &step {
            Step::Put { offset, .. } => {
                let same = |s: &Step| matches!(s, Step::Put { offset: o, .. } if o == offset);
                state.retain(|_, kept| !(kept.file == file && same(&kept.step)));
            }
            Step::Trim { len } => {
                let behind = |s: &Step| matches!(s, Step::Put { offset, .. } if offset >= len);
                state.retain(|_, kept| !(kept.file == file && behind(&kept.step)));
            }
            Step::Begin | Step::Copy { .. } => {}
        }
        let n = state.next;
        state.next += 1;
        let kept = Kept { file, sent, step };
        state.bytes += kept.bytes();
        state.steps.insert(n, kept);
    }

    /// A mark: the steps kept so far.
    pub fn mark(&self) -> u64 {
        self.state.lock().next
    }

    /// A durable commit, sent after `mark` was taken, was acknowledged on a connection opened at `opened`. What follows a
    /// step that may have to be done again stays as well: alone, the older one would undo it.
    pub fn durable(&self, mark: u64, opened: Instant) {
        let mut behind = BTreeSet::new();
        self.state.lock().retain(|n, kept| {
            let keep = n >= mark || kept.sent < opened || behind.contains(&kept.file);
            if keep {
                behind.insert(kept.file);
            }
            keep
        });
    }

    /// Nobody needs a file's steps any more.
    pub fn forget(&self, file: FileId) {
        self.state.lock().retain(|_, kept| kept.file != file);
    }

    /// A chunk's newest contents, if they are kept.
    pub fn chunk(&self, file: FileId, offset: u64) -> Option<Bytes> {
        let state = self.state.lock();
        let steps = state.steps.values().rev().filter(|kept| kept.file == file);
        let newest = steps.map(|kept| &kept.step).find(|step| step.touches(offset));
        if let Some(Step::Put { data, .. }) = newest { Some(data.clone()) } else { None }
    }

    fn has(&self, file: FileId) -> bool {
        self.state.lock().steps.values().any(|kept| kept.file == file)
    }

    /// Whether a file has steps older than a connection.
    fn has_older(&self, file: FileId, opened: Instant) -> bool {
        self.state.lock().steps.values().any(|kept| kept.file == file && kept.sent < opened)
    }

    /// The files with steps older than a connection.
    fn older_than(&self, opened: Instant) -> Vec<FileId> {
        let state = self.state.lock();
        let mut files: Vec<FileId> =
            state.steps.values().filter(|kept| kept.sent < opened).map(|kept| kept.file).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    fn steps_of(&self, file: FileId) -> Vec<(u64, Step)> {
        let state = self.state.lock();
        let steps = state.steps.iter().filter(|(_, kept)| kept.file == file);
        steps.map(|(n, kept)| (*n, kept.step.clone())).collect()
    }

    fn done_again(&self, n: u64, sent: Instant) {
        if let Some(kept) = self.state.lock().steps.get_mut(&n) {
            kept.sent = sent;
        }
    }
}

impl FileTable {
    /// Keeps a step where a crash could take it back.
    pub(super) fn keep_step(&self, file: FileId, sent: Instant, step: Step) {
        if !self.inner.cockroach {
            self.inner.redo.keep(file, sent, step);
        }
    }

    /// Waits for the disk when much is kept.
    pub(super) async fn bound_kept(&self) -> Result<(), Error> {
        let redo = &self.inner.redo;
        if !redo.state.lock().exceeds(1) {
            return Ok(());
        }
        let _turn = match redo.flushing.try_lock() {
            Ok(turn) => turn,
            Err(_) if !redo.state.lock().exceeds(2) => return Ok(()),
            Err(_) => redo.flushing.lock().await,
        };
        if redo.state.lock().exceeds(1) { self.flush_kept().await } else { Ok(()) }
    }

    async fn flush_kept(&self) -> Result<(), Error> {
        retrying!(self, "make chunks durable", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            for file in self.inner.redo.older_than(conn.opened()) {
                match self.do_again(file, Some(conn.opened())).await {
                    // Given up or swept: its own writer is told.
                    Err(Error::Changed(_)) => {}
                    done => done?,
                }
            }
            let mark = self.inner.redo.mark();
            conn.query(FLUSH, &[]).await?;
            self.inner.redo.durable(mark, conn.opened());
            Ok(())
        })
    }

    /// Sees to it that a durable commit on this connection makes the file's steps durable, as long as what is returned
    /// is held: nobody does them again meanwhile.
    pub(super) async fn settle_kept(
        &self,
        file: FileId,
        conn: &Conn,
    ) -> Result<RwLockReadGuard<'_, ()>, Error> {
        let redo = &self.inner.redo;
        loop {
            if redo.has_older(file, conn.opened()) {
                self.do_again(file, Some(conn.opened())).await?;
            }
            let doing = redo.doing().await;
            if !redo.has_older(file, conn.opened()) {
                return Ok(doing);
            }
        }
    }

    /// After a statement found the hidden row gone: true if it has been made again, with all that is kept.
    pub(super) async fn brought_back(&self, file: FileId) -> Result<bool, Error> {
        if !self.inner.redo.has(file) {
            return Ok(false);
        }
        self.do_again(file, None).await?;
        Ok(true)
    }

    /// Does a file's kept steps again, in their order; with `opened` only if some are older.
    async fn do_again(&self, file: FileId, opened: Option<Instant>) -> Result<(), Error> {
        let _alone = self.inner.redo.order.write().await;
        if opened.is_some_and(|opened| !self.inner.redo.has_older(file, opened)) {
            return Ok(());
        }
        let steps = self.inner.redo.steps_of(file);
        log::debug!("file {file}: {} steps that a crash may have taken back are done again", steps.len());
        for (n, step) in steps {
            let sent = match &step {
                Step::Begin => self.insert_hidden(file).await?,
                Step::Put { offset, data } => self.put_row(file, *offset, data.clone()).await?,
                Step::Copy { base, offsets } => self.copy_rows(file, *base, offsets).await?,
                Step::Trim { len } => self.trim_rows(file, *len).await?,
            };
            self.inner.redo.done_again(n, sent);
        }
        Ok(())
    }

    /// A durable commit on this connection, with what has to be noted of it.
    pub(super) async fn durable_on(&self, conn: &Conn, batch: &super::rows::Batch) -> Result<(), sql::Error> {
        let mark = self.inner.redo.mark();
        batch.run(conn, sql::Durability::Synchronous).await?;
        self.inner.redo.durable(mark, conn.opened());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uuid::Uuid;

    fn put(offset: u64, len: usize) -> Step {
        Step::Put { offset, data: Bytes::from(vec![1; len]) }
    }

    #[test]
    fn steps_are_kept_until_an_older_connection_made_them_durable() {
        let redo = Redo::default();
        let (a, b) = (FileId(Uuid::from_u128(1)), FileId(Uuid::from_u128(2)));
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        redo.keep(a, at(1), Step::Begin);
        redo.keep(a, at(2), put(0, 10));
        redo.keep(b, at(3), put(0, 7));
        let mark = redo.mark();
        redo.keep(a, at(4), put(10, 5));
        assert_eq!(redo.state.lock().bytes, 22);

        // Opened after some of them: those may be lost.
        assert_eq!(redo.older_than(at(3)), [a]);
        redo.durable(mark, at(3));
        assert_eq!(redo.state.lock().bytes, 15);
        assert!(redo.chunk(b, 0).is_none() && redo.chunk(a, 0).is_some());

        redo.durable(mark, start);
        assert!(redo.chunk(a, 0).is_none());
        assert_eq!(redo.chunk(a, 10).map(|d| d.len()), Some(5), "sent after the mark");
        redo.forget(a);
        assert_eq!(redo.state.lock().bytes, 0);
        assert!(!redo.has(a));
    }

    #[test]
    fn what_follows_a_step_that_may_be_done_again_is_kept_with_it() {
        let redo = Redo::default();
        let (a, b) = (FileId(Uuid::from_u128(1)), FileId(Uuid::from_u128(2)));
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        redo.keep(a, at(1), put(0, 10));
        redo.keep(a, at(3), Step::Copy { base: b, offsets: vec![0] });
        redo.keep(b, at(3), put(0, 7));
        redo.durable(redo.mark(), at(2));
        assert_eq!(redo.steps_of(a).len(), 2, "done again, the chunk must not end on top of the copy");
        assert!(redo.steps_of(b).is_empty());
    }

    #[test]
    fn a_copy_or_cut_hides_an_older_chunk() {
        let redo = Redo::default();
        let (a, b) = (FileId(Uuid::from_u128(1)), FileId(Uuid::from_u128(2)));
        let now = Instant::now();
        redo.keep(a, now, put(0, 10));
        redo.keep(a, now, put(10, 9));
        redo.keep(a, now, Step::Copy { base: b, offsets: vec![0] });
        assert!(redo.chunk(a, 0).is_none());
        assert_eq!(redo.chunk(a, 10).map(|d| d.len()), Some(9));
        redo.keep(a, now, put(0, 4));
        assert_eq!(redo.chunk(a, 0).map(|d| d.len()), Some(4));
        redo.keep(a, now, Step::Trim { len: 10 });
        assert!(redo.chunk(a, 10).is_none());
    }

    #[test]
    fn a_newer_chunk_takes_the_place_of_an_older_one() {
        let redo = Redo::default();
        let a = FileId(Uuid::from_u128(1));
        let now = Instant::now();
        redo.keep(a, now, put(0, 10));
        redo.keep(a, now, put(0, 4));
        redo.keep(a, now, put(10, 3));
        assert_eq!(redo.state.lock().bytes, 7);
        redo.keep(a, now, Step::Trim { len: 10 });
        assert_eq!(redo.state.lock().bytes, 4);
        assert_eq!(redo.steps_of(a).len(), 2);
    }

    #[test]
    fn many_bytes_or_steps_ask_for_the_disk() {
        let redo = Redo::default();
        let a = FileId(Uuid::from_u128(1));
        for i in 0..=STEPS as u64 {
            assert!(!redo.state.lock().exceeds(1), "{i}");
            redo.keep(a, Instant::now(), put(i, 1));
        }
        assert!(redo.state.lock().exceeds(1));
        redo.forget(a);
        redo.keep(a, Instant::now(), put(0, BYTES + 1));
        assert!(redo.state.lock().exceeds(1) && !redo.state.lock().exceeds(2));
    }
}
