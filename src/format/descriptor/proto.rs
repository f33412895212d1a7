//! The descriptor messages, with the field numbers that CockroachDB writes.
//!
//! These are proto2: every scalar is an `Option`, so that what was written as zero is written as zero
//! again. Accessors with the field's name give the value or its default. Messages that nobody here looks
//! into stay raw.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use prost::Message;

pub use crate::format::manifest::proto::TimestampProto;

/// One of the five kinds; exactly one field is set.
#[derive(Clone, PartialEq, Message)]
pub struct DescriptorProto {
    #[prost(message, optional, tag = "1")]
    pub table: Option<TableDescriptor>,
    #[prost(message, optional, tag = "2")]
    pub database: Option<DatabaseDescriptor>,
    #[prost(message, optional, tag = "3")]
    pub r#type: Option<TypeDescriptor>,
    #[prost(message, optional, tag = "4")]
    pub schema: Option<SchemaDescriptor>,
    /// Raw.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub function: Option<Vec<u8>>,
}

/// What is looked into of a function.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionHead {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    pub id: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub parent_id: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub parent_schema_id: Option<u32>,
}

impl FunctionHead {
    /// That of a raw descriptor, if it is of a function.
    pub fn of(raw: &[u8]) -> Option<Self> {
        Self::decode(DescriptorProto::decode(raw).ok()?.function?.as_slice()).ok()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct PrivilegeDescriptor {
    #[prost(message, repeated, tag = "1")]
    pub users: Vec<UserPrivileges>,
    #[prost(string, optional, tag = "2")]
    pub owner: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    pub version: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UserPrivileges {
    #[prost(string, optional, tag = "1")]
    pub user: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub privileges: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub with_grant_option: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DatabaseDescriptor {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    pub id: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub privileges: Option<PrivilegeDescriptor>,
    #[prost(message, optional, tag = "4")]
    pub modification_time: Option<TimestampProto>,
    #[prost(uint64, optional, tag = "5")]
    pub version: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub draining_names: Vec<Vec<u8>>,
    #[prost(btree_map = "string, message", tag = "7")]
    pub schemas: BTreeMap<String, SchemaInfo>,
    #[prost(int32, optional, tag = "8")]
    pub state: Option<i32>,
    #[prost(string, optional, tag = "9")]
    pub offline_reason: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub region_config: Option<RegionConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaInfo {
    #[prost(uint32, optional, tag = "1")]
    pub id: Option<u32>,
    #[prost(bool, optional, tag = "2")]
    pub dropped: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RegionConfig {
    #[prost(int32, optional, tag = "2")]
    pub survival_goal: Option<i32>,
    #[prost(string, optional, tag = "3")]
    pub primary_region: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    pub region_enum_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaDescriptor {
    #[prost(uint32, optional, tag = "1")]
    pub parent_id: Option<u32>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    pub id: Option<u32>,
    #[prost(message, optional, tag = "4")]
    pub privileges: Option<PrivilegeDescriptor>,
    #[prost(message, optional, tag = "5")]
    pub modification_time: Option<TimestampProto>,
    #[prost(uint64, optional, tag = "6")]
    pub version: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub draining_names: Vec<Vec<u8>>,
    #[prost(int32, optional, tag = "8")]
    pub state: Option<i32>,
    #[prost(string, optional, tag = "9")]
    pub offline_reason: Option<String>,
}

/// `TypeDescriptor.kind`: members in `enum_members`.
pub const TYPE_ENUM: i32 = 0;
/// `TypeDescriptor.kind`: the array type of another one.
pub const TYPE_ALIAS: i32 = 1;
/// `TypeDescriptor.kind`: the regions of a database.
pub const TYPE_MULTIREGION_ENUM: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct TypeDescriptor {
    #[prost(uint32, optional, tag = "1")]
    pub parent_id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub parent_schema_id: Option<u32>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    pub id: Option<u32>,
    #[prost(int32, optional, tag = "5")]
    pub kind: Option<i32>,
    #[prost(message, repeated, tag = "6")]
    pub enum_members: Vec<EnumMember>,
    #[prost(message, optional, tag = "7")]
    pub alias: Option<InternalType>,
    #[prost(uint32, optional, tag = "8")]
    pub array_type_id: Option<u32>,
    #[prost(uint64, optional, tag = "9")]
    pub version: Option<u64>,
    #[prost(message, optional, tag = "10")]
    pub modification_time: Option<TimestampProto>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub draining_names: Vec<Vec<u8>>,
    #[prost(uint32, repeated, packed = "false", tag = "12")]
    pub referencing_descriptor_ids: Vec<u32>,
    #[prost(int32, optional, tag = "13")]
    pub state: Option<i32>,
    #[prost(message, optional, tag = "14")]
    pub privileges: Option<PrivilegeDescriptor>,
    #[prost(string, optional, tag = "15")]
    pub offline_reason: Option<String>,
    /// Raw.
    #[prost(bytes = "vec", optional, tag = "16")]
    pub region_config: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct EnumMember {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub physical: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    pub logical: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub capability: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub direction: Option<i32>,
}

/// Table state: visible.
pub const STATE_PUBLIC: i32 = 0;
/// Table state: being added.
pub const STATE_ADD: i32 = 1;
/// Table state: dropped.
pub const STATE_DROP: i32 = 2;
/// Table state: not usable for now.
pub const STATE_OFFLINE: i32 = 3;

/// A table, view or sequence.
#[derive(Clone, PartialEq, Message)]
pub struct TableDescriptor {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    pub id: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub parent_id: Option<u32>,
    #[prost(uint64, optional, tag = "5")]
    pub version: Option<u64>,
    /// Only in the very oldest descriptors.
    #[prost(bool, optional, tag = "6")]
    pub up_version: Option<bool>,
    #[prost(message, optional, tag = "7")]
    pub modification_time: Option<TimestampProto>,
    #[prost(message, repeated, tag = "8")]
    pub columns: Vec<ColumnDescriptor>,
    #[prost(uint32, optional, tag = "9")]
    pub next_column_id: Option<u32>,
    #[prost(message, optional, tag = "10")]
    pub primary_index: Option<IndexDescriptor>,
    #[prost(message, repeated, tag = "11")]
    pub indexes: Vec<IndexDescriptor>,
    #[prost(uint32, optional, tag = "12")]
    pub next_index_id: Option<u32>,
    #[prost(message, optional, tag = "13")]
    pub privileges: Option<PrivilegeDescriptor>,
    #[prost(message, repeated, tag = "14")]
    pub mutations: Vec<DescriptorMutation>,
    #[prost(bytes = "vec", optional, tag = "15")]
    pub lease: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "16")]
    pub next_mutation_id: Option<u32>,
    #[prost(uint32, optional, tag = "17")]
    pub format_version: Option<u32>,
    #[prost(int32, optional, tag = "19")]
    pub state: Option<i32>,
    #[prost(message, repeated, tag = "20")]
    pub checks: Vec<CheckConstraint>,
    #[prost(bytes = "vec", repeated, tag = "21")]
    pub draining_names: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "22")]
    pub families: Vec<ColumnFamily>,
    #[prost(uint32, optional, tag = "23")]
    pub next_family_id: Option<u32>,
    #[prost(string, optional, tag = "24")]
    pub view_query: Option<String>,
    #[prost(uint32, repeated, packed = "false", tag = "25")]
    pub depends_on: Vec<u32>,
    #[prost(message, repeated, tag = "26")]
    pub depended_on_by: Vec<Reference>,
    #[prost(bytes = "vec", repeated, tag = "27")]
    pub mutation_jobs: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "28")]
    pub sequence_opts: Option<SequenceOpts>,
    #[prost(int64, optional, tag = "29")]
    pub drop_time: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "30")]
    pub replacement_of: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "31")]
    pub audit_mode: Option<i32>,
    #[prost(int64, optional, tag = "32")]
    pub drop_job_id: Option<i64>,
    #[prost(bytes = "vec", repeated, tag = "33")]
    pub gc_mutations: Vec<Vec<u8>>,
    #[prost(string, optional, tag = "34")]
    pub create_query: Option<String>,
    #[prost(message, optional, tag = "35")]
    pub create_as_of_time: Option<TimestampProto>,
    #[prost(message, repeated, tag = "36")]
    pub outbound_fks: Vec<ForeignKey>,
    #[prost(message, repeated, tag = "37")]
    pub inbound_fks: Vec<ForeignKey>,
    #[prost(string, optional, tag = "38")]
    pub offline_reason: Option<String>,
    #[prost(bool, optional, tag = "39")]
    pub temporary: Option<bool>,
    #[prost(uint32, optional, tag = "40")]
    pub unexposed_parent_schema_id: Option<u32>,
    #[prost(bool, optional, tag = "41")]
    pub is_materialized_view: Option<bool>,
    #[prost(message, optional, tag = "42")]
    pub locality_config: Option<LocalityConfig>,
    #[prost(message, repeated, tag = "43")]
    pub unique_without_index: Vec<UniqueWithoutIndex>,
    #[prost(bool, optional, tag = "44")]
    pub partition_all_by: Option<bool>,
    /// Raw.
    #[prost(bytes = "vec", optional, tag = "47")]
    pub row_level_ttl: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "48")]
    pub exclude_data_from_backup: Option<bool>,
    #[prost(uint32, optional, tag = "49")]
    pub next_constraint_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Reference {
    #[prost(uint32, optional, tag = "1")]
    pub id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub index_id: Option<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "3")]
    pub column_ids: Vec<u32>,
    #[prost(bool, optional, tag = "4")]
    pub by_id: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SequenceOpts {
    #[prost(int64, optional, tag = "1")]
    pub increment: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub min_value: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    pub max_value: Option<i64>,
    #[prost(int64, optional, tag = "4")]
    pub start: Option<i64>,
    #[prost(bool, optional, tag = "5")]
    pub r#virtual: Option<bool>,
    #[prost(message, optional, tag = "6")]
    pub sequence_owner: Option<SequenceOwner>,
    #[prost(int64, optional, tag = "7")]
    pub cache_size: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SequenceOwner {
    #[prost(uint32, optional, tag = "1")]
    pub owner_column_id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub owner_table_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CheckConstraint {
    #[prost(string, optional, tag = "1")]
    pub expr: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub validity: Option<i32>,
    #[prost(uint32, repeated, packed = "false", tag = "5")]
    pub column_ids: Vec<u32>,
    #[prost(bool, optional, tag = "6")]
    pub is_non_null_constraint: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub hidden: Option<bool>,
    #[prost(uint32, optional, tag = "8")]
    pub constraint_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ForeignKey {
    #[prost(uint32, optional, tag = "1")]
    pub origin_table_id: Option<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    pub origin_column_ids: Vec<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "3")]
    pub referenced_column_ids: Vec<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub referenced_table_id: Option<u32>,
    #[prost(string, optional, tag = "5")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "6")]
    pub validity: Option<i32>,
    #[prost(int32, optional, tag = "7")]
    pub on_delete: Option<i32>,
    #[prost(int32, optional, tag = "8")]
    pub on_update: Option<i32>,
    #[prost(int32, optional, tag = "9")]
    pub r#match: Option<i32>,
    #[prost(uint32, optional, tag = "14")]
    pub constraint_id: Option<u32>,
}

/// The form before 20.1, inside indexes.
#[derive(Clone, PartialEq, Message)]
pub struct ForeignKeyReference {
    #[prost(uint32, optional, tag = "1")]
    pub table: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub index: Option<u32>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "4")]
    pub validity: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub shared_prefix_len: Option<i32>,
    #[prost(int32, optional, tag = "6")]
    pub on_delete: Option<i32>,
    #[prost(int32, optional, tag = "7")]
    pub on_update: Option<i32>,
    #[prost(int32, optional, tag = "8")]
    pub r#match: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UniqueWithoutIndex {
    #[prost(uint32, optional, tag = "1")]
    pub table_id: Option<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    pub column_ids: Vec<u32>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "4")]
    pub validity: Option<i32>,
    #[prost(string, optional, tag = "5")]
    pub predicate: Option<String>,
    #[prost(uint32, optional, tag = "6")]
    pub constraint_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LocalityConfig {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub global: Option<Vec<u8>>,
    #[prost(message, optional, tag = "2")]
    pub regional_by_table: Option<RegionalBy>,
    #[prost(message, optional, tag = "3")]
    pub regional_by_row: Option<RegionalBy>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RegionalBy {
    /// Region of a table, column of rows.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ColumnDescriptor {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    pub id: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub r#type: Option<InternalType>,
    #[prost(bool, optional, tag = "4")]
    pub nullable: Option<bool>,
    #[prost(string, optional, tag = "5")]
    pub default_expr: Option<String>,
    #[prost(bool, optional, tag = "6")]
    pub hidden: Option<bool>,
    #[prost(uint32, repeated, packed = "false", tag = "10")]
    pub uses_sequence_ids: Vec<u32>,
    #[prost(string, optional, tag = "11")]
    pub compute_expr: Option<String>,
    #[prost(uint32, repeated, packed = "false", tag = "12")]
    pub owns_sequence_ids: Vec<u32>,
    #[prost(uint32, optional, tag = "13")]
    pub pg_attribute_num: Option<u32>,
    #[prost(bool, optional, tag = "14")]
    pub alter_column_type_in_progress: Option<bool>,
    #[prost(int32, optional, tag = "15")]
    pub system_column_kind: Option<i32>,
    #[prost(bool, optional, tag = "16")]
    pub r#virtual: Option<bool>,
    #[prost(bool, optional, tag = "17")]
    pub inaccessible: Option<bool>,
    #[prost(string, optional, tag = "18")]
    pub on_update_expr: Option<String>,
    #[prost(int32, optional, tag = "19")]
    pub generated_as_identity_type: Option<i32>,
    #[prost(string, optional, tag = "20")]
    pub generated_as_identity_sequence_option: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ColumnFamily {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    pub id: Option<u32>,
    #[prost(string, repeated, tag = "3")]
    pub column_names: Vec<String>,
    #[prost(uint32, repeated, packed = "false", tag = "4")]
    pub column_ids: Vec<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub default_column_id: Option<u32>,
}

/// `IndexDescriptor.column_directions`.
pub const DIRECTION_DESC: i32 = 1;
/// `IndexDescriptor.type`.
pub const INDEX_INVERTED: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub struct IndexDescriptor {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    pub id: Option<u32>,
    #[prost(bool, optional, tag = "3")]
    pub unique: Option<bool>,
    #[prost(string, repeated, tag = "4")]
    pub column_names: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub store_column_names: Vec<String>,
    #[prost(uint32, repeated, packed = "false", tag = "6")]
    pub column_ids: Vec<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "7")]
    pub extra_column_ids: Vec<u32>,
    #[prost(int32, repeated, packed = "false", tag = "8")]
    pub column_directions: Vec<i32>,
    #[prost(message, optional, tag = "9")]
    pub foreign_key: Option<ForeignKeyReference>,
    #[prost(message, repeated, tag = "10")]
    pub referenced_by: Vec<ForeignKeyReference>,
    #[prost(message, optional, tag = "11")]
    pub interleave: Option<Interleave>,
    #[prost(message, repeated, tag = "12")]
    pub interleaved_by: Vec<ForeignKeyReference>,
    #[prost(uint32, repeated, packed = "false", tag = "13")]
    pub composite_column_ids: Vec<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "14")]
    pub store_column_ids: Vec<u32>,
    #[prost(message, optional, tag = "15")]
    pub partitioning: Option<Partitioning>,
    #[prost(int32, optional, tag = "16")]
    pub r#type: Option<i32>,
    #[prost(bool, optional, tag = "17")]
    pub created_explicitly: Option<bool>,
    #[prost(uint32, optional, tag = "18")]
    pub version: Option<u32>,
    #[prost(uint32, optional, tag = "19")]
    pub encoding_type: Option<u32>,
    #[prost(message, optional, tag = "20")]
    pub sharded: Option<Sharded>,
    #[prost(bool, optional, tag = "21")]
    pub disabled: Option<bool>,
    /// Raw.
    #[prost(bytes = "vec", optional, tag = "22")]
    pub geo_config: Option<Vec<u8>>,
    #[prost(string, optional, tag = "23")]
    pub predicate: Option<String>,
    #[prost(bool, optional, tag = "24")]
    pub use_delete_preserving_encoding: Option<bool>,
    #[prost(int64, optional, tag = "25")]
    pub created_at_nanos: Option<i64>,
    #[prost(uint32, optional, tag = "26")]
    pub constraint_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Interleave {
    #[prost(message, repeated, tag = "1")]
    pub ancestors: Vec<Ancestor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ancestor {
    #[prost(uint32, optional, tag = "1")]
    pub table_id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub index_id: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub shared_prefix_len: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Partitioning {
    #[prost(uint32, optional, tag = "1")]
    pub num_columns: Option<u32>,
    #[prost(message, repeated, tag = "2")]
    pub list: Vec<ListPartition>,
    #[prost(message, repeated, tag = "3")]
    pub range: Vec<RangePartition>,
    #[prost(uint32, optional, tag = "4")]
    pub num_implicit_columns: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListPartition {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub values: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "3")]
    pub subpartitioning: Option<Partitioning>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RangePartition {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub to_exclusive: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub from_inclusive: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sharded {
    #[prost(bool, optional, tag = "1")]
    pub is_sharded: Option<bool>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub shard_buckets: Option<i32>,
    #[prost(string, repeated, tag = "4")]
    pub column_names: Vec<String>,
}

/// `DescriptorMutation.direction`.
pub const DIRECTION_DROP: i32 = 2;

/// `ConstraintToUpdate.constraint_type`.
pub const CONSTRAINT_CHECK: i32 = 0;

/// A constraint that is being added or dropped. Other kinds than checks are not looked into.
#[derive(Clone, PartialEq, Message)]
pub struct ConstraintToUpdate {
    #[prost(int32, optional, tag = "1")]
    pub constraint_type: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub check: Option<CheckConstraint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DescriptorMutation {
    #[prost(message, optional, tag = "1")]
    pub column: Option<ColumnDescriptor>,
    #[prost(message, optional, tag = "2")]
    pub index: Option<IndexDescriptor>,
    #[prost(int32, optional, tag = "3")]
    pub state: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub direction: Option<i32>,
    #[prost(uint32, optional, tag = "5")]
    pub mutation_id: Option<u32>,
    #[prost(bool, optional, tag = "7")]
    pub rollback: Option<bool>,
    /// Raw: a [`ConstraintToUpdate`].
    #[prost(bytes = "vec", optional, tag = "8")]
    pub constraint: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub primary_key_swap: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "10")]
    pub computed_column_swap: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "11")]
    pub materialized_view_refresh: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "12")]
    pub modify_row_level_ttl: Option<Vec<u8>>,
}

/// The type of a column.
#[derive(Clone, PartialEq, Message)]
pub struct InternalType {
    #[prost(int32, optional, tag = "1")]
    pub family: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub width: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub precision: Option<i32>,
    #[prost(int32, repeated, packed = "false", tag = "4")]
    pub array_dimensions: Vec<i32>,
    #[prost(string, optional, tag = "5")]
    pub locale: Option<String>,
    #[prost(int32, optional, tag = "6")]
    pub visible_type: Option<i32>,
    #[prost(int32, optional, tag = "7")]
    pub array_elem_type: Option<i32>,
    #[prost(message, repeated, tag = "8")]
    pub tuple_contents: Vec<InternalType>,
    #[prost(string, repeated, tag = "9")]
    pub tuple_labels: Vec<String>,
    #[prost(uint32, optional, tag = "10")]
    pub oid: Option<u32>,
    #[prost(message, optional, boxed, tag = "11")]
    pub array_contents: Option<Box<InternalType>>,
    #[prost(bool, optional, tag = "12")]
    pub time_precision_is_set: Option<bool>,
    #[prost(message, optional, tag = "13")]
    pub interval_duration_field: Option<IntervalField>,
    #[prost(message, optional, tag = "14")]
    pub geo_metadata: Option<GeoMetadata>,
    #[prost(message, optional, tag = "15")]
    pub udt_metadata: Option<UdtMetadata>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct IntervalField {
    #[prost(int32, optional, tag = "1")]
    pub duration_type: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub from_duration_type: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct GeoMetadata {
    #[prost(int32, optional, tag = "1")]
    pub srid: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub shape_type: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct UdtMetadata {
    #[prost(uint32, optional, tag = "2")]
    pub array_type_oid: Option<u32>,
}
