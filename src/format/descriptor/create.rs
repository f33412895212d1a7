//! CREATE statements as the server prints them in SHOW CREATE and SHOW BACKUP SCHEMAS.

use prost::Message;

use super::catalog::Catalog;
use super::expr;
use super::names::{ident, ident_list, literal};
use super::partition::implicit_columns;
use super::proto::{
    self, CONSTRAINT_CHECK, CheckConstraint, ColumnDescriptor, ConstraintToUpdate, DIRECTION_DROP,
    ForeignKey, IndexDescriptor, LocalityConfig, TableDescriptor, TypeDescriptor,
};
use super::types::TypeResolver;
use super::{DatabaseDescriptor, Error, SchemaDescriptor};

const VALIDITY_VALIDATED: i32 = 0;
const VALIDITY_UNVALIDATED: i32 = 1;
const MATCH_FULL: i32 = 1;

/// How the name of the object itself is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualify {
    /// `t`, as in SHOW BACKUP SCHEMAS.
    No,
    /// `public.t`, as in SHOW CREATE.
    Schema,
    /// `db.public.t`.
    Database,
}

impl Catalog {
    fn own_name(&self, table: &TableDescriptor, qualify: Qualify) -> String {
        match qualify {
            Qualify::No => ident(table.name()),
            Qualify::Schema => self.name_from(table.parent_id(), table),
            Qualify::Database => {
                let database = ident(&self.database_name(table.parent_id()));
                format!("{database}.{}", self.name_from(table.parent_id(), table))
            }
        }
    }

    /// The statement that makes a table, view or sequence, without a semicolon.
    pub fn create_statement(&self, table: &TableDescriptor, qualify: Qualify) -> Result<String, Error> {
        let name = self.own_name(table, qualify);
        if table.is_view() {
            return Ok(self.create_view(table, &name));
        }
        if let Some(options) = &table.sequence_opts {
            return Ok(create_sequence(options, &name, temporary(table)));
        }
        self.create_table(table, &name, &|_| true)
    }

    /// The statement as it can run: a table has only those foreign keys that `with` takes; materialized views
    /// are named so, without the columns that they get by themselves.
    pub fn create_runnable(
        &self,
        table: &TableDescriptor,
        with: &dyn Fn(&ForeignKey) -> bool,
    ) -> Result<String, Error> {
        let name = self.own_name(table, Qualify::Database);
        if table.is_view() && table.is_materialized_view() {
            let shown = table.columns.iter().filter(|column| !column.hidden() && !is_rowid(table, column));
            let columns = ident_list(shown.map(ColumnDescriptor::name));
            let query = expr::display(table.view_query(), self);
            return Ok(format!("CREATE MATERIALIZED VIEW {name} ({columns}) AS {query}"));
        }
        if table.is_view() || table.is_sequence() {
            return self.create_statement(table, Qualify::Database);
        }
        self.create_table(table, &name, with)
    }

    /// `ALTER TABLE … ADD CONSTRAINT …`; `None` when the table that it refers to is not in the backup.
    pub fn add_foreign_key(&self, table: &TableDescriptor, key: &ForeignKey) -> Option<String> {
        let name = self.own_name(table, Qualify::Database);
        Some(format!("ALTER TABLE {name} ADD {}", self.foreign_key(table, key)?))
    }

    /// `CREATE DATABASE`, with its regions.
    pub fn create_database(&self, database: &DatabaseDescriptor) -> String {
        let mut out = format!("CREATE DATABASE {}", ident(database.name()));
        let Some(config) = database.region_config.as_ref().filter(|c| !c.primary_region().is_empty()) else {
            return out;
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        out.push_str(&format!(" PRIMARY REGION {}", quoted(config.primary_region())));
        if let Some(regions) = self.type_by_id(config.region_enum_id()) {
            let names: Vec<String> = regions.enum_members.iter().map(|m| quoted(m.logical())).collect();
            out.push_str(&format!(" REGIONS = {}", names.join(", ")));
        }
        out.push_str(if config.survival_goal() == 1 {
            " SURVIVE REGION FAILURE"
        } else {
            " SURVIVE ZONE FAILURE"
        });
        out
    }

    fn create_view(&self, table: &TableDescriptor, name: &str) -> String {
        let columns = ident_list(table.columns.iter().map(ColumnDescriptor::name));
        let query = expr::display(table.view_query(), self);
        format!("CREATE {}VIEW {name} ({columns}) AS {query}", temporary(table))
    }

    fn create_table(
        &self,
        table: &TableDescriptor,
        name: &str,
        with: &dyn Fn(&ForeignKey) -> bool,
    ) -> Result<String, Error> {
        let mut parts = Vec::new();
        for column in table.columns.iter().filter(|column| !column.inaccessible()) {
            parts.push(self.column(column)?);
        }
        if let Some(primary) = &table.primary_index {
            let columns = self.index_columns(table, primary);
            parts.push(format!(
                "CONSTRAINT {} PRIMARY KEY ({columns}){}",
                ident(primary.name()),
                using_hash(primary)
            ));
        }
        let keys = table.outbound_fks.iter().filter(|key| with(key));
        parts.extend(keys.filter_map(|key| self.foreign_key(table, key)));
        for index in &table.indexes {
            parts.push(self.index(table, index)?);
        }
        for family in &table.families {
            // Columns that are being added or dropped are in a family already, or still.
            let named = family.column_ids.iter().zip(&family.column_names);
            let public = named.filter(|(id, _)| table.column(**id).is_some());
            let columns = ident_list(public.map(|(_, name)| name.as_str()));
            parts.push(format!("FAMILY {} ({columns})", ident(family.name())));
        }
        parts.extend(checks(table).iter().filter(|check| !check.hidden()).map(|check| self.check(check)));
        for unique in table.unique_without_index.iter().filter(|unique| is_settled(unique.validity())) {
            let columns =
                ident_list(unique.column_ids.iter().filter_map(|&id| Some(table.column(id)?.name())));
            let predicate = where_clause(unique.predicate(), self);
            let validity = not_valid(unique.validity());
            parts.push(format!(
                "CONSTRAINT {} UNIQUE WITHOUT INDEX ({columns}){predicate}{validity}",
                ident(unique.name())
            ));
        }
        let mut out = format!("CREATE {}TABLE {name} (\n\t{}\n)", temporary(table), parts.join(",\n\t"));
        if let Some(primary) = &table.primary_index {
            out.push_str(&self.interleave(table, primary));
            out.push_str(&self.partitions(table, primary, 0)?);
        }
        if let Some(locality) = &table.locality_config {
            out.push_str(&show_locality(locality));
        }
        Ok(out)
    }

    fn column(&self, column: &ColumnDescriptor) -> Result<String, Error> {
        let ty = column.r#type.clone().unwrap_or_default();
        let mut out = format!("{} {}", ident(column.name()), self.column_type(&ty)?);
        if column.hidden() {
            out.push_str(" NOT VISIBLE");
        }
        out.push_str(if column.nullable() { " NULL" } else { " NOT NULL" });
        let identity = match column.generated_as_identity_type() {
            1 => Some("ALWAYS"),
            2 => Some("BY DEFAULT"),
            _ => None,
        };
        if let Some(kind) = identity {
            out.push_str(&format!(" GENERATED {kind} AS IDENTITY"));
            let options = column.generated_as_identity_sequence_option();
            if !options.is_empty() {
                out.push_str(&format!(" ({options})"));
            }
        } else if let Some(default) = &column.default_expr {
            out.push_str(&format!(" DEFAULT {}", expr::display(default, self)));
        }
        if let Some(update) = &column.on_update_expr {
            out.push_str(&format!(" ON UPDATE {}", expr::display(update, self)));
        }
        if let Some(computed) = &column.compute_expr {
            let kind = if column.r#virtual() { "VIRTUAL" } else { "STORED" };
            out.push_str(&format!(" AS ({}) {kind}", expr::display(computed, self)));
        }
        Ok(out)
    }

    fn check(&self, check: &CheckConstraint) -> String {
        let shown = expr::display(check.expr(), self);
        let name = match check.name() {
            "" => String::new(),
            name => format!("CONSTRAINT {} ", ident(name)),
        };
        format!("{name}CHECK ({shown}){}", not_valid(check.validity()))
    }

    /// `None` when the table it refers to is not in the backup.
    fn foreign_key(&self, table: &TableDescriptor, key: &ForeignKey) -> Option<String> {
        let target = self.table(key.referenced_table_id())?;
        let columns = |table: &TableDescriptor, ids: &[u32]| {
            ident_list(ids.iter().filter_map(|&id| Some(table.column(id)?.name())))
        };
        let mut out = format!(
            "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {}({})",
            ident(key.name()),
            columns(table, &key.origin_column_ids),
            self.name_from(table.parent_id(), target),
            columns(target, &key.referenced_column_ids)
        );
        if key.r#match() == MATCH_FULL {
            out.push_str(" MATCH FULL");
        }
        for (event, action) in [("DELETE", key.on_delete()), ("UPDATE", key.on_update())] {
            if let Some(action) = action_name(action) {
                out.push_str(&format!(" ON {event} {action}"));
            }
        }
        out.push_str(not_valid(key.validity()));
        Some(out)
    }

    /// One index, as it stands inside CREATE TABLE.
    pub fn index(&self, table: &TableDescriptor, index: &IndexDescriptor) -> Result<String, Error> {
        let unique = if index.unique() { "UNIQUE " } else { "" };
        let inverted = if index.r#type() == proto::INDEX_INVERTED { "INVERTED " } else { "" };
        let mut out = format!(
            "{unique}{inverted}INDEX {} ({}){}",
            ident(index.name()),
            self.index_columns(table, index),
            using_hash(index)
        );
        if !index.store_column_names.is_empty() {
            out.push_str(&format!(
                " STORING ({})",
                ident_list(index.store_column_names.iter().map(String::as_str))
            ));
        }
        out.push_str(&self.interleave(table, index));
        out.push_str(&self.partitions(table, index, 1)?);
        out.push_str(&where_clause(index.predicate(), self));
        Ok(out)
    }

    /// Key columns with directions; the shard column of a hash-sharded index is not shown, nor are columns that
    /// only the partitions add. The hidden column of an expression is shown as that.
    fn index_columns(&self, table: &TableDescriptor, index: &IndexDescriptor) -> String {
        let shard = index.sharded.as_ref().filter(|sharded| sharded.is_sharded());
        let last = index.column_names.len().saturating_sub(1);
        let inverted = index.r#type() == proto::INDEX_INVERTED;
        let mut shown = Vec::new();
        for (at, name) in index.column_names.iter().enumerate().skip(implicit_columns(index)) {
            if shard.is_some_and(|sharded| sharded.name() == name) {
                continue;
            }
            let column = index.column_ids.get(at).and_then(|id| table.column(*id));
            let expression = column.filter(|column| column.inaccessible() && column.compute_expr.is_some());
            let key = match expression {
                Some(column) => key_expression(&expr::display(column.compute_expr(), self)),
                None => ident(name),
            };
            if inverted && at == last {
                shown.push(key);
                continue;
            }
            let descending = index.column_directions.get(at) == Some(&proto::DIRECTION_DESC);
            shown.push(format!("{key} {}", if descending { "DESC" } else { "ASC" }));
        }
        shown.join(", ")
    }

    fn interleave(&self, table: &TableDescriptor, index: &IndexDescriptor) -> String {
        let ancestors = index.interleave.as_ref().map_or(&[][..], |interleave| &interleave.ancestors);
        let Some(last) = ancestors.last() else { return String::new() };
        let shared: usize =
            ancestors.iter().filter_map(|a| usize::try_from(a.shared_prefix_len()).ok()).sum();
        let columns = ident_list(index.column_names.iter().take(shared).map(String::as_str));
        let parent = match self.table(last.table_id()) {
            Some(parent) => self.name_from(table.parent_id(), parent),
            None => format!("[{} as parent]", last.table_id()),
        };
        format!(" INTERLEAVE IN PARENT {parent} ({columns})")
    }

    /// `CREATE TYPE … AS ENUM`; `None` for array types, which come with their element.
    pub fn create_type(&self, ty: &TypeDescriptor, qualify: Qualify) -> Option<String> {
        if ty.kind() == proto::TYPE_ALIAS {
            return None;
        }
        let name = match qualify {
            Qualify::No => ident(ty.name()),
            Qualify::Schema => self.type_name(ty),
            Qualify::Database => {
                format!("{}.{}", ident(&self.database_name(ty.parent_id())), self.type_name(ty))
            }
        };
        let members: Vec<String> = ty.enum_members.iter().map(|member| literal(member.logical())).collect();
        Some(format!("CREATE TYPE {name} AS ENUM ({})", members.join(", ")))
    }

    /// `CREATE SCHEMA`.
    pub fn create_schema(&self, schema: &SchemaDescriptor, qualify: Qualify) -> String {
        match qualify {
            Qualify::Database => {
                let database = self.database_name(schema.parent_id());
                format!("CREATE SCHEMA {}.{}", ident(&database), ident(schema.name()))
            }
            _ => format!("CREATE SCHEMA {}", ident(schema.name())),
        }
    }
}

fn where_clause(predicate: &str, catalog: &Catalog) -> String {
    if predicate.is_empty() { String::new() } else { format!(" WHERE {}", expr::display(predicate, catalog)) }
}

fn not_valid(validity: i32) -> &'static str {
    if validity == VALIDITY_VALIDATED { "" } else { " NOT VALID" }
}

/// Whether a constraint stands in one place only: one that is being validated or dropped is in the mutations
/// too, which count.
fn is_settled(validity: i32) -> bool {
    matches!(validity, VALIDITY_VALIDATED | VALIDITY_UNVALIDATED)
}

/// The checks, then those that are being added.
fn checks(table: &TableDescriptor) -> Vec<CheckConstraint> {
    let settled = table.checks.iter().filter(|check| is_settled(check.validity())).cloned();
    let adding = table.mutations.iter().filter(|mutation| mutation.direction() != DIRECTION_DROP);
    let pending = adding.filter_map(|mutation| {
        let constraint = ConstraintToUpdate::decode(mutation.constraint.as_deref()?).ok()?;
        constraint.check.filter(|_| constraint.constraint_type.unwrap_or_default() == CONSTRAINT_CHECK)
    });
    settled.chain(pending).collect()
}

/// The key that a materialized view gets by itself.
fn is_rowid(table: &TableDescriptor, column: &ColumnDescriptor) -> bool {
    let key = table.primary_index.as_ref().map_or(&[][..], |index| &index.column_ids);
    key == [column.id()] && column.default_expr() == "unique_rowid()"
}

fn temporary(table: &TableDescriptor) -> &'static str {
    if table.temporary() { "TEMP " } else { "" }
}

fn action_name(action: i32) -> Option<&'static str> {
    match action {
        1 => Some("RESTRICT"),
        2 => Some("SET NULL"),
        3 => Some("SET DEFAULT"),
        4 => Some("CASCADE"),
        _ => None,
    }
}

/// An expression as the key of an index: in brackets, unless it is the call of a function.
fn key_expression(shown: &str) -> String {
    let name = shown.find('(').and_then(|at| shown.get(..at)).unwrap_or_default();
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // The bracket behind the name is closed by the last one.
    let mut depth = 0;
    let mut closed = 0;
    for c in shown.chars() {
        depth += i64::from(c == '(') - i64::from(c == ')');
        closed += usize::from(c == ')' && depth == 0);
    }
    if named && closed == 1 && shown.ends_with(')') { shown.to_owned() } else { format!("({shown})") }
}

fn using_hash(index: &IndexDescriptor) -> String {
    match index.sharded.as_ref().filter(|sharded| sharded.is_sharded()) {
        Some(sharded) => format!(" USING HASH WITH BUCKET_COUNT = {}", sharded.shard_buckets()),
        None => String::new(),
    }
}

fn create_sequence(options: &proto::SequenceOpts, name: &str, temporary: &str) -> String {
    let mut out = format!(
        "CREATE {temporary}SEQUENCE {name} MINVALUE {} MAXVALUE {} INCREMENT {} START {}",
        options.min_value(),
        options.max_value(),
        options.increment(),
        options.start()
    );
    if options.r#virtual() {
        out.push_str(" VIRTUAL");
    }
    if options.cache_size() > 1 {
        out.push_str(&format!(" CACHE {}", options.cache_size()));
    }
    out
}

fn show_locality(locality: &LocalityConfig) -> String {
    let name = |by: &proto::RegionalBy| by.name.clone().filter(|name| !name.is_empty());
    if locality.global.is_some() {
        " LOCALITY GLOBAL".into()
    } else if let Some(by) = &locality.regional_by_table {
        match name(by) {
            Some(region) => format!(" LOCALITY REGIONAL BY TABLE IN {}", ident(&region)),
            None => " LOCALITY REGIONAL BY TABLE IN PRIMARY REGION".into(),
        }
    } else if let Some(by) = &locality.regional_by_row {
        match name(by) {
            Some(column) => format!(" LOCALITY REGIONAL BY ROW AS {}", ident(&column)),
            None => " LOCALITY REGIONAL BY ROW".into(),
        }
    } else {
        String::new()
    }
}
