//! `userfilefs export`: the rows of a table of a backup.

use super::place::{PlaceArgs, explain};
use super::{Exit, output};
use crate::engine::export::{ExportError, ExportFormat};
use crate::engine::{Backup, Error, asof};
use crate::format::manifest::Timestamp;
use crate::util::plural::counted;
use anyhow::Context;
use clap::ValueEnum;
use std::io::{self, Write};
use std::path::PathBuf;

/// How rows are written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A header, then a line a row; NULL is empty, the empty text is ""
    Csv,
    /// An object a row: every column as text, BYTES as hex, NULL as null
    Jsonl,
    /// INSERT statements, without computed columns
    Sql,
    /// PostgreSQL's COPY text, rows only, without computed columns
    Pgcopy,
}

const EXAMPLES: &str = "\
Examples:
  userfilefs export ./bank-backup --table bank.public.accounts > accounts.csv
  userfilefs export userfile:///bank-backup --table accounts --format jsonl --from LATEST
  userfilefs export ./bank-backup --table accounts --as-of '2026-11-20 18:08:50'
  userfilefs export ./bank-backup -t accounts --format pgcopy | psql -c 'COPY accounts FROM STDIN'";

/// Flags of `userfilefs export`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// The table: db.schema.table, or less where that is clear, or its id in brackets
    #[arg(short = 't', long, value_name = "TABLE")]
    table: String,

    /// How to write rows
    #[arg(long, value_enum, default_value = "csv", value_name = "FORMAT")]
    format: Format,

    /// The time of the state, as AS OF SYSTEM TIME takes it: a timestamp, nanoseconds since 1970, or -1h30m
    /// [default: the newest in the backup]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    as_of: Option<String>,

    /// Write to a file
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn time(text: &str) -> anyhow::Result<Timestamp> {
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX);
    let at = asof::parse(text, now);
    let remedy = "write 2026-11-20 18:08:48.07+00:00, nanoseconds since 1970, or how long ago: -1h30m";
    at.ok_or_else(|| output::failure(format!("{text:?} is not a time"), remedy))
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let at = args.as_of.as_deref().map(time).transpose()?;
    let place = args.place.open()?;
    let mut options = place.options.clone();
    let backup = match Backup::open(&place.source, &place.folder, &options) {
        Err(Error::CollectionRoot { .. }) => {
            options.from = Some("LATEST".into());
            let backup = Backup::open(&place.source, &place.folder, &options).map_err(explain)?;
            if let Some(layer) = backup.layers.first() {
                output::note(format!("backup: {} (the latest)", layer.folder));
            }
            backup
        }
        opened => opened.map_err(explain)?,
    };
    let at = at.map(|at| asof::snap(at, &backup.manifests()));
    let state = backup.state(at).map_err(explain)?;
    let format = match args.format {
        Format::Csv => ExportFormat::Csv,
        Format::Jsonl => ExportFormat::Jsonl,
        Format::Sql => ExportFormat::Sql,
        Format::Pgcopy => ExportFormat::PgCopy,
    };
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(
            std::fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?,
        ),
        None => Box::new(Stdout(output::out())),
    };
    match state.export(&args.table, format, &mut *out) {
        Ok((rows, notices)) => {
            for notice in notices {
                output::warn(notice);
            }
            output::note(counted(rows, "row"));
            Ok(Exit::Success)
        }
        Err(ExportError::Backup(error)) => Err(explain(error)),
        Err(error) => Err(error.into()),
    }
}

/// Standard output with the program's manners.
struct Stdout(output::Out);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        Ok(())
    }
}
