//! The arguments that name a backup, and the way from them to a source.

use super::connect::{self, ConnectionArgs};
use super::output;
use crate::chunk::{Create, FileTable, TableOptions, TablePrefix};
use crate::destination::uri::{self, Address};
use crate::destination::{Local, Source, Userfile};
use crate::engine::open::{OpenOptions, split_collection};
use crate::format::base64;
use crate::format::kv::parse::parse_hex;
use crate::sql::PoolOptions;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The variable with the passphrase of an encrypted backup.
const PASSPHRASE_VARIABLE: &str = "USERFILEFS_PASSPHRASE";

const DATA_KEY_LEN: usize = 32;

/// Which backup.
#[derive(clap::Args, Clone, Debug)]
pub struct PlaceArgs {
    /// Folder (also a mount point) or userfile:// address of a backup or a collection
    #[arg(value_name = "URI")]
    pub uri: String,

    /// The backup of a collection: LATEST or a folder such as 2026/11/20-175046.60
    #[arg(long, value_name = "BACKUP")]
    pub from: Option<String>,

    /// Where the incremental layers are, if not at a default place
    #[arg(long, value_name = "URI")]
    pub incremental_location: Option<String>,

    /// An incremental layer in a folder of its own, as BACKUP ... INCREMENTAL FROM made it; may be repeated
    #[arg(long, value_name = "URI", conflicts_with = "incremental_location")]
    pub layer: Vec<String>,

    /// Another place of a locality-aware backup; may be repeated
    #[arg(long, value_name = "URI")]
    pub store: Vec<String>,

    /// File with the passphrase of an encrypted backup; - for stdin [env: USERFILEFS_PASSPHRASE]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// File with the data key of a backup that is encrypted with KMS keys, as the KMS decrypted it: 32 bytes,
    /// or hex or base64 of them
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub data_key_file: Option<PathBuf>,

    /// Where userfile:// addresses lead.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// An open place. The runtime lives as long as the sources are read.
pub struct Place {
    /// The collection, or the backup itself.
    pub source: Arc<dyn Source>,
    /// The same, if it is a userfile prefix.
    pub userfile: Option<Userfile>,
    /// Folder inside; empty for the root.
    pub folder: String,
    /// Passphrase and other places.
    pub options: OpenOptions,
    #[allow(dead_code, reason = "kept for the sources that read through it")]
    runtime: Option<Runtime>,
}

struct Opener<'a> {
    connection: &'a ConnectionArgs,
    runtime: Option<Runtime>,
}

impl Opener<'_> {
    fn open(
        &mut self,
        uri: &str,
        split: bool,
    ) -> anyhow::Result<(Arc<dyn Source>, Option<Userfile>, String)> {
        let halves =
            |path: &str| if split { split_collection(path) } else { (path.to_owned(), String::new()) };
        match uri::parse(uri)? {
            Address::Folder(path) => {
                let (root, folder) = halves(&path);
                Ok((Arc::new(Local::new(root)), None, folder))
            }
            Address::Userfile { table, path } => {
                let (root, folder) = halves(&path);
                let source = self.userfile(table.as_deref(), &root)?;
                Ok((Arc::new(source.clone()), Some(source), folder))
            }
        }
    }

    fn userfile(&mut self, table: Option<&str>, path: &str) -> anyhow::Result<Userfile> {
        let settings = connect::settings(self.connection)?;
        let user = settings.user().to_owned();
        let prefix = table.map(|text| TablePrefix::for_user(text, &user)).transpose()?;
        let settings = match &prefix {
            Some(prefix) => settings.with_database(&prefix.database),
            None => settings,
        };
        if self.runtime.is_none() {
            self.runtime = Some(super::runtime()?);
        }
        let runtime = self.runtime.as_ref().context("no runtime")?;
        let pool = runtime.block_on(connect::pool_with(settings, PoolOptions::default()))?;
        let prefix = prefix.unwrap_or_else(|| {
            let own = TablePrefix::default_for(&user);
            match pool.dialect().is_cockroach() {
                true => own,
                false => own.in_database(pool.settings().database()),
            }
        });
        let options = TableOptions { create: Create::Refuse, read_only: true, ..TableOptions::default() };
        let address = prefix.uri_of(&format!("/{path}"));
        let table = runtime.block_on(FileTable::open(pool, prefix, options))?;
        Ok(Userfile::new(table, runtime.handle().clone(), path, address))
    }
}

impl PlaceArgs {
    /// Opens the place and reads the passphrase.
    pub fn open(&self) -> anyhow::Result<Place> {
        let mut opener = Opener { connection: &self.connection, runtime: None };
        let (source, userfile, folder) = opener.open(&self.uri, self.from.is_none())?;
        let data_key = self.data_key_file.as_deref().map(data_key).transpose()?;
        let mut options = OpenOptions {
            passphrase: self.passphrase()?,
            data_key,
            from: self.from.clone(),
            ..OpenOptions::default()
        };
        if let Some(uri) = &self.incremental_location {
            options.incremental_location = Some(opener.open(uri, false)?.0);
        }
        for uri in &self.layer {
            let (source, _, folder) = opener.open(uri, false)?;
            options.layers.push((source, folder));
        }
        for uri in &self.store {
            // The other places have the same folders as the first one.
            options.stores.push(opener.open(uri, self.from.is_none())?.0);
        }
        Ok(Place { source, userfile, folder, options, runtime: opener.runtime })
    }

    fn passphrase(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = &self.passphrase_file else {
            return Ok(std::env::var_os(PASSPHRASE_VARIABLE).map(std::ffi::OsString::into_encoded_bytes));
        };
        let mut content = if path.as_os_str() == "-" {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut content).context("cannot read stdin")?;
            content
        } else {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        };
        // An editor's newline at the end is not part of it.
        if content.last() == Some(&b'\n') {
            content.pop();
            if content.last() == Some(&b'\r') {
                content.pop();
            }
        }
        if content.is_empty() {
            return Err(output::failure(
                format!("{} holds no passphrase", path.display()),
                "the passphrase is the content of the file without a newline at its end",
            ));
        }
        Ok(Some(content))
    }
}

/// The 32 bytes of a data key in a file.
fn data_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if content.len() == DATA_KEY_LEN {
        return Ok(content);
    }
    let text = String::from_utf8_lossy(&content);
    let text = text.trim();
    let decoded = parse_hex(text).or_else(|| base64::decode(text)).filter(|key| key.len() == DATA_KEY_LEN);
    decoded.ok_or_else(|| {
        output::failure(
            format!("{} holds no data key", path.display()),
            "the file is 32 bytes, or hex or base64 of them, as the KMS's decrypt command prints",
        )
    })
}

/// An error of the engine with its hint.
pub fn explain(error: crate::engine::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => output::failure(error.to_string(), hint),
        None => error.into(),
    }
}
