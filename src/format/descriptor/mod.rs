//! Descriptors: databases, schemas, types and tables, what a backup knows of its schema.
//!
//! ```text
//! 0a ..   table (also views and sequences)      { 0a 01 78  18 46  20 3e … }  name "x", id 70, parent 62
//! 12 ..   database
//! 1a ..   type
//! 22 ..   schema
//! 2a ..   function (22.2 and later)
//! ```
//!
//! A [`Catalog`] holds those of one moment, old forms upgraded, and answers what the commands ask:
//! names, CREATE statements, layouts for the key and value codec. The raw bytes stay with the manifest.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

pub mod build;
pub mod catalog;
pub mod create;
pub mod expr;
pub mod layout;
pub mod names;
mod partition;
pub mod privileges;
pub mod proto;
pub mod types;
mod upgrade;

use prost::Message;

use crate::format::manifest::wire;

pub use catalog::{Catalog, Object};
pub use proto::{
    ColumnDescriptor, ColumnFamily, DatabaseDescriptor, IndexDescriptor, InternalType, SchemaDescriptor,
    TableDescriptor, TypeDescriptor,
};

/// Fields of fewer bytes may be messages that cost a thousand times as much memory.
const TINY_LEN: usize = 4;
/// How many of them are refused.
const TINY_MAX: usize = 200_000;

/// Why a descriptor cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a protobuf message of this kind.
    #[error("broken descriptor: {0}")]
    Proto(String),
    /// A column's type is not known.
    #[error("column type is not supported: {0}")]
    Type(String),
    /// Parts of a descriptor contradict each other.
    #[error("inconsistent descriptor of {object}: {what}")]
    Inconsistent {
        /// Name or id.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// The name is not there.
    #[error("{0}")]
    NotFound(String),
}

/// One parsed descriptor, upgraded.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "tables are boxed, the others are few")]
pub enum Descriptor {
    #[allow(missing_docs)]
    Database(DatabaseDescriptor),
    #[allow(missing_docs)]
    Schema(SchemaDescriptor),
    #[allow(missing_docs)]
    Type(TypeDescriptor),
    /// Also views and sequences.
    Table(Box<TableDescriptor>),
    /// A function or a kind that is newer than this program: raw.
    Other(Vec<u8>),
}

impl Descriptor {
    /// Parses the raw bytes of the manifest.
    pub fn decode(raw: &[u8]) -> Result<Self, Error> {
        if wire::tiny_fields(raw, TINY_LEN, TINY_MAX) >= TINY_MAX {
            return Err(Error::Proto(format!("{TINY_MAX} fields or more hold next to nothing")));
        }
        let proto = proto::DescriptorProto::decode(raw).map_err(|error| Error::Proto(error.to_string()))?;
        Ok(if let Some(mut table) = proto.table {
            upgrade::table(&mut table);
            Self::Table(Box::new(table))
        } else if let Some(database) = proto.database {
            Self::Database(database)
        } else if let Some(ty) = proto.r#type {
            Self::Type(ty)
        } else if let Some(schema) = proto.schema {
            Self::Schema(schema)
        } else {
            Self::Other(raw.to_vec())
        })
    }

    /// The raw bytes for a manifest.
    pub fn encode(&self) -> Vec<u8> {
        let mut proto = proto::DescriptorProto::default();
        match self {
            Self::Database(database) => proto.database = Some(database.clone()),
            Self::Schema(schema) => proto.schema = Some(schema.clone()),
            Self::Type(ty) => proto.r#type = Some(ty.clone()),
            Self::Table(table) => proto.table = Some((**table).clone()),
            Self::Other(raw) => return raw.clone(),
        }
        proto.encode_to_vec()
    }

    /// Its id; 0 for kinds that are not known.
    pub fn id(&self) -> u32 {
        match self {
            Self::Database(database) => database.id(),
            Self::Schema(schema) => schema.id(),
            Self::Type(ty) => ty.id(),
            Self::Table(table) => table.id(),
            Self::Other(raw) => proto::FunctionHead::of(raw).map_or(0, |function| function.id()),
        }
    }

    /// Its name, unquoted; empty for other kinds.
    pub fn name(&self) -> &str {
        match self {
            Self::Database(database) => database.name(),
            Self::Schema(schema) => schema.name(),
            Self::Type(ty) => ty.name(),
            Self::Table(table) => table.name(),
            Self::Other(_) => "",
        }
    }

    /// Its privileges.
    pub fn privileges(&self) -> Option<&proto::PrivilegeDescriptor> {
        match self {
            Self::Database(database) => database.privileges.as_ref(),
            Self::Schema(schema) => schema.privileges.as_ref(),
            Self::Type(ty) => ty.privileges.as_ref(),
            Self::Table(table) => table.privileges.as_ref(),
            Self::Other(_) => None,
        }
    }
}

impl TableDescriptor {
    /// A view without data of its own, or a materialized one.
    pub fn is_view(&self) -> bool {
        !self.view_query().is_empty()
    }

    /// A sequence.
    pub fn is_sequence(&self) -> bool {
        self.sequence_opts.is_some()
    }

    /// Whether keys belong to it: a table, a sequence or a materialized view.
    pub fn has_data(&self) -> bool {
        (!self.is_view() || self.is_materialized_view()) && !self.sequence_is_virtual()
    }

    /// Whether RESTORE would see it.
    pub fn is_visible(&self) -> bool {
        matches!(self.state(), proto::STATE_PUBLIC | proto::STATE_ADD)
    }

    fn sequence_is_virtual(&self) -> bool {
        self.sequence_opts.as_ref().is_some_and(proto::SequenceOpts::r#virtual)
    }

    /// A column by id.
    pub fn column(&self, id: u32) -> Option<&ColumnDescriptor> {
        self.columns.iter().find(|column| column.id() == id)
    }

    /// The primary index, then the public secondary ones.
    pub fn all_indexes(&self) -> impl Iterator<Item = &IndexDescriptor> {
        self.primary_index.iter().chain(&self.indexes)
    }
}
