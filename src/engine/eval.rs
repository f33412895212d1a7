//! Values of virtual computed columns, which no backup stores, and predicates of partial indexes: integers,
//! booleans and texts, with arithmetic, concatenation, comparison and logic. Any other expression is refused,
//! never guessed.

use std::borrow::Cow;

use crate::format::kv::datum::Datum;
use crate::format::kv::layout::TableLayout;
use crate::format::kv::types::ColumnType;

/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 50;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Position of a column in rows.
    Column(usize),
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// NULL.
    Null,
    /// `-x`
    Negate(Box<Expr>),
    /// `NOT x`
    Not(Box<Expr>),
    /// `x IS NULL`
    IsNull(Box<Expr>),
    /// Two operands.
    Binary(Op, Box<Expr>, Box<Expr>),
}

/// Operators, by falling precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `*`
    Multiply,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `||`
    Concat,
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`: whether that is the outcome for less, equal, greater.
    Compare([bool; 3]),
    /// `AND`
    And,
    /// `OR`
    Or,
}

const COMPARISONS: [(&str, [bool; 3]); 7] = [
    ("<=", [true, true, false]),
    (">=", [false, true, true]),
    ("!=", [true, false, true]),
    ("<>", [true, false, true]),
    ("=", [false, true, false]),
    ("<", [true, false, false]),
    (">", [false, false, true]),
];
/// Precedence of `IS NULL`, above comparisons; and of `NOT`, below them.
const IS_LEVEL: u8 = 5;
const NOT_LEVEL: u8 = 3;

impl Op {
    fn level(self) -> u8 {
        match self {
            Self::Multiply => 8,
            Self::Add | Self::Subtract => 7,
            Self::Concat => 6,
            Self::Compare(_) => 4,
            Self::And => 2,
            Self::Or => 1,
        }
    }
}

/// Whether `rest` begins with a word that ends there.
fn word(rest: &str, text: &str) -> bool {
    let after = rest.strip_prefix(text).map(|rest| rest.chars().next());
    after.is_some_and(|next| !next.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$'))
}

struct Parser<'a> {
    rest: &'a str,
    layout: &'a TableLayout,
}

/// Parses the expression of a column of the table; `None` where it is more than is understood here.
pub fn parse(expr: &str, layout: &TableLayout) -> Option<Expr> {
    let mut parser = Parser { rest: expr, layout };
    let parsed = parser.binary(0, 0)?;
    parser.rest.trim().is_empty().then_some(parsed)
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn eat_word(&mut self, text: &str) -> bool {
        self.skip_space();
        word(self.rest, text) && self.eat(text)
    }

    fn operator(&mut self, least: u8) -> Option<Op> {
        self.skip_space();
        let (op, len) = match self.rest {
            rest if rest.starts_with("||") => (Op::Concat, 2),
            rest if rest.starts_with('*') => (Op::Multiply, 1),
            rest if rest.starts_with('+') => (Op::Add, 1),
            rest if rest.starts_with("->") => return None,
            rest if rest.starts_with('-') => (Op::Subtract, 1),
            rest if word(rest, "AND") => (Op::And, 3),
            rest if word(rest, "OR") => (Op::Or, 2),
            // `<@` and `<<` are others.
            rest if ["<@", "<<", ">>", "=>"].iter().any(|other| rest.starts_with(other)) => return None,
            rest => {
                let (text, outcomes) = COMPARISONS.iter().find(|(text, _)| rest.starts_with(text))?;
                (Op::Compare(*outcomes), text.len())
            }
        };
        if op.level() < least {
            return None;
        }
        self.rest = self.rest.get(len..)?;
        Some(op)
    }

    fn binary(&mut self, least: u8, depth: usize) -> Option<Expr> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut left = if self.eat_word("NOT") {
            Expr::Not(Box::new(self.binary(NOT_LEVEL, depth + 1)?))
        } else {
            self.operand(depth)?
        };
        loop {
            if least <= IS_LEVEL && self.eat_word("IS") {
                let negated = self.eat_word("NOT");
                if !self.eat_word("NULL") {
                    return None;
                }
                left = Expr::IsNull(Box::new(left));
                if negated {
                    left = Expr::Not(Box::new(left));
                }
                continue;
            }
            let Some(op) = self.operator(least) else { return Some(left) };
            let right = self.binary(op.level() + 1, depth + 1)?;
            left = Expr::Binary(op, Box::new(left), Box::new(right));
        }
    }

    fn operand(&mut self, depth: usize) -> Option<Expr> {
        if depth > DEPTH_MAX {
            return None;
        }
        let parsed = if self.eat("(") {
            let inner = self.binary(0, depth + 1)?;
            if !self.eat(")") {
                return None;
            }
            inner
        } else if self.eat("-") {
            Expr::Negate(Box::new(self.operand(depth + 1)?))
        } else {
            self.atom()?
        };
        // An annotation with the type that the literal has anyway.
        if self.eat(":::") {
            let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
            let (name, rest) = self.rest.split_at(end);
            self.rest = rest;
            let plain = matches!(
                (&parsed, name),
                (Expr::Int(_) | Expr::Negate(_), "INT8") | (Expr::Text(_), "STRING")
            );
            if !plain {
                return None;
            }
        }
        Some(parsed)
    }

    fn atom(&mut self) -> Option<Expr> {
        self.skip_space();
        if let Some(body) = self.rest.strip_prefix('\'') {
            let end = body.find('\'')?;
            let (text, rest) = body.split_at(end);
            self.rest = rest.get(1..)?;
            return (!self.rest.starts_with('\'')).then(|| Expr::Text(text.to_owned()));
        }
        if let Some(body) = self.rest.strip_prefix('"') {
            let (name, rest) = body.split_once('"')?;
            self.rest = rest;
            return self.column(name);
        }
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() || rest.trim_start().starts_with(['(', '.']) {
            return None;
        }
        self.rest = rest;
        match word {
            "true" => Some(Expr::Bool(true)),
            "false" => Some(Expr::Bool(false)),
            "NULL" => Some(Expr::Null),
            _ if word.starts_with(|c: char| c.is_ascii_digit()) => word.parse().ok().map(Expr::Int),
            _ => self.column(word),
        }
    }

    fn column(&self, name: &str) -> Option<Expr> {
        let position = self.layout.columns.iter().position(|column| column.name == name)?;
        Some(Expr::Column(position))
    }
}

fn outcome(outcomes: [bool; 3], order: std::cmp::Ordering) -> Option<Datum<'static>> {
    let [less, equal, greater] = outcomes;
    Some(Datum::Bool(match order {
        std::cmp::Ordering::Less => less,
        std::cmp::Ordering::Equal => equal,
        std::cmp::Ordering::Greater => greater,
    }))
}

/// The predicate of a partial index; `None` where it is not understood for every row of the table.
pub fn predicate(expr: &str, layout: &TableLayout) -> Option<Expr> {
    let parsed = parse(expr, layout)?;
    (parsed.kind(layout)? == Kind::Bool).then_some(parsed)
}

/// What an expression gives besides NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Bool,
    Null,
}

impl Expr {
    /// `None` where operands do not fit, or are of types that are not understood.
    fn kind(&self, layout: &TableLayout) -> Option<Kind> {
        let same = |left: &Expr, right: &Expr| match (left.kind(layout)?, right.kind(layout)?) {
            (kind, other) if kind == other || other == Kind::Null => Some(kind),
            (Kind::Null, kind) => Some(kind),
            _ => None,
        };
        Some(match self {
            Self::Column(position) => match layout.columns.get(*position)? {
                column if column.is_virtual => return None,
                column => match &column.ty {
                    ColumnType::Int { .. } => Kind::Int,
                    ColumnType::Bool => Kind::Bool,
                    ColumnType::String { .. } => Kind::Text,
                    _ => return None,
                },
            },
            Self::Int(_) => Kind::Int,
            Self::Text(_) => Kind::Text,
            Self::Bool(_) => Kind::Bool,
            Self::Null => Kind::Null,
            Self::Negate(inner) => inner.kind(layout).filter(|kind| *kind == Kind::Int)?,
            Self::Not(inner) => inner.kind(layout).filter(|kind| *kind == Kind::Bool)?,
            Self::IsNull(inner) => {
                inner.kind(layout)?;
                Kind::Bool
            }
            Self::Binary(Op::Compare(_), left, right) => {
                same(left, right)?;
                Kind::Bool
            }
            Self::Binary(op, left, right) => {
                let wanted = match op {
                    Op::And | Op::Or => Kind::Bool,
                    Op::Concat => Kind::Text,
                    _ => Kind::Int,
                };
                same(left, right).filter(|kind| *kind == wanted)?
            }
        })
    }

    /// The value for a row; `None` where operands are of other types or the result is out of range.
    pub fn value<'a>(&'a self, row: &[Datum<'a>]) -> Option<Datum<'a>> {
        Some(match self {
            Self::Column(position) => row.get(*position)?.clone(),
            Self::Int(n) => Datum::Int(*n),
            Self::Text(text) => Datum::text(text),
            Self::Bool(truth) => Datum::Bool(*truth),
            Self::Null => Datum::Null,
            Self::Negate(inner) => match inner.value(row)? {
                Datum::Int(n) => Datum::Int(n.checked_neg()?),
                Datum::Null => Datum::Null,
                _ => return None,
            },
            Self::Not(inner) => match inner.value(row)? {
                Datum::Bool(truth) => Datum::Bool(!truth),
                Datum::Null => Datum::Null,
                _ => return None,
            },
            Self::IsNull(inner) => Datum::Bool(inner.value(row)?.is_null()),
            Self::Binary(op @ (Op::And | Op::Or), left, right) => {
                // The one value decides, whatever the other is.
                let decides = *op == Op::Or;
                match (left.value(row)?, right.value(row)?) {
                    (Datum::Bool(truth), Datum::Bool(other)) => {
                        Datum::Bool(if decides { truth || other } else { truth && other })
                    }
                    (Datum::Bool(truth), Datum::Null) | (Datum::Null, Datum::Bool(truth))
                        if truth == decides =>
                    {
                        Datum::Bool(decides)
                    }
                    (Datum::Bool(_) | Datum::Null, Datum::Bool(_) | Datum::Null) => Datum::Null,
                    _ => return None,
                }
            }
            Self::Binary(op, left, right) => match (left.value(row)?, right.value(row)?) {
                (Datum::Null, _) | (_, Datum::Null) => Datum::Null,
                (Datum::Int(a), Datum::Int(b)) => Datum::Int(match op {
                    Op::Add => a.checked_add(b)?,
                    Op::Subtract => a.checked_sub(b)?,
                    Op::Multiply => a.checked_mul(b)?,
                    Op::Compare(outcomes) => return outcome(*outcomes, a.cmp(&b)),
                    Op::Concat | Op::And | Op::Or => return None,
                }),
                (Datum::Bool(a), Datum::Bool(b)) => match op {
                    Op::Compare(outcomes) => return outcome(*outcomes, a.cmp(&b)),
                    _ => return None,
                },
                (Datum::String(a), Datum::String(b)) if *op == Op::Concat => {
                    Datum::String(Cow::Owned([a.as_ref(), b.as_ref()].concat()))
                }
                (Datum::String(a), Datum::String(b)) => match op {
                    Op::Compare(outcomes) => return outcome(*outcomes, a.cmp(&b)),
                    _ => return None,
                },
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::kv::layout::{Column, IndexKind, IndexLayout};
    use crate::format::kv::types::StringKind;

    fn layout() -> TableLayout {
        let text = ColumnType::String { kind: StringKind::Text, width: 0 };
        let columns =
            [("a", ColumnType::INT8), ("t", text), ("b", ColumnType::Bool), ("d", ColumnType::DECIMAL)];
        let column = |(id, (name, ty)): (u32, (&str, ColumnType))| Column {
            id,
            name: name.into(),
            ty,
            nullable: true,
            is_virtual: false,
        };
        let primary = IndexLayout {
            id: 1,
            name: "primary".into(),
            unique: true,
            kind: IndexKind::Forward,
            version: 0,
            columns: Vec::new(),
            suffix_ids: Vec::new(),
            stored_ids: Vec::new(),
            composite_ids: Vec::new(),
            primary_encoding: false,
            partial: false,
            sharded: false,
            ancestors: Vec::new(),
        };
        TableLayout {
            key_prefix: Vec::new(),
            table_id: 1,
            name: "t".into(),
            columns: (1..).zip(columns).map(column).collect(),
            primary,
            families: Vec::new(),
            indexes: Vec::new(),
        }
    }

    #[test]
    fn predicates() {
        let layout = layout();
        let (row, nulls) = (
            [Datum::Int(5), Datum::text("on"), Datum::Bool(true), Datum::Null],
            [Datum::Null, Datum::Null, Datum::Null, Datum::Null],
        );
        let (yes, no, unknown) = (Datum::Bool(true), Datum::Bool(false), Datum::Null);
        for (text, with_values, with_nulls) in [
            ("b", &yes, &unknown),
            ("NOT b", &no, &unknown),
            ("t = 'on':::STRING", &yes, &unknown),
            ("t != 'on':::STRING OR a IS NULL", &no, &yes),
            ("a > 4:::INT8 AND a <= 5:::INT8", &yes, &unknown),
            ("(a < 4:::INT8) OR b", &yes, &unknown),
            ("NOT a = 5:::INT8 AND b", &no, &unknown),
            ("a IS NOT NULL AND t > 'off':::STRING", &yes, &no),
            ("a * 2:::INT8 + 1:::INT8 = 11:::INT8", &yes, &unknown),
            ("(t || 'x':::STRING) = 'onx':::STRING", &yes, &unknown),
            ("a IS NULL = false", &yes, &no),
        ] {
            let parsed = predicate(text, &layout).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.value(&row).as_ref(), Some(with_values), "{text}");
            assert_eq!(parsed.value(&nulls).as_ref(), Some(with_nulls), "{text}");
        }
        for text in [
            "a",
            "d > 1:::DECIMAL",
            "d IS NULL",
            "a = 'x':::STRING",
            "lower(t) = 'on':::STRING",
            "a > 1.5",
            "t LIKE 'a'",
            "a IN (1:::INT8)",
            "a = 1:::INT8 = b AND",
            "b AND a",
            "t << 'a'",
            "a IS DISTINCT FROM 4",
            "ANDx",
        ] {
            assert_eq!(predicate(text, &layout), None, "{text}");
        }
    }
}
