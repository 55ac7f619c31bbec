//! Why a route takes a message or does not, part by part.

use std::fmt;

use serde::Serialize;

use crate::body::{Body, Found, Kind, Reader, is_date};
use crate::eval::Env;
use crate::ir::{Arith, Function, Node, Op, Rule};
use crate::path::{BodyPath, Step};
use crate::route::Route;
use crate::syntax::{BinaryOp, LogicOp};
use crate::value::{Truth, Type, Value};
use crate::view::MessageView;

/// What a route makes of a message. Its `Display` is an indented tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Whether the message goes to the endpoint.
    pub fires: bool,
    /// The route's source.
    pub source: String,
    /// The message's path.
    pub path: String,
    /// Whether the source takes it.
    pub source_matches: bool,
    /// Why, in words.
    pub source_reason: String,
    /// What the condition comes to; told also where the source does not match.
    pub outcome: Truth,
    /// The condition.
    pub condition: Part,
    /// Where the route leads.
    pub endpoint: String,
}

/// A part of a condition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// As written.
    pub text: String,
    /// What it comes to.
    pub value: String,
    /// Why it is undefined, or what is easily overlooked about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The parts that it is made of, literals left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// Explains what a route makes of a message with this path.
pub fn explain(route: &Route, path: &str, view: &dyn MessageView) -> Explanation {
    let body = Body::default();
    let condition = route.condition();
    let explainer = Explainer {
        env: Env::new(view, &body),
        text: condition.full_text(),
    };
    let outcome = explainer.env.truth(condition.node());
    let mut part = explainer.part(condition.node());
    if part.text.is_empty() {
        condition.text().clone_into(&mut part.text);
    }
    if outcome == Truth::Undefined
        && part.reason.is_none()
        && explainer.env.eval(condition.node()).is_defined()
    {
        part.reason = Some("the value is no bool, so the condition is undefined".to_owned());
    }
    let source_matches = route.source().matches(path);
    let source_reason = match source_matches {
        true => format!("{path} is {0} or below it", route.source().prefix()),
        false => format!(
            "{path} is neither {0} nor below it",
            route.source().prefix()
        ),
    };
    Explanation {
        fires: source_matches && outcome == Truth::True,
        source: route.source().to_string(),
        path: path.to_owned(),
        source_matches,
        source_reason,
        outcome,
        condition: part,
        endpoint: route.endpoint().to_string(),
    }
}

struct Explainer<'a> {
    env: Env<'a, dyn MessageView + 'a>,
    text: &'a str,
}

impl<'a> Explainer<'a> {
    fn part(&self, node: &'a Node) -> Part {
        let value = self.env.eval(node);
        let literal = |n: &&Node| {
            !matches!(
                n.op,
                Op::Bool(_) | Op::Num(_) | Op::Str(_) | Op::Null | Op::Undefined
            )
        };
        Part {
            text: node.span.of(self.text).to_owned(),
            reason: self.reason(node, &value),
            value: value.to_string(),
            parts: node
                .children()
                .into_iter()
                .filter(literal)
                .map(|child| self.part(child))
                .collect(),
        }
    }

    fn reason(&self, node: &'a Node, value: &Value<'_>) -> Option<String> {
        let undefined = !value.is_defined();
        match &node.op {
            Op::Undefined if node.span.start == node.span.end => {
                Some("the condition is blank".to_owned())
            }
            Op::App(name) if undefined => {
                Some(format!("the message has no application property {name}"))
            }
            Op::System { name, .. } if undefined => {
                Some(format!("the message has no system property {name}"))
            }
            Op::System { name, over } => self
                .hidden(over.as_deref())
                .then(|| format!("an application property ${name} hides the system property")),
            Op::Body { over, .. } if self.hidden(over.as_deref()) => {
                Some("an application property of this name hides the body value".to_owned())
            }
            Op::Body { path, reader, .. } => self.body_reason(path, *reader, value),
            Op::TwinChange { reader, .. } if undefined => {
                Some(self.env.body_fault(*reader)?.to_string())
            }
            Op::Compare(op, rule, pair) => self.compare_reason(*op, *rule, pair, undefined),
            Op::Logic(op, list) if undefined => {
                let operand = list
                    .iter()
                    .map(|(_, n)| n)
                    .find(|n| !matches!(self.env.eval(n), Value::Bool(_)))?;
                let decided = if *op == LogicOp::And { "false" } else { "true" };
                Some(format!(
                    "{} is {}, and no other operand of {} is {decided}",
                    operand.span.of(self.text),
                    self.env.eval(operand).kind(),
                    op.text()
                ))
            }
            Op::Arith(op, _, pair) if undefined => match self.misfit(&**pair, Type::Num) {
                Some(why) => Some(why),
                None => Some(match op {
                    Arith::Div | Arith::Mod => "the division has no result".to_owned(),
                    _ => "the result is not a number".to_owned(),
                }),
            },
            Op::Negate(inner) if undefined => {
                self.misfit(std::slice::from_ref(&**inner), Type::Num)
            }
            Op::Not(inner) if undefined => self.misfit(std::slice::from_ref(&**inner), Type::Bool),
            Op::InvertedIsNull(_) if !undefined => {
                Some("compat mode: of a body value, is_null says whether it is there".to_owned())
            }
            Op::InvertedIsNull(inner) => Some(format!("{} is undefined", inner.span.of(self.text))),
            Op::Concat(pair) if undefined => self.misfit(&**pair, Type::Str),
            Op::Coalesce(_) if undefined => Some("both sides are undefined".to_owned()),
            Op::Call(function, args) if undefined => self.call_reason(*function, args),
            _ => None,
        }
    }

    fn hidden(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.env.view.property(name).is_some())
    }

    fn body_reason(&self, path: &BodyPath, reader: Reader, value: &Value<'_>) -> Option<String> {
        let document = match self.env.body.read(self.env.view, reader) {
            Ok(document) => document,
            Err(error) => return Some(error.to_string()),
        };
        match value {
            Value::Missing => Some(format!(
                "the body has no {}; in compat mode that counts as null",
                path.text
            )),
            Value::Undefined => {
                let bytes = self.env.view.body();
                Some(match self.env.body.find(document, bytes, path) {
                    Found::Missing => match self.present(path, reader) {
                        Some(there) => format!("the body has {there}, and no {}", path.text),
                        None => format!("the body has no {}", path.text),
                    },
                    Found::Impossible => format!("the path {} cannot be followed", path.text),
                    Found::Several => format!("the path {} leads to several values", path.text),
                    Found::Node(index) => {
                        match document.node(index).map(|n| document.value(bytes, n)) {
                            Some((Kind::Object, _)) => "the body holds an object here".to_owned(),
                            Some((Kind::Array, _)) => "the body holds a list here".to_owned(),
                            Some((_, Some(s))) if is_date(s) => {
                                "this text looks like a date; in compat mode such text has no value"
                                    .to_owned()
                            }
                            _ => "the value cannot be read".to_owned(),
                        }
                    }
                })
            }
            _ => None,
        }
    }

    /// The longest beginning of a path that the body does have.
    fn present(&self, path: &BodyPath, reader: Reader) -> Option<String> {
        let document = self.env.body.read(self.env.view, reader).ok()?;
        let steps = path.steps.as_deref()?;
        let there = (1..steps.len()).rev().find(|&n| {
            let shorter = BodyPath {
                text: path.text.clone(),
                steps: Some(steps[..n].into()),
                slot: None,
            };
            matches!(
                self.env.body.find(document, self.env.view.body(), &shorter),
                Found::Node(_)
            )
        })?;
        let text = steps[..there]
            .iter()
            .fold(String::new(), |text, step| match step {
                Step::Key(key) if text.is_empty() => key.to_string(),
                Step::Key(key) => format!("{text}.{key}"),
                Step::Index(index) => format!("{text}[{index}]"),
                Step::AnyKey => format!("{text}.*"),
                Step::AnyIndex => format!("{text}[*]"),
            });
        Some(text)
    }

    fn compare_reason(
        &self,
        op: BinaryOp,
        rule: Rule,
        pair: &'a [Node; 2],
        undefined: bool,
    ) -> Option<String> {
        let [left, right] = pair;
        let (a, b) = (self.env.eval(left), self.env.eval(right));
        for (node, value) in [(left, &a), (right, &b)] {
            if undefined && matches!(value, Value::Undefined | Value::NullStr) {
                return Some(format!("{} is {}", node.span.of(self.text), value.kind()));
            }
        }
        if a.rank() == b.rank() || !a.is_defined() || !b.is_defined() {
            return None;
        }
        let kinds = format!(
            "{} is {}, {} is {}",
            left.span.of(self.text),
            a.kind(),
            right.span.of(self.text),
            b.kind()
        );
        match (rule, op) {
            (Rule::Ranked, _) => Some(format!(
                "{kinds}; compat mode orders different kinds: bool, number, string, null"
            )),
            (_, BinaryOp::Eq | BinaryOp::Ne) => {
                Some(format!("{kinds}: different kinds are unequal"))
            }
            _ => Some(format!("{kinds}: different kinds are in no order")),
        }
    }

    /// The first operand that is not of the type wanted.
    fn misfit(&self, nodes: &'a [Node], wanted: Type) -> Option<String> {
        nodes.iter().find_map(|node| {
            let value = self.env.eval(node);
            let fits = match wanted {
                Type::Num => matches!(value, Value::Num(_)),
                Type::Bool => matches!(value, Value::Bool(_)),
                _ => matches!(value, Value::Str(_)),
            };
            (!fits).then(|| {
                format!(
                    "{} is {}, and a {wanted} is wanted",
                    node.span.of(self.text),
                    value.kind()
                )
            })
        })
    }

    fn call_reason(&self, function: Function, args: &'a [Node]) -> Option<String> {
        for arg in args {
            let value = self.env.eval(arg);
            if matches!(value, Value::Undefined | Value::NullStr) {
                return Some(format!("{} is {}", arg.span.of(self.text), value.kind()));
            }
        }
        Some(match (function, args) {
            (Function::AsNumber, [arg]) => format!("{} is not a number", self.env.eval(arg)),
            (Function::Substring, _) => "start or length is outside of the string".to_owned(),
            (Function::Sqrt, _) => "a negative number has no root".to_owned(),
            _ => "an argument is of another type".to_owned(),
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.fires, self.source_matches, self.outcome) {
            (true, ..) => "taken",
            (_, false, _) => "not taken: the source does not match",
            (_, _, Truth::False) => "not taken: the condition is false",
            _ => "not taken: the condition is undefined",
        };
        writeln!(f, "{verdict}")?;
        let source = if self.source_matches {
            "matches"
        } else {
            "does not match"
        };
        writeln!(
            f,
            "  FROM {}: {source}; {}",
            self.source, self.source_reason
        )?;
        writeln!(f, "  WHERE: {}", self.outcome)?;
        self.condition.write(f, 4)?;
        write!(f, "  INTO {}", self.endpoint)
    }
}

impl Part {
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        write!(f, "{:indent$}{} = {}", "", self.text, self.value)?;
        match &self.reason {
            Some(reason) => writeln!(f, "  ({reason})")?,
            None => writeln!(f)?,
        }
        self.parts
            .iter()
            .try_for_each(|part| part.write(f, indent + 2))
    }
}
