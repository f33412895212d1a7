//! Opening: are the tables there, do they sort by bytes, and making them.

use super::companion::Companion;
use super::error::Error;
use super::names::TablePrefix;
use super::rows::{int, raw_text};
use super::schema::{Tables, create_tables, grant, revoke};
use super::sweep::Trash;
use super::table::{FileTable, Inner, retrying};
use super::types::{Create, TableOptions};
use crate::sql::{self, ErrorClass, Lane, Pool};
use std::sync::Arc;

/// Key of the PostgreSQL advisory lock that table creation holds.
const CREATE_LOCK: i64 = 0x7573_6572_6669_6c65;

impl FileTable {
    /// Opens the tables of `prefix`, making them where `options` say so and they are missing.
    ///
    /// On PostgreSQL the pool must be connected to the prefix's database. Tables whose names do not sort by bytes
    /// (made by somebody else, in another collation) work, slowly: a warning names the remedy. Two clients that
    /// make the same tables at once both succeed. Cancelled: the tables are there or not, never half.
    pub async fn open(pool: Pool, prefix: TablePrefix, options: TableOptions) -> Result<FileTable, Error> {
        let cockroach = pool.dialect().is_cockroach();
        if !cockroach {
            prefix.check_postgres()?;
            if pool.settings().database() != prefix.database {
                return Err(Error::Shape(format!(
                    "the tables are in database {}, but the connection is to {}",
                    prefix.database,
                    pool.settings().database()
                )));
            }
        }
        if options.chunk_len == 0 || options.chunk_len > super::CHUNK_LEN {
            return Err(Error::Shape(format!("chunks of {} bytes cannot be written", options.chunk_len)));
        }
        let make = |by_bytes, present| {
            let inner = Inner {
                tables: Tables::new(&prefix, cockroach),
                user: super::names::normalize_user(pool.settings().user()),
                portable: cockroach || options.portable,
                cockroach,
                by_bytes,
                companion: Companion::new(present),
                trash: Trash::default(),
                redo: super::redo::Redo::default(),
                pool: pool.clone(),
                prefix: prefix.clone(),
                options: options.clone(),
            };
            FileTable { inner: Arc::new(inner) }
        };
        let plain = make("filename", false);
        let attrs = plain.find_or_create().await?;
        let by_bytes =
            if cockroach || plain.sorts_by_bytes().await? { "filename" } else { "filename COLLATE \"C\"" };
        Ok(make(by_bytes, attrs))
    }

    /// Whether the companion table is there, too.
    async fn find_or_create(&self) -> Result<bool, Error> {
        let prefix = &self.inner.prefix;
        let names = [prefix.files_table(), prefix.payload_table(), prefix.attrs_table()];
        let has = |found: &[String], n: usize| found.contains(&names[n]);
        let mut found = self.find(&names).await?;
        if has(&found, 0) != has(&found, 1) {
            // The tables are looked for one after the other, and may have been made in between. They are made and
            // dropped together: a second look sees both, or none, unless one of them really is missing.
            found = self.find(&names).await?;
        }
        match (has(&found, 0), has(&found, 1)) {
            (true, true) => return Ok(has(&found, 2)),
            (false, false) => {}
            (files, _) => return Err(Error::HalfTables { missing: names[usize::from(files)].clone() }),
        }
        if self.inner.options.create == Create::Refuse || self.inner.options.read_only {
            return Err(Error::NoTables(prefix.to_string()));
        }
        let made: bool = retrying!(self, "create the tables", |r| self.create(r, &names).await)?;
        if made && let Err(e) = self.grants().await {
            log::warn!("privileges of the new tables could not be set: {e}");
        }
        Ok(has(&found, 2))
    }

    /// Those of the tables that are there, in whatever state this user may see them.
    async fn find(&self, names: &[String; 3]) -> Result<Vec<String>, Error> {
        retrying!(self, "look for the tables", |r| {
            let mut found = self.existing(r, names).await?;
            let t = &self.inner.tables;
            for (name, table) in names.iter().zip([&t.files, &t.payload]) {
                if !found.contains(name) && self.in_spite_of_the_catalog(r, table).await? {
                    found.push(name.clone());
                }
            }
            Ok(found)
        })
    }

    /// Whether a table that the catalog does not show is there all the same: CockroachDB shows a user only those
    /// on which it holds a privilege. The error says which one is lacking.
    async fn in_spite_of_the_catalog(&self, retry: &sql::Retry, table: &str) -> Result<bool, Error> {
        let conn = retry.conn(Lane::Meta).await?;
        match conn.query(&format!("SELECT 1 FROM {table} LIMIT 0"), &[]).await {
            Ok(_) => Ok(true),
            Err(e) if e.class() == ErrorClass::NotFound => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// False: somebody else made them meanwhile.
    async fn create(&self, retry: &sql::Retry, names: &[String; 3]) -> Result<bool, Error> {
        let result = self.try_create(retry).await;
        let Err(e) = result else { return Ok(true) };
        if e.class() == ErrorClass::Exists || e.ambiguous() || e.class() == ErrorClass::Lost {
            let found = self.existing(retry, &names[..2]).await?;
            if found.len() == 2 {
                return Ok(e.class() != ErrorClass::Exists);
            }
        }
        if e.class() == ErrorClass::Exists {
            // Being made by a transaction that is not yet visible, or there but hidden from this user.
            return Err(sql::Error::new(ErrorClass::Retry, format!("the tables are being made: {e}")).into());
        }
        let remedy = self.creation_remedy(e.class());
        let e = e.context(format!("failed to create the tables of {}", self.inner.prefix));
        Err(remedy.map_or(e.clone(), |hint| e.with_hint(hint)).into())
    }

    /// What an administrator can do for this user.
    fn creation_remedy(&self, class: ErrorClass) -> Option<String> {
        let quoted = super::names::quote_ident;
        let (prefix, user) = (&self.inner.prefix, quoted(self.inner.pool.settings().user()));
        match class {
            ErrorClass::Denied if self.inner.cockroach => Some(format!(
                "an administrator can: GRANT CREATE ON DATABASE {} TO {user}",
                quoted(&prefix.database)
            )),
            ErrorClass::Denied => Some(format!(
                "an administrator can: GRANT CREATE ON SCHEMA {} TO {user}",
                quoted(&prefix.schema)
            )),
            ErrorClass::NotFound => {
                Some(format!("create the schema first: CREATE SCHEMA {}", quoted(&prefix.schema)))
            }
            _ => None,
        }
    }

    async fn try_create(&self, retry: &sql::Retry) -> Result<(), sql::Error> {
        let conn = retry.conn(Lane::Meta).await?;
        let statements = create_tables(&self.inner.tables, self.inner.cockroach).join("; ");
        let lock = match self.inner.cockroach {
            true => String::new(),
            false => format!("SELECT pg_advisory_xact_lock({CREATE_LOCK}); "),
        };
        // In the simple protocol the statements of a message are one transaction: BEGIN makes it so on both.
        let result = conn.batch(&format!("BEGIN; {lock}{statements}; COMMIT")).await;
        if result.is_err() {
            let _ = conn.batch("ROLLBACK").await;
        }
        result
    }

    /// As the contract has it: the owner is granted what it needs, everybody else loses everything. Only others
    /// who hold something are named, which comes to the same.
    async fn grants(&self) -> Result<(), Error> {
        let retry = self.inner.pool.retry("set privileges");
        let conn = retry.conn(Lane::Meta).await?;
        let inner = &self.inner;
        let user =
            String::from_utf8_lossy(&match conn.query("SELECT current_user::text", &[]).await?.first() {
                Some(row) => raw_text(row, 0)?,
                None => Vec::new(),
            })
            .into_owned();
        let catalog = match inner.cockroach {
            true => format!("{}.information_schema", super::names::quote_ident(&inner.prefix.database)),
            false => "information_schema".to_owned(),
        };
        let others = format!(
            "SELECT DISTINCT grantee::text FROM {catalog}.table_privileges \
             WHERE table_schema = $1 AND table_name = $2"
        );
        let names = [inner.prefix.files_table(), inner.prefix.payload_table()];
        for (table, name) in [&inner.tables.files, &inner.tables.payload].into_iter().zip(&names) {
            conn.batch(&grant(table, &user, inner.cockroach)).await?;
            let mut list = Vec::new();
            for row in conn.query(&others, &[&inner.prefix.schema, name]).await? {
                let grantee = String::from_utf8_lossy(&raw_text(&row, 0)?).into_owned();
                let keep = grantee == user || (inner.cockroach && (grantee == "root" || grantee == "admin"));
                if !keep {
                    list.push(grantee);
                }
            }
            if !list.is_empty() {
                conn.batch(&revoke(table, &list)).await?;
            }
        }
        Ok(())
    }

    /// PostgreSQL: whether comparisons of `filename` go by bytes without being told to.
    async fn sorts_by_bytes(&self) -> Result<bool, Error> {
        let prefix = &self.inner.prefix;
        let table = prefix.files_table();
        let by_bytes: i64 = retrying!(self, "look at the tables", |r| {
            let conn = r.conn(Lane::Meta).await?;
            // The provider is a column of pg_database from PostgreSQL 15 on: the system's library before, ICU ('i')
            // sorts by a language whatever datcollate says, and the built-in one ('b') sorts by bytes.
            let text = "SELECT (CASE WHEN co.collname IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'ucs_basic', 'pg_c_utf8') THEN 1 \
                        WHEN co.collname <> 'default' OR co.collname IS NULL THEN 0 \
                        WHEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'b' THEN 1 \
                        WHEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' \
                             AND d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') THEN 1 ELSE 0 END)::int8 \
                        FROM pg_catalog.pg_attribute a \
                        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                        JOIN pg_catalog.pg_database d ON d.datname = current_database() \
                        LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
                        WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = 'filename'";
            match conn.query(text, &[&prefix.schema, &table]).await?.first() {
                Some(row) => int(row, 0),
                None => Err(Error::Shape(format!("{} has no column filename", self.inner.tables.files))),
            }
        })?;
        if by_bytes == 0 {
            log::warn!(
                "the names in {} do not sort by bytes, so listings are slow; remedy: \
                 ALTER TABLE {} ALTER COLUMN filename TYPE text COLLATE \"C\"",
                prefix,
                self.inner.tables.files
            );
        }
        Ok(by_bytes != 0)
    }
}
