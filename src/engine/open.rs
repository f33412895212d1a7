//! Finding and opening the layers of a backup.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::destination::{self, File as StoredFile, Listed, Source, read_whole};
use crate::format::crypt::{self, DecryptAt, DecryptAtError, EncryptionInfo, Key};
use crate::format::manifest::{self, File, Manifest, Timestamp, chain, envelope, names, slim};
use crate::format::sst::ReadAt;

use super::Error;

/// What to open and how.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Of an encrypted backup.
    pub passphrase: Option<Vec<u8>>,
    /// The data key of a backup that is encrypted with KMS keys, as a KMS unwrapped it.
    pub data_key: Option<Vec<u8>>,
    /// `LATEST` or the folder of a backup in a collection; `None`: what the address itself names.
    pub from: Option<String>,
    /// Where incremental layers are, when not at the default places.
    pub incremental_location: Option<Arc<dyn Source>>,
    /// Incremental layers in folders of their own, as `INCREMENTAL FROM` made them, in any order; no others are
    /// looked for then.
    pub layers: Vec<(Arc<dyn Source>, String)>,
    /// The other places of a locality-aware backup.
    pub stores: Vec<Arc<dyn Source>>,
}

/// One layer: its manifest and where its files are.
#[derive(Clone)]
pub struct Layer {
    /// The place that the folder is relative to.
    pub source: Arc<dyn Source>,
    /// Relative folder, `""` for the root.
    pub folder: String,
    /// Name of the manifest, with the folder.
    pub manifest_name: String,
    /// The control file.
    pub manifest: Manifest,
    /// Places of the files with a locality.
    stores: BTreeMap<String, Arc<dyn Source>>,
    key: Option<Key>,
}

/// A full backup and the incremental layers on it, oldest first.
#[derive(Clone)]
pub struct Backup {
    /// Never empty.
    pub layers: Vec<Layer>,
}

/// A name inside a folder.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Folders of the full backups that SHOW BACKUPS lists.
pub fn list_backups(source: &dyn Source) -> Result<Vec<String>, Error> {
    Ok(chain::fulls(&names_of(&source.list("")?)))
}

fn names_of(listed: &[Listed]) -> Vec<String> {
    listed.iter().map(|file| file.name.clone()).collect()
}

/// The file that names the collection's newest backup: in the new place, else in the old one.
pub fn latest_file(source: &dyn Source) -> Result<String, Error> {
    let pointers = source.list(&format!("{}/", names::LATEST_FOLDER))?;
    let newest = names::newest_latest(pointers.iter().map(|file| file.name.as_str()));
    Ok(newest.unwrap_or(names::LATEST).to_owned())
}

/// The folder that the collection's LATEST names.
pub fn latest(source: &dyn Source) -> Result<String, Error> {
    let content = match source.read(&latest_file(source)?) {
        Ok(content) => content,
        Err(error) if error.is_not_found() => return Err(Error::NoLatest),
        Err(error) => return Err(error.into()),
    };
    names::latest_folder(&content).ok_or(Error::BadLatest)
}

impl OpenOptions {
    /// The folder to open, relative to the source: that of the address, or what `from` names.
    pub fn folder_of(&self, source: &dyn Source, folder: &str) -> Result<String, Error> {
        self.folder(source, folder, &names_of(&source.list("")?))
    }

    fn folder(&self, source: &dyn Source, folder: &str, names: &[String]) -> Result<String, Error> {
        let folder = match self.from.as_deref() {
            Some(from) if from.trim_matches('/').eq_ignore_ascii_case("latest") => latest(source)?,
            Some(from) => from.trim_matches('/').to_owned(),
            None => folder.to_owned(),
        };
        let has = |name: &str| names.contains(&join(&folder, name));
        if has(names::MANIFEST) || has(names::OLD_MANIFEST) || has(names::METADATA) {
            return Ok(folder);
        }
        let place = source.place(&folder).trim_end_matches('/').to_owned();
        let inside = |file: &String| {
            file.strip_prefix(&join(&folder, ""))
                .is_some_and(|rest| rest == names::LATEST || rest.starts_with(names::LATEST_FOLDER))
        };
        let root = names.iter().any(inside) || folder.is_empty() && !chain::fulls(names).is_empty();
        Err(if root { Error::CollectionRoot { place } } else { Error::NoBackup { place } })
    }
}

impl Backup {
    /// Opens the backup in `folder` (or what the options name) and the layers that stand on it.
    ///
    /// An incremental layer named directly is opened alone.
    pub fn open(source: &Arc<dyn Source>, folder: &str, options: &OpenOptions) -> Result<Self, Error> {
        let names = names_of(&source.list("")?);
        let folder = options.folder(&**source, folder, &names)?;
        let base = Layer::open(source, &folder, options, None)?;
        let key = base.key.clone();
        let mut layers = vec![base];
        for (place, folder) in &options.layers {
            layers.push(Layer::open(place, folder, options, key.as_ref())?);
        }
        if let Some((_, named)) = layers.split_first_mut() {
            named.sort_by_key(|layer| layer.manifest.end().order());
        }
        if options.layers.is_empty() && layers.iter().all(|layer| layer.manifest.is_full()) {
            let (place, folders) = match &options.incremental_location {
                Some(place) => {
                    let names = names_of(&place.list("")?);
                    (place, chain::incrementals(&names, &folder)?)
                }
                None => (source, chain::incrementals(&names, &folder)?),
            };
            for folder in folders {
                layers.push(Layer::open(place, &folder, options, key.as_ref())?);
            }
        }
        Ok(Self { layers })
    }

    /// The manifests, oldest first.
    pub fn manifests(&self) -> Vec<&Manifest> {
        self.layers.iter().map(|layer| &layer.manifest).collect()
    }

    /// Verifies that the layers join, and gives those needed for a time (default: the newest) and that time.
    pub fn at(&self, at: Option<Timestamp>) -> Result<(&[Layer], Timestamp), Error> {
        let pairs: Vec<(&str, &Manifest)> =
            self.layers.iter().map(|layer| (layer.folder.as_str(), &layer.manifest)).collect();
        chain::verify(&pairs)?;
        let (count, at) = chain::resolve(&self.manifests(), at)?;
        Ok((self.layers.get(..count).unwrap_or_default(), at))
    }
}

impl Layer {
    /// Opens one layer. `key` is that of the full backup, for incremental layers.
    pub fn open(
        source: &Arc<dyn Source>,
        folder: &str,
        options: &OpenOptions,
        key: Option<&Key>,
    ) -> Result<Self, Error> {
        let (name, stored, verified) = read_manifest(&**source, folder)?;
        let key = match (key, &options.data_key, &options.passphrase) {
            (Some(key), _, _) => Some(key.clone()),
            (None, Some(bytes), _) => {
                let wrong = |cause| Error::Crypt { file: source.place(&name), cause };
                Some(Key::from_bytes(bytes).map_err(wrong)?)
            }
            (None, None, Some(passphrase)) => Some(passphrase_key(&**source, folder, passphrase)?),
            (None, None, None) => {
                refuse_kms(&**source, folder, &stored)?;
                None
            }
        };
        let manifest_error = |cause| Error::Manifest { file: source.place(&name), cause };
        let plain = decrypt(stored, key.as_ref(), &source.place(&name)).map_err(|error| match error {
            // The bytes are those that were written: it is the key.
            Error::Crypt { file, cause: crypt::Error::Authentication { .. } } if verified => {
                Error::WrongKey { file }
            }
            error => error,
        })?;
        let mut manifest = Manifest::from_stored(&plain).map_err(manifest_error)?;
        if manifest.has_external_manifest_ssts {
            fill_slim(&mut manifest, &**source, (folder, &source.place(&name)), key.as_ref())?;
        }
        manifest.require_readable().map_err(manifest_error)?;
        let mut layer = Self {
            source: source.clone(),
            folder: folder.to_owned(),
            manifest_name: name,
            manifest,
            stores: BTreeMap::new(),
            key,
        };
        layer.find_parts(options)?;
        Ok(layer)
    }

    /// Finds the places of the files with a locality by the parts that lie there.
    fn find_parts(&mut self, options: &OpenOptions) -> Result<(), Error> {
        let parts = self.manifest.partition_descriptor_filenames.iter().zip(&self.manifest.locality_kvs);
        for (part, locality) in parts {
            let name = join(&self.folder, part);
            let mut found = None;
            for store in std::iter::once(&self.source).chain(&options.stores) {
                let stored = match store.read(&name) {
                    Ok(stored) => stored,
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error.into()),
                };
                let plain = decrypt(stored, self.key.as_ref(), &store.place(&name))?;
                let descriptor = manifest::partition_from_stored(&plain)
                    .map_err(|cause| Error::Manifest { file: store.place(&name), cause })?;
                if descriptor.backup_id == self.manifest.id {
                    found = Some(store.clone());
                    break;
                }
            }
            let store = found.ok_or_else(|| Error::PartMissing { part: part.clone() })?;
            self.stores.insert(locality.clone(), store);
        }
        Ok(())
    }

    /// Full name of a file of the layer, for messages.
    pub fn place(&self, path: &str) -> String {
        self.source.place(&join(&self.folder, path))
    }

    /// The place that holds a data file.
    pub fn store(&self, file: &File) -> &Arc<dyn Source> {
        self.stores.get(&file.locality_kv).unwrap_or(&self.source)
    }

    /// All places that hold files of the layer.
    pub fn places(&self) -> impl Iterator<Item = &Arc<dyn Source>> {
        std::iter::once(&self.source).chain(self.stores.values())
    }

    /// Opens a data file for random access, decrypting where needed. Also gives its length.
    pub fn open_data(&self, file: &File) -> Result<(DataFile, u64), Error> {
        let name = join(&self.folder, &file.path);
        let store = self.store(file);
        let stored = store.open(&name)?;
        let len = stored.size();
        let Some(key) = &self.key else { return Ok((DataFile::Plain(FileAt(stored)), len)) };
        let place = store.place(&name);
        let crypt_error = |cause| Error::Crypt { file: place.clone(), cause };
        let mut head = Vec::new();
        stored.read_at(0, crypt::HEADER_LEN, &mut head)?;
        let header = crypt::Header::decode(&head).map_err(crypt_error)?;
        if header.version == crypt::Version::V1 {
            let plain = crypt::decrypt(key, read_whole(&*stored, &place)?).map_err(crypt_error)?;
            let len = plain.len() as u64;
            return Ok((DataFile::Whole(plain), len));
        }
        let sealed = DecryptAt::new(FileAt(stored), len, key.clone()).map_err(|error| match error {
            DecryptAtError::Source(error) => Error::Source(error),
            DecryptAtError::Crypt(cause) => crypt_error(cause),
        })?;
        let len = sealed.len();
        Ok((DataFile::Sealed(sealed), len))
    }

    /// Reads and decrypts a control file of the layer.
    pub fn read_control(&self, name: &str) -> Result<Vec<u8>, Error> {
        let name = join(&self.folder, name);
        decrypt(self.source.read(&name)?, self.key.as_ref(), &self.source.place(&name))
    }

    /// The plaintext of a control file that is already read.
    pub(super) fn decrypted(&self, stored: Vec<u8>, place: &str) -> Result<Vec<u8>, Error> {
        decrypt(stored, self.key.as_ref(), place)
    }

    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Whether the layer is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }
}

/// The manifest's name and stored bytes, and whether there was a checksum file to compare them with.
fn read_manifest(source: &dyn Source, folder: &str) -> Result<(String, Vec<u8>, bool), Error> {
    // Where the slim one stands beside a whole one, the whole one has everything.
    for manifest in [names::MANIFEST, names::OLD_MANIFEST, names::METADATA] {
        let name = join(folder, manifest);
        let stored = match source.read(&name) {
            Ok(stored) => stored,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        let verified = match source.read(&format!("{name}{}", names::CHECKSUM_SUFFIX)) {
            Ok(sum) => {
                let cause = |cause| Error::Manifest { file: source.place(&name), cause };
                envelope::verify(&stored, &sum).map_err(cause)?;
                true
            }
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error.into()),
        };
        return Ok((name, stored, verified));
    }
    Err(Error::NoBackup { place: source.place(folder).trim_end_matches('/').to_owned() })
}

/// Reads the tables that a slim manifest leaves its files and descriptors to. `place` is the manifest's.
pub(super) fn fill_slim(
    manifest: &mut Manifest,
    source: &dyn Source,
    (folder, place): (&str, &str),
    key: Option<&Key>,
) -> Result<(), Error> {
    let of_manifest = |cause| Error::Manifest { file: place.to_owned(), cause };
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let listed = source.list(&prefix)?;
    let beside = listed.iter().filter_map(|file| file.name.strip_prefix(&prefix));
    let descriptors = slim::descriptor_list(beside).map_err(of_manifest)?;
    let table = |name: &str| {
        let name = join(folder, name);
        decrypt(source.read(&name)?, key, &source.place(&name))
    };
    slim::fill(manifest, &table(slim::FILE_LIST)?, &table(descriptors)?).map_err(of_manifest)
}

/// The encryption parameters beside the manifest, or of the full backup that it stands on; newest first.
fn infos(source: &dyn Source, folder: &str) -> Result<Vec<(String, EncryptionInfo)>, Error> {
    let mut folders = vec![folder.to_owned()];
    let parts: Vec<&str> = folder.split('/').collect();
    if let Some(above) = parts.len().checked_sub(2).and_then(|keep| parts.get(..keep)) {
        let above = above.join("/");
        let full = above.strip_prefix("incrementals/").unwrap_or(&above).to_owned();
        folders.push(full);
    }
    for folder in folders {
        let listed = source.list(&join(&folder, names::ENCRYPTION_INFO))?;
        let number = |name: &str| name.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
        let mut found: Vec<&Listed> = listed.iter().collect();
        found.sort_by_key(|file| std::cmp::Reverse(number(&file.name)));
        let decoded = found.into_iter().map(|file| {
            let place = source.place(&file.name);
            let info = EncryptionInfo::decode(&source.read(&file.name)?)
                .map_err(|cause| Error::Crypt { file: place.clone(), cause })?;
            Ok((place, info))
        });
        let decoded: Vec<_> = decoded.collect::<Result<_, Error>>()?;
        if !decoded.is_empty() {
            return Ok(decoded);
        }
    }
    Ok(Vec::new())
}

fn passphrase_key(source: &dyn Source, folder: &str, passphrase: &[u8]) -> Result<Key, Error> {
    let infos = infos(source, folder)?;
    let found = infos.iter().find(|(_, info)| info.uses_passphrase()).or(infos.first());
    let (file, info) = found.ok_or(Error::NotEncrypted)?;
    info.passphrase_key(passphrase).map_err(|cause| Error::Crypt { file: file.clone(), cause })
}

/// An error for an encrypted manifest whose key only a KMS can give.
fn refuse_kms(source: &dyn Source, folder: &str, stored: &[u8]) -> Result<(), Error> {
    if !envelope::is_encrypted(stored) {
        return Ok(());
    }
    match infos(source, folder)?.into_iter().next() {
        Some((file, info)) if !info.uses_passphrase() => {
            Err(Error::Crypt { file, cause: crypt::Error::NeedsKms })
        }
        _ => Ok(()),
    }
}

/// The data key of a backup as it is wrapped for a master key of a KMS, which alone can unwrap it.
pub fn wrapped_key(source: &dyn Source, folder: &str, master_key_id: &str) -> Result<Vec<u8>, Error> {
    let infos = infos(source, folder)?;
    let mut last = Error::NotEncrypted;
    for (file, info) in infos {
        match info.wrapped_key(master_key_id) {
            Ok(wrapped) => return Ok(wrapped.to_vec()),
            Err(cause) => last = Error::Crypt { file, cause },
        }
    }
    Err(last)
}

fn decrypt(stored: Vec<u8>, key: Option<&Key>, place: &str) -> Result<Vec<u8>, Error> {
    match key {
        // The statistics of a table without any are an empty file, even of an encrypted backup.
        Some(key) if !stored.is_empty() => {
            crypt::decrypt(key, stored).map_err(|cause| Error::Crypt { file: place.to_owned(), cause })
        }
        _ => Ok(stored),
    }
}

/// An open file of a source, for readers of tables.
#[derive(Clone)]
pub struct FileAt(Arc<dyn StoredFile>);

impl ReadAt for FileAt {
    type Error = destination::Error;

    fn read_at<'a>(
        &'a self,
        offset: u64,
        len: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], destination::Error> {
        self.0.read_at(offset, len, scratch)?;
        Ok(scratch)
    }
}

/// The plaintext of a data file.
#[allow(clippy::large_enum_variant, reason = "one per open file")]
pub enum DataFile {
    /// Not encrypted.
    Plain(FileAt),
    /// Version 1: decrypted as a whole, kept in memory.
    Whole(Vec<u8>),
    /// Version 2: decrypted by the chunk.
    Sealed(DecryptAt<FileAt>),
}

/// Why bytes of a data file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The place cannot be read.
    #[error(transparent)]
    Source(#[from] destination::Error),
    /// Decryption failed: the file is damaged, or the key is wrong.
    #[error(transparent)]
    Crypt(crypt::Error),
}

impl ReadAt for DataFile {
    type Error = DataError;

    fn read_at<'a>(
        &'a self,
        offset: u64,
        len: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], DataError> {
        match self {
            Self::Plain(file) => Ok(file.read_at(offset, len, scratch)?),
            Self::Whole(bytes) => match bytes.read_at(offset, len, scratch) {
                Ok(bytes) => Ok(bytes),
                Err(never) => match never {},
            },
            Self::Sealed(file) => file.read_at(offset, len, scratch).map_err(|error| match error {
                DecryptAtError::Source(error) => DataError::Source(error),
                DecryptAtError::Crypt(error) => DataError::Crypt(error),
            }),
        }
    }
}

/// Splits a path that ends like a full backup's folder (`…/2026/11/20-175046.60`) into collection and
/// folder; any other path has an empty folder.
pub fn split_collection(path: &str) -> (String, String) {
    let trimmed = path.trim_end_matches('/');
    let parts: Vec<&str> = trimmed.split('/').collect();
    if let Some(at) = parts.len().checked_sub(3)
        && at > 0
    {
        let folder = parts[at..].join("/");
        if names::is_full_folder(&folder) {
            let root = parts[..at].join("/");
            return (if root.is_empty() { "/".into() } else { root }, folder);
        }
    }
    (path.to_owned(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections() {
        let split = |path: &str| {
            let (root, folder) = split_collection(path);
            format!("{root}|{folder}")
        };
        assert_eq!(split("/c/2026/11/20-175046.60"), "/c|2026/11/20-175046.60");
        assert_eq!(split("c/2026/11/20-175046.60/"), "c|2026/11/20-175046.60");
        assert_eq!(split("/c/x"), "/c/x|");
        assert_eq!(split("2026/11/20-175046.60"), "2026/11/20-175046.60|");
    }
}
