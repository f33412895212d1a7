//! Descriptors that the fixtures do not have: schema changes under way, temporary tables, parents that are
//! not in the backup, several tables of one name, old privileges, tenants.

use std::sync::Arc;

use prost::Message;
use userfilefs::destination::{Memory, Source};
use userfilefs::engine::show::{self, Details};
use userfilefs::engine::tabular::{Format, Table};
use userfilefs::engine::{Backup, OpenOptions};
use userfilefs::format::descriptor::build::{self, ColumnSpec, TableSpec};
use userfilefs::format::descriptor::create::Qualify;
use userfilefs::format::descriptor::proto::{
    self, CheckConstraint, ConstraintToUpdate, DescriptorMutation, ForeignKey, PrivilegeDescriptor,
    RegionConfig, UserPrivileges,
};
use userfilefs::format::descriptor::{Catalog, Descriptor, TableDescriptor};
use userfilefs::format::kv::layout::Direction::Asc;
use userfilefs::format::kv::types::ColumnType;
use userfilefs::format::manifest::{Manifest, ManifestProto, Timestamp};

fn column(name: &str) -> ColumnSpec {
    ColumnSpec {
        name: name.into(),
        ty: ColumnType::INT8,
        nullable: name != "id",
        default: None,
        computed: None,
        hidden: false,
        uses_sequences: Vec::new(),
    }
}

fn table(id: u32, name: &str, columns: &[&str]) -> TableDescriptor {
    let spec = TableSpec {
        id,
        database: 110,
        schema: 29,
        name: name.into(),
        columns: columns.iter().map(|name| column(name)).collect(),
        primary: vec![("id".into(), Asc)],
        ..TableSpec::default()
    };
    build::table(&spec, &|_| None).unwrap()
}

fn view(id: u32, name: &str, query: &str, uses: &[u32]) -> TableDescriptor {
    let mut view = table(id, name, &["id"]);
    view.view_query = Some(query.into());
    view.depends_on = uses.to_vec();
    view
}

fn of(table: &TableDescriptor) -> Descriptor {
    Descriptor::Table(Box::new(table.clone()))
}

fn catalog(descriptors: &[Descriptor]) -> Catalog {
    let raw: Vec<Vec<u8>> = descriptors.iter().map(Descriptor::encode).collect();
    Catalog::new(raw.iter().map(Vec::as_slice)).unwrap()
}

fn create(table: &TableDescriptor) -> String {
    let catalog = catalog(&[build::database(110, "d", &[], 0), of(table)]);
    catalog.create_statement(catalog.tables().next().unwrap(), Qualify::No).unwrap()
}

fn backup(descriptors: &[Descriptor], change: impl FnOnce(&mut ManifestProto)) -> Backup {
    let mut proto = ManifestProto {
        end_time: Some(Timestamp::from_nanos(1_600_000_000_000_000_000).into()),
        format_version: 1,
        descriptors: descriptors.iter().map(Descriptor::encode).collect(),
        ..ManifestProto::default()
    };
    change(&mut proto);
    let manifest = Manifest { proto, unknown: Vec::new() };
    let files = [("BACKUP_MANIFEST".to_owned(), Arc::new(manifest.to_stored()))];
    let source: Arc<dyn Source> = Arc::new(Memory { files: files.into_iter().collect() });
    Backup::open(&source, "", &OpenOptions::default()).unwrap()
}

fn check(name: &str, expr: &str, validity: i32) -> CheckConstraint {
    let (name, expr) = (Some(name.to_owned()), Some(expr.to_owned()));
    CheckConstraint { name, expr, validity: Some(validity), ..CheckConstraint::default() }
}

#[test]
fn schema_changes_under_way_are_shown_as_the_server_shows_them() {
    let mut changing = table(120, "t", &["id", "a"]);
    // A column that is being added is in its family already, and not public.
    let family = &mut changing.families[0];
    family.column_ids.push(3);
    family.column_names.push("b".into());
    // A check stands in two places while it is validated or dropped; what is added counts once.
    changing.checks = vec![
        check("old", "a > 0:::INT8", 0),
        check("unvalidated", "a > 1:::INT8", 1),
        check("adding", "a > 2:::INT8", 2),
        check("dropping", "a > 3:::INT8", 3),
        check("", "a > 4:::INT8", 0),
    ];
    let mutation = |direction: i32, check: CheckConstraint| DescriptorMutation {
        direction: Some(direction),
        constraint: Some(
            ConstraintToUpdate { constraint_type: Some(0), name: check.name.clone(), check: Some(check) }
                .encode_to_vec(),
        ),
        ..DescriptorMutation::default()
    };
    changing.mutations = vec![
        mutation(1, check("adding", "a > 2:::INT8", 2)),
        mutation(2, check("dropping", "a > 3:::INT8", 3)),
        DescriptorMutation { constraint: Some(vec![0xff]), ..DescriptorMutation::default() },
    ];
    let want = "CREATE TABLE t (\n\tid INT8 NOT NULL,\n\ta INT8 NULL,\n\
        \tCONSTRAINT \"primary\" PRIMARY KEY (id ASC),\n\tFAMILY \"primary\" (id, a),\n\
        \tCONSTRAINT old CHECK (a > 0:::INT8),\n\
        \tCONSTRAINT unvalidated CHECK (a > 1:::INT8) NOT VALID,\n\
        \tCHECK (a > 4:::INT8),\n\
        \tCONSTRAINT adding CHECK (a > 2:::INT8) NOT VALID\n)";
    assert_eq!(create(&changing), want);
}

#[test]
fn temporary_things_say_so() {
    let mut temporary = table(120, "t", &["id"]);
    temporary.temporary = Some(true);
    assert!(create(&temporary).starts_with("CREATE TEMP TABLE t ("));
    temporary.sequence_opts = Some(proto::SequenceOpts::default());
    assert!(create(&temporary).starts_with("CREATE TEMP SEQUENCE t MINVALUE"));
    let mut shown = view(121, "v", "SELECT 1", &[]);
    shown.temporary = Some(true);
    assert_eq!(create(&shown), "CREATE TEMP VIEW v (id) AS SELECT 1");
}

fn cells<'t>(table: &'t Table, column: &str) -> Vec<Option<&'t str>> {
    let at = table.columns.iter().position(|(name, _)| *name == column).unwrap();
    table.rows.iter().map(|row| row[at].as_deref()).collect()
}

#[test]
fn what_the_backup_does_not_have_is_null() {
    let mut lost = table(120, "lost", &["id"]);
    lost.parent_id = Some(77);
    let mut hidden = table(121, "hidden", &["id"]);
    hidden.unexposed_parent_schema_id = Some(78);
    let mut odd = table(122, "odd", &["id", "a"]);
    odd.columns[1].r#type.as_mut().unwrap().family = Some(24);
    let backup = backup(&[build::database(110, "d", &[], 0), of(&lost), of(&hidden), of(&odd)], |_| {});
    let details = Details { schemas: true, privileges: true, debug_ids: true, backup_type: true };
    let shown = show::objects(&backup, details).unwrap();
    assert_eq!(cells(&shown, "database_name"), [None, None, Some("d"), Some("d")]);
    assert_eq!(cells(&shown, "parent_schema_name"), [None, Some("public"), None, Some("public")]);
    // One table that cannot be shown does not hide the others.
    let created: Vec<bool> = cells(&shown, "create_statement").iter().map(Option::is_some).collect();
    assert_eq!(created, [false, true, true, false]);
}

#[test]
fn tenants_and_functions_have_rows() {
    use userfilefs::format::descriptor::proto::{DescriptorProto, FunctionHead};
    let head = FunctionHead {
        name: Some("f".into()),
        id: Some(130),
        parent_id: Some(110),
        parent_schema_id: Some(29),
    };
    let function = DescriptorProto { function: Some(head.encode_to_vec()), ..Default::default() };
    let function = Descriptor::Other(function.encode_to_vec());
    let backup = backup(&[build::database(110, "d", &[], 0), function], |proto| {
        proto.tenants_deprecated = vec![vec![0x08, 10]];
        proto.tenants = vec![vec![0x0a, 2, 0x08, 11], vec![0xff]];
    });
    let shown = show::objects(&backup, Details { debug_ids: true, ..Details::default() }).unwrap();
    let want = "database_name,database_id,parent_schema_name,parent_schema_id,object_name,object_id,\
        object_type,start_time,end_time,size_bytes,rows,is_full_cluster\n\
        NULL,NULL,NULL,NULL,d,110,database,NULL,2020-09-13 12:26:40+00:00:00,NULL,NULL,false\n\
        d,NULL,public,NULL,f,130,function,NULL,2020-09-13 12:26:40+00:00:00,NULL,NULL,false\n\
        NULL,NULL,NULL,NULL,10,10,TENANT,NULL,2020-09-13 12:26:40+00:00:00,NULL,NULL,NULL\n\
        NULL,NULL,NULL,NULL,11,11,TENANT,NULL,2020-09-13 12:26:40+00:00:00,NULL,NULL,NULL\n";
    assert_eq!(shown.print(Format::Csv), want);
}

#[test]
fn privileges_that_mean_nothing_for_an_object_are_not_shown() {
    use userfilefs::format::descriptor::privileges::{Holder, grants};
    let user = |name: &str, privileges: u64, further: u64| UserPrivileges {
        user: Some(name.into()),
        privileges: Some(privileges),
        with_grant_option: (further != 0).then_some(further),
    };
    let (select, usage, connect) = (1 << 5, 1 << 9, 1 << 11);
    let mut own = PrivilegeDescriptor {
        users: vec![user("a", select | usage | connect, 0), user("b", usage, 0), user("c", select, select)],
        ..PrivilegeDescriptor::default()
    };
    // Before 20.2 the bit of USAGE was that of ZONECONFIG.
    let table = grants(&own, Holder::Table, "t");
    assert_eq!(
        table,
        "GRANT SELECT, ZONECONFIG ON t TO a; GRANT ZONECONFIG ON t TO b; \
         GRANT SELECT ON t TO c WITH GRANT OPTION; "
    );
    own.version = Some(1);
    assert_eq!(grants(&own, Holder::Type, "t"), "GRANT USAGE ON t TO a; GRANT USAGE ON t TO b; ");
    own.users.pop();
    assert_eq!(grants(&own, Holder::Table, "t"), "GRANT SELECT ON t TO a; ");
    assert_eq!(grants(&own, Holder::Database, "t"), "GRANT CONNECT, SELECT ON t TO a; ");
}

#[test]
fn tables_are_found_by_name_or_id() {
    let other = |id: u32, database: u32, name: &str| {
        let mut own = table(id, name, &["id"]);
        own.parent_id = Some(database);
        own
    };
    let mut gone = other(125, 110, "gone");
    gone.state = Some(proto::STATE_DROP);
    let mut away = other(126, 110, "away");
    away.state = Some(proto::STATE_OFFLINE);
    let catalog = catalog(&[
        build::database(110, "d", &[], 0),
        build::database(111, "d", &[], 0),
        of(&other(120, 110, "t")),
        of(&other(121, 111, "t")),
        of(&other(122, 110, "Mixed")),
        of(&gone),
        of(&away),
    ]);
    let find = |name: &str| catalog.find_table(name).map(TableDescriptor::id).map_err(|e| e.to_string());
    assert_eq!(find("\"Mixed\""), Ok(122));
    assert_eq!(find("[121]"), Ok(121));
    assert_eq!(
        find("D.Public.T"),
        Err("table name D.Public.T is ambiguous: give db.schema.table, or an id in brackets: \
             d.public.t [120], d.public.t [121]"
            .into())
    );
    assert_eq!(
        find("x.t"),
        Err("table \"x.t\" is not in the backup, which has d.public.t, d.public.t".into())
    );
    assert_eq!(
        find("nosuch"),
        Err("table \"nosuch\" is not in the backup, which has d.public.t, d.public.t, d.public.Mixed".into())
    );
    assert_eq!(find("gone"), Err("table \"d.public.gone\" was dropped when the backup was made".into()));
    assert_eq!(find("away"), Err("table \"d.public.away\" was offline when the backup was made".into()));
    assert!(find("[125]").is_err() && find("[x]").is_err());
}

#[test]
fn scripts_can_run() {
    let key = ForeignKey {
        origin_table_id: Some(120),
        origin_column_ids: vec![2],
        referenced_column_ids: vec![1],
        referenced_table_id: Some(121),
        name: Some("fk".into()),
        ..ForeignKey::default()
    };
    let mut first = table(120, "first", &["id", "a"]);
    first.outbound_fks = vec![key.clone()];
    let mut second = table(121, "second", &["id"]);
    second.inbound_fks = vec![key];
    let mut stored = view(123, "stored", "SELECT id FROM d.public.first", &[120]);
    stored.is_materialized_view = Some(true);
    stored.columns.push(userfilefs::format::descriptor::ColumnDescriptor {
        name: Some("rowid".into()),
        id: Some(2),
        default_expr: Some("unique_rowid()".into()),
        ..Default::default()
    });
    stored.primary_index.as_mut().unwrap().column_ids = vec![2];
    let Descriptor::Database(mut database) = build::database(110, "d", &[], 0) else { panic!() };
    database.region_config = Some(RegionConfig {
        survival_goal: Some(0),
        primary_region: Some("eu".into()),
        region_enum_id: Some(130),
    });
    let [regions, _] = build::enum_types(
        (130, 131),
        (110, 29),
        "crdb_internal_region",
        &[("eu", 0x40), ("us", 0x80)],
        &[],
        0,
    );
    let Descriptor::Type(mut regions) = regions else { panic!() };
    regions.kind = Some(proto::TYPE_MULTIREGION_ENUM);
    let backup = backup(
        &[
            Descriptor::Database(database),
            of(&first),
            of(&second),
            of(&view(122, "over", "SELECT id FROM d.public.stored", &[123])),
            of(&stored),
            Descriptor::Type(regions),
        ],
        |_| {},
    );
    let want = "CREATE DATABASE d PRIMARY REGION \"eu\" REGIONS = \"eu\", \"us\" SURVIVE ZONE FAILURE;\n\
        USE d;\n\
        CREATE TABLE d.public.first (\n\tid INT8 NOT NULL,\n\ta INT8 NULL,\n\
        \tCONSTRAINT \"primary\" PRIMARY KEY (id ASC),\n\tFAMILY \"primary\" (id, a)\n);\n\
        CREATE TABLE d.public.second (\n\tid INT8 NOT NULL,\n\
        \tCONSTRAINT \"primary\" PRIMARY KEY (id ASC),\n\tFAMILY \"primary\" (id)\n);\n\
        ALTER TABLE d.public.first ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.second(id);\n\
        CREATE MATERIALIZED VIEW d.public.stored (id) AS SELECT id FROM d.public.first;\n\
        CREATE VIEW d.public.over (id) AS SELECT id FROM d.public.stored;\n";
    assert_eq!(show::script(&backup).unwrap(), want);
}

#[test]
fn long_values_of_records_go_on() {
    let table = Table {
        columns: vec![("a", show_align()), ("name", show_align())],
        rows: vec![vec![Some("1\n2\n3".into()), None]],
    };
    let want = "-[ RECORD 1 ]\na    | 1+\n     | 2+\n     | 3\nname | NULL\n";
    assert_eq!(table.print(Format::Records), want);
}

fn show_align() -> userfilefs::engine::tabular::Align {
    userfilefs::engine::tabular::Align::Left
}

#[test]
fn indexes_of_expressions_show_them() {
    let mut own = table(120, "t", &["id", "a"]);
    let mut hidden = own.columns[1].clone();
    (hidden.id, hidden.name) = (Some(3), Some("crdb_internal_idx_expr".into()));
    hidden.compute_expr = Some("a + 1:::INT8".into());
    (hidden.r#virtual, hidden.inaccessible) = (Some(true), Some(true));
    let mut lower = hidden.clone();
    (lower.id, lower.name) = (Some(4), Some("crdb_internal_idx_expr_1".into()));
    lower.compute_expr = Some("abs(a + (1:::INT8))".into());
    own.columns.extend([hidden, lower]);
    own.indexes = vec![proto::IndexDescriptor {
        name: Some("i".into()),
        id: Some(2),
        column_names: vec!["crdb_internal_idx_expr".into(), "crdb_internal_idx_expr_1".into(), "a".into()],
        column_ids: vec![3, 4, 2],
        column_directions: vec![0, 1, 0],
        ..proto::IndexDescriptor::default()
    }];
    let shown = create(&own);
    assert!(shown.contains("\tINDEX i ((a + 1:::INT8) ASC, abs(a + (1:::INT8)) DESC, a ASC),\n"), "{shown}");
    assert!(!shown.contains("crdb_internal"), "{shown}");
}
