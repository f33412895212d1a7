//! The databases of the samples.

use userfilefs::engine::store::Store;
use userfilefs::format::descriptor::build::{self, ColumnSpec, IndexSpec, TableSpec};
use userfilefs::format::descriptor::{Descriptor, TableDescriptor, proto::ForeignKey};
use userfilefs::format::kv::layout::Direction::{self, Asc, Desc};
use userfilefs::format::kv::mvcc::Timestamp;
use userfilefs::format::kv::types::ColumnType;

use super::model::{Partial, Row, Table, set_sequence};
use super::more;
use super::types::{array, every_type, extremes, kind};

pub const DATABASE: u32 = 110;
pub const EXTRA: u32 = 111;
const KIND: u32 = 112;
const KIND_ARRAY: u32 = 113;
pub const SEQUENCE: u32 = 114;
pub const PUBLIC: u32 = 29;

pub fn col(name: &str, ty: ColumnType) -> ColumnSpec {
    ColumnSpec {
        name: name.into(),
        ty,
        nullable: true,
        default: None,
        computed: None,
        hidden: false,
        uses_sequences: Vec::new(),
    }
}

pub fn key_col(name: &str, ty: ColumnType) -> ColumnSpec {
    ColumnSpec { nullable: false, ..col(name, ty) }
}

pub fn names(columns: &[(&str, Direction)]) -> Vec<(String, Direction)> {
    columns.iter().map(|(name, direction)| ((*name).to_owned(), *direction)).collect()
}

pub fn index(name: &str, columns: &[(&str, Direction)]) -> IndexSpec {
    IndexSpec { name: name.into(), columns: names(columns), ..IndexSpec::default() }
}

pub fn row(cells: &[&str]) -> Row {
    cells.iter().map(|cell| (*cell != "NULL").then(|| (*cell).to_owned())).collect()
}

fn user_types(name: &str) -> Option<(u32, u32)> {
    (name == "public.kind").then_some((KIND, KIND_ARRAY))
}

fn alltypes(modified: i64) -> TableSpec {
    let mut columns = vec![key_col("id", ColumnType::INT8)];
    columns.extend(every_type().into_iter().map(|(name, ty, _)| col(name, ty)));
    TableSpec {
        id: 115,
        database: DATABASE,
        schema: PUBLIC,
        name: "alltypes".into(),
        columns,
        primary: names(&[("id", Asc)]),
        modified,
        ..TableSpec::default()
    }
}

fn keys(modified: i64) -> TableSpec {
    let columns = vec![
        key_col("a", ColumnType::DECIMAL),
        key_col("b", ColumnType::FLOAT8),
        key_col("c", ColumnType::TEXT),
        key_col("d", ColumnType::Bytes),
        key_col("e", ColumnType::Date),
        key_col("f", ColumnType::TimestampTz { precision: None }),
        key_col("g", ColumnType::Uuid),
        key_col("h", ColumnType::INTERVAL),
        key_col("i", ColumnType::Inet),
        key_col("j", ColumnType::Bool),
        key_col("k", ColumnType::Time { precision: None }),
        key_col("l", ColumnType::Bit { varying: false, width: 3 }),
        key_col("m", kind()),
        col("v", ColumnType::INT8),
    ];
    let primary = names(&[
        ("a", Desc),
        ("b", Asc),
        ("c", Asc),
        ("d", Desc),
        ("e", Asc),
        ("f", Desc),
        ("g", Asc),
        ("h", Asc),
        ("i", Desc),
        ("j", Asc),
        ("k", Desc),
        ("l", Asc),
        ("m", Desc),
    ]);
    let v = IndexSpec { unique: true, ..index("keys_v_key", &[("v", Desc)]) };
    let indexes = vec![v, index("keys_b_a_idx", &[("b", Desc), ("a", Asc)])];
    TableSpec {
        id: 116,
        database: DATABASE,
        schema: PUBLIC,
        name: "keys".into(),
        columns,
        primary,
        indexes,
        modified,
        ..TableSpec::default()
    }
}

fn foreign_key() -> ForeignKey {
    ForeignKey {
        origin_table_id: Some(118),
        origin_column_ids: vec![2],
        referenced_column_ids: vec![1],
        referenced_table_id: Some(117),
        name: Some("fk_customer_ref_customers".into()),
        validity: Some(0),
        on_delete: Some(4),
        on_update: Some(0),
        r#match: Some(0),
        constraint_id: None,
    }
}

fn customers(modified: i64) -> TableSpec {
    let computed = "(first_name || ' <':::STRING) || email";
    let columns = vec![
        ColumnSpec {
            default: Some("nextval('samples.public.ids':::STRING)".into()),
            uses_sequences: vec![SEQUENCE],
            ..key_col("id", ColumnType::INT8)
        },
        key_col("email", ColumnType::TEXT),
        col("first_name", ColumnType::TEXT),
        ColumnSpec { computed: Some((computed.into(), false)), ..col("full_name", ColumnType::TEXT) },
        ColumnSpec { default: Some("false".into()), ..key_col("vip", ColumnType::Bool) },
        col("score", ColumnType::DECIMAL),
        col("prefs", ColumnType::Json),
        col("tags", array(ColumnType::TEXT)),
        ColumnSpec { computed: Some(("id + 1:::INT8".into(), true)), ..col("next_id", ColumnType::INT8) },
    ];
    let family = |name: &str, columns: &[&str]| {
        (name.to_owned(), columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>())
    };
    TableSpec {
        id: 117,
        database: DATABASE,
        schema: PUBLIC,
        name: "customers".into(),
        columns,
        primary: names(&[("id", Asc)]),
        families: vec![
            family("f_main", &["id", "email", "vip"]),
            family("f_name", &["first_name"]),
            family("f_calc", &["full_name", "score"]),
            family("f_json", &["prefs", "tags"]),
        ],
        indexes: vec![
            IndexSpec { unique: true, ..index("customers_email_key", &[("email", Asc)]) },
            IndexSpec {
                storing: vec!["first_name".into(), "score".into()],
                ..index("customers_vip_idx", &[("vip", Desc)])
            },
            IndexSpec { predicate: "vip".into(), ..index("customers_score_vip", &[("score", Desc)]) },
            IndexSpec { inverted: true, ..index("customers_prefs_inv", &[("prefs", Asc)]) },
            IndexSpec { inverted: true, ..index("customers_tags_inv", &[("tags", Asc)]) },
        ],
        checks: vec![("check_email".into(), "length(email) > 3:::INT8".into(), vec!["email".into()])],
        inbound_fks: vec![foreign_key()],
        depended_on_by: vec![(120, vec![1, 2, 5])],
        modified,
        ..TableSpec::default()
    }
}

fn orders(modified: i64) -> TableSpec {
    let shard = "crdb_internal_placed_shard_4";
    let hash = "mod(fnv32(COALESCE(CAST(placed AS STRING), '':::STRING)), 4:::INT8)";
    let buckets = "crdb_internal_placed_shard_4 IN (0:::INT8, 1:::INT8, 2:::INT8, 3:::INT8)";
    let columns = vec![
        key_col("id", ColumnType::Uuid),
        key_col("customer", ColumnType::INT8),
        ColumnSpec { default: Some("b'\\x40':::@100112".into()), ..key_col("size", kind()) },
        col("placed", ColumnType::INT8),
        ColumnSpec {
            computed: Some((hash.into(), false)),
            hidden: true,
            ..key_col(shard, ColumnType::Int { width: 32 })
        },
    ];
    TableSpec {
        id: 118,
        database: DATABASE,
        schema: EXTRA,
        name: "orders".into(),
        columns,
        primary: names(&[("id", Asc)]),
        indexes: vec![
            index("orders_customer_idx", &[("customer", Asc), ("size", Asc)]),
            IndexSpec {
                sharded: Some((shard.into(), 4)),
                ..index("orders_placed_idx", &[(shard, Asc), ("placed", Asc)])
            },
        ],
        checks: vec![("check_crdb_internal_placed_shard_4".into(), buckets.into(), vec![shard.into()])],
        outbound_fks: vec![foreign_key()],
        modified,
        ..TableSpec::default()
    }
}

pub fn plain(id: u32, database: u32, name: &str, modified: i64) -> TableSpec {
    TableSpec {
        id,
        database,
        schema: PUBLIC,
        name: name.into(),
        columns: vec![key_col("k", ColumnType::INT8), col("v", ColumnType::TEXT)],
        primary: names(&[("k", Asc)]),
        indexes: vec![index(&format!("{name}_v_idx"), &[("v", Asc)])],
        modified,
        ..TableSpec::default()
    }
}

/// FNV-1, as the server's fnv32().
pub fn fnv32(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash: u32, byte| hash.wrapping_mul(16_777_619) ^ u32::from(byte))
}

/// A database with everything in it.
pub fn everything(store: &mut Store, at: Timestamp, big_rows: usize) -> (Vec<Descriptor>, Vec<Table>) {
    let modified = at.wall as i64 - 1_000_000_000;
    let mut descriptors = vec![
        build::database(DATABASE, "samples", &[("extra", EXTRA)], modified),
        build::schema(EXTRA, DATABASE, "extra", modified),
    ];
    let members = [("small", 0x40), ("mid size", 0x80), ("größt", 0xc0)];
    descriptors.extend(build::enum_types(
        (KIND, KIND_ARRAY),
        (DATABASE, PUBLIC),
        "kind",
        &members,
        &[115, 116, 118],
        modified,
    ));
    let sequence = build::sequence((SEQUENCE, DATABASE, PUBLIC), "ids", (1, 1), &[(117, vec![1])], modified);
    descriptors.push(Descriptor::Table(Box::new(sequence)));
    let specs = [
        alltypes(modified),
        keys(modified),
        customers(modified),
        orders(modified),
        plain(119, DATABASE, "big", modified),
    ];
    // The only partial index of these is the third of customers: rows where vip.
    let vip: Partial = |_: usize, row: &Row| row[4].as_deref() == Some("true");
    let mut built: Vec<(TableDescriptor, Partial)> =
        specs.iter().map(|spec| (build::table(spec, &user_types).unwrap(), vip)).collect();
    built.extend(more::tables(modified));
    descriptors.extend(built.iter().map(|(table, _)| Descriptor::Table(Box::new(table.clone()))));
    descriptors.extend(more::sequences(modified));
    let view = build::view(
        (120, DATABASE, PUBLIC),
        "vips",
        "SELECT id, email FROM samples.public.customers WHERE vip",
        &[col("id", ColumnType::INT8), col("email", ColumnType::TEXT)],
        &[117],
        modified,
    );
    descriptors.push(Descriptor::Table(Box::new(view.unwrap())));
    let mut tables: Vec<Table> =
        built.iter().map(|(table, partial)| Table::new(&descriptors, table, *partial)).collect();
    let (own, further) = tables.split_at_mut(specs.len());
    fill(store, at, own, big_rows);
    more::fill(store, at, further);
    set_sequence(store, SEQUENCE, at, 200);
    (descriptors, tables)
}

/// What must be true of this database after a restore, besides the rows of its tables.
pub const FURTHER_CHECKS: [&str; 9] = [
    "SELECT count(*) = 28 FROM samples.public.vips",
    "SELECT count(*) = 28 FROM samples.public.customers@customers_score_vip WHERE vip",
    "SELECT count(*) = 1 FROM samples.public.customers@customers_prefs_inv WHERE prefs @> '{\"n\": 7}'",
    "SELECT count(*) = 100 FROM samples.public.customers@customers_tags_inv WHERE tags @> ARRAY['t1']",
    "SELECT count(*) = 100 FROM samples.extra.orders WHERE size > 'small'",
    "SELECT count(*) = 4 FROM samples.public.tree@tree_root_label WHERE up IS NULL",
    "SELECT nextval('samples.public.ids') = 201",
    "SELECT nextval('samples.public.owned_seq') = 21",
    "SELECT nextval('samples.public.unused_seq') = 7",
];

fn fill(store: &mut Store, at: Timestamp, tables: &mut [Table], big_rows: usize) {
    let [alltypes, keys, customers, orders, big] = tables else { panic!("five tables") };
    let types = every_type();
    let mut nulls = vec!["0"];
    nulls.extend(types.iter().map(|_| "NULL"));
    alltypes.upsert(store, at, row(&nulls));
    for at_text in 0..3 {
        let id = (at_text + 1).to_string();
        let mut cells = vec![id.as_str()];
        cells.extend(types.iter().map(|(_, _, texts)| texts[at_text]));
        alltypes.upsert(store, at, row(&cells));
    }
    // One row for each column alone, with all others NULL.
    for (alone, (_, _, texts)) in types.iter().enumerate() {
        let id = (100 + alone).to_string();
        let mut cells = vec![id.as_str()];
        cells.extend((0..types.len()).map(|other| if other == alone { texts[0] } else { "NULL" }));
        alltypes.upsert(store, at, row(&cells));
    }
    for (at_extreme, (alone, text)) in extremes().iter().enumerate() {
        let id = (300 + at_extreme).to_string();
        let mut cells = vec![id.as_str()];
        cells.extend(types.iter().map(|(name, _, _)| if name == alone { text.as_str() } else { "NULL" }));
        alltypes.upsert(store, at, row(&cells));
    }
    for n in 0..20i64 {
        let cells: Vec<String> = vec![
            if n % 2 == 0 { format!("{n}.50") } else { format!("-{n}00") },
            if n % 3 == 0 { format!("{}.5", -n) } else { n.to_string() },
            ["a", "", "A b", "zz", "日本"][n as usize % 5].into(),
            format!("{:02x}00ff", n * 7 % 256),
            format!("19{:02}-01-02", 60 + n),
            format!("2020-01-{:02} 00:00:00+00:00", 1 + n),
            format!("00000000-0000-0000-0000-0000000000{n:02}"),
            format!("{} days", n + 2),
            format!("1.2.3.{n}/{}", 8 + n),
            (n % 2 == 0).to_string(),
            format!("00:{n:02}:00"),
            ["000", "101", "111"][n as usize % 3].into(),
            ["small", "mid size", "größt"][n as usize % 3].into(),
            if n % 5 == 0 { "NULL".into() } else { n.to_string() },
        ];
        keys.upsert(store, at, row(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    // Values whose keys do not hold all of them, and the ends of ranges.
    for cells in [
        "1E+100 -Inf x 0000ffff infinity|9999-12-31 00:00:00+00:00|ffffffff-ffff-ffff-ffff-ffffffffffff|1 year|ffff::/16 true 00:00:00 111 small -2",
        "1.500 -0 trail 61 1970-01-01|1970-01-01 00:00:00+00:00|ffffffff-ffff-ffff-ffff-fffffffffffe|00:00:00|127.0.0.1 true 12:00:00 101 größt NULL",
        "NaN NaN _ _ -infinity|0001-01-01 00:00:00+00:00|00000000-0000-0000-0000-000000000000|-1 years|::/0 false 24:00:00 000 small -1",
        "0.00 0 _ 00 1969-12-31|1969-12-31 23:59:59.999999+00:00|00000000-0000-0000-0000-000000000001|1 mon|0.0.0.0/0 false 00:00:00.000001 010 small -3",
    ] {
        let cells: Vec<&str> = cells
            .split('|')
            .enumerate()
            // Texts with blanks stand alone.
            .flat_map(|(at, part)| if matches!(at, 1..=3) { vec![part] } else { part.split(' ').collect() })
            .map(|cell| if cell == "_" { "" } else { cell })
            .collect();
        keys.upsert(store, at, row(&cells));
    }
    for n in 1..=200i64 {
        let (id, next, email) = (n.to_string(), (n + 1).to_string(), format!("user{n}@example.com"));
        let first = if n % 11 == 0 {
            "NULL".to_owned()
        } else {
            ["Ann", "Bob", "Çelik", "李"][n as usize % 4].into()
        };
        let full = if first == "NULL" { first.clone() } else { format!("{first} <{email}") };
        let score = if n % 9 == 0 { "NULL".into() } else { format!("{}.{:02}", n * 37 % 100, n % 100) };
        let prefs =
            if n % 13 == 0 { "NULL".into() } else { format!("{{\"list\": [{n}, \"x\", null], \"n\": {n}}}") };
        let tags = ["NULL", "{}", "{all,t1}", "{t1,NULL}"][n as usize % 4];
        let vip = (n % 7 == 0).to_string();
        customers.upsert(store, at, row(&[&id, &email, &first, &full, &vip, &score, &prefs, tags, &next]));
    }
    for n in 0..150i64 {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        let customer = (1 + n % 200).to_string();
        let placed = if n % 10 == 0 { "NULL".to_owned() } else { (1_600_000_000 + n).to_string() };
        let hashed = if placed == "NULL" { "" } else { &placed };
        let shard = (fnv32(hashed) % 4).to_string();
        let size = ["small", "mid size", "größt"][n as usize % 3];
        orders.upsert(store, at, row(&[&id, &customer, size, &placed, &shard]));
    }
    for n in 0..big_rows {
        let value = format!("{:032x}", (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        big.upsert(store, at, row(&[&n.to_string(), &value]));
    }
}
