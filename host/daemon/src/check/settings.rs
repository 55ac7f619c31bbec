//! The settings.

use super::{Facts, Outcome};

pub(super) fn well_formed(facts: &Facts) -> Outcome {
    let file = facts.place.config.as_ref();
    match (&facts.mistakes[..], file) {
        ([], Some(file)) => Outcome::ok(file.display().to_string()),
        ([], None) => Outcome::ok("there is no settings file: the defaults hold"),
        (mistakes, _) => Outcome::error(
            mistakes.join("\n"),
            "correct these; `edge daemon --print-defaults` shows every key with its default",
        ),
    }
}
