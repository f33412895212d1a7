//! The properties block: names and values, sorted by name.

use super::error::{Error, ErrorKind};
use super::varint;
use std::collections::BTreeMap;

/// Names that the reader looks at or the writer computes.
pub mod name {
    #![allow(missing_docs)]
    pub const TS_MAX: &str = "crdb.ts.max";
    pub const TS_MIN: &str = "crdb.ts.min";
    pub const INDEX_TYPE: &str = "rocksdb.block.based.table.index.type";
    pub const COMPARATOR: &str = "rocksdb.comparator";
    pub const DATA_SIZE: &str = "rocksdb.data.size";
    pub const INDEX_IS_USER_KEY: &str = "rocksdb.index.key.is.user.key";
    pub const INDEX_PARTITIONS: &str = "rocksdb.index.partitions";
    pub const INDEX_SIZE: &str = "rocksdb.index.size";
    pub const INDEX_IS_DELTA: &str = "rocksdb.index.value.is.delta.encoded";
    pub const NUM_DATA_BLOCKS: &str = "rocksdb.num.data.blocks";
    pub const NUM_ENTRIES: &str = "rocksdb.num.entries";
    pub const RAW_KEY_SIZE: &str = "rocksdb.raw.key.size";
    pub const RAW_VALUE_SIZE: &str = "rocksdb.raw.value.size";
    pub const TOP_INDEX_SIZE: &str = "rocksdb.top-level.index.size";
}

/// The comparator of every data file.
pub const COMPARATOR: &str = "cockroach_comparator";

/// The properties of a table, as they are in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where the block starts in the file.
    pub(super) offset: u64,
}

impl Properties {
    pub(super) fn at(offset: u64) -> Self {
        Properties { entries: BTreeMap::new(), offset }
    }

    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.entries.insert(name.to_vec(), value.to_vec()).is_none()
    }

    /// Every property in file order (sorted by name).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))
    }

    /// Number of properties.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the block had no entry, which is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The raw value of a property.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// The value of a number property. A value that is not exactly one number is an error.
    pub fn number(&self, name: &'static str) -> Result<Option<u64>, Error> {
        let Some(bytes) = self.get(name) else { return Ok(None) };
        match varint::get(bytes, 0) {
            Some((value, end)) if end == bytes.len() => Ok(Some(value)),
            _ => Err(self.bad(name, "not a number")),
        }
    }

    /// Whether the index has two levels.
    pub(super) fn two_level_index(&self) -> Result<bool, Error> {
        match self.get(name::INDEX_TYPE) {
            None | Some([0, 0, 0, 0]) => Ok(false),
            Some([2, 0, 0, 0]) => Ok(true),
            Some(_) => Err(self.unsupported(name::INDEX_TYPE, "neither 0 (one level) nor 2 (two levels)")),
        }
    }

    /// Refuses what would make the rest of the file mean something else.
    pub(super) fn check_supported(&self) -> Result<(), Error> {
        if self.get(name::COMPARATOR).is_some_and(|c| c != COMPARATOR.as_bytes()) {
            return Err(self.unsupported(name::COMPARATOR, "not cockroach_comparator; not a backup's file"));
        }
        for flag in [name::INDEX_IS_USER_KEY, name::INDEX_IS_DELTA] {
            if self.number(flag)?.is_some_and(|v| v != 0) {
                return Err(self.unsupported(flag, "index encodings of later RocksDB formats are not known"));
            }
        }
        Ok(())
    }

    fn bad(&self, name: &'static str, detail: &'static str) -> Error {
        Error::new(ErrorKind::Corrupt, self.offset, name, detail)
    }

    fn unsupported(&self, name: &'static str, detail: &'static str) -> Error {
        Error::new(ErrorKind::Unsupported, self.offset, name, detail)
    }
}

/// What the value of a property of a file to be written is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// These bytes.
    Const(Vec<u8>),
    /// Computed by the writer, according to the name; left out where the name does not apply (time bounds
    /// of an empty table, partitions of a one-level index).
    Computed,
}

/// Which properties a file to be written gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertyTemplate {
    pub(super) entries: BTreeMap<Vec<u8>, PropertyValue>,
}

const COMPUTED: [&str; 11] = [
    name::TS_MAX,
    name::TS_MIN,
    name::INDEX_TYPE,
    name::DATA_SIZE,
    name::INDEX_PARTITIONS,
    name::INDEX_SIZE,
    name::NUM_DATA_BLOCKS,
    name::NUM_ENTRIES,
    name::RAW_KEY_SIZE,
    name::RAW_VALUE_SIZE,
    name::TOP_INDEX_SIZE,
];

const COMPRESSION_OPTIONS: &str =
    "window_bits=-14; level=32767; strategy=0; max_dict_bytes=0; zstd_max_train_bytes=0; enabled=0; ";

impl PropertyTemplate {
    /// No property at all; RESTORE accepts that.
    pub fn none() -> Self {
        PropertyTemplate::default()
    }

    /// The table of v21.1, for the given name of the compression (`Snappy` or `NoCompression`).
    pub fn v21_1(compression: &str) -> Self {
        let mut t = PropertyTemplate::default();
        for name in COMPUTED {
            t.entries.insert(name.as_bytes().to_vec(), PropertyValue::Computed);
        }
        let zero = [0u8];
        let consts: [(&str, &[u8]); 21] = [
            ("rocksdb.block.based.table.prefix.filtering", b"0"),
            ("rocksdb.block.based.table.whole.key.filtering", b"0"),
            ("rocksdb.column.family.id", &[0xff, 0xff, 0xff, 0xff, 0x07]),
            (name::COMPARATOR, COMPARATOR.as_bytes()),
            ("rocksdb.compression", compression.as_bytes()),
            ("rocksdb.compression_options", COMPRESSION_OPTIONS.as_bytes()),
            ("rocksdb.creation.time", &zero),
            ("rocksdb.deleted.keys", &zero),
            ("rocksdb.external_sst_file.global_seqno", &[0; 8]),
            ("rocksdb.external_sst_file.version", &[2, 0, 0, 0]),
            ("rocksdb.filter.size", &zero),
            ("rocksdb.fixed.key.length", &zero),
            ("rocksdb.format.version", &zero),
            (name::INDEX_IS_USER_KEY, &zero),
            (name::INDEX_IS_DELTA, &zero),
            ("rocksdb.merge.operands", &zero),
            ("rocksdb.merge.operator", b"nullptr"),
            ("rocksdb.num.range-deletions", &zero),
            ("rocksdb.oldest.key.time", &zero),
            ("rocksdb.prefix.extractor.name", b"nullptr"),
            (
                "rocksdb.property.collectors",
                b"[TimeBoundTblPropCollectorFactory,DeleteRangeTblPropCollectorFactory]",
            ),
        ];
        for (name, value) in consts {
            t.entries.insert(name.as_bytes().to_vec(), PropertyValue::Const(value.to_vec()));
        }
        t
    }

    /// The same names and constants as an existing file, with the numbers computed anew.
    pub fn like(properties: &Properties) -> Self {
        let entries = properties.iter().map(|(name, value)| {
            let computed = COMPUTED.iter().any(|c| c.as_bytes() == name);
            let value = if computed { PropertyValue::Computed } else { PropertyValue::Const(value.to_vec()) };
            (name.to_vec(), value)
        });
        PropertyTemplate { entries: entries.collect() }
    }

    /// Sets or replaces one property.
    #[must_use]
    pub fn with(mut self, name: &str, value: PropertyValue) -> Self {
        self.entries.insert(name.as_bytes().to_vec(), value);
        self
    }
}
