//! The functions (section 9). An argument that is undefined or of another kind makes the result
//! undefined, unless the function is there to ask about just that.

use std::borrow::Cow;

use super::Env;
use crate::ir::{Function, Node};
use crate::text;
use crate::value::Value;
use crate::view::MessageView;

pub(super) fn call<'a, V: MessageView + ?Sized>(
    env: &Env<'a, V>,
    function: Function,
    args: &'a [Node],
) -> Value<'a> {
    use Function as F;
    // The checker has seen to the number of arguments.
    let arg = |i: usize| args.get(i).map_or(Value::Undefined, |node| env.eval(node));
    match function {
        F::Abs => number(&arg(0), f64::abs),
        F::Ceiling => number(&arg(0), f64::ceil),
        F::Floor => number(&arg(0), f64::floor),
        F::Sign => number(&arg(0), |n| if n == 0.0 { 0.0 } else { n.signum() }),
        F::Square => number(&arg(0), |n| n * n),
        F::Exp => number(&arg(0), f64::exp),
        F::Sqrt => number(&arg(0), f64::sqrt),
        F::Power => match (arg(0), arg(1)) {
            (Value::Num(a), Value::Num(b)) => Value::number(a.powf(b)),
            _ => Value::Undefined,
        },
        F::AsNumber => match arg(0) {
            Value::Num(n) => Value::number(n),
            Value::Str(s) => crate::number::parse(&s).map_or(Value::Undefined, Value::number),
            _ => Value::Undefined,
        },
        F::IsBool => match arg(0) {
            Value::Undefined => Value::Undefined,
            value => Value::Bool(matches!(value, Value::Bool(_))),
        },
        F::IsNumber => Value::Bool(matches!(arg(0), Value::Num(n) if n.is_finite())),
        F::IsString => Value::Bool(matches!(arg(0), Value::Str(_))),
        F::IsDefined => Value::Bool(arg(0).is_defined()),
        F::IsNull => Value::Bool(matches!(arg(0), Value::Null | Value::NullStr)),
        F::Concat => concat(args.iter().map(|node| env.eval(node))),
        F::Length => match arg(0) {
            Value::Str(s) => Value::Num(text::len(&s) as f64),
            _ => Value::Undefined,
        },
        F::Lower => match arg(0) {
            Value::Str(s) => Value::Str(text::lower(&s).into()),
            _ => Value::Undefined,
        },
        F::Upper => match arg(0) {
            Value::Str(s) => Value::Str(text::upper(&s).into()),
            _ => Value::Undefined,
        },
        F::Substring => substring(
            arg(0),
            &arg(1),
            args.get(2).map(|node| env.eval(node)).as_ref(),
        ),
        F::IndexOf => strings(arg(0), arg(1), |s, part| {
            Value::Num(text::index_of(s, part).map_or(-1.0, |at| at as f64))
        }),
        F::StartsWith => strings(arg(0), arg(1), |s, part| Value::Bool(s.starts_with(part))),
        F::EndsWith => strings(arg(0), arg(1), |s, part| Value::Bool(s.ends_with(part))),
        F::Contains => strings(arg(0), arg(1), |s, part| Value::Bool(s.contains(part))),
    }
}

fn number(value: &Value<'_>, f: impl Fn(f64) -> f64) -> Value<'static> {
    match value {
        Value::Num(n) => Value::number(f(*n)),
        _ => Value::Undefined,
    }
}

fn strings(a: Value<'_>, b: Value<'_>, f: impl Fn(&str, &str) -> Value<'static>) -> Value<'static> {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => f(&a, &b),
        _ => Value::Undefined,
    }
}

/// Joins strings; a null one counts as empty.
pub(super) fn concat<'a>(parts: impl Iterator<Item = Value<'a>>) -> Value<'a> {
    let mut all = String::new();
    for part in parts {
        match part {
            Value::Str(s) => all.push_str(&s),
            Value::NullStr => {}
            _ => return Value::Undefined,
        }
    }
    Value::Str(Cow::Owned(all))
}

fn substring<'a>(s: Value<'a>, start: &Value<'_>, count: Option<&Value<'_>>) -> Value<'a> {
    let (Value::Str(s), Value::Num(start)) = (s, start) else {
        return Value::Undefined;
    };
    let (length, start) = (text::len(&s) as f64, *start);
    let count = match count {
        None if start >= 0.0 && start <= length => None,
        Some(Value::Num(n))
            if start >= 0.0 && start < length && *n >= 0.0 && *n <= length - start =>
        {
            Some(whole(*n))
        }
        _ => return Value::Undefined,
    };
    Value::Str(Cow::Owned(text::substring(&s, whole(start), count)))
}

/// The whole part of a number between zero and the length of a string.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the caller has checked the range; the fraction is to go"
)]
fn whole(n: f64) -> usize {
    n as usize
}
