//! Room on the disk of the private server.
//!
//! PostgreSQL stops when its log cannot grow, and a log that must grow to remove anything makes a full disk stay full. So
//! the last of the disk is left to it: what its log may still take, and what it takes beyond its size while a checkpoint
//! runs. Tables do not get smaller when rows are removed, but a VACUUM makes their room usable again: once the rest of the
//! disk is used up, that room is looked after here.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::Place;
use super::sizes::Sizes;
use crate::sql::{Error, Lane, Pool, PoolOptions, Settings};
use crate::util::disk::Disk;

const MIB: u64 = 1 << 20;
/// How long a look at the disk is good for.
const FRESH: Duration = Duration::from_millis(50);
/// So much the log may grow between two checkpoints that did not help.
const STEP: u64 = 16 * MIB;
/// With less than this left, removed files are vacuumed at once.
const TIGHT: u64 = 64 * MIB;
/// How long other removals are waited for, to vacuum once.
const GATHER: Duration = Duration::from_millis(500);
/// How often a VACUUM is tried although nothing is known to have been removed (other programs may have), in times of its
/// own duration, and at least.
const SELDOM: (u32, Duration) = (10, Duration::from_secs(10));
/// The tables of contents, in `pg_class c`.
const PAYLOADS: &str = "c.relkind = 'r' AND c.reltoastrelid <> 0 AND c.relname LIKE '%\\_upload\\_payload'";

/// The disk of a private server, for one database.
pub struct Room {
    home: PathBuf,
    wal: PathBuf,
    sizes: Sizes,
    settings: Settings,
    me: Weak<Room>,
    known: Mutex<Known>,
    /// A removal waits to be vacuumed.
    scheduled: AtomicBool,
    pool: OnceCell<Pool>,
    /// What was free after the last checkpoint, if that was too little.
    checkpointed: tokio::sync::Mutex<Option<u64>>,
    /// When the last VACUUM ended, and how long it took.
    vacuumed: tokio::sync::Mutex<Option<(Instant, Duration)>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Bytes of the disk that are free for files (`None`: less than none), and when that was so.
    spare: Option<(Instant, Option<u64>)>,
    /// Bytes inside of the tables that hold nothing, less what was stored since.
    reusable: u64,
    /// Bytes that were stored so far.
    stored: u64,
    /// Counts what may let a VACUUM find more, and how far the last one knew.
    changes: u64,
    seen: u64,
}

impl Room {
    /// `settings` name the database.
    pub fn new(place: &Place, settings: Settings) -> Arc<Room> {
        let conf = std::fs::read_to_string(place.data().join("postgresql.conf")).unwrap_or_default();
        Arc::new_cyclic(|me| Room {
            home: place.home().to_owned(),
            wal: place.data().join("pg_wal"),
            sizes: Sizes::of_settings(&conf),
            settings,
            me: me.clone(),
            known: Mutex::default(),
            scheduled: AtomicBool::new(false),
            pool: OnceCell::new(),
            checkpointed: tokio::sync::Mutex::new(None),
            vacuumed: tokio::sync::Mutex::new(None),
        })
    }

    /// What the disk has beyond what the server needs; `None` where most of that is gone, too.
    fn spare(&self) -> Option<u64> {
        let free = self.free();
        if free < self.reserve() / 3 {
            return None;
        }
        Some(free.saturating_sub(self.reserve() + (self.sizes.wal * MIB).saturating_sub(self.log_bytes())))
    }

    /// Bytes that are free on the disk now; as if it had no end where that cannot be told.
    fn free(&self) -> u64 {
        let disk = nix::sys::statvfs::statvfs(&self.home);
        disk.map_or(u64::MAX, |disk| disk.blocks_available() * disk.fragment_size())
    }

    fn reserve(&self) -> u64 {
        self.sizes.reserve * MIB
    }

    /// The same, not older than [`FRESH`].
    fn spare_now(&self, known: &mut Known) -> Option<u64> {
        match known.spare {
            Some((at, spare)) if at.elapsed() < FRESH => spare,
            _ => {
                let spare = self.spare();
                known.spare = Some((Instant::now(), spare));
                spare
            }
        }
    }

    /// Bytes that the log takes. Its files have one length.
    fn log_bytes(&self) -> u64 {
        let Ok(entries) = std::fs::read_dir(&self.wal) else { return 0 };
        let is_segment = |name: &[u8]| name.len() == 24 && name.iter().all(u8::is_ascii_hexdigit);
        let mut segments = entries.flatten().filter(|e| is_segment(e.file_name().as_encoded_bytes()));
        let one = segments.next().and_then(|first| first.metadata().ok()).map_or(0, |meta| meta.len());
        one * (segments.count() as u64 + 1)
    }

    /// Opened when it is first wanted, and kept: a server without room for a new session can still be asked for some.
    async fn pool(&self) -> Result<&Pool, Error> {
        // A VACUUM takes as long as it takes.
        let options = PoolOptions {
            application_name: "userfilefs vacuum".to_owned(),
            op_timeout: None,
            statement_timeout: None,
            key_lookups: false,
            ..PoolOptions::default()
        };
        self.pool.get_or_try_init(|| Pool::connect(self.settings.clone(), options)).await
    }

    /// Has the log written out, so that its files can be used again, unless that was tried and it has not grown since.
    async fn checkpoint(&self) -> Result<(), Error> {
        let enough = self.reserve() / 3 * 2;
        let mut last = self.checkpointed.lock().await;
        let free = self.free();
        if free >= enough || last.is_some_and(|before| free + STEP > before) {
            return Ok(());
        }
        self.pool().await?.conn(Lane::Meta, None).await?.batch("CHECKPOINT").await?;
        let free = self.free();
        *last = (free < enough).then_some(free);
        Ok(())
    }

    /// Vacuums the tables, and returns how many bytes of contents would find room inside of them.
    async fn vacuum(&self) -> Result<u64, Error> {
        let conn = self.pool().await?.conn(Lane::Meta, None).await?;
        let names = conn
            .query(&format!("SELECT c.oid::regclass::text FROM pg_class c WHERE {PAYLOADS}"), &[])
            .await?;
        let names: Vec<String> = names.iter().filter_map(|row| row.try_get(0).ok()).collect();
        if names.is_empty() {
            return Ok(0);
        }
        conn.batch(&format!("VACUUM {}", names.join(", "))).await?;
        // Belongs to the server's own package on Debian and Ubuntu. Elsewhere only what VACUUM cuts off is known.
        let extension = "CREATE EXTENSION IF NOT EXISTS pg_freespacemap SCHEMA pg_catalog";
        if let Err(e) = conn.batch(extension).await {
            log::info!("the room inside of the tables is not known: {e}");
            return Ok(0);
        }
        // Long contents lie in pieces of which four fill a page.
        let text = format!(
            "SELECT coalesce(sum(f.avail / 2036 * 1996), 0)::int8 \
             FROM pg_class c, pg_freespace(c.reltoastrelid) f WHERE {PAYLOADS}"
        );
        let row = conn.query_opt(&text, &[]).await?;
        let bytes = row.and_then(|row| row.try_get::<_, i64>(0).ok()).unwrap_or(0);
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    async fn vacuum_if_changed(&self) {
        let mut last = self.vacuumed.lock().await;
        let (changes, seen, stored) = {
            let known = self.known.lock();
            (known.changes, known.seen, known.stored)
        };
        let long_ago = last.is_none_or(|(at, took)| at.elapsed() > (took * SELDOM.0).max(SELDOM.1));
        if changes == seen && !long_ago {
            return;
        }
        let start = Instant::now();
        let found = self.vacuum().await;
        *last = Some((Instant::now(), start.elapsed()));
        let mut known = self.known.lock();
        known.spare = None;
        known.seen = changes;
        match found {
            Ok(bytes) => {
                log::debug!(
                    "a VACUUM took {:?}; {bytes} bytes inside the tables are of use",
                    start.elapsed()
                );
                // What came while pages were looked at may lie on those that were.
                known.reusable = bytes.saturating_sub(known.stored - stored);
            }
            Err(e) => log::warn!("the room of removed files cannot be used yet: {e}"),
        }
    }

    /// In the background, together with what others want.
    fn vacuum_soon(&self) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let (Some(me), Ok(runtime)) = (self.me.upgrade(), tokio::runtime::Handle::try_current()) else {
            self.scheduled.store(false, Ordering::Release);
            return;
        };
        runtime.spawn(async move {
            tokio::time::sleep(GATHER).await;
            me.scheduled.store(false, Ordering::Release);
            me.vacuum_if_changed().await;
        });
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", self.home.display())
    }
}

impl Disk for Room {
    fn left(&self, pending: u64) -> u64 {
        let mut known = self.known.lock();
        let spare = self.spare_now(&mut known);
        spare.map_or(0, |spare| spare.saturating_add(known.reusable).saturating_sub(pending))
    }

    fn look(&self) -> u64 {
        let left = self.left(0);
        if left < TIGHT {
            self.vacuum_soon();
        }
        left
    }

    fn is_low(&self) -> bool {
        self.free() < self.reserve()
    }

    fn is_exhausted(&self) -> bool {
        self.free() < self.reserve() / 3
    }

    fn pace(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if self.is_low()
                && let Err(e) = self.checkpoint().await
            {
                log::debug!("the log cannot be made shorter: {e}");
            }
        })
    }

    fn stored(&self, bytes: u64) {
        let mut known = self.known.lock();
        known.stored += bytes;
        if known.reusable > 0 {
            known.reusable = known.reusable.saturating_sub(bytes);
            known.changes += 1;
        }
    }

    fn freed(&self) {
        self.known.lock().changes += 1;
        self.look();
    }

    fn reclaim(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.vacuum_if_changed())
    }
}
