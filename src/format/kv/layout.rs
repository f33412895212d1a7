//! The part of a table's descriptor that row and index encoding need, free of protobuf.

use super::types::ColumnType;

/// How a table's rows map to key-value pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct TableLayout {
    /// What all its keys begin with: the prefix of a secondary tenant; nothing for the system tenant.
    pub key_prefix: Vec<u8>,
    /// The table's id in the backup (it stands next in its keys).
    pub table_id: u32,
    /// For messages: `database.schema.table`.
    pub name: String,
    /// Columns in table order. Rows have one datum per column in this order.
    pub columns: Vec<Column>,
    /// The primary index.
    pub primary: IndexLayout,
    /// Column families ordered by id; the first has id 0.
    pub families: Vec<Family>,
    /// Secondary indexes.
    pub indexes: Vec<IndexLayout>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Column id; unique in the table, not the position.
    pub id: u32,
    /// Name as SQL shows it, unquoted.
    pub name: String,
    /// Type.
    pub ty: ColumnType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// A virtual computed column: never stored, always NULL in decoded rows.
    pub is_virtual: bool,
}

/// A column family of the primary index.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Family id; the first is 0.
    pub id: u32,
    /// Ids of its columns, primary key columns included.
    pub column_ids: Vec<u32>,
    /// 0: none. A family other than 0 whose only column this is has a scalar value.
    pub default_column_id: u32,
}

/// An index of a table, primary or secondary.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexLayout {
    /// Index id.
    pub id: u32,
    /// Name as SQL shows it.
    pub name: String,
    /// UNIQUE (primary: true).
    pub unique: bool,
    /// Forward or inverted.
    pub kind: IndexKind,
    /// Descriptor field `version`: 0 base, 1 families in secondary indexes, 2 empty arrays in inverted ones…
    pub version: u32,
    /// Key columns with their directions. The last one of an inverted index is the inverted column.
    pub columns: Vec<KeyColumn>,
    /// `extra_column_ids` / `key_suffix_column_ids`: primary key columns that are not key columns.
    pub suffix_ids: Vec<u32>,
    /// `store_column_ids`.
    pub stored_ids: Vec<u32>,
    /// `composite_column_ids`.
    pub composite_ids: Vec<u32>,
    /// `encoding_type` = 1: a secondary index that holds whole rows as a primary index does.
    pub primary_encoding: bool,
    /// Whether it has a predicate, so that rows may be missing from it.
    pub partial: bool,
    /// Whether it is hash-sharded (its first column is an ordinary hidden column).
    pub sharded: bool,
    /// Old interleaved tables: ancestors from the root down; empty otherwise.
    pub ancestors: Vec<Ancestor>,
}

/// The kinds of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Ordered by column values.
    Forward,
    /// One entry per element of a JSON, array or geometry column.
    Inverted,
    /// A kind that this program does not know (vector): entries are carried, not decoded.
    Other,
}

/// A key column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Column id.
    pub id: u32,
    /// Sort direction.
    pub direction: Direction,
}

/// Sort direction of a key column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ascending; NULL first.
    Asc,
    /// Descending; NULL last.
    Desc,
}

/// An ancestor of an interleaved index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The ancestor's table.
    pub table_id: u32,
    /// The ancestor's index.
    pub index_id: u32,
    /// How many more key columns are shared with it, beyond those of the ancestors above.
    pub shared_prefix_len: u32,
}

impl IndexLayout {
    /// A primary index of these key columns and nothing special: id 1, called `primary`.
    pub fn primary(columns: Vec<KeyColumn>) -> IndexLayout {
        IndexLayout {
            id: 1,
            name: "primary".into(),
            unique: true,
            kind: IndexKind::Forward,
            version: 0,
            columns,
            suffix_ids: Vec::new(),
            stored_ids: Vec::new(),
            composite_ids: Vec::new(),
            primary_encoding: false,
            partial: false,
            sharded: false,
            ancestors: Vec::new(),
        }
    }

    /// Ids of the columns that its keys hold: its own, then those of the primary key.
    pub fn key_ids(&self) -> impl Iterator<Item = u32> {
        self.columns.iter().map(|column| column.id).chain(self.suffix_ids.iter().copied())
    }
}

impl TableLayout {
    /// Position of a column in rows.
    pub fn column_position(&self, id: u32) -> Option<usize> {
        self.columns.iter().position(|c| c.id == id)
    }
}
