//! Syntax trees, before names and types are known.

use crate::diagnostic::{DiagnosticCode, Span};

/// An expression and its place; `depth` is the height of the tree under it.
#[derive(Debug)]
pub(crate) struct Expr {
    pub kind: ExprKind,
    pub span: Span,
    pub depth: usize,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    Bool(bool),
    Num(f64),
    Str(String),
    Null,
    Undefined,
    /// A bare or quoted name: an application property.
    App(String),
    /// `$name`, or `{$name}`, which passes application properties over; the text after `$`.
    Dollar {
        name: String,
        escaped: bool,
    },
    Call {
        name: Span,
        args: Vec<Expr>,
    },
    Negate(Span, Box<Expr>),
    Not(Span, Box<Expr>),
    Binary(BinaryOp, Span, Box<[Expr; 2]>),
    /// `a AND b AND c`: the first, and each further one with its operator. A list, so that long
    /// chains are not deep.
    Logic(LogicOp, Box<Expr>, Vec<(Span, Expr)>),
    /// A fault that the grammar knows; what it stands for is undefined.
    Fault(Fault),
}

/// A fault found while parsing, told when types are checked, so that all are in order.
#[derive(Debug)]
pub(crate) struct Fault {
    pub code: DiagnosticCode,
    pub span: Span,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Mul,
    Div,
    Mod,
    Add,
    Sub,
    Concat,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
    Coalesce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogicOp {
    And,
    Or,
}

impl LogicOp {
    pub fn text(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
        }
    }
}
