//! Names of files and folders of backups, and the LATEST pointer.
//!
//! ```text
//! collection/LATEST                                   "/2026/11/20-175046.60"
//! collection/metadata/latest/LATEST-<hex>             the same; the least name is the newest
//! collection/2026/11/20-175046.60/BACKUP_MANIFEST     a full backup
//! collection/incrementals/2026/11/20-175046.60/20261120/180000.00/BACKUP_MANIFEST
//! collection/2026/11/20-175046.60/20261120/180000.00/BACKUP_MANIFEST     the old place
//! ```

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::slim;

/// Control file of a complete backup since 20.2.
pub const MANIFEST: &str = "BACKUP_MANIFEST";
/// Control file of a complete backup up to 20.1.
pub const OLD_MANIFEST: &str = "BACKUP";
/// Slim control file of 23.1 and later, beside [`MANIFEST`].
pub const METADATA: &str = "BACKUP_METADATA";
/// Metadata of 22.1 and later, where that is switched on; nothing needs it.
pub const METADATA_SST: &str = "metadata.sst";
/// As [`METADATA_SST`], for files.
pub const FILE_INFO_SST: &str = "fileinfo.sst";
/// Added to the name of a control file for its checksum.
pub const CHECKSUM_SUFFIX: &str = "-CHECKSUM";
/// How checkpoint files begin.
pub const CHECKPOINT: &str = "BACKUP-CHECKPOINT";
/// How lock files begin.
pub const LOCK: &str = "BACKUP-LOCK";
/// Table statistics.
pub const STATISTICS: &str = "BACKUP-STATISTICS";
/// How the parts of a locality-aware backup begin.
pub const PART: &str = "BACKUP_PART_";
/// How files with encryption parameters begin.
pub const ENCRYPTION_INFO: &str = "ENCRYPTION-INFO";
/// Pointer to the newest full backup, at the root of a collection; up to 21.2 the only place.
pub const LATEST: &str = "LATEST";
/// Folder of the pointers of 22.1 and later.
pub const LATEST_FOLDER: &str = "metadata/latest";
/// Folder of incremental layers since 22.1.
pub const INCREMENTALS: &str = "incrementals";

fn time(wall_nanos: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(wall_nanos)
}

/// `2026/11/20-175046.60`: folder of a full backup with this end time.
pub fn full_folder(wall_nanos: i64) -> String {
    let t = time(wall_nanos);
    format!(
        "{:04}/{:02}/{:02}-{:02}{:02}{:02}.{:02}",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.nanosecond() / 10_000_000
    )
}

/// `20261120/175046.60`: folder of an incremental layer with this end time.
pub fn incremental_folder(wall_nanos: i64) -> String {
    let t = time(wall_nanos);
    format!(
        "{:04}{:02}{:02}/{:02}{:02}{:02}.{:02}",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.nanosecond() / 10_000_000
    )
}

/// Whether a folder looks like `2026/11/20-175046.60`.
pub fn is_full_folder(folder: &str) -> bool {
    let shape: String = folder.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape == "9999/99/99-999999.99"
}

/// Whether a folder looks like `20261120/175046.60`, perhaps with a suffix that newer versions add.
pub fn is_incremental_folder(folder: &str) -> bool {
    let Some((day, time)) = folder.split_once('/') else { return false };
    if time.contains('/') || !day.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape.starts_with("999999.99")
}

/// The text of a LATEST file: a leading slash, no newline.
pub fn latest_content(folder: &str) -> String {
    format!("/{}", folder.trim_matches('/'))
}

/// The folder that a LATEST file names, without slashes at its ends; `None` when it names none.
pub fn latest_folder(content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?.trim().trim_matches('/');
    let clean = !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    clean.then(|| text.to_owned())
}

/// `2006-01-02 15:04:05.999999999 +0000 UTC`, as Go prints a time: fraction without trailing zeros.
pub fn go_time(wall_nanos: i64) -> String {
    let t = time(wall_nanos);
    let mut fraction = format!("{:09}", t.nanosecond());
    fraction.truncate(fraction.trim_end_matches('0').len());
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction} +0000 UTC", t.format("%Y-%m-%d %H:%M:%S"))
}

/// Hex of the descending key encoding of a time's text: newer sorts first.
pub fn descending_suffix(wall_nanos: i64) -> String {
    let mut out = String::from("13");
    let mut push = |byte: u8| out.push_str(&format!("{:02x}", !byte));
    for byte in go_time(wall_nanos).bytes() {
        push(byte);
        if byte == 0 {
            push(0xff);
        }
    }
    push(0x00);
    push(0x01);
    out
}

/// Name of a LATEST file of 22.1 and later for a backup with this end time.
pub fn latest_name(wall_nanos: i64) -> String {
    format!("{LATEST_FOLDER}/{LATEST}-{}", descending_suffix(wall_nanos))
}

/// The newest of the files in `metadata/latest`, given their names (with or without that folder).
pub fn newest_latest<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .filter(|name| {
            let base = name.rsplit('/').next().unwrap_or(name);
            base == LATEST || base.strip_prefix("LATEST-").is_some_and(|hex| !hex.is_empty())
        })
        .min_by_key(|name| {
            let base = name.rsplit('/').next().unwrap_or(name);
            // The plain name is only written where listing is not possible.
            (base == LATEST, base)
        })
}

/// `BACKUP_PART_<n>_<locality>`; `n` counts from 1.
pub fn part_name(n: usize, locality_kv: &str) -> String {
    let safe: String = locality_kv
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-=".contains(c) { c } else { '_' })
        .collect();
    format!("{PART}{n}_{safe}")
}

/// Nanoseconds of 2015-01-01T00:00:00Z.
const UNIQUE_EPOCH_NANOS: i64 = 1_420_070_400_000_000_000;

/// The number in a data file's name: ten-microsecond ticks since 2015 and a node id.
pub fn unique_int(wall_nanos: i64, node: u32) -> i64 {
    ((wall_nanos.saturating_sub(UNIQUE_EPOCH_NANOS) / 10_000) << 15) ^ i64::from(node & 0x7fff)
}

/// Whether a file of this name makes its folder a finished layer.
pub fn is_manifest(file: &str) -> bool {
    matches!(file, MANIFEST | OLD_MANIFEST | METADATA)
}

/// What a file in a layer's folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The manifest.
    Manifest,
    /// A file that a complete backup has or may have besides its data.
    Control,
    /// Left behind or of a running backup: checkpoints and locks.
    Residue,
    /// A data file.
    Data,
    /// Not of a backup.
    Foreign,
}

/// Tells a file of a layer by its name relative to the layer's folder.
pub fn file_kind(name: &str) -> FileKind {
    let base = name.rsplit('/').next().unwrap_or(name);
    match name {
        MANIFEST | OLD_MANIFEST | METADATA => return FileKind::Manifest,
        METADATA_SST | FILE_INFO_SST | slim::FILE_LIST | slim::DESCRIPTOR_LIST => return FileKind::Control,
        _ => {}
    }
    if base.starts_with(CHECKPOINT) || base.starts_with(LOCK) {
        FileKind::Residue
    } else if base.starts_with(METADATA)
        || base.starts_with(STATISTICS)
        || base.starts_with(PART)
        || base.starts_with(ENCRYPTION_INFO)
        || base == "BACKUP_MANIFEST-CHECKSUM"
        || base.starts_with("BACKUP-") && base.ends_with(".sst")
    {
        FileKind::Control
    } else if base.ends_with(".sst") {
        FileKind::Data
    } else {
        FileKind::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_197_642_290_000_000;

    #[test]
    fn folders() {
        assert_eq!(full_folder(T), "2026/11/20-180042.29");
        assert_eq!(incremental_folder(T), "20261120/180042.29");
        assert!(is_full_folder(&full_folder(T)));
        assert!(!is_full_folder("my-sub/dir/x"));
        assert!(is_incremental_folder("20261120/180042.29"));
        assert!(is_incremental_folder("20261120/180042.29-20261120-170000.00"));
        assert!(!is_incremental_folder("20261120/data"));
        assert!(!is_incremental_folder("data/180042.29"));
    }

    #[test]
    fn data_file_names_are_times() {
        assert_eq!(unique_int(1_795_197_642_286_750_000, 1), 1_229_216_947_525_222_401);
    }

    #[test]
    fn latest_sorts_newest_first() {
        let names = [latest_name(T), latest_name(T + 1_000_000_000), latest_name(T - 5)];
        let newest = newest_latest(names.iter().map(String::as_str)).unwrap();
        assert_eq!(newest, latest_name(T + 1_000_000_000));
        assert!(latest_name(T).starts_with("metadata/latest/LATEST-13cd"));
        assert!(latest_name(T).ends_with("fffe"));
        assert_eq!(newest_latest(["metadata/latest/LATEST-", "other"]), None);
        assert_eq!(newest_latest(["metadata/latest/LATEST"]), Some("metadata/latest/LATEST"));
    }

    #[test]
    fn latest_contents() {
        assert_eq!(latest_content("2026/11/20-175046.60"), "/2026/11/20-175046.60");
        assert_eq!(latest_folder(b"/2026/11/20-175046.60").as_deref(), Some("2026/11/20-175046.60"));
        for bad in [&b""[..], b"/", b"/a/../b", b"\xff", b"a//b"] {
            assert_eq!(latest_folder(bad), None);
        }
    }

    #[test]
    fn kinds_of_files() {
        for (name, kind) in [
            ("BACKUP_MANIFEST", FileKind::Manifest),
            ("BACKUP", FileKind::Manifest),
            ("BACKUP_METADATA", FileKind::Manifest),
            ("BACKUP_METADATA-CHECKSUM", FileKind::Control),
            ("filelist.sst", FileKind::Control),
            ("descriptorslist.sst", FileKind::Control),
            ("BACKUP_MANIFEST-CHECKSUM", FileKind::Control),
            ("BACKUP-STATISTICS", FileKind::Control),
            ("BACKUP-CHECKPOINT-12-CHECKSUM", FileKind::Residue),
            ("progress/BACKUP-CHECKPOINT-13ff", FileKind::Residue),
            ("12.sst", FileKind::Data),
            ("data/12.sst", FileKind::Data),
            ("readme.txt", FileKind::Foreign),
        ] {
            assert_eq!(file_kind(name), kind, "{name}");
        }
        assert_eq!(part_name(2, "region=a b,zone=1"), "BACKUP_PART_2_region=a_b_zone=1");
    }
}
