//! `userfilefs list`.

use super::Failure;
pub use super::args::ListArgs as Args;
use super::session::{self, Need, selectors};
use crate::chunk::{Create, FileRow};
use crate::cli::{Exit, output};
use crate::userfile::pattern::PlainRule;
use crate::userfile::{Cancel, Error, address, lines, matching};
use serde_json::json;

/// Runs the command to its end.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    super::work("userfile list", |cancel| async move { command(&args, cancel).await })
}

async fn command(args: &Args, cancel: Cancel) -> Result<(), Failure> {
    let (host, selectors) = selectors(&args.patterns, &args.select, PlainRule::StartsWith)?;
    let everything = selectors.iter().any(|s| s.is_all());
    let session = session::open(
        &args.connection,
        &host,
        Need { create: Create::Refuse, read_only: true, recover: false },
        &cancel,
    )
    .await?;
    let mut out = output::out();
    let mut count = 0u64;
    if let Some(table) = &session.table {
        let (mut rows, _) = matching::rows(table, selectors);
        loop {
            let row = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Error::Interrupted.into()),
                row = rows.recv() => row,
            };
            let Some(row) = row else { break };
            let row = match row {
                Ok(row) => row,
                Err(e) => {
                    out.flush();
                    return Err(e.into());
                }
            };
            print(&mut out, args, &session.prefix.to_string(), &row, count == 0);
            count += 1;
        }
    }
    if args.json {
        out.bytes(if count == 0 { b"[]\n" } else { b"\n]\n" });
    }
    drop(out);
    if count == 0 {
        let (before, after) = if everything { ("there are no files", "") } else { ("no files", " match") };
        output::note(format!("{before} in userfile://{}{after}", session.prefix));
    }
    Ok(())
}

fn print(out: &mut output::Out, args: &Args, prefix: &str, row: &FileRow, first: bool) {
    if args.json {
        out.bytes(if first { b"[\n" } else { b",\n" });
        out.bytes(object(prefix, row).to_string().as_bytes());
        return;
    }
    if args.long {
        let size = u64::try_from(row.size).unwrap_or(0);
        let size = if args.human { lines::size(size) } else { row.size.to_string() };
        let time = row.mtime.map_or_else(|| "-".to_owned(), |t| lines::time(t.0));
        out.bytes(format!("{size:>12}  {time:<19}  {:<10}  ", row.username).as_bytes());
    }
    out.bytes(lines::shown(&row.name));
    out.bytes(if args.null { b"\0" } else { b"\n" });
}

fn object(prefix: &str, row: &FileRow) -> serde_json::Value {
    let mut object = json!({
        "name": lines::shown_text(&row.name),
        "uri": address::display_uri(prefix, &row.name),
        "size": row.size,
        "modified": row.mtime.and_then(|t| lines::time_rfc3339(t.0)),
        "owner": row.username,
        "file_id": row.id.to_string(),
    });
    if let Some(map) = object.as_object_mut() {
        if std::str::from_utf8(&row.name).is_err() {
            map.insert("name_is_utf8".into(), false.into());
        }
        if let Some(mode) = row.attrs.mode {
            map.insert("mode".into(), format!("{mode:04o}").into());
        }
    }
    object
}
