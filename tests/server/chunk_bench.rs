//! A database, a file table in it and a second, independent client, for the tests of `chunk`.

use crate::support::postgres::Server;
use crate::support::tables::Tables;
use std::time::Duration;
use userfilefs::chunk::{Attrs, Error, FileId, FileTable, Old, Publish, Replace, TableOptions, TablePrefix};
use userfilefs::sql::{Pool, PoolOptions, Settings};
use userfilefs::util::clock::Micros;

/// Chunk length in most tests: small, so that boundaries are met.
pub const TINY: usize = 16;

pub struct Bench {
    pub server: &'static Server,
    pub database: String,
    pub tables: Tables,
    pub runtime: tokio::runtime::Runtime,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.drop_database(&self.database);
    }
}

impl Bench {
    /// None, after a loud skip, without a server.
    pub fn new() -> Option<Bench> {
        Some(Bench::on(Server::shared()?))
    }

    /// On a server of the test's own, which lives as long as the test binary.
    pub fn own(settings: &[&str]) -> Option<Bench> {
        Server::shared()?;
        Some(Bench::on(Box::leak(Box::new(Server::start(settings)?))))
    }

    fn on(server: &'static Server) -> Bench {
        let database = server.fresh_database();
        let tables = Tables::new(server.db(&database), "t");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Bench { server, database, tables, runtime }
    }

    pub fn prefix(&self) -> TablePrefix {
        TablePrefix { database: self.database.clone(), schema: "public".into(), table: "t".into() }
    }

    pub fn go<T>(&self, f: impl Future<Output = T>) -> T {
        let timed =
            async { tokio::time::timeout(Duration::from_secs(120), f).await.expect("the test hangs") };
        self.runtime.block_on(timed)
    }

    pub fn pool_at(&self, url: &str) -> Pool {
        let options = PoolOptions { op_timeout: Some(Duration::from_secs(20)), ..PoolOptions::default() };
        self.go(Pool::connect(Settings::parse(url).unwrap(), options)).unwrap()
    }

    pub fn pool(&self) -> Pool {
        self.pool_at(&self.server.url(&self.database))
    }

    pub fn open(&self, options: TableOptions) -> Result<FileTable, Error> {
        self.go(FileTable::open(self.pool(), self.prefix(), options))
    }

    /// Tiny chunks, otherwise as usual.
    pub fn table(&self) -> FileTable {
        self.open(tiny()).unwrap()
    }
}

pub fn tiny() -> TableOptions {
    TableOptions { chunk_len: TINY, ..TableOptions::default() }
}

/// Runs a test with the statements for each server.
pub fn both(test: impl Fn(&Bench, TableOptions)) {
    for portable in [false, true] {
        let Some(bench) = Bench::new() else { return };
        test(&bench, TableOptions { portable, ..tiny() });
    }
}

pub const DELETE: Replace = Replace::Displace(Old::Delete { size_hint: 0 });
pub const MTIME: Micros = Micros(1_700_000_000_123_456);

pub fn publish(name: &str, size: usize, replace: Replace) -> Publish {
    Publish { name: name.into(), size: size as u64, mtime: MTIME, attrs: Attrs::default(), replace }
}

/// Stores a file of at most a few chunks.
pub async fn put(table: &FileTable, name: &str, data: &[u8]) -> FileId {
    let id = table.new_id();
    table.put_small(id, &publish(name, data.len(), DELETE), data).await.unwrap();
    id
}

/// Stores a file chunk by chunk.
pub async fn put_staged(
    table: &FileTable,
    name: &str,
    data: &[u8],
    replace: Replace,
) -> Result<FileId, Error> {
    let staging = table.stage().await?;
    for (i, c) in data.chunks(table.chunk_len()).enumerate() {
        staging.put((i * table.chunk_len()) as u64, c.to_vec().into()).await?;
    }
    staging.publish(&publish(name, data.len(), replace)).await?;
    Ok(staging.id())
}

/// Reads a whole file as a mount would.
pub async fn read(table: &FileTable, id: FileId, size: u64) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    while (out.len() as u64) < size {
        let pos = out.len() as u64;
        match table.chunk_at(id, pos).await? {
            Some(c) if c.end() > pos => out.extend_from_slice(c.from_pos(pos)),
            _ => break,
        }
    }
    Ok(out)
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 24) as u8
        })
        .collect()
}

pub fn names(rows: &[userfilefs::chunk::FileRow]) -> Vec<String> {
    rows.iter().map(|r| String::from_utf8_lossy(&r.name).into_owned()).collect()
}
