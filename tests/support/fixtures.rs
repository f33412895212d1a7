//! Files that a real CockroachDB wrote, kept beside the repository.

use super::require::skip;
use std::path::{Path, PathBuf};

/// The folder of fixtures: `USERFILEFS_FIXTURES`, or `../shared/fixtures`. `None` after a loud skip where
/// it is absent.
pub fn fixtures() -> Option<PathBuf> {
    let folder = match std::env::var_os("USERFILEFS_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    skip("fixtures", &format!("{} is not there; set USERFILEFS_FIXTURES", folder.display()));
    None
}

/// Every file below `folder` whose name ends with `suffix`, sorted.
pub fn files_below(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.expect("readable folder"))
        .filter(|entry| entry.file_type().is_file() && entry.file_name().to_string_lossy().ends_with(suffix))
        .map(walkdir::DirEntry::into_path)
        .collect();
    found.sort();
    found
}

/// Folders below the fixtures that hold one layer: its manifest is in them.
pub const LAYERS: &[&str] = &[
    "backups/bank-to/backup",
    "backups/bank-into/backup/2026/11/20-180849.43",
    "backups/bank-into/backup/2026/11/20-180850.76",
    "backups/keyenc/backup",
    "backups/extra/backup",
    "backups/startrek/backup/2026/11/20-181709.68",
    "backups/x-to",
    "backups/cust-acct",
    "old-versions/v1.1.9/backup",
    "old-versions/v2.1.8/backup",
    "old-versions/cluster-v20.1.7/backup",
    "old-versions/exceptional-xDbRef",
];
