//! Values of virtual computed columns, which no backup stores, and predicates of partial indexes: integers,
//! decimals, booleans, texts and JSON, with arithmetic, concatenation, comparison, logic and a few functions.
//! Any other expression is refused, never guessed.

mod functions;
mod parse;

use std::borrow::Cow;

use crate::format::kv::datum::Datum;
use crate::format::kv::decimal::Decimal;
use crate::format::kv::layout::TableLayout;
use crate::format::kv::text::Style;
use crate::format::kv::types::ColumnType;

pub use functions::Function;
pub use parse::parse;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Position of a column in rows.
    Column(usize),
    /// A number.
    Int(i64),
    /// A number with its scale.
    Decimal(Decimal<'static>),
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
    /// `x IN (a, b)`
    In(Box<Expr>, Vec<Expr>),
    /// Two operands.
    Binary(Op, Box<Expr>, Box<Expr>),
    /// A function.
    Call(Function, Vec<Expr>),
    /// `CASE WHEN a THEN b … ELSE c END`
    Case(Vec<(Expr, Expr)>, Box<Expr>),
    /// A value of a type as its text.
    ToText(Box<Expr>, ColumnType),
    /// A text as a value of a type.
    OfText(Box<Expr>, ColumnType),
}

/// Operators, by falling precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `->`, `->>`: whether as text.
    Fetch(bool),
    /// `*`
    Multiply,
    /// `%`
    Modulo,
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

impl Op {
    fn level(self) -> u8 {
        match self {
            Self::Fetch(_) => 9,
            Self::Multiply | Self::Modulo => 8,
            Self::Add | Self::Subtract => 7,
            Self::Concat => 6,
            Self::Compare(_) => 4,
            Self::And => 2,
            Self::Or => 1,
        }
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
    (parsed.kind(layout)? == Kind::Bool && parsed.is_certain()).then_some(parsed)
}

/// The expression of a virtual column; `None` where it is not understood, or gives another type.
pub fn computed(expr: &str, ty: &ColumnType, layout: &TableLayout) -> Option<Expr> {
    let parsed = parse(expr, layout)?;
    let fits = match (parsed.kind(layout)?, ty) {
        (Kind::Null, _)
        | (Kind::Int, ColumnType::Int { .. })
        | (Kind::Bool, ColumnType::Bool)
        | (Kind::Json, ColumnType::Json)
        | (Kind::Uuid, ColumnType::Uuid)
        | (Kind::Text, ColumnType::String { .. })
        // Another scale would round.
        | (Kind::Decimal, ColumnType::Decimal { precision: 0, scale: 0 }) => true,
        (Kind::Other(position), ty) => layout.columns.get(position).is_some_and(|own| own.ty == *ty),
        _ => false,
    };
    fits.then_some(parsed)
}

/// What an expression gives besides NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Decimal,
    Text,
    Bool,
    Json,
    Uuid,
    Null,
    /// Of the type of the column at this position.
    Other(usize),
}

impl Kind {
    /// The type, if the text of its values is that of a cast in every session.
    fn castable(self, layout: &TableLayout) -> Option<ColumnType> {
        Some(match self {
            Self::Int => ColumnType::INT8,
            Self::Decimal => ColumnType::DECIMAL,
            Self::Text => ColumnType::TEXT,
            Self::Bool => ColumnType::Bool,
            Self::Json => ColumnType::Json,
            Self::Uuid => ColumnType::Uuid,
            Self::Null => return None,
            Self::Other(position) => match &layout.columns.get(position)?.ty {
                ty @ (ColumnType::Inet | ColumnType::Enum(_) | ColumnType::Bit { .. }) => ty.clone(),
                _ => return None,
            },
        })
    }
}

impl Expr {
    /// Whether nothing in it can fail or depends on more than plain comparison.
    fn is_certain(&self) -> bool {
        match self {
            Self::Column(_) | Self::Int(_) | Self::Text(_) | Self::Bool(_) | Self::Null => true,
            Self::Negate(inner) | Self::Not(inner) | Self::IsNull(inner) => inner.is_certain(),
            Self::In(inner, items) => inner.is_certain() && items.iter().all(Self::is_certain),
            Self::Binary(Op::Fetch(_) | Op::Modulo, ..) => false,
            Self::Binary(_, left, right) => left.is_certain() && right.is_certain(),
            Self::Decimal(_) | Self::Call(..) | Self::Case(..) | Self::ToText(..) | Self::OfText(..) => false,
        }
    }

    /// `None` where operands do not fit, or are of types that are not understood.
    fn kind(&self, layout: &TableLayout) -> Option<Kind> {
        let same = |left: &Expr, right: &Expr| alike(left.kind(layout)?, right.kind(layout)?);
        Some(match self {
            Self::Column(position) => match layout.columns.get(*position)? {
                column if column.is_virtual => return None,
                column => match &column.ty {
                    ColumnType::Int { .. } => Kind::Int,
                    ColumnType::Bool => Kind::Bool,
                    ColumnType::String { .. } => Kind::Text,
                    ColumnType::Decimal { .. } => Kind::Decimal,
                    ColumnType::Json => Kind::Json,
                    ColumnType::Uuid => Kind::Uuid,
                    _ => Kind::Other(*position),
                },
            },
            Self::Int(_) => Kind::Int,
            Self::Decimal(_) => Kind::Decimal,
            Self::Text(_) | Self::ToText(..) => Kind::Text,
            Self::OfText(_, ty) => match ty {
                ColumnType::Int { .. } => Kind::Int,
                ColumnType::Decimal { .. } => Kind::Decimal,
                ColumnType::Uuid => Kind::Uuid,
                _ => return None,
            },
            Self::Bool(_) => Kind::Bool,
            Self::Null => Kind::Null,
            Self::Negate(inner) => inner.kind(layout).filter(|kind| *kind == Kind::Int)?,
            Self::Not(inner) => inner.kind(layout).filter(|kind| *kind == Kind::Bool)?,
            Self::IsNull(inner) => {
                inner.kind(layout)?;
                Kind::Bool
            }
            Self::In(inner, items) => {
                for item in items {
                    same(inner, item).filter(|kind| kind.is_comparable())?;
                }
                Kind::Bool
            }
            Self::Binary(Op::Compare(_), left, right) => {
                same(left, right).filter(|kind| kind.is_comparable())?;
                Kind::Bool
            }
            Self::Binary(Op::Fetch(text), left, right) => match (left.kind(layout)?, right.kind(layout)?) {
                (Kind::Json, Kind::Text | Kind::Int) if *text => Kind::Text,
                (Kind::Json, Kind::Text | Kind::Int) => Kind::Json,
                _ => return None,
            },
            Self::Binary(Op::Add | Op::Subtract | Op::Multiply, left, right) => {
                match (left.kind(layout)?, right.kind(layout)?) {
                    (Kind::Decimal, Kind::Decimal | Kind::Int) | (Kind::Int, Kind::Decimal) => Kind::Decimal,
                    (left, right) => alike(left, right).filter(|kind| *kind == Kind::Int)?,
                }
            }
            Self::Binary(op, left, right) => {
                let wanted = match op {
                    Op::And | Op::Or => Kind::Bool,
                    Op::Concat => Kind::Text,
                    _ => Kind::Int,
                };
                same(left, right).filter(|kind| *kind == wanted)?
            }
            Self::Case(branches, otherwise) => {
                let mut kind = otherwise.kind(layout)?;
                for (when, then) in branches {
                    when.kind(layout).filter(|kind| matches!(kind, Kind::Bool | Kind::Null))?;
                    kind = alike(kind, then.kind(layout)?)?;
                }
                kind
            }
            Self::Call(function, args) => {
                let kinds: Vec<Kind> = args.iter().map(|arg| arg.kind(layout)).collect::<Option<_>>()?;
                call_kind(*function, &kinds)?
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
            Self::Decimal(d) => Datum::Decimal(d.clone()),
            Self::In(inner, items) => {
                let value = inner.value(row)?;
                let mut found = if value.is_null() { Datum::Null } else { Datum::Bool(false) };
                for item in items {
                    match item.value(row)? {
                        Datum::Null => found = Datum::Null,
                        item if item == value => return Some(Datum::Bool(true)),
                        _ => {}
                    }
                }
                found
            }
            Self::ToText(inner, ty) => {
                let mut text = Vec::new();
                match inner.value(row)?.write_text(ty, Style::Cast, &mut text).ok()? {
                    true => Datum::String(Cow::Owned(text)),
                    false => Datum::Null,
                }
            }
            Self::OfText(inner, ty) => match inner.value(row)? {
                Datum::Null => Datum::Null,
                Datum::String(text) => Datum::from_text(ty, std::str::from_utf8(&text).ok()?).ok()?,
                _ => return None,
            },
            Self::Case(branches, otherwise) => {
                for (when, then) in branches {
                    if when.value(row)? == Datum::Bool(true) {
                        return then.value(row);
                    }
                }
                return otherwise.value(row);
            }
            Self::Call(function, args) => return call(*function, args, row),
            Self::Binary(op, left, right) => match (left.value(row)?, right.value(row)?) {
                (Datum::Null, _) | (_, Datum::Null) => Datum::Null,
                (left, right) if matches!(op, Op::Fetch(_)) => {
                    return functions::fetch(&left, &right, *op == Op::Fetch(true));
                }
                (left, right) if matches!(op, Op::Add | Op::Subtract | Op::Multiply | Op::Modulo) => {
                    return functions::arithmetic(*op, &left, &right);
                }
                (Datum::Int(a), Datum::Int(b)) => match op {
                    Op::Compare(outcomes) => return outcome(*outcomes, a.cmp(&b)),
                    _ => return None,
                },
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

impl Kind {
    /// Whether bytes or numbers decide which of two values is greater.
    fn is_comparable(self) -> bool {
        matches!(self, Self::Int | Self::Text | Self::Bool | Self::Null)
    }
}

/// The one kind of both; NULL is of every kind.
fn alike(left: Kind, right: Kind) -> Option<Kind> {
    match (left, right) {
        (kind, other) if kind == other || other == Kind::Null => Some(kind),
        (Kind::Null, kind) => Some(kind),
        _ => None,
    }
}

fn call_kind(function: Function, args: &[Kind]) -> Option<Kind> {
    use Kind::{Bool, Int, Null, Text};
    let all = |args: &[Kind]| args.iter().copied().try_fold(Null, alike);
    let are = |wanted: &[Kind]| {
        args.len() == wanted.len()
            && args.iter().zip(wanted).all(|(own, wanted)| own == wanted || *own == Null)
    };
    match function {
        Function::Abs if are(&[Int]) => Some(Int),
        Function::Concat if args.iter().all(|own| matches!(own, Text | Null)) => Some(Text),
        Function::Coalesce => all(args),
        Function::Greatest | Function::Least => all(args).filter(|kind| kind.is_comparable()),
        Function::If if args.len() == 3 && matches!(args.first(), Some(Bool | Null)) => all(args.get(1..)?),
        Function::NullIf if args.len() == 2 => all(args).filter(|kind| kind.is_comparable()),
        Function::Length if are(&[Text]) => Some(Int),
        Function::Lower | Function::Upper if are(&[Text]) => Some(Text),
        Function::Mod if are(&[Int, Int]) => Some(Int),
        Function::Replace if are(&[Text, Text, Text]) => Some(Text),
        Function::Substring if are(&[Text, Int]) || are(&[Text, Int, Int]) => Some(Text),
        _ => None,
    }
}

/// Functions, of which some do not look at all their arguments.
fn call<'a>(function: Function, args: &'a [Expr], row: &[Datum<'a>]) -> Option<Datum<'a>> {
    let mut values = args.iter().map(|arg| arg.value(row));
    match function {
        Function::Coalesce => values.find(|value| value != &Some(Datum::Null)).unwrap_or(Some(Datum::Null)),
        Function::If => {
            let chosen = if values.next()?? == Datum::Bool(true) { 1 } else { 2 };
            args.get(chosen)?.value(row)
        }
        Function::NullIf => match (values.next()??, values.next()??) {
            (left, right) if left == right => Some(Datum::Null),
            (left, _) => Some(left),
        },
        Function::Concat => {
            let mut text = Vec::new();
            for value in values {
                match value? {
                    Datum::String(part) => text.extend_from_slice(&part),
                    Datum::Null => {}
                    _ => return None,
                }
            }
            Some(Datum::String(Cow::Owned(text)))
        }
        Function::Greatest | Function::Least => {
            let wanted = if function == Function::Greatest {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Less
            };
            let mut best = Datum::Null;
            for value in values {
                let value = value?;
                let order = match (&value, &best) {
                    (Datum::Null, _) => continue,
                    (_, Datum::Null) => wanted,
                    (Datum::Int(a), Datum::Int(b)) => a.cmp(b),
                    (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
                    (Datum::String(a), Datum::String(b)) => a.cmp(b),
                    _ => return None,
                };
                if order == wanted {
                    best = value;
                }
            }
            Some(best)
        }
        _ => {
            let values: Vec<Datum<'a>> = values.collect::<Option<_>>()?;
            if values.iter().any(Datum::is_null) {
                return Some(Datum::Null);
            }
            functions::call(function, &values)
        }
    }
}

#[cfg(test)]
mod tests;
