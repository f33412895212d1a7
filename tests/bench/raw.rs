//! The raw server that `scripts/bench mount` compares the mount with: one connection, the same
//! table shape, the same rows, no filesystem.
//!
//! `raw URL tables | copy-in FILE | select-out | insert-files DIR | select-files | fill FILES DIRS`;
//! prints the seconds that the measured part took.

use std::error::Error;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, NoTls, types::ToSql};
use userfilefs::chunk::{CHUNK_LEN, FileTable, TableOptions, TablePrefix};
use userfilefs::sql;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

const FILES: &str = "public.raw_upload_files";
const PAYLOAD: &str = "public.raw_upload_payload";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seconds = runtime.block_on(run(&arguments))?;
    println!("{seconds:.4}");
    Ok(())
}

async fn run(arguments: &[String]) -> Outcome<f64> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [url, rest @ ..] = words.as_slice() else { return Err("a URL and a command".into()) };
    if let ["tables", prefix] = rest {
        let pool = sql::Pool::connect(sql::Settings::parse(url)?, sql::PoolOptions::default()).await?;
        FileTable::open(pool, TablePrefix::parse(prefix)?, TableOptions::default()).await?;
        return Ok(0.0);
    }
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    match rest {
        ["copy-in", file] => copy_in(&client, file).await,
        ["select-out"] => select_out(&client).await,
        ["insert-files", dir] => insert_files(&client, dir, false).await,
        ["insert-files-apart", dir] => insert_files(&client, dir, true).await,
        ["select-files"] => select_files(&client).await,
        ["fill", files, dirs] => fill(&client, files.parse()?, dirs.parse()?).await,
        other => Err(format!("unknown command {other:?}").into()),
    }
}

/// One durable transaction: the file's row, and COPY BINARY of its chunks.
async fn copy_in(client: &Client, file: &str) -> Outcome<f64> {
    let data = Bytes::from(std::fs::read(file)?);
    let id = Uuid::new_v4();
    let start = Instant::now();
    client.batch_execute("BEGIN").await?;
    let size = data.len() as i64;
    let row: [&(dyn ToSql + Sync); 3] = [&"/raw", &id, &size];
    client.execute(&format!("INSERT INTO {FILES} VALUES ($1, $2, $3, 'raw', now())"), &row).await?;
    let sink = client.copy_in::<_, Bytes>(&format!("COPY {PAYLOAD} FROM STDIN (FORMAT binary)")).await?;
    let mut sink = Box::pin(sink);
    sink.send(Bytes::from_static(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")).await?;
    for (index, chunk) in data.chunks(CHUNK_LEN).enumerate() {
        let mut head = BytesMut::with_capacity(64);
        head.put_i16(3);
        head.put_i32(16);
        head.put_slice(id.as_bytes());
        head.put_i32(8);
        head.put_i64((index * CHUNK_LEN) as i64);
        head.put_i32(chunk.len() as i32);
        sink.feed(head.freeze()).await?;
        sink.feed(data.slice_ref(chunk)).await?;
    }
    sink.send(Bytes::from_static(b"\xff\xff")).await?;
    sink.as_mut().finish().await?;
    client.batch_execute("COMMIT").await?;
    Ok(start.elapsed().as_secs_f64())
}

/// A binary SELECT of all chunks, in order.
async fn select_out(client: &Client) -> Outcome<f64> {
    let start = Instant::now();
    let text = format!("SELECT byte_offset, payload FROM {PAYLOAD} ORDER BY file_id, byte_offset");
    let parameters: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw(&text, parameters).await?;
    let mut rows = std::pin::pin!(rows);
    let mut total = 0usize;
    while let Some(row) = rows.try_next().await? {
        total += row.try_get::<_, &[u8]>(1)?.len();
    }
    if total == 0 {
        return Err("nothing was selected".into());
    }
    Ok(start.elapsed().as_secs_f64())
}

/// One transaction a file: in one statement and one round trip, or `apart`, as programs usually do it (BEGIN, two
/// INSERTs, COMMIT).
async fn insert_files(client: &Client, dir: &str, apart: bool) -> Outcome<f64> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push((entry.path().display().to_string(), std::fs::read(entry.path())?));
        }
    }
    let file = format!("INSERT INTO {FILES} VALUES ($1, $2, $3, 'raw', now())");
    let both = client
        .prepare(&format!(
            "WITH f AS ({file} RETURNING file_id) INSERT INTO {PAYLOAD} SELECT file_id, 0, $4 FROM f"
        ))
        .await?;
    let file = client.prepare(&file).await?;
    let payload = client.prepare(&format!("INSERT INTO {PAYLOAD} VALUES ($1, 0, $2)")).await?;
    let start = Instant::now();
    for (name, data) in &files {
        let (id, len) = (Uuid::new_v4(), data.len() as i64);
        if apart {
            client.batch_execute("BEGIN").await?;
            client.execute(&file, &[name, &id, &len]).await?;
            client.execute(&payload, &[&id, data]).await?;
            client.batch_execute("COMMIT").await?;
        } else {
            client.execute(&both, &[name, &id, &len, data]).await?;
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

/// One query a file, by name.
async fn select_files(client: &Client) -> Outcome<f64> {
    let names = client.query(&format!("SELECT filename FROM {FILES} ORDER BY filename"), &[]).await?;
    let statement = client
        .prepare(&format!(
            "SELECT p.byte_offset, p.payload FROM {FILES} f JOIN {PAYLOAD} p ON p.file_id = f.file_id
             WHERE f.filename = $1 ORDER BY p.byte_offset"
        ))
        .await?;
    let start = Instant::now();
    for name in &names {
        let name: &str = name.try_get(0)?;
        client.query(&statement, &[&name]).await?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Empty files for the listing benchmark, in the mount's own tables.
async fn fill(client: &Client, files: i64, dirs: i64) -> Outcome<f64> {
    let start = Instant::now();
    client
        .execute(
            "INSERT INTO public.listing_upload_files
             SELECT '/d' || (n % $2) || '/file' || n, gen_random_uuid(), 0, 'raw', now()
             FROM generate_series(1::int8, $1) AS n",
            &[&files, &dirs],
        )
        .await?;
    client.batch_execute("ANALYZE public.listing_upload_files").await?;
    Ok(start.elapsed().as_secs_f64())
}
