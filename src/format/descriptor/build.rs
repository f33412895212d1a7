//! Descriptors from short descriptions, complete as 21.1 writes them: RESTORE validates ids, families,
//! names and directions.

use std::collections::BTreeMap;

use crate::format::kv::layout::Direction;
use crate::format::kv::types::ColumnType;

use super::proto::{
    self, CheckConstraint, ColumnDescriptor, ColumnFamily, DatabaseDescriptor, EnumMember, ForeignKey,
    IndexDescriptor, Interleave, InternalType, Partitioning, PrivilegeDescriptor, SchemaDescriptor,
    SchemaInfo, SequenceOpts, SequenceOwner, Sharded, TableDescriptor, TimestampProto, TypeDescriptor,
    UdtMetadata, UserPrivileges,
};
use super::types::{USER_TYPE_OID_BASE, internal_type};
use super::{Descriptor, Error};

/// Bits of ALL and USAGE.
const ALL: u64 = 2;
const USAGE: u64 = 512;
const FORMAT_VERSION: u32 = 3;
/// Version of secondary and primary indexes of 21.1.
const INDEX_VERSION: u32 = 2;

/// A column.
#[derive(Clone, Debug)]
pub struct ColumnSpec {
    #[allow(missing_docs)]
    pub name: String,
    #[allow(missing_docs)]
    pub ty: ColumnType,
    #[allow(missing_docs)]
    pub nullable: bool,
    /// SQL with type annotations.
    pub default: Option<String>,
    /// SQL of a computed column, and whether it is virtual.
    pub computed: Option<(String, bool)>,
    /// Not shown by `SELECT *`.
    pub hidden: bool,
    /// Sequences that the default uses.
    pub uses_sequences: Vec<u32>,
}

/// A secondary index.
#[derive(Clone, Debug, Default)]
pub struct IndexSpec {
    #[allow(missing_docs)]
    pub name: String,
    #[allow(missing_docs)]
    pub unique: bool,
    #[allow(missing_docs)]
    pub inverted: bool,
    /// Names and directions.
    pub columns: Vec<(String, Direction)>,
    /// Names of stored columns.
    pub storing: Vec<String>,
    /// SQL of a partial index.
    pub predicate: String,
    /// Hash-sharded: the hidden column, and the number of buckets.
    pub sharded: Option<(String, i32)>,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct TableSpec {
    #[allow(missing_docs)]
    pub id: u32,
    #[allow(missing_docs)]
    pub database: u32,
    /// 29 for public.
    pub schema: u32,
    #[allow(missing_docs)]
    pub name: String,
    /// Ids count from 1 in this order.
    pub columns: Vec<ColumnSpec>,
    /// Names and directions.
    pub primary: Vec<(String, Direction)>,
    /// Names and columns; none for one family of all.
    pub families: Vec<(String, Vec<String>)>,
    /// Ids count from 2 in this order.
    pub indexes: Vec<IndexSpec>,
    /// Name, SQL, columns.
    pub checks: Vec<(String, String, Vec<String>)>,
    #[allow(missing_docs)]
    pub outbound_fks: Vec<ForeignKey>,
    #[allow(missing_docs)]
    pub inbound_fks: Vec<ForeignKey>,
    /// Views and the like: ids and columns used.
    pub depended_on_by: Vec<(u32, Vec<u32>)>,
    /// Nanoseconds.
    pub modified: i64,
}

fn time(nanos: i64) -> Option<TimestampProto> {
    Some(TimestampProto { wall_time: (nanos != 0).then_some(nanos), ..TimestampProto::default() })
}

/// What every object of these backups grants: everything to admin and root.
pub fn privileges() -> Option<PrivilegeDescriptor> {
    let user = |name: &str| UserPrivileges {
        user: Some(name.into()),
        privileges: Some(ALL),
        with_grant_option: None,
    };
    Some(PrivilegeDescriptor {
        users: vec![user("admin"), user("root")],
        owner: Some("root".into()),
        version: Some(1),
    })
}

fn type_privileges() -> Option<PrivilegeDescriptor> {
    let mut own = privileges()?;
    let public =
        UserPrivileges { user: Some("public".into()), privileges: Some(USAGE), with_grant_option: None };
    own.users.insert(1, public);
    Some(own)
}

/// A database and its user-defined schemas (name, id).
pub fn database(id: u32, name: &str, schemas: &[(&str, u32)], modified: i64) -> Descriptor {
    let info = |id: u32| SchemaInfo { id: Some(id), dropped: Some(false) };
    Descriptor::Database(DatabaseDescriptor {
        name: Some(name.into()),
        id: Some(id),
        privileges: privileges(),
        modification_time: time(modified),
        version: Some(1),
        schemas: schemas.iter().map(|(name, id)| ((*name).to_owned(), info(*id))).collect(),
        state: Some(0),
        offline_reason: Some(String::new()),
        ..DatabaseDescriptor::default()
    })
}

/// A user-defined schema.
pub fn schema(id: u32, database: u32, name: &str, modified: i64) -> Descriptor {
    Descriptor::Schema(SchemaDescriptor {
        parent_id: Some(database),
        name: Some(name.into()),
        id: Some(id),
        privileges: privileges(),
        modification_time: time(modified),
        version: Some(1),
        state: Some(0),
        offline_reason: Some(String::new()),
        ..SchemaDescriptor::default()
    })
}

/// An enum and its array type. `users` are the tables that use it.
pub fn enum_types(
    (id, array_id): (u32, u32),
    (database, schema): (u32, u32),
    name: &str,
    members: &[(&str, u8)],
    users: &[u32],
    modified: i64,
) -> [Descriptor; 2] {
    let common = |id: u32, name: String| TypeDescriptor {
        parent_id: Some(database),
        parent_schema_id: Some(schema),
        name: Some(name),
        id: Some(id),
        array_type_id: Some(0),
        version: Some(1),
        modification_time: time(modified),
        referencing_descriptor_ids: users.to_vec(),
        state: Some(0),
        privileges: type_privileges(),
        offline_reason: Some(String::new()),
        ..TypeDescriptor::default()
    };
    let zeros = InternalType {
        width: Some(0),
        precision: Some(0),
        visible_type: Some(0),
        time_precision_is_set: Some(false),
        ..InternalType::default()
    };
    let array_oid = Some(UdtMetadata { array_type_oid: Some(USER_TYPE_OID_BASE + array_id) });
    let element = InternalType {
        family: Some(24),
        oid: Some(USER_TYPE_OID_BASE + id),
        udt_metadata: array_oid,
        ..zeros.clone()
    };
    let array = InternalType {
        family: Some(15),
        array_elem_type: Some(24),
        oid: Some(USER_TYPE_OID_BASE + array_id),
        array_contents: Some(Box::new(element)),
        ..zeros
    };
    let member = |(logical, physical): &(&str, u8)| EnumMember {
        physical: Some(vec![*physical]),
        logical: Some((*logical).to_owned()),
        capability: Some(0),
        direction: Some(0),
    };
    [
        Descriptor::Type(TypeDescriptor {
            kind: Some(proto::TYPE_ENUM),
            enum_members: members.iter().map(member).collect(),
            array_type_id: Some(array_id),
            ..common(id, name.to_owned())
        }),
        Descriptor::Type(TypeDescriptor {
            kind: Some(proto::TYPE_ALIAS),
            alias: Some(array),
            ..common(array_id, format!("_{name}"))
        }),
    ]
}

fn empty_index() -> IndexDescriptor {
    IndexDescriptor {
        foreign_key: Some(proto::ForeignKeyReference {
            table: Some(0),
            index: Some(0),
            name: Some(String::new()),
            validity: Some(0),
            shared_prefix_len: Some(0),
            on_delete: Some(0),
            on_update: Some(0),
            r#match: Some(0),
        }),
        interleave: Some(Interleave::default()),
        partitioning: Some(Partitioning {
            num_columns: Some(0),
            num_implicit_columns: Some(0),
            ..Partitioning::default()
        }),
        r#type: Some(0),
        created_explicitly: Some(false),
        version: Some(INDEX_VERSION),
        encoding_type: Some(0),
        sharded: Some(Sharded {
            is_sharded: Some(false),
            name: Some(String::new()),
            shard_buckets: Some(0),
            column_names: Vec::new(),
        }),
        disabled: Some(false),
        geo_config: Some(Vec::new()),
        predicate: Some(String::new()),
        unique: Some(false),
        ..IndexDescriptor::default()
    }
}

fn empty_table(id: u32, database: u32, schema: u32, name: &str, modified: i64) -> TableDescriptor {
    TableDescriptor {
        name: Some(name.to_owned()),
        id: Some(id),
        parent_id: Some(database),
        version: Some(1),
        modification_time: time(modified),
        next_column_id: Some(0),
        primary_index: Some(IndexDescriptor {
            name: Some(String::new()),
            id: Some(0),
            version: Some(0),
            ..empty_index()
        }),
        next_index_id: Some(0),
        privileges: privileges(),
        next_mutation_id: Some(1),
        format_version: Some(FORMAT_VERSION),
        state: Some(0),
        next_family_id: Some(0),
        view_query: Some(String::new()),
        drop_time: Some(0),
        replacement_of: Some(vec![0x08, 0x00, 0x12, 0x00]),
        audit_mode: Some(0),
        drop_job_id: Some(0),
        create_query: Some(String::new()),
        create_as_of_time: time(modified),
        offline_reason: Some(String::new()),
        temporary: Some(false),
        unexposed_parent_schema_id: Some(schema),
        is_materialized_view: Some(false),
        partition_all_by: Some(false),
        ..TableDescriptor::default()
    }
}

fn column(id: u32, spec: &ColumnSpec, types: &UserTypes<'_>) -> Result<ColumnDescriptor, Error> {
    Ok(ColumnDescriptor {
        name: Some(spec.name.clone()),
        id: Some(id),
        r#type: Some(internal_type(&spec.ty, types)?),
        nullable: Some(spec.nullable),
        default_expr: spec.default.clone(),
        hidden: Some(spec.hidden),
        uses_sequence_ids: spec.uses_sequences.clone(),
        compute_expr: spec.computed.as_ref().map(|(expr, _)| expr.clone()),
        pg_attribute_num: Some(0),
        alter_column_type_in_progress: Some(false),
        system_column_kind: Some(0),
        r#virtual: Some(spec.computed.as_ref().is_some_and(|(_, is_virtual)| *is_virtual)),
        ..ColumnDescriptor::default()
    })
}

/// Gives the descriptor ids of an enum and its array type by the enum's name.
pub type UserTypes<'t> = dyn Fn(&str) -> Option<(u32, u32)> + 't;

/// A table.
///
/// # Errors
/// A name that no column has, or a type that cannot be written.
pub fn table(spec: &TableSpec, types: &UserTypes<'_>) -> Result<TableDescriptor, Error> {
    let mut table = empty_table(spec.id, spec.database, spec.schema, &spec.name, spec.modified);
    let mut ids: BTreeMap<&str, (u32, &ColumnSpec)> = BTreeMap::new();
    for (id, own) in (1..).zip(&spec.columns) {
        table.columns.push(column(id, own, types)?);
        ids.insert(&own.name, (id, own));
    }
    let find = |name: &String| {
        ids.get(name.as_str()).copied().ok_or_else(|| Error::Inconsistent {
            object: spec.name.clone(),
            what: format!("there is no column {name}"),
        })
    };
    let next = |len: usize| u32::try_from(len + 1).ok();
    table.next_column_id = next(spec.columns.len());
    table.next_index_id = next(spec.indexes.len() + 1);

    let names: Vec<String> = spec.primary.iter().map(|(name, _)| name.clone()).collect();
    let primary_ids: Vec<u32> = names.iter().map(|name| Ok(find(name)?.0)).collect::<Result<_, Error>>()?;
    let composite = |names: &mut dyn Iterator<Item = &String>| -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        for name in names {
            let (id, own) = find(name)?;
            if own.ty.can_be_composite() {
                found.push(id);
            }
        }
        Ok(found)
    };
    table.primary_index = Some(IndexDescriptor {
        name: Some("primary".into()),
        id: Some(1),
        unique: Some(true),
        column_names: names.clone(),
        column_ids: primary_ids.clone(),
        column_directions: directions(&spec.primary),
        composite_column_ids: composite(&mut names.iter())?,
        ..empty_index()
    });

    for (id, own) in (2..).zip(&spec.indexes) {
        let key: Vec<String> = own.columns.iter().map(|(name, _)| name.clone()).collect();
        let key_ids: Vec<u32> = key.iter().map(|name| Ok(find(name)?.0)).collect::<Result<_, Error>>()?;
        let extra: Vec<u32> = primary_ids.iter().copied().filter(|id| !key_ids.contains(id)).collect();
        let extra_names = names.iter().filter(|name| !key.contains(name));
        let sharded = own.sharded.as_ref().map(|(name, buckets)| Sharded {
            is_sharded: Some(true),
            name: Some(name.clone()),
            shard_buckets: Some(*buckets),
            column_names: key.iter().filter(|column| *column != name).cloned().collect(),
        });
        let base = empty_index();
        table.indexes.push(IndexDescriptor {
            name: Some(own.name.clone()),
            id: Some(id),
            unique: Some(own.unique),
            composite_column_ids: composite(&mut key.iter().chain(extra_names))?,
            column_names: key,
            column_ids: key_ids,
            column_directions: directions(&own.columns),
            extra_column_ids: extra,
            store_column_names: own.storing.clone(),
            store_column_ids: own
                .storing
                .iter()
                .map(|name| Ok(find(name)?.0))
                .collect::<Result<_, Error>>()?,
            r#type: Some(i32::from(own.inverted)),
            predicate: Some(own.predicate.clone()),
            sharded: sharded.or_else(|| base.sharded.clone()),
            ..base
        });
    }
    families(&mut table, spec, &find)?;
    for (name, expr, columns) in &spec.checks {
        table.checks.push(CheckConstraint {
            expr: Some(expr.clone()),
            name: Some(name.clone()),
            validity: Some(0),
            column_ids: columns.iter().map(|name| Ok(find(name)?.0)).collect::<Result<_, Error>>()?,
            is_non_null_constraint: Some(false),
            hidden: Some(
                spec.indexes.iter().any(|i| i.sharded.as_ref().is_some_and(|(s, _)| columns.contains(s))),
            ),
            constraint_id: None,
        });
    }
    table.outbound_fks.clone_from(&spec.outbound_fks);
    table.inbound_fks.clone_from(&spec.inbound_fks);
    for (id, columns) in &spec.depended_on_by {
        table.depended_on_by.push(proto::Reference {
            id: Some(*id),
            index_id: Some(0),
            column_ids: columns.clone(),
            by_id: None,
        });
    }
    Ok(table)
}

fn directions(columns: &[(String, Direction)]) -> Vec<i32> {
    columns.iter().map(|(_, direction)| i32::from(*direction == Direction::Desc)).collect()
}

fn families<'s>(
    table: &mut TableDescriptor,
    spec: &'s TableSpec,
    find: &dyn Fn(&'s String) -> Result<(u32, &'s ColumnSpec), Error>,
) -> Result<(), Error> {
    let stored =
        |column: &&'s ColumnSpec| !column.computed.as_ref().is_some_and(|(_, is_virtual)| *is_virtual);
    let all: Vec<&String> = spec.columns.iter().filter(stored).map(|column| &column.name).collect();
    let key: Vec<&String> = spec.primary.iter().map(|(name, _)| name).collect();
    let own: Vec<(&str, Vec<&'s String>)> = if spec.families.is_empty() {
        vec![("primary", all)]
    } else {
        spec.families.iter().map(|(name, columns)| (name.as_str(), columns.iter().collect())).collect()
    };
    for (id, (name, columns)) in (0..).zip(own) {
        let ids: Vec<u32> = columns.iter().map(|&name| Ok(find(name)?.0)).collect::<Result<_, Error>>()?;
        // The default column is the only one that is not part of the key.
        let rest: Vec<u32> =
            columns.iter().zip(&ids).filter(|(name, _)| !key.contains(name)).map(|(_, id)| *id).collect();
        let default = if let [only] = rest.as_slice() { *only } else { 0 };
        table.families.push(ColumnFamily {
            name: Some(name.to_owned()),
            id: Some(id),
            column_names: columns.iter().map(|name| (*name).clone()).collect(),
            column_ids: ids,
            default_column_id: Some(default),
        });
    }
    table.next_family_id = u32::try_from(table.families.len()).ok();
    Ok(())
}

/// A sequence: id, database, schema, name; start and increment; tables (with columns) that use it.
pub fn sequence(
    (id, database, schema): (u32, u32, u32),
    name: &str,
    (start, increment): (i64, i64),
    users: &[(u32, Vec<u32>)],
    modified: i64,
) -> TableDescriptor {
    let zeros = |n: i32| Some(n);
    let value = ColumnDescriptor {
        name: Some("value".into()),
        id: Some(1),
        r#type: Some(InternalType {
            family: zeros(1),
            width: zeros(64),
            precision: zeros(0),
            visible_type: zeros(0),
            oid: Some(20),
            time_precision_is_set: Some(false),
            ..InternalType::default()
        }),
        nullable: Some(false),
        hidden: Some(false),
        pg_attribute_num: Some(0),
        alter_column_type_in_progress: Some(false),
        system_column_kind: Some(0),
        r#virtual: Some(false),
        ..ColumnDescriptor::default()
    };
    let mut table = empty_table(id, database, schema, name, modified);
    table.columns = vec![value];
    table.next_mutation_id = Some(0);
    table.primary_index = Some(IndexDescriptor {
        name: Some("primary".into()),
        id: Some(1),
        column_names: vec!["value".into()],
        column_ids: vec![1],
        column_directions: vec![0],
        version: Some(0),
        ..empty_index()
    });
    table.families = vec![ColumnFamily {
        name: Some("primary".into()),
        id: Some(0),
        column_names: vec!["value".into()],
        column_ids: vec![1],
        default_column_id: Some(1),
    }];
    for (id, columns) in users {
        table.depended_on_by.push(proto::Reference {
            id: Some(*id),
            index_id: Some(0),
            column_ids: columns.clone(),
            by_id: None,
        });
    }
    table.sequence_opts = Some(SequenceOpts {
        increment: Some(increment),
        min_value: Some(1),
        max_value: Some(i64::MAX),
        start: Some(start),
        r#virtual: Some(false),
        sequence_owner: Some(SequenceOwner { owner_column_id: Some(0), owner_table_id: Some(0) }),
        cache_size: None,
    });
    table
}

/// A view: its query, columns and the tables that it reads.
pub fn view(
    (id, database, schema): (u32, u32, u32),
    name: &str,
    query: &str,
    columns: &[ColumnSpec],
    depends_on: &[u32],
    modified: i64,
) -> Result<TableDescriptor, Error> {
    let mut table = empty_table(id, database, schema, name, modified);
    for (id, own) in (1..).zip(columns) {
        table.columns.push(column(id, own, &|_| None)?);
    }
    table.next_column_id = u32::try_from(columns.len() + 1).ok();
    table.view_query = Some(query.to_owned());
    table.depends_on = depends_on.to_vec();
    Ok(table)
}
