//! What SHOW BACKUP and SHOW BACKUPS print.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::destination::Source;
use crate::format::descriptor::create::Qualify;
use crate::format::descriptor::names::ident;
use crate::format::descriptor::privileges::{self, Holder};
use crate::format::descriptor::proto::{ForeignKey, TYPE_MULTIREGION_ENUM};
use crate::format::descriptor::{Catalog, Descriptor, TableDescriptor};
use crate::format::kv::key::{self, split_tenant};
use crate::format::kv::varint::Reader;
use crate::format::manifest::{COVERAGE_ALL, Manifest, Span, Timestamp, json};

use super::open::{Backup, Layer, list_backups};
use super::tabular::{Align, Table};
use super::{Error, pretty};

/// What to show of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Adds `create_statement` (SHOW BACKUP SCHEMAS).
    pub schemas: bool,
    /// Adds `privileges` and `owner`.
    pub privileges: bool,
    /// Adds ids.
    pub debug_ids: bool,
    /// Adds `backup_type`, as 21.2 and later do.
    pub backup_type: bool,
}

/// `2026-11-20 18:08:48.071932+00:00:00`: a time as the server's TIMESTAMP columns print.
pub fn timestamp(time: Timestamp) -> Option<String> {
    if time.is_zero() {
        return None;
    }
    let t: DateTime<Utc> = DateTime::from_timestamp_nanos(time.wall_time);
    let mut fraction = format!("{:06}", t.timestamp_subsec_micros());
    fraction.truncate(fraction.trim_end_matches('0').len());
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{}{dot}{fraction}+00:00:00", t.format("%Y-%m-%d %H:%M:%S")))
}

/// BYTES as the server's CSV and table output print them.
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        match byte {
            b'\\' => out += "\\\\",
            0x20..=0x7e => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out
}

/// SHOW BACKUPS IN.
pub fn backups(source: &dyn Source) -> Result<Table, Error> {
    let rows = list_backups(source)?.into_iter().map(|folder| vec![Some(folder)]).collect();
    Ok(Table { columns: vec![("path", Align::Left)], rows })
}

/// The table that a key belongs to.
pub fn table_of_key(key: &[u8]) -> Option<u32> {
    let (_, rest) = key::split_tenant(key).ok()?;
    let (table, _) = key::get_index_prefix(&mut Reader::new(rest)).ok()?;
    u32::try_from(table).ok()
}

/// SHOW BACKUP and SHOW BACKUP SCHEMAS: one row per descriptor and layer.
pub fn objects(backup: &Backup, details: Details) -> Result<Table, Error> {
    use Align::{Center, Left, Right};
    let mut columns = vec![("database_name", Left)];
    if details.debug_ids {
        columns.push(("database_id", Right));
    }
    columns.push(("parent_schema_name", Left));
    if details.debug_ids {
        columns.push(("parent_schema_id", Right));
    }
    columns.push(("object_name", Left));
    if details.debug_ids {
        columns.push(("object_id", Right));
    }
    columns.push(("object_type", Left));
    if details.backup_type {
        columns.push(("backup_type", Left));
    }
    columns.extend([
        ("start_time", Left),
        ("end_time", Left),
        ("size_bytes", Right),
        ("rows", Right),
        ("is_full_cluster", Center),
    ]);
    if details.schemas {
        columns.push(("create_statement", Left));
    }
    if details.privileges {
        columns.extend([("privileges", Left), ("owner", Left)]);
    }
    let mut table = Table { columns, rows: Vec::new() };
    for layer in &backup.layers {
        layer_objects(layer, details, &mut table.rows)?;
        let named = ["object_name", "object_id", "object_type", "backup_type", "start_time", "end_time"];
        let at = named.map(|name| table.columns.iter().position(|(own, _)| *own == name));
        for id in layer.manifest.tenant_ids() {
            let cells = [
                Some(id.to_string()),
                Some(id.to_string()),
                Some("TENANT".into()),
                Some(kind(&layer.manifest).to_owned()),
                timestamp(layer.manifest.start()),
                timestamp(layer.manifest.end()),
            ];
            let mut row = vec![None; table.columns.len()];
            for (at, cell) in at.iter().zip(cells) {
                if let Some(place) = at.and_then(|at| row.get_mut(at)) {
                    *place = cell;
                }
            }
            table.rows.push(row);
        }
    }
    Ok(table)
}

/// SHOW BACKUP WITH as_json: the manifest of each layer.
pub fn manifests(backup: &Backup) -> Result<Table, Error> {
    let row = |layer: &Layer| {
        let text = json::manifest(&layer.manifest.encode())
            .map_err(|cause| Error::Manifest { file: layer.source.place(&layer.manifest_name), cause })?;
        Ok(vec![Some(text)])
    };
    let rows = backup.layers.iter().map(row).collect::<Result<_, Error>>()?;
    Ok(Table { columns: vec![("manifest", Align::Left)], rows })
}

fn layer_objects(layer: &Layer, details: Details, rows: &mut Vec<Vec<Option<String>>>) -> Result<(), Error> {
    let manifest = &layer.manifest;
    let catalog = Catalog::of_manifest(manifest)?;
    let mut sizes: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for file in &manifest.files {
        let key = file.span.as_ref().map_or(&[][..], |span| &span.key);
        // Tables of other tenants may have the same ids.
        let own =
            key.strip_prefix(catalog.key_prefix()).filter(|rest| split_tenant(rest) == Ok((None, rest)));
        if let (Some(table), Some(counts)) = (own.and_then(table_of_key), file.entry_counts) {
            let size = sizes.entry(table).or_default();
            *size = (size.0.saturating_add(counts.data_size()), size.1.saturating_add(counts.rows()));
        }
    }
    let is_cluster = (manifest.descriptor_coverage == COVERAGE_ALL).to_string();
    for (descriptor, object) in catalog.descriptors().iter().zip(catalog.objects()) {
        let (database_id, schema_id) = parents(descriptor);
        let some_id = |id: u32| (id != 0).then(|| id.to_string());
        let mut row = vec![object.database];
        if details.debug_ids {
            row.push(some_id(database_id));
        }
        row.push(object.schema);
        if details.debug_ids {
            row.push(some_id(schema_id));
        }
        row.push(Some(object.name.clone()));
        if details.debug_ids {
            row.push(Some(object.id.to_string()));
        }
        row.push(Some(object.kind.to_owned()));
        if details.backup_type {
            row.push(Some(kind(manifest).to_owned()));
        }
        row.extend([timestamp(manifest.start()), timestamp(manifest.end())]);
        let mut create = None;
        if let Descriptor::Table(table) = descriptor {
            let (bytes, count) = sizes.get(&object.id).copied().unwrap_or_default();
            row.extend([Some(bytes.to_string()), Some(count.to_string())]);
            // Of one whose types are not in the backup there is none to show, of the others there is.
            create = catalog.create_statement(table, Qualify::No).ok();
        } else {
            row.extend([None, None]);
        }
        row.push(Some(is_cluster.clone()));
        if details.schemas {
            row.push(create);
        }
        if details.privileges {
            let found = descriptor.privileges();
            let holder = match descriptor {
                Descriptor::Database(_) => Holder::Database,
                Descriptor::Schema(_) => Holder::Schema,
                Descriptor::Type(_) => Holder::Type,
                Descriptor::Table(_) | Descriptor::Other(_) => Holder::Table,
            };
            let grants = found.map_or(String::new(), |p| privileges::grants(p, holder, &object.name));
            row.push(Some(grants));
            row.push(Some(found.map_or(String::new(), |p| p.owner().to_owned())));
        }
        rows.push(row);
    }
    Ok(())
}

fn kind(manifest: &Manifest) -> &'static str {
    if manifest.is_full() { "full" } else { "incremental" }
}

/// Ids of database and schema.
fn parents(descriptor: &Descriptor) -> (u32, u32) {
    match descriptor {
        Descriptor::Schema(schema) => (schema.parent_id(), 0),
        Descriptor::Type(ty) => (ty.parent_id(), ty.parent_schema_id()),
        Descriptor::Table(table) => (table.parent_id(), table.unexposed_parent_schema_id()),
        Descriptor::Database(_) | Descriptor::Other(_) => (0, 0),
    }
}

fn span_cells(span: &Span) -> [Option<String>; 4] {
    [
        Some(pretty::key(&span.key)),
        Some(pretty::key(&span.end_key)),
        Some(escape_bytes(&span.key)),
        Some(escape_bytes(&span.end_key)),
    ]
}

/// SHOW BACKUP FILES.
pub fn files(backup: &Backup) -> Table {
    use Align::{Left, Right};
    let columns = vec![
        ("path", Left),
        ("start_pretty", Left),
        ("end_pretty", Left),
        ("start_key", Left),
        ("end_key", Left),
        ("size_bytes", Right),
        ("rows", Right),
    ];
    let mut rows = Vec::new();
    for file in backup.layers.iter().flat_map(|layer| &layer.manifest.files) {
        let counts = file.entry_counts.unwrap_or_default();
        let mut row = vec![Some(file.path.clone())];
        row.extend(span_cells(&file.span.clone().unwrap_or_default()));
        row.extend([Some(counts.data_size().to_string()), Some(counts.rows().to_string())]);
        rows.push(row);
    }
    Table { columns, rows }
}

/// SHOW BACKUP RANGES.
pub fn ranges(backup: &Backup) -> Table {
    use Align::Left;
    let columns = vec![("start_pretty", Left), ("end_pretty", Left), ("start_key", Left), ("end_key", Left)];
    let spans = backup.layers.iter().flat_map(|layer| &layer.manifest.spans);
    Table { columns, rows: spans.map(|span| span_cells(span).to_vec()).collect() }
}

/// The schema as a script: statements in an order in which they can run.
pub fn script(backup: &Backup) -> Result<String, Error> {
    let Some(layer) = backup.layers.last() else { return Ok(String::new()) };
    let catalog = Catalog::of_manifest(&layer.manifest)?;
    let mut script = Script { catalog: &catalog, out: String::new(), current: None };
    let visible: Vec<&TableDescriptor> = catalog.tables().filter(|table| table.is_visible()).collect();
    for descriptor in catalog.descriptors() {
        if let Descriptor::Database(database) = descriptor {
            script.push(&catalog.create_database(database));
        }
    }
    for descriptor in catalog.descriptors() {
        if let Descriptor::Schema(schema) = descriptor {
            script.within(schema.parent_id(), &catalog.create_schema(schema, Qualify::Database));
        }
    }
    for descriptor in catalog.descriptors() {
        if let Descriptor::Type(ty) = descriptor
            && ty.kind() != TYPE_MULTIREGION_ENUM
            && let Some(statement) = catalog.create_type(ty, Qualify::Database)
        {
            script.within(ty.parent_id(), &statement);
        }
    }
    // Sequences first: defaults of tables use them. Foreign keys to tables that come later stand behind all.
    let mut made = BTreeSet::new();
    for sequences in [true, false] {
        for table in visible.iter().filter(|table| !table.is_view() && table.is_sequence() == sequences) {
            made.insert(table.id());
            let there = |key: &ForeignKey| made.contains(&key.referenced_table_id());
            script.within(table.parent_id(), &catalog.create_runnable(table, &there)?);
        }
    }
    made.clear();
    for table in visible.iter().filter(|table| !table.is_view() && !table.is_sequence()) {
        made.insert(table.id());
        for key in table.outbound_fks.iter().filter(|key| !made.contains(&key.referenced_table_id())) {
            if let Some(statement) = catalog.add_foreign_key(table, key) {
                script.within(table.parent_id(), &statement);
            }
        }
    }
    // Views last, each behind those that it uses.
    let mut views: Vec<&TableDescriptor> = visible.into_iter().filter(|table| table.is_view()).collect();
    while !views.is_empty() {
        let waits = |view: &TableDescriptor| {
            view.depends_on.iter().any(|id| *id != view.id() && views.iter().any(|other| other.id() == *id))
        };
        let at = views.iter().position(|view| !waits(view)).unwrap_or(0);
        let view = views.remove(at);
        script.within(view.parent_id(), &catalog.create_runnable(view, &|_| true)?);
    }
    Ok(script.out)
}

/// Statements, and the database in which the last one ran.
struct Script<'c> {
    catalog: &'c Catalog,
    out: String,
    current: Option<u32>,
}

impl Script<'_> {
    fn push(&mut self, statement: &str) {
        let _ = writeln!(self.out, "{statement};");
    }

    /// Names of schemas in a statement are those of its database.
    fn within(&mut self, database: u32, statement: &str) {
        if self.current != Some(database) {
            self.current = Some(database);
            self.push(&format!("USE {}", ident(&self.catalog.database_name(database))));
        }
        self.push(statement);
    }
}
