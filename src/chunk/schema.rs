//! Definitions of the tables, as text, for both servers.

use super::names::{TablePrefix, quote_ident};

/// Quoted, qualified names of the tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The files table.
    pub files: String,
    /// The payload table.
    pub payload: String,
    /// The companion table of attributes.
    pub attrs: String,
}

impl Tables {
    /// With database and schema on CockroachDB, with the schema on PostgreSQL (which only knows the database it is
    /// connected to).
    pub fn new(prefix: &TablePrefix, cockroach: bool) -> Tables {
        let schema = quote_ident(&prefix.schema);
        let space = if cockroach { format!("{}.{schema}", quote_ident(&prefix.database)) } else { schema };
        let full = |name: String| format!("{space}.{}", quote_ident(&name));
        Tables {
            files: full(prefix.files_table()),
            payload: full(prefix.payload_table()),
            attrs: full(prefix.attrs_table()),
        }
    }
}

/// Statements that make the two tables, in order, for one transaction.
///
/// Columns, their order and the constraints' names are the contract's; the servers name primary keys and the
/// unique index by themselves, as CockroachDB's own creation does.
pub fn create_tables(t: &Tables, cockroach: bool) -> Vec<String> {
    let (text, filename) = if cockroach { ("STRING", "STRING") } else { ("text", "text COLLATE \"C\"") };
    let bytes = if cockroach { "BYTES" } else { "bytea" };
    let mut out = vec![
        format!(
            "CREATE TABLE {} (\
             filename {filename} PRIMARY KEY, \
             file_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, \
             file_size int8 NOT NULL, \
             username {text} NOT NULL, \
             upload_time timestamp DEFAULT now())",
            t.files
        ),
        format!(
            "CREATE TABLE {} (\
             file_id uuid, \
             byte_offset int8, \
             payload {bytes}, \
             PRIMARY KEY (file_id, byte_offset), \
             CONSTRAINT file_id_fk FOREIGN KEY (file_id) REFERENCES {} (file_id))",
            t.payload, t.files
        ),
    ];
    if !cockroach {
        // The bytes are mostly compressed already, and ranges of uncompressed values are cheap to read.
        out.push(format!("ALTER TABLE {} ALTER COLUMN payload SET STORAGE EXTERNAL", t.payload));
        // Sizes of small files are read from the row, so keep the default of 2 KB for moving out of line.
        // Editing leaves dead chunks of up to 4 MiB behind, some 100 MB/s; by default autovacuum may look through 24 MB/s,
        // and the disk would fill.
        out.push(format!(
            "ALTER TABLE {} SET (autovacuum_vacuum_cost_limit = 4000, toast.autovacuum_vacuum_cost_limit = 4000)",
            t.payload
        ));
    }
    out
}

/// Statement that makes the companion table.
pub fn create_attrs(t: &Tables, cockroach: bool) -> String {
    let (text, bytes) = if cockroach { ("STRING", "BYTES") } else { ("text COLLATE \"C\"", "bytea") };
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\
         dir {text} NOT NULL, \
         name {text} NOT NULL, \
         file_id uuid NOT NULL, \
         kind int8 NOT NULL, \
         mode int8, \
         uid int8, \
         gid int8, \
         mtime timestamp, \
         target {bytes}, \
         xattrs {bytes}, \
         PRIMARY KEY (dir, name, file_id))",
        t.attrs
    )
}

/// What the owner is granted on the new tables; PostgreSQL has no DROP privilege, its owner may always drop.
pub fn grant(table: &str, user: &str, cockroach: bool) -> String {
    let what = if cockroach { "SELECT, INSERT, DROP, DELETE" } else { "SELECT, INSERT, UPDATE, DELETE" };
    format!("GRANT {what} ON TABLE {table} TO {}", quote_ident(user))
}

/// Takes everything from others.
pub fn revoke(table: &str, others: &[String]) -> String {
    let list: Vec<String> =
        others.iter().map(|o| if o == "PUBLIC" { o.clone() } else { quote_ident(o) }).collect();
    format!("REVOKE ALL ON TABLE {table} FROM {}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let p = TablePrefix { database: "my db".into(), schema: "s".into(), table: "we\"ird".into() };
        assert_eq!(Tables::new(&p, true).files, r#""my db"."s"."we""ird_upload_files""#);
        assert_eq!(Tables::new(&p, false).payload, r#""s"."we""ird_upload_payload""#);
    }

    #[test]
    fn definitions_follow_the_contract() {
        let p = TablePrefix { database: "d".into(), schema: "s".into(), table: "t".into() };
        let crdb = create_tables(&Tables::new(&p, true), true).join(";");
        let pg = create_tables(&Tables::new(&p, false), false).join(";");
        for text in [&crdb, &pg] {
            let at = |w: &str| text.find(w).unwrap_or_else(|| panic!("{w} in {text}"));
            let order =
                ["filename", "file_id", "file_size", "username", "upload_time", "byte_offset", "payload by"];
            let lower = text.to_lowercase();
            let places: Vec<usize> = order.iter().map(|w| lower.find(w).unwrap()).collect();
            assert!(places.is_sorted(), "{text}");
            at("CONSTRAINT file_id_fk FOREIGN KEY");
        }
        assert!(pg.contains("COLLATE \"C\"") && pg.contains("SET STORAGE EXTERNAL"));
        assert!(pg.contains("toast.autovacuum_vacuum_cost_limit"));
        assert!(!crdb.contains("COLLATE") && !crdb.contains("STORAGE") && !crdb.contains("vacuum"));
    }

    #[test]
    fn grants() {
        assert_eq!(grant("t", "a-b", true), "GRANT SELECT, INSERT, DROP, DELETE ON TABLE t TO \"a-b\"");
        assert_eq!(revoke("t", &["PUBLIC".into(), "x".into()]), "REVOKE ALL ON TABLE t FROM PUBLIC, \"x\"");
    }
}
