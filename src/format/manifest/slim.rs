//! Slim manifests: `BACKUP_METADATA` of 23.1 and later, whose files and descriptors stand in tables beside it.
//!
//! ```text
//! filelist.sst          12 <escaped span.key> 0001  12 <escaped path> 0001   = File        no versions
//! descriptorslist.sst   "desc/" KU(id) [at the time of a change]              = Descriptor  empty: dropped
//! ```
//!
//! The versions of one key are the history of one descriptor, and a value says which one that is; the key is
//! only asked where there is no value. Not checked against bytes that a server wrote: there were none.

use prost::Message;

use super::{DescriptorRevision, Error, File, Manifest, Timestamp, names};
use crate::format::descriptor::Descriptor;
use crate::format::kv::layout::Direction;
use crate::format::kv::mvcc;
use crate::format::kv::ordered::{get_bytes_string, get_ku};
use crate::format::kv::varint::Reader as KeyReader;
use crate::format::sst::{self, ReadError, Reader};

/// Most entries of one of the tables; more are refused.
pub const ENTRIES_MAX: usize = 16 << 20;

/// The table of files.
pub const FILE_LIST: &str = "filelist.sst";
/// The table of descriptors.
pub const DESCRIPTOR_LIST: &str = "descriptorslist.sst";
/// What its keys begin with.
const DESCRIPTOR_PREFIX: &[u8] = b"desc/";

fn table_error(table: &'static str, error: &sst::Error) -> Error {
    Error::Slim { table, what: error.to_string() }
}

/// Takes roachkey, version (`None` without one) and value of an entry.
type Each<'f> = dyn FnMut(&[u8], Option<Timestamp>, &[u8]) -> Result<(), String> + 'f;

/// Gives every entry of a table.
fn each_entry(table: &'static str, bytes: &[u8], each: &mut Each<'_>) -> Result<(), Error> {
    let broken = |error: ReadError<std::convert::Infallible>| match error {
        ReadError::Table(error) => table_error(table, &error),
        ReadError::Source(never) => match never {},
    };
    let wrong = |what: String| Error::Slim { table, what };
    let reader = Reader::open(bytes, bytes.len() as u64).map_err(broken)?;
    if !reader.range_keys().map_err(broken)?.is_empty() {
        return Err(wrong("it has range keys".into()));
    }
    let mut iter = reader.iter().checked();
    let mut count = 0;
    while let Some(entry) = iter.next().map_err(broken)? {
        count += 1;
        if count > ENTRIES_MAX {
            return Err(wrong(format!("it has more than {ENTRIES_MAX} entries")));
        }
        if entry.kind != sst::Kind::Set {
            return Err(wrong(format!("an entry is of kind {:?}", entry.kind)));
        }
        let (key, version) = entry.mvcc().map_err(|error| table_error(table, &error))?;
        let at = match version {
            [] => None,
            version => {
                let at = mvcc::decode_version(version).map_err(|error| wrong(error.to_string()))?;
                Some(Timestamp {
                    wall_time: i64::try_from(at.wall).map_err(|error| wrong(error.to_string()))?,
                    logical: i32::try_from(at.logical).map_err(|error| wrong(error.to_string()))?,
                    synthetic: at.synthetic,
                })
            }
        };
        each(key, at, entry.value).map_err(wrong)?;
    }
    Ok(())
}

/// The key of a file in the list.
fn file_key(key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut reader = KeyReader::new(key);
    let span_key = get_bytes_string(&mut reader, Direction::Asc, "span key").ok()?;
    let path = get_bytes_string(&mut reader, Direction::Asc, "path").ok()?;
    reader.is_empty().then(|| (span_key.into_owned(), path.into_owned()))
}

/// The files of a `filelist.sst` that is already decrypted.
pub fn files(table: &[u8]) -> Result<Vec<File>, Error> {
    let mut found: Vec<File> = Vec::new();
    each_entry(FILE_LIST, table, &mut |key, at, value| {
        let file = File::decode(value).map_err(|error| error.to_string())?;
        let Some((span_key, path)) = file_key(key).filter(|_| at.is_none()) else {
            return Err("a key is not that of a file".into());
        };
        if file.span.as_ref().map_or(&[][..], |span| &span.key) != span_key || file.path.as_bytes() != path {
            return Err(format!("the entry of {} has the key of another file", file.path));
        }
        found.push(file);
        Ok(())
    })?;
    Ok(found)
}

/// The versions of one key in the table of descriptors: newest first, empty where it was dropped.
struct History {
    key: Vec<u8>,
    versions: Vec<(Option<Timestamp>, Vec<u8>)>,
}

impl History {
    fn id(&self) -> Result<u32, Error> {
        let wrong = |what: String| Error::Slim { table: DESCRIPTOR_LIST, what };
        let mut found = None;
        for (_, value) in self.versions.iter().filter(|(_, value)| !value.is_empty()) {
            let id = Descriptor::decode(value).map_err(|error| wrong(error.to_string()))?.id();
            if found.is_some_and(|other| other != id) {
                return Err(wrong(format!("versions of one key are of descriptors {id} and others")));
            }
            found = Some(id);
        }
        let named = || {
            let mut reader = KeyReader::new(self.key.strip_prefix(DESCRIPTOR_PREFIX)?);
            let id = get_ku(&mut reader, "descriptor id").ok().filter(|_| reader.is_empty())?;
            u32::try_from(id).ok()
        };
        found.or_else(named).ok_or_else(|| Error::Unsupported {
            field: "has_external_manifest_ssts",
            what: "a descriptor was dropped and nothing but its key tells which one".into(),
        })
    }
}

/// Descriptors at the end of the layer, and, in a layer with history, the changes, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Descriptors {
    /// Raw, ordered by id.
    pub at_end: Vec<Vec<u8>>,
    /// Empty in a layer without history.
    pub changes: Vec<DescriptorRevision>,
}

/// The descriptors of a decrypted `descriptorslist.sst` of a layer that starts and ends at these times.
pub fn descriptors(
    table: &[u8],
    history: bool,
    (start, end): (Timestamp, Timestamp),
) -> Result<Descriptors, Error> {
    let mut all: Vec<History> = Vec::new();
    each_entry(DESCRIPTOR_LIST, table, &mut |key, at, value| {
        match all.last_mut() {
            Some(last) if last.key == key => last.versions.push((at, value.to_vec())),
            _ => all.push(History { key: key.to_vec(), versions: vec![(at, value.to_vec())] }),
        }
        Ok(())
    })?;
    let mut at_end: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut changes = Vec::new();
    for own in all {
        let id = own.id()?;
        let newest = own
            .versions
            .iter()
            .filter(|(at, _)| at.is_none_or(|at| at.order() <= end.order()))
            .max_by_key(|(at, _)| at.map(|at| at.order()));
        if let Some((_, value)) = newest.filter(|(_, value)| !value.is_empty()) {
            at_end.push((id, value.clone()));
        }
        for (at, value) in own.versions {
            // What was there when the layer began stands at its start, or has no time at all.
            let Some(at) = at.filter(|at| history && at.order() > start.order()) else { continue };
            let desc = (!value.is_empty()).then_some(value);
            changes.push(DescriptorRevision { time: Some(at.into()), id, desc });
        }
    }
    at_end.sort_by_key(|(id, _)| *id);
    if let Some([(id, _), _]) =
        at_end.windows(2).find(|pair| matches!(pair, [a, b] if a.0 == b.0 && a.0 != 0))
    {
        return Err(Error::Slim { table: DESCRIPTOR_LIST, what: format!("descriptor {id} is there twice") });
    }
    changes.sort_by_key(|change| Timestamp::from(change.time.unwrap_or_default()).order());
    Ok(Descriptors { at_end: at_end.into_iter().map(|(_, raw)| raw).collect(), changes })
}

/// Which of the tables of a layer's folder (`names`, relative to it) holds the descriptors.
///
/// The name was not seen in bytes of a server; another table than the known ones can be meant.
pub fn descriptor_list<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<&'n str, Error> {
    let known = [FILE_LIST, names::METADATA_SST, names::FILE_INFO_SST];
    let of_data = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let mut found: Vec<&str> = names
        .into_iter()
        .filter(|name| !name.contains('/') && !known.contains(name))
        .filter(|name| name.strip_suffix(".sst").is_some_and(|stem| !of_data(stem)))
        .collect();
    if found.contains(&DESCRIPTOR_LIST) {
        found = vec![DESCRIPTOR_LIST];
    }
    match found.as_slice() {
        [one] => Ok(one),
        others => Err(Error::Unsupported {
            field: "has_external_manifest_ssts",
            what: format!(
                "the table of descriptors was not found: there is no {DESCRIPTOR_LIST}, and {} other tables",
                others.len()
            ),
        }),
    }
}

/// Puts files and descriptors into a slim manifest, which is a whole one then.
pub fn fill(manifest: &mut Manifest, file_list: &[u8], descriptor_list: &[u8]) -> Result<(), Error> {
    let window = (manifest.start(), manifest.end());
    let found = descriptors(descriptor_list, manifest.has_history(), window)?;
    manifest.proto.files = files(file_list)?;
    manifest.proto.descriptors = found.at_end;
    manifest.proto.descriptor_changes = found.changes;
    manifest.proto.has_external_manifest_ssts = false;
    Ok(())
}
