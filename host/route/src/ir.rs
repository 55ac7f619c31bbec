//! Compiled conditions: trees whose names and types are settled.

use crate::body::Reader;
use crate::diagnostic::Span;
use crate::path::BodyPath;
use crate::syntax::{BinaryOp, LogicOp};
use crate::value::Type;

/// An operation, its static type and the text it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub op: Op,
    pub ty: Type,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Undefined,
    Null,
    Bool(bool),
    Num(f64),
    Str(Box<str>),
    /// An application property.
    App(Box<str>),
    /// A system property, or in its place the application property of that name with the `$`.
    System {
        name: Box<str>,
        over: Option<Box<str>>,
    },
    /// A body value, or in its place the application property of that name.
    Body {
        path: BodyPath,
        over: Option<Box<str>>,
        reader: Reader,
    },
    Negate(Box<Node>),
    Not(Box<Node>),
    /// Body values in compat mode keep NaN as a number; all else makes it undefined.
    Arith(Arith, NotANumber, Box<[Node; 2]>),
    Concat(Box<[Node; 2]>),
    Compare(BinaryOp, Rule, Box<[Node; 2]>),
    Logic(LogicOp, Vec<(LogicRule, Node)>),
    Coalesce(Box<[Node; 2]>),
    Call(Function, Vec<Node>),
    /// `is_null` of a body value in compat mode, which says the opposite.
    InvertedIsNull(Box<Node>),
    TwinChange {
        /// From the body itself.
        path: BodyPath,
        /// From a body that is the bare patch, as this hub makes them.
        bare: Option<BodyPath>,
        reader: Reader,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arith {
    Mul,
    Div,
    Mod,
    Add,
    Sub,
}

/// What becomes of NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotANumber {
    Kept,
    Undefined,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Both of one static type.
    Static,
    /// Body values: across kinds by rank (compat).
    Ranked,
    /// Body values: across kinds only equality is told (strict).
    Kinds,
}

/// How an operand joins those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogicRule {
    /// Three-valued logic; null is the neutral of OR and swallows in AND.
    ThreeValued,
    /// Undefined unless both are bools (compat with body values).
    BothBools,
}

macro_rules! functions {
    ($($name:ident = $text:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function { $($name,)* }

        impl Function {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

functions! {
    Abs = "abs", Ceiling = "ceiling", Floor = "floor", Sign = "sign", Square = "square", Exp = "exp",
    Sqrt = "sqrt", Power = "power", AsNumber = "as_number", IsBool = "is_bool", IsNumber = "is_number",
    IsString = "is_string", IsDefined = "is_defined", IsNull = "is_null", Concat = "concat",
    Length = "length", Lower = "lower", Upper = "upper", Substring = "substring", IndexOf = "index_of",
    StartsWith = "starts_with", EndsWith = "ends_with", Contains = "contains",
}

impl Function {
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|f| name.eq_ignore_ascii_case(f.name()))
    }
}

impl Node {
    /// The nodes under this one.
    pub fn children(&self) -> Vec<&Self> {
        match &self.op {
            Op::Negate(inner) | Op::Not(inner) | Op::InvertedIsNull(inner) => vec![inner],
            Op::Arith(_, _, pair)
            | Op::Concat(pair)
            | Op::Compare(_, _, pair)
            | Op::Coalesce(pair) => pair.iter().collect(),
            Op::Logic(_, list) => list.iter().map(|(_, node)| node).collect(),
            Op::Call(_, args) => args.iter().collect(),
            _ => Vec::new(),
        }
    }

    fn children_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.op {
            Op::Negate(inner) | Op::Not(inner) | Op::InvertedIsNull(inner) => vec![inner],
            Op::Arith(_, _, pair)
            | Op::Concat(pair)
            | Op::Compare(_, _, pair)
            | Op::Coalesce(pair) => pair.iter_mut().collect(),
            Op::Logic(_, list) => list.iter_mut().map(|(_, node)| node).collect(),
            Op::Call(_, args) => args.iter_mut().collect(),
            _ => Vec::new(),
        }
    }

    /// Calls a function with every body path of the tree, and the property that goes before it.
    pub fn paths_mut(&mut self, f: &mut impl FnMut(&mut BodyPath, Option<&str>)) {
        match &mut self.op {
            Op::Body { path, over, .. } => f(path, over.as_deref()),
            Op::TwinChange { path, bare, .. } => {
                f(path, None);
                if let Some(bare) = bare {
                    f(bare, None);
                }
            }
            _ => {
                for child in self.children_mut() {
                    child.paths_mut(f);
                }
            }
        }
    }
}
