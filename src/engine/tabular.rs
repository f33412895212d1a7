//! Result rows and how they are printed, the ways of `cockroach sql --format`.

use crate::util::plural::counted;
use std::fmt::Write as _;

/// How a column is set in the table form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
    /// Booleans.
    Center,
}

/// Rows of a result; `None` is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names and alignments.
    pub columns: Vec<(&'static str, Align)>,
    /// One text per column.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A way to print rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For reading.
    Table,
    /// Comma-separated, quoted where needed.
    Csv,
    /// Tab-separated, quoted where needed.
    Tsv,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// One block a row.
    Records,
    /// INSERT statements.
    Sql,
    /// Lengths before values.
    Raw,
    /// An HTML table.
    Html,
}

impl Format {
    /// Names and formats.
    pub const ALL: [(&'static str, Format); 9] = [
        ("table", Format::Table),
        ("csv", Format::Csv),
        ("tsv", Format::Tsv),
        ("json", Format::Json),
        ("ndjson", Format::Ndjson),
        ("records", Format::Records),
        ("sql", Format::Sql),
        ("raw", Format::Raw),
        ("html", Format::Html),
    ];
}

impl Table {
    /// The text in a format, with a newline at its end.
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Csv => self.separated(','),
            Format::Tsv => self.separated('\t'),
            Format::Json => self.json(),
            Format::Ndjson => self.rows.iter().map(|row| self.object(row) + "\n").collect(),
            Format::Records => self.records(),
            Format::Sql => self.sql(),
            Format::Raw => self.raw(),
            Format::Html => self.html(),
        }
    }

    fn table(&self) -> String {
        let cells: Vec<Vec<Vec<String>>> =
            self.rows.iter().map(|row| row.iter().map(lines).collect()).collect();
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &cells {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = cell.iter().map(|line| width(line)).chain([*widest]).max().unwrap_or(0);
            }
        }
        let mut out = String::new();
        let header: Vec<String> =
            self.columns.iter().zip(&widths).map(|((name, _), &w)| pad(name, w, Align::Center)).collect();
        push_line(&mut out, &header);
        let last = widths.len().saturating_sub(1);
        for (at, w) in widths.iter().enumerate() {
            let edges = usize::from(at == 0) + usize::from(at == last);
            let _ = write!(out, "{}{}", "-".repeat(w + 2 + edges), if at == last { "\n" } else { "+" });
        }
        for row in &cells {
            let height = row.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let texts: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .zip(&self.columns)
                    .map(|((cell, &w), (_, align))| pad(cell.get(line).map_or("", String::as_str), w, *align))
                    .collect();
                push_line(&mut out, &texts);
            }
        }
        let _ = writeln!(out, "({})", counted(self.rows.len(), "row"));
        out
    }

    fn separated(&self, separator: char) -> String {
        let quote = |text: &str| {
            let special = |c: char| c == separator || matches!(c, '"' | '\n' | '\r');
            let spaced = text.starts_with([' ', '\t']);
            if text.contains(special) || spaced || text == "\\." {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let line = |texts: Vec<String>| texts.join(&separator.to_string()) + "\n";
        let mut out = line(self.columns.iter().map(|(name, _)| quote(name)).collect());
        for row in &self.rows {
            out += &line(row.iter().map(|cell| quote(cell.as_deref().unwrap_or("NULL"))).collect());
        }
        out
    }

    fn object(&self, row: &[Option<String>]) -> String {
        let pairs: Vec<String> = self
            .columns
            .iter()
            .zip(row)
            .map(|((name, _), cell)| {
                let value = cell.as_ref().map_or("null".into(), |text| json_string(text));
                format!("{}: {value}", json_string(name))
            })
            .collect();
        format!("{{{}}}", pairs.join(", "))
    }

    fn json(&self) -> String {
        let objects: Vec<String> = self.rows.iter().map(|row| format!("  {}", self.object(row))).collect();
        if objects.is_empty() { "[]\n".into() } else { format!("[\n{}\n]\n", objects.join(",\n")) }
    }

    fn records(&self) -> String {
        let widest = self.columns.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let _ = writeln!(out, "-[ RECORD {} ]", number + 1);
            for ((name, _), cell) in self.columns.iter().zip(row) {
                let mut lines = cell.as_deref().unwrap_or("NULL").split('\n').peekable();
                let mut label = *name;
                while let Some(line) = lines.next() {
                    let goes_on = if lines.peek().is_some() { "+" } else { "" };
                    let _ = writeln!(out, "{} | {line}{goes_on}", pad(label, widest, Align::Left));
                    label = "";
                }
            }
        }
        out
    }

    fn sql(&self) -> String {
        use crate::format::descriptor::names::{ident, literal};
        let columns: Vec<String> =
            self.columns.iter().map(|(name, _)| format!("{} STRING", ident(name))).collect();
        let mut out = format!("CREATE TABLE results (\n  {}\n);\n\n", columns.join(",\n  "));
        for row in &self.rows {
            let values: Vec<String> =
                row.iter().map(|cell| cell.as_ref().map_or("NULL".into(), |text| literal(text))).collect();
            let _ = writeln!(out, "INSERT INTO results VALUES ({});", values.join(", "));
        }
        let _ = writeln!(out, "-- {}", counted(self.rows.len(), "row"));
        out
    }

    fn raw(&self) -> String {
        let mut out = format!("# {}\n", counted(self.columns.len(), "column"));
        for (number, row) in self.rows.iter().enumerate() {
            let _ = writeln!(out, "# row {}", number + 1);
            for cell in row {
                let text = cell.as_deref().unwrap_or("NULL");
                let _ = writeln!(out, "## {}\n{text}", text.len());
            }
        }
        let _ = writeln!(out, "# {}", counted(self.rows.len(), "row"));
        out
    }

    fn html(&self) -> String {
        let escape = |text: &str| {
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br/>")
        };
        let mut out = String::from("<table>\n<thead><tr><th>row</th>");
        for (name, _) in &self.columns {
            let _ = write!(out, "<th>{}</th>", escape(name));
        }
        out += "</tr></thead>\n<tbody>\n";
        for (number, row) in self.rows.iter().enumerate() {
            let _ = write!(out, "<tr><td>{}</td>", number + 1);
            for cell in row {
                let _ = write!(out, "<td>{}</td>", escape(cell.as_deref().unwrap_or("NULL")));
            }
            out += "</tr>\n";
        }
        let _ = write!(
            out,
            "</tbody>\n<tfoot><tr><td colspan={}>{}</td></tr></tfoot></table>\n",
            self.columns.len() + 1,
            counted(self.rows.len(), "row")
        );
        out
    }
}

/// A JSON string literal; only what must be escaped is.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn lines(cell: &Option<String>) -> Vec<String> {
    cell.as_deref().unwrap_or("NULL").split('\n').map(|line| line.replace('\t', "    ")).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, to: usize, align: Align) -> String {
    let space = to.saturating_sub(width(text));
    let left = match align {
        Align::Left => 0,
        Align::Right => space,
        Align::Center => space / 2,
    };
    format!("{}{text}{}", " ".repeat(left), " ".repeat(space - left))
}

fn push_line(out: &mut String, cells: &[String]) {
    let line = format!("  {}", cells.join(" | "));
    out.push_str(line.trim_end());
    out.push('\n');
}
