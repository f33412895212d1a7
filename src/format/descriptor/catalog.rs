//! The descriptors of one moment, with answers across them.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::kv::types::ColumnType;
use crate::format::manifest::{Manifest, Timestamp};

use super::expr::ExprNames;
use super::names::{ident, split_qualified};
use super::proto::{self, ForeignKey, FunctionHead, TypeDescriptor};
use super::types::{self, TypeResolver};
use super::{DatabaseDescriptor, Descriptor, Error, InternalType, SchemaDescriptor, TableDescriptor};

/// The id that stood for the public schema up to 21.2.
pub const PUBLIC_SCHEMA_ID: u32 = 29;

/// Tables that an error names at most.
const CANDIDATES_MAX: usize = 20;

/// All descriptors of a backup at one time.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// What the keys of all tables begin with.
    key_prefix: Vec<u8>,
    descriptors: Vec<Descriptor>,
    by_id: BTreeMap<u32, usize>,
}

/// One line of SHOW BACKUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    #[allow(missing_docs)]
    pub id: u32,
    /// `None` for databases, and where the backup does not have the database.
    pub database: Option<String>,
    /// `None` for databases and schemas, and where the backup does not have the schema.
    pub schema: Option<String>,
    #[allow(missing_docs)]
    pub name: String,
    /// `database`, `schema`, `type`, `table`, `function` or `unknown`.
    pub kind: &'static str,
}

impl Catalog {
    /// From raw descriptors, order kept.
    pub fn new<'a>(raw: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let descriptors: Vec<Descriptor> =
            raw.into_iter().map(Descriptor::decode).collect::<Result<_, _>>()?;
        let mut catalog = Self { key_prefix: Vec::new(), by_id: BTreeMap::new(), descriptors };
        for (at, descriptor) in catalog.descriptors.iter().enumerate() {
            catalog.by_id.entry(descriptor.id()).or_insert(at);
        }
        catalog.upgrade_foreign_keys();
        Ok(catalog)
    }

    /// The descriptors at the end of a layer.
    pub fn of_manifest(manifest: &Manifest) -> Result<Self, Error> {
        let catalog = Self::new(manifest.descriptors.iter().map(Vec::as_slice))?;
        Ok(Self { key_prefix: manifest.key_prefix().to_vec(), ..catalog })
    }

    /// What the keys of all tables begin with: the prefix of the tenant that made the backup, or nothing.
    pub fn key_prefix(&self) -> &[u8] {
        &self.key_prefix
    }

    /// The descriptors at `at`, a time within the last of the layers (which are oldest first).
    ///
    /// Without a history of descriptors it is those at the end of the layer.
    pub fn at(layers: &[&Manifest], at: Timestamp) -> Result<Self, Error> {
        let Some((last, earlier)) = layers.split_last() else { return Ok(Self::default()) };
        if at.order() >= last.end().order() || last.descriptor_changes.is_empty() {
            return Self::of_manifest(last);
        }
        let changed: BTreeSet<u32> = last.descriptor_changes.iter().map(|change| change.id).collect();
        let mut raw: BTreeMap<u32, &[u8]> = BTreeMap::new();
        let previous = earlier.last().map_or(&[][..], |layer| layer.descriptors.as_slice());
        for bytes in previous {
            raw.insert(Descriptor::decode(bytes)?.id(), bytes);
        }
        for bytes in &last.descriptors {
            let id = Descriptor::decode(bytes)?.id();
            if !changed.contains(&id) {
                raw.insert(id, bytes);
            }
        }
        for change in &last.descriptor_changes {
            if Timestamp::from(change.time.unwrap_or_default()).order() > at.order() {
                continue;
            }
            match &change.desc {
                Some(bytes) => raw.insert(change.id, bytes),
                None => raw.remove(&change.id),
            };
        }
        let catalog = Self::new(raw.into_values())?;
        Ok(Self { key_prefix: last.key_prefix().to_vec(), ..catalog })
    }

    /// All of them, in stored order.
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    fn get(&self, id: u32) -> Option<&Descriptor> {
        self.descriptors.get(*self.by_id.get(&id)?)
    }

    /// A table, view or sequence by id.
    pub fn table(&self, id: u32) -> Option<&TableDescriptor> {
        match self.get(id)? {
            Descriptor::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A database by id.
    pub fn database(&self, id: u32) -> Option<&DatabaseDescriptor> {
        match self.get(id)? {
            Descriptor::Database(database) => Some(database),
            _ => None,
        }
    }

    /// A schema by id.
    pub fn schema(&self, id: u32) -> Option<&SchemaDescriptor> {
        match self.get(id)? {
            Descriptor::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// All tables, views and sequences, in stored order.
    pub fn tables(&self) -> impl Iterator<Item = &TableDescriptor> {
        self.descriptors.iter().filter_map(|descriptor| match descriptor {
            Descriptor::Table(table) => Some(&**table),
            _ => None,
        })
    }

    /// Name of the database, or its id in brackets when the backup does not have it.
    pub fn database_name(&self, id: u32) -> String {
        self.known_database(id).unwrap_or_else(|| format!("[{id}]"))
    }

    fn known_database(&self, id: u32) -> Option<String> {
        self.database(id).map(|database| database.name().to_owned())
    }

    /// Name of a schema of a database; `public` for the ids that stood for it. Its id in brackets when the
    /// backup does not have it, as with the schemas of temporary tables.
    pub fn schema_name(&self, database: u32, id: u32) -> String {
        self.known_schema(database, id).unwrap_or_else(|| format!("[{id}]"))
    }

    fn known_schema(&self, database: u32, id: u32) -> Option<String> {
        if id == 0 || id == PUBLIC_SCHEMA_ID {
            return Some("public".into());
        }
        if let Some(schema) = self.schema(id) {
            return Some(schema.name().to_owned());
        }
        let entries = &self.database(database)?.schemas;
        entries.iter().find(|(_, info)| info.id() == id).map(|(name, _)| name.clone())
    }

    /// Name of a table's schema.
    pub fn table_schema(&self, table: &TableDescriptor) -> String {
        self.schema_name(table.parent_id(), table.unexposed_parent_schema_id())
    }

    /// `database.schema.table`, unquoted.
    pub fn full_name(&self, table: &TableDescriptor) -> String {
        format!("{}.{}.{}", self.database_name(table.parent_id()), self.table_schema(table), table.name())
    }

    /// `schema.table` or, from another database, `database.schema.table`, quoted.
    pub fn name_from(&self, database: u32, table: &TableDescriptor) -> String {
        let local = format!("{}.{}", ident(&self.table_schema(table)), ident(table.name()));
        if table.parent_id() == database {
            return local;
        }
        format!("{}.{local}", ident(&self.database_name(table.parent_id())))
    }

    /// Finds `db.schema.table`, `db.table` (schema public), or `table` when only one table is so called; `[53]`
    /// is the table with that id. Upper and lower case are told apart only where a name is exactly so.
    pub fn find_table(&self, name: &str) -> Result<&TableDescriptor, Error> {
        if let Some(id) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let id = id.trim().parse().ok();
            let found = id.and_then(|id| self.table(id)).filter(|table| table.is_visible());
            return found.ok_or_else(|| Error::NotFound(format!("table {name} is not in the backup")));
        }
        let parts = split_qualified(name)
            .ok_or_else(|| Error::NotFound(format!("{name:?} is not a table name: want db.schema.table")))?;
        let mut found = self.tables_called(&parts);
        if found.is_empty() {
            let folded: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
            found = self.tables_called(&folded);
        }
        match found.as_slice() {
            [table] => Ok(table),
            [] => Err(Error::NotFound(self.not_found(name, &parts))),
            several => {
                let ids = several
                    .iter()
                    .take(CANDIDATES_MAX)
                    .map(|t| format!("{} [{}]", self.full_name(t), t.id()));
                let ids: Vec<String> = ids.collect();
                Err(Error::NotFound(format!(
                    "table name {name} is ambiguous: give db.schema.table, or an id in brackets: {}",
                    ids.join(", ")
                )))
            }
        }
    }

    fn tables_called(&self, parts: &[String]) -> Vec<&TableDescriptor> {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let matches = |table: &&TableDescriptor| {
            let database = || self.database_name(table.parent_id());
            match parts.as_slice() {
                [t] => table.name() == *t,
                [a, t] => {
                    let schema = self.table_schema(table);
                    table.name() == *t && ((database() == *a && schema == "public") || schema == *a)
                }
                [d, s, t] => table.name() == *t && self.table_schema(table) == *s && database() == *d,
                _ => false,
            }
        };
        self.tables().filter(|table| table.is_visible()).filter(matches).collect()
    }

    /// What to say of a name that no table has.
    fn not_found(&self, name: &str, parts: &[String]) -> String {
        let own = parts.last().map_or(String::new(), |part| part.to_lowercase());
        let same = |table: &&TableDescriptor| table.name().to_lowercase() == own;
        let hidden = self.tables().filter(same).find(|table| !table.is_visible());
        if let Some(table) = hidden {
            let state = if table.state() == proto::STATE_DROP { "dropped" } else { "offline" };
            return format!("table {:?} was {state} when the backup was made", self.full_name(table));
        }
        let visible = || self.tables().filter(|table| table.is_visible());
        let named: Vec<String> = visible().filter(same).map(|table| self.full_name(table)).collect();
        let all: Vec<String> =
            if named.is_empty() { visible().map(|table| self.full_name(table)).collect() } else { named };
        let mut shown = all.iter().take(CANDIDATES_MAX).cloned().collect::<Vec<_>>().join(", ");
        if all.len() > CANDIDATES_MAX {
            shown.push_str(", ...");
        }
        let these = if all.is_empty() { "which has none".to_owned() } else { format!("which has {shown}") };
        format!("table {name:?} is not in the backup, {these}")
    }

    /// The lines of SHOW BACKUP, in stored order.
    pub fn objects(&self) -> Vec<Object> {
        self.descriptors.iter().map(|descriptor| self.object(descriptor)).collect()
    }

    fn object(&self, descriptor: &Descriptor) -> Object {
        let object = |database, schema, kind| Object {
            id: descriptor.id(),
            database,
            schema,
            name: descriptor.name().to_owned(),
            kind,
        };
        match descriptor {
            Descriptor::Database(_) => object(None, None, "database"),
            Descriptor::Schema(schema) => object(self.known_database(schema.parent_id()), None, "schema"),
            Descriptor::Type(ty) => object(
                self.known_database(ty.parent_id()),
                self.known_schema(ty.parent_id(), ty.parent_schema_id()),
                "type",
            ),
            Descriptor::Table(table) => object(
                self.known_database(table.parent_id()),
                self.known_schema(table.parent_id(), table.unexposed_parent_schema_id()),
                "table",
            ),
            Descriptor::Other(raw) => match FunctionHead::of(raw) {
                Some(function) => Object {
                    id: function.id(),
                    database: self.known_database(function.parent_id()),
                    schema: self.known_schema(function.parent_id(), function.parent_schema_id()),
                    name: function.name().to_owned(),
                    kind: "function",
                },
                None => object(None, None, "unknown"),
            },
        }
    }

    /// Translates a column's type.
    pub fn column_type(&self, ty: &InternalType) -> Result<ColumnType, Error> {
        types::column_type(ty, self)
    }

    /// Foreign keys of before 20.1 stand inside indexes; makes constraints of them.
    fn upgrade_foreign_keys(&mut self) {
        let mut found: Vec<ForeignKey> = Vec::new();
        for table in self.tables() {
            if !table.outbound_fks.is_empty() {
                continue;
            }
            for index in table.all_indexes() {
                let Some(reference) = index.foreign_key.as_ref().filter(|fk| fk.table() != 0) else {
                    continue;
                };
                let Some(target) = self.table(reference.table()) else { continue };
                let Some(target_index) = target.all_indexes().find(|i| i.id() == reference.index()) else {
                    continue;
                };
                let len = match usize::try_from(reference.shared_prefix_len()) {
                    Ok(len) if len > 0 => len,
                    _ => index.column_ids.len(),
                };
                found.push(ForeignKey {
                    origin_table_id: Some(table.id()),
                    origin_column_ids: index.column_ids.iter().copied().take(len).collect(),
                    referenced_column_ids: target_index.column_ids.iter().copied().take(len).collect(),
                    referenced_table_id: Some(target.id()),
                    name: Some(reference.name().to_owned()),
                    validity: Some(reference.validity()),
                    on_delete: Some(reference.on_delete()),
                    on_update: Some(reference.on_update()),
                    r#match: Some(reference.r#match()),
                    constraint_id: None,
                });
            }
        }
        for key in found {
            if let Some(table) = self.table_mut(key.origin_table_id()) {
                table.outbound_fks.push(key.clone());
            }
            if let Some(table) = self.table_mut(key.referenced_table_id()) {
                table.inbound_fks.push(key);
            }
        }
    }

    fn table_mut(&mut self, id: u32) -> Option<&mut TableDescriptor> {
        match self.descriptors.get_mut(*self.by_id.get(&id)?)? {
            Descriptor::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl TypeResolver for Catalog {
    fn type_by_id(&self, id: u32) -> Option<&TypeDescriptor> {
        match self.get(id)? {
            Descriptor::Type(ty) => Some(ty),
            _ => None,
        }
    }

    fn type_name(&self, ty: &TypeDescriptor) -> String {
        format!("{}.{}", ident(&self.schema_name(ty.parent_id(), ty.parent_schema_id())), ident(ty.name()))
    }
}

impl ExprNames for Catalog {
    fn type_by_oid(&self, oid: u32) -> Option<String> {
        let ty = self.type_by_id(types::user_type_id(oid)?)?;
        if ty.kind() != proto::TYPE_ALIAS {
            return Some(self.type_name(ty));
        }
        let contents = ty.alias.as_ref()?.array_contents.as_ref()?;
        let element = self.type_by_id(types::user_type_id(contents.oid())?)?;
        Some(format!("{}[]", self.type_name(element)))
    }

    fn enum_label(&self, oid: u32, physical: &[u8]) -> Option<String> {
        let ty = self.type_by_id(types::user_type_id(oid)?)?;
        let member = ty.enum_members.iter().find(|member| member.physical() == physical)?;
        Some(member.logical().to_owned())
    }

    fn relation(&self, id: u32) -> Option<String> {
        let table = self.table(id)?;
        Some(self.name_from(table.parent_id(), table))
    }
}
