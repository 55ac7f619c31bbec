//! Evaluation. Pure: a condition looks at one message and changes nothing.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use crate::body::{Body, Found, Kind, Reader, Unreadable, is_date};
use crate::ir::{Arith, LogicRule, Node, NotANumber, Op, Rule};
use crate::path::BodyPath;
use crate::syntax::{BinaryOp, LogicOp};
use crate::text;
use crate::value::{Truth, Type, Value};
use crate::view::MessageView;

mod functions;

/// The message that a condition is evaluated for.
pub(crate) struct Env<'a, V: ?Sized> {
    pub view: &'a V,
    pub body: &'a Body,
    /// Set when a body query found the body unreadable.
    pub unreadable: Cell<bool>,
}

impl<'a, V: MessageView + ?Sized> Env<'a, V> {
    pub fn new(view: &'a V, body: &'a Body) -> Self {
        Self {
            view,
            body,
            unreadable: Cell::new(false),
        }
    }

    /// What a whole condition comes to.
    pub fn truth(&self, node: &'a Node) -> Truth {
        // A static null is false; a body value that is null is undefined.
        if node.ty == Type::Null {
            return Truth::False;
        }
        match self.eval(node) {
            Value::Bool(true) => Truth::True,
            Value::Bool(false) => Truth::False,
            _ => Truth::Undefined,
        }
    }

    pub fn eval(&self, node: &'a Node) -> Value<'a> {
        match &node.op {
            Op::Undefined => Value::Undefined,
            Op::Null => Value::Null,
            Op::Bool(b) => Value::Bool(*b),
            Op::Num(n) => Value::Num(*n),
            Op::Str(s) => Value::Str(Cow::Borrowed(s)),
            Op::App(name) => property(self.view.property(name)),
            Op::System { name, over } => match self.over(over.as_deref()) {
                Some(value) => value,
                None => property(self.view.system(name)),
            },
            Op::Body { path, over, reader } => match over {
                Some(name) if self.body.is_hidden(self.view, path, name) => {
                    property(self.view.property(name))
                }
                _ => self.body_value(path, *reader),
            },
            Op::Negate(inner) => match self.eval(inner) {
                Value::Num(n) => Value::Num(-n),
                _ => Value::Undefined,
            },
            Op::Not(inner) => match self.eval(inner) {
                Value::Bool(b) => Value::Bool(!b),
                Value::Null if inner.ty == Type::Null => Value::Bool(true),
                _ => Value::Undefined,
            },
            Op::Arith(op, nan, pair) => {
                let [left, right] = &**pair;
                match (self.eval(left), self.eval(right), nan) {
                    (Value::Num(a), Value::Num(b), NotANumber::Kept) => {
                        Value::Num(arith(*op, a, b))
                    }
                    (Value::Num(a), Value::Num(b), NotANumber::Undefined) => {
                        Value::number(arith(*op, a, b))
                    }
                    _ => Value::Undefined,
                }
            }
            Op::Concat(pair) => functions::concat(pair.iter().map(|n| self.eval(n))),
            Op::Compare(op, rule, pair) => {
                let [left, right] = &**pair;
                // The commonest condition of all: a property against a text.
                if let (Op::App(name), Op::Str(text), BinaryOp::Eq | BinaryOp::Ne) =
                    (&left.op, &right.op, op)
                {
                    return match self.view.property(name) {
                        Some(Some(value)) => {
                            Value::Bool((*value == **text) == (*op == BinaryOp::Eq))
                        }
                        _ => Value::Undefined,
                    };
                }
                compare(*op, *rule, &self.eval(left), &self.eval(right))
            }
            Op::Logic(op, list) => self.logic(*op, list),
            Op::Coalesce(pair) => {
                let [left, right] = &**pair;
                match self.eval(left) {
                    Value::Undefined => self.eval(right),
                    value => value,
                }
            }
            Op::Call(function, args) => functions::call(self, *function, args),
            Op::InvertedIsNull(inner) => match self.eval(inner) {
                Value::Undefined => Value::Undefined,
                value => Value::Bool(value != Value::Missing),
            },
            Op::TwinChange { path, bare, reader } => self.twin_change(path, bare.as_ref(), *reader),
        }
    }

    /// The application property that goes before a system property or body value.
    fn over(&self, name: Option<&str>) -> Option<Value<'a>> {
        let value = self.view.property(name?);
        value.is_some().then(|| property(value))
    }

    pub fn body_value(&self, path: &BodyPath, reader: Reader) -> Value<'a> {
        let document = match self.body.read(self.view, reader) {
            Ok(document) => document,
            Err(_) => {
                self.unreadable.set(true);
                return Value::Undefined;
            }
        };
        let bytes = self.view.body();
        let index = match self.body.find(document, bytes, path) {
            Found::Missing if reader == Reader::Compat => return Value::Missing,
            Found::Missing | Found::Impossible | Found::Several => return Value::Undefined,
            Found::Node(index) => index,
        };
        let Some(node) = document.node(index) else {
            return Value::Undefined;
        };
        match document.value(bytes, node) {
            (Kind::Null, _) => Value::Null,
            (Kind::Bool(b), _) => Value::Bool(b),
            (Kind::Num(n), _) => Value::Num(n),
            (Kind::Str(_), Some(s)) if reader != Reader::Compat || !is_date(s) => {
                Value::Str(Cow::Borrowed(s))
            }
            _ => Value::Undefined,
        }
    }

    /// Why a body cannot be read, for [`crate::explain`].
    pub fn body_fault(&self, reader: Reader) -> Option<&'a Unreadable> {
        self.body.read(self.view, reader).err()
    }

    fn twin_change(&self, path: &BodyPath, bare: Option<&BodyPath>, reader: Reader) -> Value<'a> {
        let Ok(document) = self.body.read(self.view, reader) else {
            self.unreadable.set(true);
            return Value::Undefined;
        };
        let bytes = self.view.body();
        let found = |path| self.body.find(document, bytes, path);
        match (found(path), bare.map(found)) {
            (Found::Impossible, _) => Value::Undefined,
            (Found::Missing, None | Some(Found::Missing | Found::Impossible)) => Value::Bool(false),
            _ => Value::Bool(true),
        }
    }

    fn logic(&self, op: LogicOp, list: &'a [(LogicRule, Node)]) -> Value<'a> {
        let mut nodes = list.iter();
        let Some((_, first)) = nodes.next() else {
            return Value::Undefined;
        };
        let mut left = (self.eval(first), first.ty == Type::Null);
        let decided = op == LogicOp::Or;
        for (rule, node) in nodes {
            let right_null = node.ty == Type::Null;
            left = match rule {
                LogicRule::BothBools => match left.0 {
                    Value::Bool(a) => match self.eval(node) {
                        Value::Bool(b) => (
                            Value::Bool(if op == LogicOp::And { a && b } else { a || b }),
                            false,
                        ),
                        _ => (Value::Undefined, false),
                    },
                    _ => (Value::Undefined, false),
                },
                // Null in AND is null, in OR the other operand.
                LogicRule::ThreeValued if left.1 || right_null => match op {
                    LogicOp::And => (Value::Null, true),
                    LogicOp::Or if right_null && left.1 => left,
                    LogicOp::Or if right_null => (bool_or_undefined(left.0), false),
                    LogicOp::Or => (bool_or_undefined(self.eval(node)), false),
                },
                LogicRule::ThreeValued => match left.0 {
                    Value::Bool(b) if b == decided => left,
                    Value::Bool(_) => (bool_or_undefined(self.eval(node)), false),
                    _ => match self.eval(node) {
                        Value::Bool(b) if b == decided => (Value::Bool(b), false),
                        _ => (Value::Undefined, false),
                    },
                },
            };
        }
        left.0
    }
}

fn bool_or_undefined(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Bool(_) => value,
        _ => Value::Undefined,
    }
}

fn property(value: Option<Option<Cow<'_, str>>>) -> Value<'_> {
    match value {
        None => Value::Undefined,
        Some(None) => Value::NullStr,
        Some(Some(s)) => Value::Str(s),
    }
}

fn arith(op: Arith, a: f64, b: f64) -> f64 {
    match op {
        Arith::Mul => a * b,
        Arith::Div => a / b,
        Arith::Mod => a % b,
        Arith::Add => a + b,
        Arith::Sub => a - b,
    }
}

fn compare(op: BinaryOp, rule: Rule, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    if !left.is_defined() || !right.is_defined() {
        return Value::Undefined;
    }
    // Equality of strings needs no order.
    if let (BinaryOp::Eq | BinaryOp::Ne, Value::Str(a), Value::Str(b)) = (op, left, right) {
        return Value::Bool((a == b) == (op == BinaryOp::Eq));
    }
    let order = match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        // NaN, which only body arithmetic yields, is below all numbers and equal to itself.
        (Value::Num(a), Value::Num(b)) => a
            .partial_cmp(b)
            .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())),
        (Value::Str(a), Value::Str(b)) => text::compare(a, b),
        (Value::NullStr, _) | (_, Value::NullStr) if rule != Rule::Ranked => {
            return Value::Undefined;
        }
        (Value::NullStr, Value::NullStr) => Ordering::Equal,
        (Value::NullStr, Value::Str(_)) => Ordering::Less,
        (Value::Str(_), Value::NullStr) => Ordering::Greater,
        (Value::Null | Value::Missing, Value::Null | Value::Missing) => Ordering::Equal,
        _ if rule == Rule::Ranked => left.rank().cmp(&right.rank()),
        // Different kinds: unequal, and in no order.
        _ => {
            return match op {
                BinaryOp::Eq => Value::Bool(false),
                BinaryOp::Ne => Value::Bool(true),
                _ => Value::Undefined,
            };
        }
    };
    Value::Bool(match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::Ne => order.is_ne(),
        BinaryOp::Lt => order.is_lt(),
        BinaryOp::Le => order.is_le(),
        BinaryOp::Gt => order.is_gt(),
        BinaryOp::Ge => order.is_ge(),
        // The checker makes comparisons of no other operators.
        _ => return Value::Undefined,
    })
}
