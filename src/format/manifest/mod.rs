//! The control files of a backup: manifests of every generation, parts, statistics, names and chains.
//!
//! ```text
//! BACKUP_MANIFEST = gzip( 12 0b 08 <end_time.wall> … 1a <span> … 22 <file> … 2a <descriptor> … )
//! ```
//!
//! Checked against files written by v1.1.9, v2.1.8, v20.1.7 and v21.1.0-alpha.2. Spans, files and descriptors
//! cost at most about 40 bytes of memory for each byte of input; the input is bounded by
//! [`envelope::UNPACKED_LEN_MAX`] and by its stored size.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

pub mod chain;
pub mod elide;
pub mod envelope;
pub mod json;
pub mod names;
pub mod proto;
pub mod slim;
pub mod wire;

use prost::Message;

use crate::format::kv::key::split_tenant;

pub use proto::{
    BuildInfo, COVERAGE_ALL, DescriptorRevision, FILTER_ALL, FILTER_LATEST, File, ManifestProto,
    PartitionDescriptor, RowCount, Span, StatsTable, TableStatistic, Timestamp, TimestampProto, Version,
};

/// Spans, files and descriptors of fewer bytes hold nothing.
const TINY_LEN: usize = 6;
/// How many of them are accepted.
const TINY_MAX: usize = 1000;

/// Why a control file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The checksum file disagrees.
    #[error("checksum mismatch; expected {expected}, got {got}")]
    Checksum {
        /// Hex of the checksum file.
        expected: String,
        /// Hex of what the file gives.
        got: String,
    },
    /// Decompression failed.
    #[error("broken gzip data: {0}")]
    Gzip(String),
    /// More than the limit.
    #[error("control file is larger than {limit} bytes unpacked")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Not a protobuf message, or not of this kind.
    #[error("broken protobuf message: {0}")]
    Proto(String),
    /// Needs a key.
    #[error("file appears encrypted -- try specifying one of \"encryption_passphrase\" or \"kms\"")]
    Encrypted,
    /// A table with a part of the manifest is damaged or not understood.
    #[error("table {table} of the manifest: {what}")]
    Slim {
        /// Name of the table.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A field says that the files mean something that this program does not know.
    #[error("manifest field {field} is not supported: {what}")]
    Unsupported {
        /// Name of the field.
        field: &'static str,
        /// Its value or meaning.
        what: String,
    },
}

impl From<prost::DecodeError> for Error {
    fn from(error: prost::DecodeError) -> Self {
        Self::Proto(error.to_string())
    }
}

impl Timestamp {
    /// A time without logical part.
    pub fn from_nanos(wall_time: i64) -> Self {
        Self { wall_time, logical: 0, synthetic: false }
    }

    /// The zero time, which stands for "none".
    pub fn is_zero(&self) -> bool {
        self.wall_time == 0 && self.logical == 0
    }

    /// Order and equality of times: the synthetic flag does not count.
    pub fn order(&self) -> (i64, i32) {
        (self.wall_time, self.logical)
    }
}

impl Span {
    /// Whether the span holds `key`.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.key.as_slice() <= key && key < self.end_key.as_slice()
    }

    /// Whether the two have a key in common.
    pub fn overlaps(&self, other: &Span) -> bool {
        self.key < other.end_key && other.key < self.end_key
    }

    /// The common part, if any.
    pub fn intersection(&self, other: &Span) -> Option<Span> {
        let key = self.key.clone().max(other.key.clone());
        let end_key = self.end_key.clone().min(other.end_key.clone());
        (key < end_key).then_some(Span { key, end_key })
    }
}

/// A parsed manifest. Encoding it again gives back every field, also those that are not known here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The known fields.
    pub proto: ManifestProto,
    /// Raw fields that are not in [`ManifestProto`], in stored order.
    pub unknown: Vec<u8>,
}

impl std::ops::Deref for Manifest {
    type Target = ManifestProto;

    fn deref(&self) -> &ManifestProto {
        &self.proto
    }
}

impl Manifest {
    /// Parses the unpacked message.
    pub fn decode(proto: &[u8]) -> Result<Self, Error> {
        if envelope::is_encrypted(proto) {
            return Err(Error::Encrypted);
        }
        let unknown = wire::unknown(proto, proto::MANIFEST_KNOWN)?;
        refuse_crowds(proto)?;
        Ok(Self { proto: ManifestProto::decode(proto)?, unknown })
    }

    /// Unpacks and parses a stored file that is already decrypted.
    pub fn from_stored(decrypted: &[u8]) -> Result<Self, Error> {
        if envelope::is_encrypted(decrypted) {
            return Err(Error::Encrypted);
        }
        Self::decode(&envelope::unpack(decrypted, envelope::UNPACKED_LEN_MAX)?)
    }

    /// The message, fields in order of their numbers, unknown ones at the end.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.proto.encode_to_vec();
        out.extend_from_slice(&self.unknown);
        out
    }

    /// The stored form: compressed, not encrypted.
    pub fn to_stored(&self) -> Vec<u8> {
        envelope::pack(&self.encode())
    }

    /// Exclusive lower bound, zero for a full backup.
    pub fn start(&self) -> Timestamp {
        self.proto.start_time.unwrap_or_default().into()
    }

    /// Inclusive upper bound.
    pub fn end(&self) -> Timestamp {
        self.proto.end_time.unwrap_or_default().into()
    }

    /// Holds all versions, not only the latest.
    pub fn has_history(&self) -> bool {
        self.proto.mvcc_filter == FILTER_ALL
    }

    /// Ids of the secondary tenants that are in the backup, in stored order.
    pub fn tenant_ids(&self) -> Vec<u64> {
        let id = |message: &[u8]| {
            wire::fields(message).flatten().find_map(|field| match (field.number, field.value) {
                (1, wire::Value::Varint(id)) => Some(id),
                _ => None,
            })
        };
        // Since 21.2 the message is within another, with the tenant's usage.
        let inner = |message: &[u8]| {
            wire::fields(message).flatten().find_map(|field| match (field.number, field.value) {
                (1, wire::Value::Bytes(inner)) => id(inner),
                _ => None,
            })
        };
        let old = self.proto.tenants_deprecated.iter().filter_map(|raw| id(raw));
        let new = self.proto.tenants.iter().filter_map(|raw| inner(raw));
        old.chain(new).collect()
    }

    /// What the keys of the tables in the descriptors begin with: the prefix of the secondary tenant that made
    /// the backup; nothing in a backup of the system tenant, also where it has data of others.
    pub fn key_prefix(&self) -> &[u8] {
        let key = self.proto.spans.first().map_or(&[][..], |span| &span.key);
        let has_tenants = !self.proto.tenants.is_empty() || !self.proto.tenants_deprecated.is_empty();
        match split_tenant(key) {
            Ok((Some(_), rest)) if !has_tenants => key.get(..key.len() - rest.len()).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Whether a layer stands on no other.
    pub fn is_full(&self) -> bool {
        self.start().is_zero()
    }

    /// An error for fields that would change the meaning of the data files in a way not known here. A slim
    /// manifest must be filled before, see [`slim::fill`].
    pub fn require_readable(&self) -> Result<(), Error> {
        if self.proto.has_external_manifest_ssts {
            return Err(Error::Unsupported {
                field: "has_external_manifest_ssts",
                what: "files and descriptors stand in separate SSTs".into(),
            });
        }
        if self.proto.elided_prefix != elide::NONE {
            for span in self.proto.files.iter().filter_map(|file| file.span.as_ref()) {
                elide::prefix(self.proto.elided_prefix, span)?;
            }
        }
        if !(FILTER_LATEST..=FILTER_ALL).contains(&self.proto.mvcc_filter) {
            return Err(Error::Unsupported {
                field: "mvcc_filter",
                what: self.proto.mvcc_filter.to_string(),
            });
        }
        Ok(())
    }
}

/// Sub-messages that hold next to nothing cost far more memory than bytes: a real manifest has few of them.
fn refuse_crowds(proto: &[u8]) -> Result<(), Error> {
    let tiny = wire::fields(proto).flatten().filter(|field| match field.value {
        wire::Value::Bytes(bytes) => matches!(field.number, 3..=5 | 15 | 16) && bytes.len() < TINY_LEN,
        _ => false,
    });
    match tiny.take(TINY_MAX + 1).count() {
        count if count > TINY_MAX => Err(Error::Proto(format!("more than {TINY_MAX} entries are empty"))),
        _ => Ok(()),
    }
}

/// Parses a `BACKUP_PART` file that is already decrypted (compressed or not).
pub fn partition_from_stored(decrypted: &[u8]) -> Result<PartitionDescriptor, Error> {
    if envelope::is_encrypted(decrypted) {
        return Err(Error::Encrypted);
    }
    Ok(PartitionDescriptor::decode(envelope::unpack(decrypted, envelope::UNPACKED_LEN_MAX)?.as_slice())?)
}

/// Parses a `BACKUP-STATISTICS` file that is already decrypted.
pub fn statistics_from_stored(decrypted: &[u8]) -> Result<StatsTable, Error> {
    if envelope::is_encrypted(decrypted) {
        return Err(Error::Encrypted);
    }
    Ok(StatsTable::decode(envelope::unpack(decrypted, envelope::UNPACKED_LEN_MAX)?.as_slice())?)
}
