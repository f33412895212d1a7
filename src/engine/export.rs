//! Rows as text.

use std::sync::Arc;

use crate::format::descriptor::names::{ident, ident_list};
use crate::format::descriptor::{Catalog, TableDescriptor};
use crate::format::kv::datum::Datum;
use crate::format::kv::error::Error as KvError;
use crate::format::kv::layout::{Column, IndexLayout, TableLayout};
use crate::format::kv::text::Style;
use crate::format::kv::types::ColumnType;

use super::Error;
use super::eval::{self, Expr};
use super::table::{Row, State};
use super::tabular::json_string;

/// Rows in one INSERT statement.
const INSERT_ROWS: usize = 100;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A header, then a line per row; NULL is empty, the empty text is `""`.
    Csv,
    /// An object per row: each column as the text of a cast to STRING, BYTES as hex, NULL as null; names
    /// sorted.
    Jsonl,
    /// INSERT statements.
    Sql,
    /// PostgreSQL's COPY text format, rows only.
    PgCopy,
}

struct Out<'l> {
    position: usize,
    column: &'l Column,
    /// `"name": ` for jsonl.
    label: String,
    /// For virtual columns.
    expr: Option<Expr>,
    /// Rows for which it failed.
    failed: u64,
}

/// Writes the rows of one table.
pub struct Exporter<'l> {
    format: ExportFormat,
    columns: Vec<Out<'l>>,
    insert: String,
    pending: usize,
    scratch: Vec<u8>,
    /// Things to tell: columns that could not be computed.
    pub notices: Vec<String>,
}

impl<'l> Exporter<'l> {
    /// For a table. `sql` and `pgcopy` leave out computed columns and the hidden key of tables without one:
    /// the target computes them.
    pub fn new(
        format: ExportFormat,
        catalog: &Catalog,
        table: &TableDescriptor,
        layout: &'l TableLayout,
    ) -> Self {
        let mut notices = Vec::new();
        let mut columns = Vec::new();
        for (position, column) in layout.columns.iter().enumerate() {
            let descriptor = table.columns.get(position).cloned().unwrap_or_default();
            let computed = descriptor.compute_expr.is_some();
            let loads = matches!(format, ExportFormat::Sql | ExportFormat::PgCopy);
            if loads && (computed || descriptor.hidden()) {
                continue;
            }
            let mut expr = None;
            // One that is part of the primary key stands in the keys.
            let in_key = layout.primary.columns.iter().any(|key| key.id == column.id);
            if column.is_virtual && !in_key {
                expr = eval::computed(descriptor.compute_expr(), &column.ty, layout);
                if expr.is_none() {
                    notices.push(format!(
                        "column {} is virtual and not in the backup; its expression is not evaluated here: NULL",
                        column.name
                    ));
                }
            }
            let label = format!("{}: ", json_string(&column.name));
            columns.push(Out { position, column, label, expr, failed: 0 });
        }
        if format == ExportFormat::Jsonl {
            columns.sort_by(|a, b| a.column.name.cmp(&b.column.name));
        }
        let name = format!("{}.{}", ident(&catalog.table_schema(table)), ident(table.name()));
        let list = ident_list(columns.iter().map(|out| out.column.name.as_str()));
        let insert = format!("INSERT INTO {name} ({list}) VALUES");
        Self { format, columns, insert, pending: 0, scratch: Vec::new(), notices }
    }

    /// What stands before the rows.
    pub fn begin(&self, out: &mut Vec<u8>) {
        if self.format == ExportFormat::Csv {
            for (at, column) in self.columns.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                csv_field(column.column.name.as_bytes(), out);
            }
            out.push(b'\n');
        }
    }

    /// Appends a row.
    pub fn row(&mut self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), KvError> {
        match self.format {
            ExportFormat::Jsonl => out.push(b'{'),
            ExportFormat::Sql if self.pending == 0 => {
                out.extend_from_slice(self.insert.as_bytes());
                out.extend_from_slice(b"\n\t(");
            }
            ExportFormat::Sql => out.extend_from_slice(b",\n\t("),
            ExportFormat::Csv | ExportFormat::PgCopy => {}
        }
        for (at, column) in self.columns.iter_mut().enumerate() {
            if at > 0 {
                out.extend_from_slice(match self.format {
                    ExportFormat::Csv => b",",
                    ExportFormat::Jsonl | ExportFormat::Sql => b", ",
                    ExportFormat::PgCopy => b"\t",
                });
            }
            let computed = column.expr.as_ref().map(|expr| expr.value(row));
            column.failed += u64::from(computed == Some(None));
            let computed = computed.map(|value| value.unwrap_or(Datum::Null));
            let Some(datum) = computed.as_ref().or_else(|| row.get(column.position)) else { continue };
            let ty = &column.column.ty;
            match self.format {
                ExportFormat::Jsonl => {
                    out.extend_from_slice(column.label.as_bytes());
                    json_field(datum, ty, &mut self.scratch, out)?;
                }
                ExportFormat::Csv => {
                    self.scratch.clear();
                    if datum.write_text(ty, Style::Postgres, &mut self.scratch)? {
                        csv_field(&self.scratch, out);
                    }
                }
                ExportFormat::PgCopy => datum.write_copy(ty, out)?,
                ExportFormat::Sql => datum.write_sql(ty, out)?,
            }
        }
        match self.format {
            ExportFormat::Jsonl => out.extend_from_slice(b"}\n"),
            ExportFormat::Csv | ExportFormat::PgCopy => out.push(b'\n'),
            ExportFormat::Sql => {
                out.push(b')');
                self.pending += 1;
                if self.pending == INSERT_ROWS {
                    self.end(out);
                }
            }
        }
        Ok(())
    }

    /// What stands behind the rows.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.pending > 0 {
            out.extend_from_slice(b";\n");
            self.pending = 0;
        }
    }

    /// What there is to tell after the last row.
    fn told(self) -> Vec<String> {
        let failed = self.columns.iter().filter(|column| column.failed > 0).map(|column| {
            let (name, count) = (&column.column.name, column.failed);
            format!("the expression of virtual column {name} could not be computed for {count} rows: NULL")
        });
        let failed: Vec<String> = failed.collect();
        self.notices.into_iter().chain(failed).collect()
    }
}

fn json_field(
    datum: &Datum<'_>,
    ty: &ColumnType,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), KvError> {
    scratch.clear();
    if !datum.write_text(ty, Style::Cast, scratch)? {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let plain = |&byte: &u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if scratch.iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(scratch);
        out.push(b'"');
    } else {
        out.extend_from_slice(json_string(&String::from_utf8_lossy(scratch)).as_bytes());
    }
    Ok(())
}

fn csv_field(text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.iter().any(special) && text != b"\\." {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What can go wrong while rows are written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The backup.
    #[error(transparent)]
    Backup(#[from] Error),
    /// The output.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Bytes that are gathered before they are written.
const WRITE_LEN: usize = 1 << 18;

impl State<'_> {
    /// Writes all rows of a table, or the value of a sequence. Returns the number of rows and notices.
    ///
    /// # Errors
    /// The name is unknown, the data is damaged, or the output cannot be written; rows before that are out.
    pub fn export(
        &self,
        name: &str,
        format: ExportFormat,
        out: &mut dyn std::io::Write,
    ) -> Result<(u64, Vec<String>), ExportError> {
        let table = self.catalog.find_table(name).map_err(Error::from)?;
        if !table.has_data() {
            let full = self.catalog.full_name(table);
            return Err(Error::Request(format!("{full} is a view: it has no rows of its own")).into());
        }
        let layout = Arc::new(if table.is_sequence() {
            sequence_layout(&self.catalog, table)
        } else {
            self.catalog.layout(table).map_err(Error::from)?
        });
        let mut exporter = Exporter::new(format, &self.catalog, table, &layout);
        let mut buf = Vec::with_capacity(WRITE_LEN * 2);
        let mut count = 0;
        exporter.begin(&mut buf);
        let mut write = |row: &Row<'_>, exporter: &mut Exporter<'_>| {
            exporter.row(row, &mut buf).map_err(|error| {
                let full = self.catalog.full_name(table);
                Error::Request(format!("row {} of {full}: {error}", count + 1))
            })?;
            count += 1;
            if buf.len() >= WRITE_LEN {
                out.write_all(&buf)?;
                buf.clear();
            }
            Ok::<(), ExportError>(())
        };
        if table.is_sequence() {
            if let Some(value) = self.sequence_value(table)? {
                write(&[Datum::Int(value), Datum::Int(0), Datum::Bool(true)], &mut exporter)?;
            }
        } else {
            self.rows(table, &layout, &mut |row: &Row<'_>| write(row, &mut exporter))?;
        }
        exporter.end(&mut buf);
        out.write_all(&buf)?;
        out.flush()?;
        Ok((count, exporter.told()))
    }
}

/// What SELECT shows of a sequence.
fn sequence_layout(catalog: &Catalog, table: &TableDescriptor) -> TableLayout {
    let column = |id: u32, name: &str, ty: ColumnType| Column {
        id,
        name: name.to_owned(),
        ty,
        nullable: false,
        is_virtual: false,
    };
    TableLayout {
        key_prefix: Vec::new(),
        table_id: table.id(),
        name: catalog.full_name(table),
        columns: vec![
            column(1, "last_value", ColumnType::INT8),
            column(2, "log_cnt", ColumnType::INT8),
            column(3, "is_called", ColumnType::Bool),
        ],
        primary: IndexLayout::primary(Vec::new()),
        families: Vec::new(),
        indexes: Vec::new(),
    }
}
