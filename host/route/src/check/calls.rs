//! Calls: which function, and whether its arguments fit (section 9).

use super::Checker;
use crate::body::Reader;
use crate::diagnostic::{DiagnosticCode, Span};
use crate::ir::{Function, Node, Op};
use crate::path::BodyPath;
use crate::suggest::nearest;
use crate::syntax::{Expr, ExprKind};
use crate::text::strip_prefix_ignoring_case;
use crate::value::Type;

const TWIN_CHANGE: &str = "twin_change_includes";

/// What paths of `twin_change_includes` begin with.
const TWIN_PREFIXES: [&str; 3] = ["properties.reported.", "properties.desired.", "tags."];

impl Checker<'_> {
    pub(super) fn call(&mut self, name: Span, args: &[Expr]) -> (Op, Type) {
        let text = name.of(self.text);
        if text.eq_ignore_ascii_case(TWIN_CHANGE) {
            return self.twin_change(name, args);
        }
        let Some(function) = Function::named(text) else {
            let known = Function::ALL.iter().map(|f| f.name()).chain([TWIN_CHANGE]);
            let hint = nearest(text, known)
                .map_or_else(String::new, |near| format!(": did you mean {near}?"));
            self.error(
                name,
                DiagnosticCode::UnknownFunction,
                format!("there is no function `{text}`{hint}"),
            );
            return (Op::Undefined, Type::Undefined);
        };
        let args: Vec<Node> = args.iter().map(|arg| self.visit(arg)).collect();
        match result(function, &args) {
            Ok(Some(ty)) => {
                self.warn_call(function, name, &args);
                match <[Node; 1]>::try_from(args) {
                    Ok([arg])
                        if function == Function::IsNull
                            && arg.ty == Type::Query
                            && !self.strict() =>
                    {
                        (Op::InvertedIsNull(Box::new(arg)), ty)
                    }
                    Ok(args) => (Op::Call(function, args.into()), ty),
                    Err(args) => (Op::Call(function, args), ty),
                }
            }
            Ok(None) => (Op::Bool(false), Type::Bool),
            Err(expected) => {
                let given: Vec<String> = args.iter().map(|a| a.ty.to_string()).collect();
                let hint = match args.iter().find(|a| a.ty == Type::Str) {
                    Some(arg) if expected.contains("number") && !expected.contains("string") => {
                        self.as_number_hint(arg)
                    }
                    _ => String::new(),
                };
                let given = match given.is_empty() {
                    true => "nothing".to_owned(),
                    false => given.join(", "),
                };
                let message = format!("`{text}` takes {expected}; given: {given}{hint}");
                self.error(name, DiagnosticCode::Arguments, message);
                (Op::Undefined, Type::Undefined)
            }
        }
    }

    fn warn_call(&mut self, function: Function, name: Span, args: &[Node]) {
        if function == Function::IsNull && args[0].ty == Type::Query {
            let message = "of a body value, is_null is true for every value that is there, and false for a missing one";
            self.warn(name, DiagnosticCode::InvertedIsNull, message);
        }
        if let [arg] = args
            && function == Function::IsDefined
            && arg.ty == Type::Query
        {
            let message = "is_defined is true of a missing body value as well: it counts as null";
            self.warn(name, DiagnosticCode::AbsentCompares, message);
        }
    }

    /// The argument is a path, bare, and not looked at as an expression.
    fn twin_change(&mut self, name: Span, args: &[Expr]) -> (Op, Type) {
        let failed = (Op::Undefined, Type::Undefined);
        let options = self.options;
        if !options.features.twin_change_includes || !options.twin_source {
            let message = match self.strict() {
                true => "twin_change_includes works on routes FROM /twinChangeNotifications only",
                false => {
                    "twin_change_includes is not available in compat mode; it needs strict mode and a source under /twinChangeNotifications"
                }
            };
            self.error(name, DiagnosticCode::FunctionUnavailable, message);
            return failed;
        }
        let path = match args {
            [arg] => arg.span.of(self.text),
            _ => "",
        };
        let checked = match args {
            [
                Expr {
                    kind: ExprKind::App(_),
                    ..
                },
            ] => match self.strict() {
                true => BodyPath::strict(path),
                false => BodyPath::compat(path),
            },
            _ => Err(
                "expected one path without quotes, as in properties.reported.temperature"
                    .to_owned(),
            ),
        };
        let prefix = TWIN_PREFIXES
            .iter()
            .find(|prefix| strip_prefix_ignoring_case(path, prefix).is_some());
        let why = match (checked, prefix) {
            (Ok(path), Some(prefix)) => {
                // This hub's notifications are the patch of reported properties itself.
                let bare = (self.strict() && *prefix == TWIN_PREFIXES[0])
                    .then(|| path.without(2))
                    .flatten();
                let reader = if self.strict() {
                    Reader::Twin
                } else {
                    Reader::Compat
                };
                return (Op::TwinChange { path, bare, reader }, Type::Bool);
            }
            (Ok(_), None) => format!("`{path}` does not begin with {}", TWIN_PREFIXES.join(", ")),
            (Err(why), _) => why,
        };
        self.error(
            name,
            DiagnosticCode::Arguments,
            format!("`{TWIN_CHANGE}`: {why}"),
        );
        failed
    }
}

/// The type of a call's result; `None` if these types make it false in every message.
fn result(function: Function, args: &[Node]) -> Result<Option<Type>, &'static str> {
    use Function as F;
    use Type::{Bool, Num, Query, Str};
    let types: Vec<Type> = args.iter().map(|a| a.ty).collect();
    let fit = |wanted: &[Type]| {
        types.len() == wanted.len() && types.iter().zip(wanted).all(|(t, w)| t == w || *t == Query)
    };
    let (ok, ty, expected) = match function {
        F::Abs | F::Ceiling | F::Floor | F::Sign | F::Square | F::Exp | F::Sqrt => {
            (fit(&[Num]), Num, "one number")
        }
        F::Power => (fit(&[Num, Num]), Num, "two numbers"),
        F::AsNumber => (fit(&[Str]) || fit(&[Num]), Num, "one string or number"),
        F::IsDefined | F::IsNull if types.len() == 1 => {
            let never = function == F::IsNull && matches!(types[0], Num | Bool | Type::Undefined);
            return Ok((!never).then_some(Bool));
        }
        F::IsBool | F::IsNumber | F::IsString if types.len() == 1 => {
            let wanted = match function {
                F::IsBool => Bool,
                F::IsNumber => Num,
                _ => Str,
            };
            return Ok(fit(&[wanted]).then_some(Bool));
        }
        F::IsDefined | F::IsNull | F::IsBool | F::IsNumber | F::IsString => {
            (false, Bool, "one value")
        }
        F::Concat => {
            let all = types.len() >= 2 && types.iter().all(|t| matches!(t, Str | Query));
            (all, Str, "two or more strings")
        }
        F::Length => (fit(&[Str]), Num, "one string"),
        F::Lower | F::Upper => (fit(&[Str]), Str, "one string"),
        F::Substring => {
            let ok = fit(&[Str, Num]) || fit(&[Str, Num, Num]);
            (ok, Str, "a string, a start and perhaps a length")
        }
        F::IndexOf => (fit(&[Str, Str]), Num, "two strings"),
        F::StartsWith | F::EndsWith | F::Contains => (fit(&[Str, Str]), Bool, "two strings"),
    };
    if ok { Ok(Some(ty)) } else { Err(expected) }
}
