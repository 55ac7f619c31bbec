//! What is asked of each server: who sends how much to whom.

use std::time::Duration;

use super::load::Load;
use super::wire::Transport;

/// How long a server is given messages in one repetition; in a quick run.
const TIME: Duration = Duration::from_millis(1_500);
const QUICK: Duration = Duration::from_millis(100);

/// One question.
pub struct Case {
    pub name: String,
    pub load: Load,
}

/// All of them.
pub fn all(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, load: Load| {
        let body = match load.body {
            4_096 => "4 KiB".to_owned(),
            bytes => format!("{bytes} B"),
        };
        cases.push(Case {
            name: format!("{name}, {body}"),
            load,
        });
    };
    for body in [16, 256, 4_096] {
        let base = Load {
            publishers: 1,
            subscribers: 1,
            window: 100,
            // As many as a fast server takes in part of the time.
            messages: if body < 4_096 { 300_000 } else { 60_000 },
            time: Some(if quick { QUICK } else { TIME }),
            pace: None,
            body,
            clean: true,
            transport: Transport::Plain,
        };
        let fan_in = |publishers| Load {
            publishers,
            window: 1,
            ..base
        };
        add("1 to 1, 1 in flight", Load { window: 1, ..base });
        add("1 to 1, 100 in flight", base);
        let window = 1_000;
        add("1 to 1, 1 000 in flight", Load { window, ..base });
        if body == 256 {
            let pace = Some(1_000);
            let paced = Load {
                pace,
                window,
                ..base
            };
            add("1 to 1, 1 000 a second", paced);
        }
        let fan_out = Load {
            subscribers: 50,
            messages: base.messages / 15,
            ..base
        };
        add("1 to 50, 100 in flight", fan_out);
        add("50 to 1, 1 in flight each", fan_in(50));
        if body == 256 {
            add("100 to 1, 1 in flight each", fan_in(100));
            add("1 000 to 1, 1 in flight each", fan_in(1_000));
        }
    }
    cases
}
