//! Values of virtual computed columns, which no backup stores: integers, booleans and texts, with
//! arithmetic and concatenation. Any other expression is refused, never guessed.

use std::borrow::Cow;

use crate::format::kv::datum::Datum;
use crate::format::kv::layout::TableLayout;

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
}

impl Op {
    fn level(self) -> u8 {
        match self {
            Self::Multiply => 3,
            Self::Add | Self::Subtract => 2,
            Self::Concat => 1,
        }
    }
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

    fn operator(&mut self, least: u8) -> Option<Op> {
        self.skip_space();
        let (op, len) = match self.rest {
            rest if rest.starts_with("||") => (Op::Concat, 2),
            rest if rest.starts_with('*') => (Op::Multiply, 1),
            rest if rest.starts_with('+') => (Op::Add, 1),
            rest if rest.starts_with("->") => return None,
            rest if rest.starts_with('-') => (Op::Subtract, 1),
            _ => return None,
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
        let mut left = self.operand(depth)?;
        while let Some(op) = self.operator(least) {
            let right = self.binary(op.level() + 1, depth + 1)?;
            left = Expr::Binary(op, Box::new(left), Box::new(right));
        }
        Some(left)
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

impl Expr {
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
            Self::Binary(op, left, right) => match (left.value(row)?, right.value(row)?) {
                (Datum::Null, _) | (_, Datum::Null) => Datum::Null,
                (Datum::Int(a), Datum::Int(b)) => Datum::Int(match op {
                    Op::Add => a.checked_add(b)?,
                    Op::Subtract => a.checked_sub(b)?,
                    Op::Multiply => a.checked_mul(b)?,
                    Op::Concat => return None,
                }),
                (Datum::String(a), Datum::String(b)) if *op == Op::Concat => {
                    Datum::String(Cow::Owned([a.as_ref(), b.as_ref()].concat()))
                }
                _ => return None,
            },
        })
    }
}
