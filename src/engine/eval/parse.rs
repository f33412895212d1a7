//! Stored expressions, read.

use crate::format::kv::decimal::Decimal;
use crate::format::kv::layout::TableLayout;
use crate::format::kv::types::ColumnType;

use super::{Expr, Function, Kind, Op};

/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 50;

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
const IN_LEVEL: u8 = 4;

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
            rest if rest.starts_with('%') => (Op::Modulo, 1),
            rest if rest.starts_with("->>") => (Op::Fetch(true), 3),
            rest if rest.starts_with("->") => (Op::Fetch(false), 2),
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
            if least <= IN_LEVEL && self.eat_word("IN") {
                left = Expr::In(Box::new(left), self.list(depth + 1)?);
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
            self.atom(depth)?
        };
        self.annotated(parsed)
    }

    /// What stands behind an operand: annotations, with the type that a literal is meant in, and casts.
    fn annotated(&mut self, mut parsed: Expr) -> Option<Expr> {
        loop {
            if self.eat(":::") {
                let name = self.type_name()?;
                parsed = match (parsed, name) {
                    (literal @ (Expr::Int(_) | Expr::Negate(_)), "INT8") => literal,
                    (literal @ Expr::Text(_), "STRING") => literal,
                    (literal @ Expr::Bool(_), "BOOL") => literal,
                    (Expr::Null, _) => Expr::Null,
                    (literal, "DECIMAL") => Expr::Decimal(as_decimal(literal)?),
                    _ => return None,
                };
            } else if self.eat("::") {
                let name = self.type_name()?;
                parsed = cast(parsed, name, self.layout)?;
            } else {
                return Some(parsed);
            }
        }
    }

    /// The name of a type without a length.
    fn type_name(&mut self) -> Option<&'static str> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let known = TYPES.iter().find(|known| **known == name)?;
        self.rest = rest;
        (!rest.starts_with(['(', '[', '.', '_'])).then_some(known)
    }

    /// `(a, b)`, not empty.
    fn list(&mut self, depth: usize) -> Option<Vec<Expr>> {
        if !self.eat("(") {
            return None;
        }
        let mut items = vec![self.binary(0, depth)?];
        while self.eat(",") {
            items.push(self.binary(0, depth)?);
        }
        self.eat(")").then_some(items)
    }

    fn atom(&mut self, depth: usize) -> Option<Expr> {
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
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() || rest.trim_start().starts_with('.') {
            return None;
        }
        self.rest = rest;
        if word == "CASE" {
            return self.case(depth + 1);
        }
        if rest.trim_start().starts_with('(') {
            if word == "CAST" {
                self.eat("(");
                let inner = self.binary(0, depth + 1)?;
                let name = self.eat_word("AS").then(|| {
                    self.skip_space();
                    self.type_name()
                })??;
                return if self.eat(")") { cast(inner, name, self.layout) } else { None };
            }
            return Some(Expr::Call(Function::of_name(word)?, self.list(depth + 1)?));
        }
        match word {
            "true" => Some(Expr::Bool(true)),
            "false" => Some(Expr::Bool(false)),
            "NULL" => Some(Expr::Null),
            _ => self.column(word),
        }
    }

    fn number(&mut self) -> Option<Expr> {
        let end = self.rest.find(|c: char| !(c.is_ascii_digit() || c == '.'));
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        match text.contains('.') {
            true => Decimal::from_text(text).ok().map(Expr::Decimal),
            false => text.parse().ok().map(Expr::Int),
        }
    }

    fn case(&mut self, depth: usize) -> Option<Expr> {
        let subject = if self.eat_word("WHEN") {
            None
        } else {
            let subject = self.binary(0, depth)?;
            self.eat_word("WHEN").then_some(Some(subject))?
        };
        let mut branches = Vec::new();
        loop {
            let mut when = self.binary(0, depth)?;
            if let Some(subject) = &subject {
                let equal = Op::Compare([false, true, false]);
                when = Expr::Binary(equal, Box::new(subject.clone()), Box::new(when));
            }
            let then = self.eat_word("THEN").then(|| self.binary(0, depth))??;
            branches.push((when, then));
            if !self.eat_word("WHEN") {
                break;
            }
        }
        let otherwise = if self.eat_word("ELSE") { self.binary(0, depth)? } else { Expr::Null };
        self.eat_word("END").then(|| Expr::Case(branches, Box::new(otherwise)))
    }

    fn column(&self, name: &str) -> Option<Expr> {
        let position = self.layout.columns.iter().position(|column| column.name == name)?;
        Some(Expr::Column(position))
    }
}

/// Types of casts and annotations.
const TYPES: [&str; 6] = ["BOOL", "DECIMAL", "INT8", "JSONB", "STRING", "UUID"];

/// A literal as a decimal.
fn as_decimal(literal: Expr) -> Option<Decimal<'static>> {
    match literal {
        Expr::Int(n) => Some(Decimal::from_i128(i128::from(n), 0)),
        Expr::Decimal(d) => Some(d),
        Expr::Negate(inner) => {
            let d = as_decimal(*inner)?;
            let digits = d.digits().ok()?;
            Decimal::from_digits(true, digits.as_slice(), d.exponent()).ok()
        }
        _ => None,
    }
}

/// A cast, where the text of the value is all that it takes.
fn cast(inner: Expr, name: &str, layout: &TableLayout) -> Option<Expr> {
    let own = inner.kind(layout)?;
    let to_text = |inner: Expr| Some(Expr::ToText(Box::new(inner), own.castable(layout)?));
    let of_text = |ty| Some(Expr::OfText(Box::new(to_text(inner.clone())?), ty));
    match (own, name) {
        (Kind::Null, _) => Some(Expr::Null),
        (Kind::Int, "INT8")
        | (Kind::Text, "STRING")
        | (Kind::Bool, "BOOL")
        | (Kind::Decimal, "DECIMAL")
        | (Kind::Json, "JSONB")
        | (Kind::Uuid, "UUID") => Some(inner),
        (_, "STRING") => to_text(inner),
        (Kind::Text, "INT8") => of_text(ColumnType::INT8),
        (Kind::Text, "UUID") => of_text(ColumnType::Uuid),
        (Kind::Int | Kind::Text, "DECIMAL") => of_text(ColumnType::DECIMAL),
        _ => None,
    }
}
