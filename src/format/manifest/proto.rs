//! The messages of a backup's control files, with the field numbers that CockroachDB writes.
//!
//! Descriptors and a few messages that nobody here looks into stay as raw bytes, so that copying them
//! loses nothing. Scalars follow the writer: proto3 leaves zeros out, non-null sub-messages are always
//! there, even empty.

use std::collections::BTreeMap;

use prost::Message;

/// A hybrid logical clock reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch.
    pub wall_time: i64,
    /// Ticks within the same nanosecond.
    pub logical: i32,
    /// Not taken from a clock.
    pub synthetic: bool,
}

/// A [`Timestamp`] as it is stored: old versions write zeros, newer ones leave them out.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct TimestampProto {
    #[allow(missing_docs)]
    #[prost(int64, optional, tag = "1")]
    pub wall_time: Option<i64>,
    #[allow(missing_docs)]
    #[prost(int32, optional, tag = "2")]
    pub logical: Option<i32>,
    #[allow(missing_docs)]
    #[prost(bool, optional, tag = "3")]
    pub synthetic: Option<bool>,
}

impl From<Timestamp> for TimestampProto {
    fn from(time: Timestamp) -> Self {
        Self {
            wall_time: (time.wall_time != 0).then_some(time.wall_time),
            logical: (time.logical != 0).then_some(time.logical),
            synthetic: time.synthetic.then_some(true),
        }
    }
}

impl From<TimestampProto> for Timestamp {
    fn from(time: TimestampProto) -> Self {
        Self { wall_time: time.wall_time(), logical: time.logical(), synthetic: time.synthetic() }
    }
}

/// Half-open range of keys.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Message)]
pub struct Span {
    /// First key.
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    /// First key behind it.
    #[prost(bytes = "vec", tag = "4")]
    pub end_key: Vec<u8>,
}

/// What a file or backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct RowCount {
    /// Bytes of keys (without version) and values.
    #[prost(int64, optional, tag = "1")]
    pub data_size: Option<i64>,
    /// Rows of primary indexes.
    #[prost(int64, optional, tag = "2")]
    pub rows: Option<i64>,
    /// Rows of the other indexes.
    #[prost(int64, optional, tag = "3")]
    pub index_entries: Option<i64>,
    /// Rows of system tables; only in 1.x and 2.x.
    #[prost(int64, optional, tag = "4")]
    pub system_records: Option<i64>,
    #[allow(missing_docs)]
    #[prost(int64, optional, tag = "5")]
    pub reserved: Option<i64>,
}

impl RowCount {
    /// As newer versions write it: zeros left out.
    pub fn new(data_size: i64, rows: i64, index_entries: i64) -> Self {
        let some = |n: i64| (n != 0).then_some(n);
        Self {
            data_size: some(data_size),
            rows: some(rows),
            index_entries: some(index_entries),
            ..Default::default()
        }
    }
}

/// Who wrote the backup.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BuildInfo {
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "1")]
    pub go_version: Option<String>,
    /// Release, as `v21.1.0`.
    #[prost(string, optional, tag = "2")]
    pub tag: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "3")]
    pub time: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "4")]
    pub revision: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "5")]
    pub cgo_compiler: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "6")]
    pub platform: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "7")]
    pub distribution: Option<String>,
    /// Kind of build.
    #[prost(string, optional, tag = "8")]
    pub r#type: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "9")]
    pub channel: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "10")]
    pub cgo_target_triple: Option<String>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "11")]
    pub env_channel: Option<String>,
}

/// A cluster version (22.1 and later).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Version {
    /// 22 of 22.1.
    #[prost(int32, tag = "1")]
    pub major: i32,
    /// 1 of 22.1.
    #[prost(int32, tag = "2")]
    pub minor: i32,
    #[allow(missing_docs)]
    #[prost(int32, tag = "3")]
    pub patch: i32,
    /// Step of an upgrade.
    #[prost(int32, tag = "4")]
    pub internal: i32,
}

/// One data file of a layer.
#[derive(Clone, PartialEq, Message)]
pub struct File {
    /// Keys of the file that count.
    #[prost(message, optional, tag = "1")]
    pub span: Option<Span>,
    /// Relative to the layer's folder; empty means nothing to read.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Over the unencrypted file; 19.x to 20.2.
    #[prost(bytes = "vec", tag = "4")]
    pub sha512: Vec<u8>,
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "6")]
    pub entry_counts: Option<RowCount>,
    /// Only for introduced spans; else zero and the manifest's own.
    #[prost(message, optional, tag = "7")]
    pub start_time: Option<TimestampProto>,
    /// As `start_time`.
    #[prost(message, optional, tag = "8")]
    pub end_time: Option<TimestampProto>,
    /// The store that holds the file; empty for the default one.
    #[prost(string, tag = "9")]
    pub locality_kv: String,
    /// Later versions, informational.
    #[prost(uint64, tag = "10")]
    pub backing_file_size: u64,
    /// Later versions, informational.
    #[prost(uint64, tag = "11")]
    pub approximate_physical_size: u64,
}

/// One change of a descriptor in a revision history.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DescriptorRevision {
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "1")]
    pub time: Option<TimestampProto>,
    /// Descriptor id.
    #[prost(uint32, tag = "2")]
    pub id: u32,
    /// The raw descriptor; absent when it was dropped.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub desc: Option<Vec<u8>>,
}

/// `mvcc_filter`: only the latest versions.
pub const FILTER_LATEST: i32 = 0;
/// `mvcc_filter`: all versions, a revision history.
pub const FILTER_ALL: i32 = 1;
/// `descriptor_coverage`: a whole cluster.
pub const COVERAGE_ALL: i32 = 1;

/// The control file of one layer: `BACKUP`, `BACKUP_MANIFEST`, `BACKUP-CHECKPOINT`, `BACKUP_METADATA`.
#[derive(Clone, PartialEq, Message)]
pub struct ManifestProto {
    /// Exclusive lower bound; zero for a full backup.
    #[prost(message, optional, tag = "1")]
    pub start_time: Option<TimestampProto>,
    /// Inclusive upper bound, the AS OF time.
    #[prost(message, optional, tag = "2")]
    pub end_time: Option<TimestampProto>,
    /// Keys that are covered.
    #[prost(message, repeated, tag = "3")]
    pub spans: Vec<Span>,
    /// Data files, ordered by span.
    #[prost(message, repeated, tag = "4")]
    pub files: Vec<File>,
    /// Raw descriptors at `end_time`, ordered by id.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub descriptors: Vec<Vec<u8>>,
    /// Where it was written; raw, nothing needs it.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub dir: Option<Vec<u8>>,
    /// 1 since 2.0: `complete_dbs` can be trusted.
    #[prost(uint32, tag = "8")]
    pub format_version: u32,
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "9")]
    pub cluster_id: Vec<u8>,
    #[allow(missing_docs)]
    #[prost(int32, tag = "10")]
    pub node_id: i32,
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "11")]
    pub build_info: Option<BuildInfo>,
    /// Totals.
    #[prost(message, optional, tag = "12")]
    pub entry_counts: Option<RowCount>,
    /// [`FILTER_LATEST`] or [`FILTER_ALL`].
    #[prost(int32, tag = "13")]
    pub mvcc_filter: i32,
    /// Databases that are covered whole.
    #[prost(uint32, repeated, tag = "14")]
    pub complete_dbs: Vec<u32>,
    /// Spans new in this layer, covered from time zero.
    #[prost(message, repeated, tag = "15")]
    pub introduced_spans: Vec<Span>,
    /// History within the layer's window, oldest first.
    #[prost(message, repeated, tag = "16")]
    pub descriptor_changes: Vec<DescriptorRevision>,
    /// History is there for times after this one.
    #[prost(message, optional, tag = "17")]
    pub revision_start_time: Option<TimestampProto>,
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "18")]
    pub id: Vec<u8>,
    /// Names of the `BACKUP_PART` files.
    #[prost(string, repeated, tag = "19")]
    pub partition_descriptor_filenames: Vec<String>,
    /// Parallel to `partition_descriptor_filenames`.
    #[prost(string, repeated, tag = "20")]
    pub locality_kvs: Vec<String>,
    /// Raw statistics of 19.2 to 20.1.
    #[prost(bytes = "vec", repeated, tag = "21")]
    pub deprecated_statistics: Vec<Vec<u8>>,
    /// [`COVERAGE_ALL`] for a cluster backup.
    #[prost(int32, tag = "22")]
    pub descriptor_coverage: i32,
    /// Table id to the file that holds its statistics.
    #[prost(btree_map = "uint32, string", tag = "23")]
    pub statistics_filenames: BTreeMap<u32, String>,
    /// Raw.
    #[prost(bytes = "vec", repeated, tag = "24")]
    pub tenants_deprecated: Vec<Vec<u8>>,
    /// 22.1 and later.
    #[prost(message, optional, tag = "25")]
    pub cluster_version: Option<Version>,
    /// Raw.
    #[prost(bytes = "vec", repeated, tag = "26")]
    pub tenants: Vec<Vec<u8>>,
    /// Files and descriptors stand in SSTs beside (23.1 and later).
    #[prost(bool, tag = "27")]
    pub has_external_manifest_ssts: bool,
    /// 0 none, 1 the tenant's, 2 the tenant's and the table's: what keys in SSTs lack.
    #[prost(int32, tag = "28")]
    pub elided_prefix: i32,
}

/// Fields of [`ManifestProto`]; 6 was never seen.
pub const MANIFEST_KNOWN: fn(u32) -> bool = |number| matches!(number, 1..=5 | 7..=28);

/// `BACKUP_PART_<n>_<locality>`.
#[derive(Clone, PartialEq, Message)]
pub struct PartitionDescriptor {
    #[allow(missing_docs)]
    #[prost(string, tag = "1")]
    pub locality_kv: String,
    /// May be empty: RESTORE does not read it.
    #[prost(message, repeated, tag = "2")]
    pub files: Vec<File>,
    /// Must be the manifest's id.
    #[prost(bytes = "vec", tag = "3")]
    pub backup_id: Vec<u8>,
}

/// `BACKUP-STATISTICS`.
#[derive(Clone, PartialEq, Message)]
pub struct StatsTable {
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "1")]
    pub statistics: Vec<TableStatistic>,
}

/// Statistics of some columns of one table.
#[derive(Clone, PartialEq, Message)]
pub struct TableStatistic {
    #[allow(missing_docs)]
    #[prost(uint32, tag = "1")]
    pub table_id: u32,
    #[allow(missing_docs)]
    #[prost(uint64, tag = "2")]
    pub statistic_id: u64,
    #[allow(missing_docs)]
    #[prost(string, tag = "3")]
    pub name: String,
    #[allow(missing_docs)]
    #[prost(uint32, repeated, tag = "4")]
    pub column_ids: Vec<u32>,
    /// Raw google.protobuf.Timestamp.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub created_at: Option<Vec<u8>>,
    #[allow(missing_docs)]
    #[prost(uint64, tag = "6")]
    pub row_count: u64,
    #[allow(missing_docs)]
    #[prost(uint64, tag = "7")]
    pub distinct_count: u64,
    #[allow(missing_docs)]
    #[prost(uint64, tag = "8")]
    pub null_count: u64,
    /// Raw histogram.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub histogram: Option<Vec<u8>>,
    /// Bytes of an average value; later versions.
    #[prost(uint64, tag = "10")]
    pub avg_size: u64,
}
