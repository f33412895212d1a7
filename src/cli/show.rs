//! `userfilefs show`: what SHOW BACKUP prints, from the files alone.

use super::place::{PlaceArgs, explain};
use super::{Exit, output};
use crate::engine::Backup;
use crate::engine::open::wrapped_key;
use crate::engine::show::{self, Details};
use crate::engine::tabular::Format;
use crate::format::base64;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// What to show.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Databases, schemas, types and tables (SHOW BACKUP)
    Backup,
    /// The backups of a collection (SHOW BACKUPS)
    Backups,
    /// With CREATE statements (SHOW BACKUP SCHEMAS)
    Schemas,
    /// Data files (SHOW BACKUP FILES)
    Files,
    /// Ranges of keys (SHOW BACKUP RANGES)
    Ranges,
    /// CREATE statements alone, in an order in which they can run
    Script,
    /// The data key as wrapped for a KMS master key (--kms), in base64
    WrappedKey,
}

/// The formats by their names.
fn formats() -> impl TypedValueParser<Value = Format> {
    let find = |name: String| Format::ALL.iter().find(|(own, _)| *own == name).map(|(_, format)| *format);
    PossibleValuesParser::new(Format::ALL.map(|(name, _)| name))
        .try_map(move |name| find(name).ok_or("unknown format"))
}

const EXAMPLES: &str = "\
Examples:
  userfilefs show userfile:///bank-backup backups         the backups of a collection
  userfilefs show userfile:///bank-backup --from LATEST   what the newest one holds
  userfilefs show ./bank-backup --from LATEST schemas     the same with CREATE statements
  userfilefs show ./bank-backup --from LATEST files --format json";

/// Flags of `userfilefs show`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// What to show
    #[arg(value_enum, value_name = "WHAT", default_value = "backup")]
    what: What,

    /// Add privileges and owner
    #[arg(long)]
    privileges: bool,

    /// Add ids
    #[arg(long)]
    debug_ids: bool,

    /// Add backup_type (full or incremental), as 21.2 and later print
    #[arg(long)]
    backup_type: bool,

    /// The manifest of each layer as JSON, as the option as_json of 21.2 and later
    #[arg(long, conflicts_with_all = ["privileges", "debug_ids", "backup_type"])]
    as_json: bool,

    /// Id of a KMS master key, as in the kms option of BACKUP; for wrapped-key
    #[arg(long, value_name = "ID", required_if_eq("what", "wrapped-key"))]
    kms: Option<String>,

    /// How to print rows [default: table on a terminal, else tsv]
    #[arg(long, value_parser = formats(), value_name = "FORMAT")]
    format: Option<Format>,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let place = args.place.open()?;
    let default = if output::to_terminal() { Format::Table } else { Format::Tsv };
    let format = args.format.unwrap_or(default);
    let details = Details {
        schemas: args.what == What::Schemas,
        privileges: args.privileges,
        debug_ids: args.debug_ids,
        backup_type: args.backup_type,
    };
    if args.what == What::Backups {
        let table = show::backups(&*place.source).map_err(explain)?;
        output::out().bytes(table.print(format).as_bytes());
        return Ok(Exit::Success);
    }
    if let (What::WrappedKey, Some(id)) = (args.what, &args.kms) {
        let folder = place.options.folder_of(&*place.source, &place.folder).map_err(explain)?;
        let wrapped = wrapped_key(&*place.source, &folder, id).map_err(explain)?;
        output::out().line(base64::encode(&wrapped));
        return Ok(Exit::Success);
    }
    let backup = Backup::open(&place.source, &place.folder, &place.options).map_err(explain)?;
    let text = match args.what {
        _ if args.as_json => show::manifests(&backup).map_err(explain)?.print(format),
        What::Backup | What::Schemas => show::objects(&backup, details).map_err(explain)?.print(format),
        What::Files => show::files(&backup).print(format),
        What::Ranges => show::ranges(&backup).print(format),
        What::Script => show::script(&backup).map_err(explain)?,
        What::Backups | What::WrappedKey => String::new(),
    };
    output::out().bytes(text.as_bytes());
    Ok(Exit::Success)
}
