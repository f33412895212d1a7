//! Further tables of the sample with everything: what DDL makes besides the plain cases.

use userfilefs::engine::store::Store;
use userfilefs::format::descriptor::build::{self, ColumnSpec, IndexSpec, TableSpec};
use userfilefs::format::descriptor::proto::{ForeignKey, SequenceOwner, Sharded};
use userfilefs::format::descriptor::{Descriptor, TableDescriptor};
use userfilefs::format::kv::layout::Direction::{Asc, Desc};
use userfilefs::format::kv::mvcc::Timestamp;
use userfilefs::format::kv::types::ColumnType;

use super::data::{DATABASE, PUBLIC, col, fnv32, index, key_col, names, row};
use super::model::{Partial, Row, Table, set_sequence};

const NOPK: u32 = 121;
const SHARDED_PK: u32 = 122;
const QUOTED: u32 = 123;
const EMPTY: u32 = 124;
const OWNER: u32 = 125;
const OWNED_SEQUENCE: u32 = 126;
const UNUSED_SEQUENCE: u32 = 127;
const TREE: u32 = 128;
/// Ids of the sequences: they have spans and no rows.
pub const SEQUENCES: [u32; 2] = [OWNED_SEQUENCE, UNUSED_SEQUENCE];

fn spec(id: u32, name: &str, columns: Vec<ColumnSpec>, key: &str, modified: i64) -> TableSpec {
    TableSpec {
        id,
        database: DATABASE,
        schema: PUBLIC,
        name: name.into(),
        columns,
        primary: names(&[(key, Asc)]),
        modified,
        ..TableSpec::default()
    }
}

fn nopk(modified: i64) -> TableSpec {
    let rowid = ColumnSpec {
        default: Some("unique_rowid()".into()),
        hidden: true,
        ..key_col("rowid", ColumnType::INT8)
    };
    let columns = vec![col("a", ColumnType::INT8), col("b", ColumnType::TEXT), rowid];
    let indexes = vec![
        index("nopk_a_idx", &[("a", Asc)]),
        IndexSpec { unique: true, storing: vec!["a".into()], ..index("nopk_b_key", &[("b", Asc)]) },
    ];
    TableSpec { indexes, ..spec(NOPK, "nopk", columns, "rowid", modified) }
}

/// The primary key itself is hash-sharded.
fn sharded_pk(modified: i64) -> TableDescriptor {
    let shard = "crdb_internal_id_shard_4";
    let hash = "mod(fnv32(COALESCE(CAST(id AS STRING), '':::STRING)), 4:::INT8)";
    let buckets = format!("{shard} IN (0:::INT8, 1:::INT8, 2:::INT8, 3:::INT8)");
    let columns = vec![
        ColumnSpec {
            computed: Some((hash.into(), false)),
            hidden: true,
            ..key_col(shard, ColumnType::Int { width: 32 })
        },
        key_col("id", ColumnType::INT8),
        col("v", ColumnType::TEXT),
    ];
    let own = TableSpec {
        primary: names(&[(shard, Asc), ("id", Asc)]),
        checks: vec![(format!("check_{shard}"), buckets, vec![shard.into()])],
        ..spec(SHARDED_PK, "sharded_pk", columns, "id", modified)
    };
    let mut table = build::table(&own, &|_| None).unwrap();
    table.checks[0].hidden = Some(true);
    table.primary_index.as_mut().unwrap().sharded = Some(Sharded {
        is_sharded: Some(true),
        name: Some(shard.into()),
        shard_buckets: Some(4),
        column_names: vec!["id".into()],
    });
    table
}

fn owner(modified: i64) -> TableDescriptor {
    let id = ColumnSpec {
        default: Some("nextval('samples.public.owned_seq':::STRING)".into()),
        uses_sequences: vec![OWNED_SEQUENCE],
        ..key_col("id", ColumnType::INT8)
    };
    let columns = vec![id, col("v", ColumnType::TEXT)];
    let mut table = build::table(&spec(OWNER, "owner", columns, "id", modified), &|_| None).unwrap();
    table.columns[0].owns_sequence_ids = vec![OWNED_SEQUENCE];
    table
}

/// References itself; a unique partial index, and an inverted partial one.
fn tree(modified: i64) -> TableSpec {
    let up = ForeignKey {
        origin_table_id: Some(TREE),
        origin_column_ids: vec![2],
        referenced_column_ids: vec![1],
        referenced_table_id: Some(TREE),
        name: Some("fk_up_ref_tree".into()),
        validity: Some(0),
        on_delete: Some(2),
        on_update: Some(4),
        r#match: Some(0),
        constraint_id: None,
    };
    let columns = vec![
        key_col("id", ColumnType::INT8),
        col("up", ColumnType::INT8),
        col("label", ColumnType::TEXT),
        col("doc", ColumnType::Json),
    ];
    let indexes = vec![
        IndexSpec {
            unique: true,
            predicate: "up IS NULL".into(),
            ..index("tree_root_label", &[("label", Desc)])
        },
        IndexSpec {
            inverted: true,
            predicate: "label = 'leaf':::STRING".into(),
            ..index("tree_doc_inv", &[("doc", Asc)])
        },
    ];
    TableSpec {
        indexes,
        outbound_fks: vec![up.clone()],
        inbound_fks: vec![up],
        ..spec(TREE, "tree", columns, "id", modified)
    }
}

/// The rows of [`tree`] that its indexes hold.
fn tree_partial(index: usize, row: &Row) -> bool {
    if index == 0 { row[1].is_none() } else { row[2].as_deref() == Some("leaf") }
}

fn always(_: usize, _: &Row) -> bool {
    true
}

/// Tables with what belongs into their partial indexes.
pub fn tables(modified: i64) -> Vec<(TableDescriptor, Partial)> {
    let quoted = [("Id", ColumnType::INT8), ("select", ColumnType::TEXT), ("with space", ColumnType::TEXT)];
    let mut quoted = quoted.map(|(name, ty)| col(name, ty)).to_vec();
    quoted[0].nullable = false;
    let plain = |spec: TableSpec| build::table(&spec, &|_| None).unwrap();
    let empty = vec![key_col("a", ColumnType::INT8), col("b", ColumnType::TEXT)];
    vec![
        (plain(nopk(modified)), always as Partial),
        (sharded_pk(modified), always),
        (plain(spec(QUOTED, "Quoted Name", quoted, "Id", modified)), always),
        (plain(spec(EMPTY, "empty_table", empty, "a", modified)), always),
        (owner(modified), always),
        (plain(tree(modified)), tree_partial),
    ]
}

/// One that a column owns, and one that was never used.
pub fn sequences(modified: i64) -> Vec<Descriptor> {
    let sequence = |id, name, opts, users: &[(u32, Vec<u32>)]| {
        build::sequence((id, DATABASE, PUBLIC), name, opts, users, modified)
    };
    let mut owned = sequence(OWNED_SEQUENCE, "owned_seq", (1, 1), &[(OWNER, vec![1])]);
    if let Some(options) = &mut owned.sequence_opts {
        options.sequence_owner =
            Some(SequenceOwner { owner_column_id: Some(1), owner_table_id: Some(OWNER) });
    }
    let unused = sequence(UNUSED_SEQUENCE, "unused_seq", (7, 3), &[]);
    [owned, unused].map(|sequence| Descriptor::Table(Box::new(sequence))).to_vec()
}

/// Rows for [`tables`], in the same order, and values for the sequences.
pub fn fill(store: &mut Store, at: Timestamp, tables: &mut [Table]) {
    let [nopk, sharded_pk, quoted, _empty, owner, tree] = tables else { panic!("six tables") };
    for n in 0..30i64 {
        let a = if n % 4 == 0 { "NULL".to_owned() } else { (n / 3).to_string() };
        let b = if n % 5 == 0 { "NULL".to_owned() } else { format!("b{n}") };
        nopk.upsert(store, at, row(&[&a, &b, &(700_000_000_000_000_000 + n).to_string()]));
    }
    for n in 1..=20i64 {
        let id = n.to_string();
        sharded_pk.upsert(store, at, row(&[&(fnv32(&id) % 4).to_string(), &id, &format!("s{n}")]));
        owner.upsert(store, at, row(&[&id, &format!("owned {n}")]));
    }
    quoted.upsert(store, at, row(&["1", "kw", "sp"]));
    // Another tick of the same nanosecond: a version of twelve bytes.
    let tick = Timestamp { logical: 3, ..at };
    quoted.upsert(store, tick, row(&["2", "NULL", "later"]));
    for n in 1..=40i64 {
        let up = if n <= 4 { "NULL".to_owned() } else { (n / 2).to_string() };
        let label = if n <= 4 { format!("root {n}") } else { ["leaf", "node"][n as usize % 2].to_owned() };
        let doc = if n % 3 == 0 {
            "NULL".to_owned()
        } else {
            format!("{{\"n\": {n}, \"tags\": [{}, \"t\"]}}", n % 5)
        };
        tree.upsert(store, at, row(&[&n.to_string(), &up, &label, &doc]));
    }
    set_sequence(store, OWNED_SEQUENCE, at, 20);
    set_sequence(store, UNUSED_SEQUENCE, at, 4);
}
