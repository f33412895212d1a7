//! The two tables as another client sees them: written from the contract, not from our own code.

use std::collections::BTreeMap;

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::postgres::Db;

/// What the real writer puts into one chunk.
pub const CHUNK_LEN: usize = 4 << 20;

/// Offset and length of a chunk; no length where the payload is NULL.
type Span = (i64, Option<i32>);

/// One pair of tables, looked at over a connection of its own.
pub struct Tables {
    /// The connection, for statements that only one test needs.
    pub db: Db,
    /// Quoted name of the table of files.
    pub files: String,
    /// Quoted name of the table of chunks.
    pub payload: String,
    prefix: String,
}

impl Tables {
    /// The tables `<prefix>_upload_files` and `<prefix>_upload_payload` of schema `public`.
    pub fn new(db: Db, prefix: &str) -> Tables {
        let name = |suffix: &str| format!("public.\"{}{suffix}\"", prefix.replace('"', "\"\""));
        Tables {
            db,
            files: name("_upload_files"),
            payload: name("_upload_payload"),
            prefix: prefix.to_owned(),
        }
    }

    /// The companion table's quoted name.
    pub fn attrs(&self) -> String {
        format!("public.\"{}_userfilefs_attrs\"", self.prefix.replace('"', "\"\""))
    }

    /// Creates both tables as the contract describes them.
    pub fn create(&self) {
        let (files, payload) = (&self.files, &self.payload);
        self.db.exec(&format!(
            "CREATE TABLE IF NOT EXISTS {files} (filename text COLLATE \"C\" PRIMARY KEY,
                 file_id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), file_size int8 NOT NULL,
                 username text NOT NULL, upload_time timestamp DEFAULT (now() AT TIME ZONE 'UTC'));
             CREATE TABLE IF NOT EXISTS {payload} (file_id uuid, byte_offset int8, payload bytea,
                 PRIMARY KEY (file_id, byte_offset),
                 CONSTRAINT file_id_fk FOREIGN KEY (file_id) REFERENCES {files} (file_id));
             ALTER TABLE {payload} ALTER COLUMN payload SET STORAGE EXTERNAL"
        ));
    }

    fn all_names(&self) -> Vec<String> {
        match self.db.try_query(&format!("SELECT filename FROM {} ORDER BY 1", self.files), &[]) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(e) if e.code() == Some(&SqlState::UNDEFINED_TABLE) => Vec::new(),
            Err(e) => panic!("listing: {e:?}"),
        }
    }

    /// Stored names in order, without the reserved ones.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.all_names();
        names.retain(|name| !name.starts_with("/.userfilefs/"));
        names
    }

    /// The reserved names: files being written, or left over.
    pub fn hidden(&self) -> Vec<String> {
        let mut names = self.all_names();
        names.retain(|name| name.starts_with("/.userfilefs/"));
        names
    }

    /// The id of a stored file.
    pub fn file_id(&self, name: &str) -> Option<Uuid> {
        let sql = format!("SELECT file_id FROM {} WHERE filename = $1", self.files);
        self.db.query(&sql, &[&name]).first().map(|row| row.get(0))
    }

    /// The whole file in one snapshot, found as CockroachDB's reader finds it: the size is the sum of the
    /// chunks, and the row for a position is the one with the greatest offset not above it.
    ///
    /// # Panics
    /// Where that reader would stall or stop early.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let sql = format!(
            "SELECT f.file_size, p.byte_offset, p.payload FROM {} f LEFT JOIN {} p USING (file_id)
             WHERE f.filename = $1 ORDER BY p.byte_offset",
            self.files, self.payload
        );
        let rows = match self.db.try_query(&sql, &[&name]) {
            Ok(rows) => rows,
            Err(e) if e.code() == Some(&SqlState::UNDEFINED_TABLE) => return None,
            Err(e) => panic!("reading {name:?}: {e:?}"),
        };
        let size: i64 = rows.first()?.get(0);
        let mut data = Vec::new();
        for row in &rows {
            let Some(offset) = row.get::<_, Option<i64>>(1) else { continue };
            assert_eq!(usize::try_from(offset).ok(), Some(data.len()), "{name:?} has a gap or an overlap");
            data.extend_from_slice(row.get::<_, Option<&[u8]>>(2).expect("a payload that is not NULL"));
        }
        assert_eq!(usize::try_from(size).ok(), Some(data.len()), "file_size of {name:?}");
        Some(data)
    }

    /// Stores a file as CockroachDB's server does, but in one transaction: new id, size 0, chunks, size.
    pub fn write(&self, name: &str, data: &[u8], chunk_len: usize) {
        self.create();
        self.db.exec("BEGIN");
        self.delete_rows(name);
        let insert = format!(
            "INSERT INTO {} VALUES ($1, DEFAULT, 0, 'another', DEFAULT) RETURNING file_id",
            self.files
        );
        let id: Uuid = self.db.query(&insert, &[&name])[0].get(0);
        let chunk = format!("INSERT INTO {} VALUES ($1, $2, $3)", self.payload);
        for (i, bytes) in data.chunks(chunk_len).enumerate() {
            let offset = i64::try_from(i * chunk_len).expect("offset fits");
            self.db.query(&chunk, &[&id, &offset, &bytes]);
        }
        let size = i64::try_from(data.len()).expect("size fits");
        let update = format!("UPDATE {} SET file_size = $2 WHERE filename = $1", self.files);
        self.db.query(&update, &[&name, &size]);
        self.db.exec("COMMIT");
    }

    /// Deletes a file as `cockroach userfile delete` does.
    pub fn delete(&self, name: &str) {
        self.db.exec("BEGIN");
        self.delete_rows(name);
        self.db.exec("COMMIT");
    }

    fn delete_rows(&self, name: &str) {
        let (files, payload) = (&self.files, &self.payload);
        let chunks = format!(
            "DELETE FROM {payload} WHERE file_id IN (SELECT file_id FROM {files} WHERE filename = $1)"
        );
        self.db.query(&chunks, &[&name]);
        self.db.query(&format!("DELETE FROM {files} WHERE filename = $1"), &[&name]);
    }

    /// Everything that breaks the contract's sections 3 to 5 in what is stored now, one line a finding.
    /// `chunk_len` is what every chunk but the last of a file must hold.
    pub fn contract_breaches(&self, chunk_len: usize) -> Vec<String> {
        let mut found = self.schema_breaches();
        found.extend(self.file_breaches());
        found.extend(self.chunk_breaches(chunk_len));
        found
    }

    fn schema_breaches(&self) -> Vec<String> {
        let mut found = Vec::new();
        let sql = "SELECT column_name || ' ' || data_type || ' ' || is_nullable || ' ' || (column_default IS NOT NULL)
                   FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1
                   ORDER BY ordinal_position";
        let columns = |table: String| -> Vec<String> {
            self.db.query(sql, &[&table]).iter().map(|row| row.get(0)).collect()
        };
        let files = columns(format!("{}_upload_files", self.prefix));
        let want = [
            "filename text NO false",
            "file_id uuid NO true",
            "file_size bigint NO false",
            "username text NO false",
            "upload_time timestamp without time zone YES true",
        ];
        if files != want {
            found.push(format!("columns of the files table: {files:?}"));
        }
        let payload = columns(format!("{}_upload_payload", self.prefix));
        if payload != ["file_id uuid NO false", "byte_offset bigint NO false", "payload bytea YES false"] {
            found.push(format!("columns of the payload table: {payload:?}"));
        }
        let sql = "SELECT conname || ': ' || pg_get_constraintdef(oid) FROM pg_constraint
                   WHERE conrelid IN ($1::text::regclass, $2::text::regclass) ORDER BY 1";
        let rows = self.db.query(sql, &[&self.files, &self.payload]);
        let got: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let has = |start: &str| got.iter().any(|line| line.contains(start));
        if !has("PRIMARY KEY (filename)") || !has("PRIMARY KEY (file_id, byte_offset)") {
            found.push(format!("primary keys: {got:?}"));
        }
        if !has(&format!("{}_upload_files_file_id_key: UNIQUE (file_id)", self.prefix)) {
            found.push(format!("unique index: {got:?}"));
        }
        if !has("file_id_fk: FOREIGN KEY (file_id) REFERENCES") {
            found.push(format!("foreign key: {got:?}"));
        }
        found
    }

    fn file_breaches(&self) -> Vec<String> {
        let sql = format!("SELECT filename, file_size, username, upload_time IS NULL FROM {}", self.files);
        let mut found = Vec::new();
        for row in self.db.query(&sql, &[]) {
            let (name, size): (String, i64) = (row.get(0), row.get(1));
            if !is_clean(&name) {
                found.push(format!("{name:?} is not clean"));
            }
            if size < 0 {
                found.push(format!("{name:?} has the size {size}"));
            }
            if row.get::<_, String>(2).is_empty() || row.get::<_, bool>(3) {
                found.push(format!("{name:?} has no owner or no time"));
            }
        }
        found
    }

    fn chunk_breaches(&self, chunk_len: usize) -> Vec<String> {
        let sql = format!(
            "SELECT f.filename, f.file_size, p.byte_offset, length(p.payload)
             FROM {} f FULL JOIN {} p USING (file_id) ORDER BY f.filename, p.byte_offset",
            self.files, self.payload
        );
        let mut found = Vec::new();
        let mut files: BTreeMap<String, (i64, Vec<Span>)> = BTreeMap::new();
        for row in self.db.query(&sql, &[]) {
            let Some(name) = row.get::<_, Option<String>>(0) else {
                found.push(format!("chunk at {} belongs to no file", row.get::<_, i64>(2)));
                continue;
            };
            let (_, chunks) = files.entry(name).or_insert((row.get(1), Vec::new()));
            if let Some(offset) = row.get::<_, Option<i64>>(2) {
                chunks.push((offset, row.get(3)));
            }
        }
        let full = i64::try_from(chunk_len).expect("chunk length fits");
        for (name, (size, chunks)) in files {
            let hidden = name.starts_with("/.userfilefs/");
            let mut end = 0;
            for (i, (offset, len)) in chunks.iter().enumerate() {
                let len = i64::from(len.unwrap_or(-1));
                let last = i + 1 == chunks.len();
                if len < 1 || len > full || (!last && len != full) || (!hidden && *offset != end) {
                    found.push(format!("{name:?} has a chunk of {len} bytes at {offset}, expected at {end}"));
                }
                end = offset + len;
            }
            if !hidden && end != size {
                found.push(format!("{name:?} has size {size} and chunks up to {end}"));
            }
        }
        found
    }

    /// Fails the test unless everything stored keeps the contract.
    pub fn assert_contract(&self, chunk_len: usize) {
        let breaches = self.contract_breaches(chunk_len);
        assert!(breaches.is_empty(), "what is stored breaks the contract:\n{}", breaches.join("\n"));
    }
}

/// Go's `path.Clean(name) == name` for an absolute name.
pub fn is_clean(name: &str) -> bool {
    name == "/"
        || name
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}
