//! The companion table of attributes: whether it is there, and making it on first need.

use super::error::Error;
use super::names::{ATTRS_SUFFIX, quote_ident};
use super::schema::create_attrs;
use super::table::{FileTable, retrying};
use super::types::AttrsMode;
use crate::sql::{self, ErrorClass, Lane};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// After its creation was refused it is not tried again for this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// What is known about the companion table.
pub(super) struct Companion {
    state: Mutex<State>,
}

struct State {
    present: bool,
    looked: Instant,
    refused: Option<(Instant, String)>,
}

impl Companion {
    pub(super) fn new(present: bool) -> Companion {
        Companion { state: Mutex::new(State { present, looked: Instant::now(), refused: None }) }
    }

    fn set(&self, present: bool) {
        let mut s = self.state.lock();
        s.present = present;
        s.looked = Instant::now();
    }
}

impl FileTable {
    /// True if attributes, directories and symbolic links can be stored, as far as is known: the companion table
    /// is there, or nothing has yet spoken against making it.
    pub fn attrs_available(&self) -> bool {
        if self.inner.options.attrs == AttrsMode::Off {
            return false;
        }
        let s = self.inner.companion.state.lock();
        let refused = s.refused.as_ref().is_some_and(|(at, _)| at.elapsed() < REFUSED_FOR);
        s.present || !(refused || self.inner.options.read_only)
    }

    /// True if the companion table is there, as far as is known; no I/O.
    pub(super) fn attrs_present(&self) -> bool {
        self.inner.options.attrs == AttrsMode::Auto && self.inner.companion.state.lock().present
    }

    /// As [`FileTable::attrs_present`], looking again if it was absent a while ago.
    pub(super) async fn attrs_now(&self, retry: &sql::Retry) -> Result<bool, Error> {
        if self.inner.options.attrs == AttrsMode::Off {
            return Ok(false);
        }
        {
            let mut s = self.inner.companion.state.lock();
            if s.present || s.looked.elapsed() < self.inner.options.recheck {
                return Ok(s.present);
            }
            s.looked = Instant::now();
        }
        self.look_for_attrs(retry).await
    }

    async fn look_for_attrs(&self, retry: &sql::Retry) -> Result<bool, Error> {
        let there = self.existing(retry, &[self.inner.prefix.attrs_table()]).await?;
        let present = !there.is_empty();
        self.inner.companion.set(present);
        Ok(present)
    }

    /// After "relation does not exist": was it the companion table, dropped by somebody? True: try again without.
    pub(super) async fn companion_gone(&self, retry: &sql::Retry, e: &sql::Error) -> bool {
        if !self.attrs_present() {
            return false;
        }
        log::debug!("looking for the companion table after: {e}");
        matches!(self.look_for_attrs(retry).await, Ok(false))
    }

    /// Makes the companion table if it is not there. [`Error::NoAttrs`] where that is not permitted.
    pub(super) async fn ensure_attrs(&self) -> Result<(), Error> {
        if self.attrs_present() {
            return Ok(());
        }
        if self.inner.options.attrs == AttrsMode::Off {
            return Err(Error::NoAttrs("switched off".to_owned()));
        }
        self.check_writable()?;
        {
            let s = self.inner.companion.state.lock();
            if let Some((at, why)) = &s.refused
                && at.elapsed() < REFUSED_FOR
            {
                return Err(Error::NoAttrs(why.clone()));
            }
        }
        let made: Result<(), Error> =
            retrying!(self, "create the companion table", |retry| self.create_companion(retry).await);
        let why = match made {
            Ok(()) => return Ok(()),
            Err(Error::Sql(e)) if matches!(e.class(), ErrorClass::Denied | ErrorClass::ReadOnly) => {
                e.to_string()
            }
            Err(Error::NoAttrs(why)) => why,
            Err(e) => return Err(e),
        };
        log::warn!("attributes cannot be stored: {why}");
        self.inner.companion.state.lock().refused = Some((Instant::now(), why.clone()));
        Err(Error::NoAttrs(why))
    }

    async fn create_companion(&self, retry: &sql::Retry) -> Result<(), Error> {
        if self.look_for_attrs(retry).await? {
            return Ok(());
        }
        let conn = retry.conn(Lane::Meta).await?;
        match conn.batch(&create_attrs(&self.inner.tables, self.inner.cockroach)).await {
            Ok(()) => {}
            // Two clients at once: IF NOT EXISTS does not wait for the other's transaction.
            Err(e) if e.class() == ErrorClass::Exists => {}
            Err(e) => return Err(e.into()),
        }
        drop(conn);
        if !self.look_for_attrs(retry).await? {
            let what = format!("{} is there, but not for this user to read", self.inner.tables.attrs);
            return Err(Error::NoAttrs(what));
        }
        Ok(())
    }

    /// Which of these tables (unqualified names) exist in the prefix's schema. A companion table that this user may
    /// not read counts as absent: who is granted the two tables can work with them.
    pub(super) async fn existing(&self, retry: &sql::Retry, names: &[String]) -> Result<Vec<String>, Error> {
        let conn = retry.conn(Lane::Meta).await?;
        let catalog = match self.inner.cockroach {
            true => format!("{}.pg_catalog", quote_ident(&self.inner.prefix.database)),
            false => "pg_catalog".to_owned(),
        };
        let list: Vec<String> = (0..names.len()).map(|i| format!("${}", i + 2)).collect();
        // CockroachDB's catalog leaves out what the user holds nothing on by itself.
        let readable = match self.inner.cockroach {
            true => String::new(),
            false => format!(
                " AND (right(c.relname::text, {}) <> '{ATTRS_SUFFIX}' OR has_table_privilege(c.oid, 'SELECT'))",
                ATTRS_SUFFIX.len()
            ),
        };
        let text = format!(
            "SELECT c.relname::text FROM {catalog}.pg_class c \
             JOIN {catalog}.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname IN ({}){readable}",
            list.join(", ")
        );
        let mut params: Vec<&(dyn sql::ToSql + Sync)> = vec![&self.inner.prefix.schema];
        params.extend(names.iter().map(|n| -> &(dyn sql::ToSql + Sync) { n }));
        let rows = conn.query(&text, &params).await?;
        rows.iter().map(|r| Ok(String::from_utf8_lossy(&super::rows::raw_text(r, 0)?).into_owned())).collect()
    }
}
