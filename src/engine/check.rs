//! Reading a whole backup and telling every damage.
//!
//! First every file for itself: names, checksums, blocks, order, versions, counters. Then the newest state of
//! every table: rows decode, and every index has the entries that the rows ask for. Files with keys that no
//! other file has are read once for both, the others once more, merged. Work is shared by threads; each holds
//! a block of a few files.

mod files;
mod indexes;
mod modes;
mod rows;
mod work;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::destination::Source;
use crate::format::manifest::{Manifest, chain, names};

use super::Error;
use super::open::{Backup, OpenOptions, join, latest, latest_file};
use indexes::Tables;

/// Damages that are kept in a report; more are counted.
pub const DAMAGES_MAX: usize = 1000;

/// Damages of one file that are named; more are counted, so that one file does not hide the others.
const FILE_DAMAGES_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Full name of the file.
    pub file: String,
    /// Byte in the (decrypted) file, where that is known.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{}: offset {offset}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// How a check went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Ordered by file and offset; at most [`DAMAGES_MAX`].
    pub damages: Vec<Damage>,
    /// All, also those not kept.
    pub damage_count: u64,
    /// What kept the check from looking at everything.
    pub troubles: Vec<String>,
    /// Things that are no damage but were not verified.
    pub notices: BTreeSet<String>,
    /// What to do about troubles.
    pub hints: BTreeSet<&'static str>,
    /// Layers looked at.
    pub layers: u64,
    /// Data files read.
    pub files: u64,
    /// Bytes of data files.
    pub bytes: u64,
    /// Key-value pairs.
    pub entries: u64,
    /// Rows of the newest states.
    pub rows: u64,
}

impl Report {
    fn damage(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }

    fn error(&mut self, error: Error) {
        let hint = error.hint();
        match to_damage(error) {
            Ok(damage) => self.damage(damage),
            Err(trouble) => {
                self.troubles.push(trouble);
                self.hints.extend(hint);
            }
        }
    }

    /// Of many damages of the one file that it is about, names the first.
    fn condense(&mut self) {
        if self.damages.len() <= FILE_DAMAGES_MAX {
            return;
        }
        self.damages.sort();
        self.damages.truncate(FILE_DAMAGES_MAX);
        let more = self.damage_count.saturating_sub(FILE_DAMAGES_MAX as u64);
        if let Some(last) = self.damages.last() {
            self.notices.insert(format!("{}: {more} more damages of this file are not shown", last.file));
        }
    }

    fn absorb(&mut self, other: Report) {
        self.damage_count += other.damage_count;
        let room = DAMAGES_MAX.saturating_sub(self.damages.len());
        self.damages.extend(other.damages.into_iter().take(room));
        self.troubles.extend(other.troubles);
        self.notices.extend(other.notices);
        self.hints.extend(other.hints);
        self.layers += other.layers;
        self.files += other.files;
        self.bytes += other.bytes;
        self.entries += other.entries;
        self.rows += other.rows;
    }
}

/// What an error says about the backup: a damage, or that it could not be looked at.
fn to_damage(error: Error) -> Result<Damage, String> {
    use crate::destination::Error as Place;
    let plain = |file: String, what: String| Ok(Damage { file, offset: None, what });
    match error {
        Error::Source(Place::NotFound { place }) => plain(place, "the file is missing".into()),
        Error::Data { file, offset, cause } => Ok(Damage { file, offset: Some(offset), what: cause }),
        Error::Manifest { cause: crate::format::manifest::Error::Encrypted, .. } => Err(error.to_string()),
        Error::Manifest { file, cause } => plain(file, cause.to_string()),
        Error::Crypt { file, cause } => {
            use crate::format::crypt::Error as Crypt;
            match cause {
                Crypt::NeedsKms | Crypt::NeedsPassphrase | Crypt::NotWrappedFor | Crypt::KeyLen(_) => {
                    Err(format!("{file}: {cause}"))
                }
                Crypt::Authentication { offset } | Crypt::Truncated { offset, .. } => {
                    Ok(Damage { file, offset: Some(offset), what: cause.to_string() })
                }
                _ => plain(file, cause.to_string()),
            }
        }
        Error::Descriptor(cause) => plain("descriptors".into(), cause.to_string()),
        Error::Chain(cause) => plain("chain of layers".into(), cause.to_string()),
        Error::PartMissing { part } => plain(part, "the part is in none of the places".into()),
        other => Err(other.to_string()),
    }
}

/// How a check is done.
#[derive(Clone)]
pub struct CheckOptions {
    /// Passphrase, places.
    pub open: OpenOptions,
    /// At least 1.
    pub threads: usize,
}

/// Bytes done and to do, for a progress bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Read so far.
    pub done: AtomicU64,
    /// Grows while backups are found.
    pub total: AtomicU64,
}

impl Progress {
    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Checks the backup in `folder`, or, where that is the root of a collection, every backup of it.
pub fn check(source: &Arc<dyn Source>, folder: &str, options: &CheckOptions, progress: &Progress) -> Report {
    let mut report = Report::default();
    match bases(source, folder, &options.open) {
        Ok((folder, bases)) if bases.is_empty() => {
            let place = source.place(&folder);
            report.troubles.push(Error::NoBackup { place: place.trim_end_matches('/').into() }.to_string());
        }
        Ok((folder, bases)) => {
            if folder.is_empty() && options.open.from.is_none() {
                check_latest(&**source, &bases, &mut report);
            }
            for folder in bases {
                let open = OpenOptions { from: None, ..options.open.clone() };
                check_chain(
                    source,
                    &folder,
                    &CheckOptions { open, ..options.clone() },
                    progress,
                    &mut report,
                );
            }
        }
        Err(error) => report.error(error),
    }
    report.damages.sort();
    report
}

/// The pointer of a collection names a backup of it.
fn check_latest(source: &dyn Source, bases: &[String], report: &mut Report) {
    if !bases.iter().any(|base| names::is_full_folder(base)) {
        return;
    }
    let (file, what) = match latest_file(source).map(|file| (latest(source), file)) {
        Ok((Ok(folder), _)) if bases.contains(&folder) => return,
        Ok((Ok(folder), file)) => (file, format!("it names {folder}, and there is no such backup")),
        Ok((Err(Error::NoLatest), _)) => {
            let place = source.place("").trim_end_matches('/').to_owned();
            report.notices.insert(format!("{place}: no LATEST file says which backup is the newest"));
            return;
        }
        Ok((Err(Error::BadLatest), file)) => (file, "it names no folder".to_owned()),
        Ok((Err(error), _)) | Err(error) => return report.error(error),
    };
    report.damage(Damage { file: source.place(&file), offset: None, what });
}

/// The folder that is meant, and those of the backups to check: full ones, or the one that is named.
fn bases(source: &Arc<dyn Source>, folder: &str, open: &OpenOptions) -> Result<(String, Vec<String>), Error> {
    let folder = match &open.from {
        Some(from) if from.trim_matches('/').eq_ignore_ascii_case("latest") => latest(&**source)?,
        Some(from) => from.trim_matches('/').to_owned(),
        None => folder.to_owned(),
    };
    let all: Vec<String> = source.list("")?.into_iter().map(|file| file.name).collect();
    let layers = chain::layers(&all);
    if layers.contains(&folder) {
        return Ok((folder.clone(), vec![folder]));
    }
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let below = layers.into_iter().filter(|layer| layer.starts_with(&prefix));
    // Incremental layers are checked with the backup that they stand on.
    let found = below.filter(|layer| !is_incremental(layer, &all)).collect();
    Ok((folder, found))
}

fn is_incremental(layer: &str, all: &[String]) -> bool {
    let mut parts: Vec<&str> = layer.split('/').collect();
    let Some(keep) = parts.len().checked_sub(2) else { return false };
    if !names::is_incremental_folder(&parts.split_off(keep).join("/")) {
        return false;
    }
    let above = parts.join("/");
    let base = above.strip_prefix("incrementals/").unwrap_or(&above);
    [names::MANIFEST, names::OLD_MANIFEST, names::METADATA].iter().any(|name| all.contains(&join(base, name)))
}

fn check_chain(
    source: &Arc<dyn Source>,
    folder: &str,
    options: &CheckOptions,
    progress: &Progress,
    report: &mut Report,
) {
    let backup = match Backup::open(source, folder, &options.open) {
        Ok(backup) => backup,
        Err(error) => return report.error(error),
    };
    report.layers += backup.layers.len() as u64;
    for layer in &backup.layers {
        files::check_names(layer, report);
    }
    let pairs: Vec<(&str, &Manifest)> =
        backup.layers.iter().map(|layer| (layer.folder.as_str(), &layer.manifest)).collect();
    let state = chain::verify(&pairs).is_ok().then(|| backup.state(None));
    let mut prepared = Report::default();
    let tables = match &state {
        Some(Ok(state)) => Some(Tables::prepare(state, &mut prepared)),
        Some(Err(_)) | None => None,
    };
    let before = report.damage_count;
    files::check_data(&backup, tables.as_ref(), options.threads, progress, report);
    if let Err(error) = chain::verify(&pairs) {
        // An incremental layer alone is a whole thing as far as its own files go.
        let alone = backup.layers.len() == 1 && matches!(error, chain::Error::NoFull { .. });
        if !alone {
            report.error(error.into());
        }
        return;
    }
    if report.damage_count > before {
        report.notices.insert(format!(
            "{}: rows and indexes were not compared, because data files are damaged",
            source.place(folder).trim_end_matches('/')
        ));
        return;
    }
    match tables {
        Some(tables) => {
            report.absorb(prepared);
            tables.compare(options.threads, progress, report);
        }
        None => {
            if let Some(Err(error)) = state {
                report.error(error);
            }
        }
    }
}
