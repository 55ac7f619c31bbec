//! A process of a client: it is told steps, and tells answers and events (`clients/steps.py`).

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for a step or an event. A step ends itself before that.
const PATIENCE: Duration = Duration::from_secs(75);

/// Whose client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    Python,
    Node,
}

/// A running client. It is killed when it is dropped.
pub struct Client {
    child: Child,
    input: ChildStdin,
    said: Arc<Said>,
    next: u64,
}

/// All lines so far.
#[derive(Default)]
struct Said {
    state: Mutex<(Vec<Value>, bool)>,
    more: Condvar,
}

/// A step that goes on.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Step(u64);

impl Client {
    /// A script of the device SDK, with these variables in its environment.
    pub fn sdk(sdk: Sdk, environment: &[(String, String)]) -> Self {
        let mut command = match sdk {
            Sdk::Python => python("python"),
            Sdk::Node => {
                let modules = installed("node/node_modules");
                let mut command = Command::new("node");
                command
                    .arg(script("node/client.js"))
                    .env("NODE_PATH", modules);
                command
            }
        };
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::start(command)
    }

    /// A script of rhea.
    pub fn rhea() -> Self {
        let mut command = Command::new("node");
        command
            .arg(script("node/rhea.js"))
            .env("NODE_PATH", installed("node/node_modules"));
        Self::start(command)
    }

    /// A script of paho-mqtt 2.
    pub fn paho() -> Self {
        Self::start(python("paho"))
    }

    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: run .ci/install"));
        let said = Arc::new(Said::default());
        let (own, out) = (said.clone(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let Ok(line) = line else {
                    break;
                };
                eprintln!("client: {line}");
                let value = serde_json::from_str(&line);
                // What is no step of a script is a print of a library.
                if let Ok(value @ Value::Object(_)) = value {
                    own.state.lock().unwrap().0.push(value);
                    own.more.notify_all();
                }
            }
            own.state.lock().unwrap().1 = true;
            own.more.notify_all();
        });
        Self {
            input: child.stdin.take().unwrap(),
            child,
            said,
            next: 0,
        }
    }

    /// Begins a step.
    #[track_caller]
    pub fn begin(&mut self, step: &str, mut with: Value) -> Step {
        self.next += 1;
        with["id"] = self.next.into();
        with["step"] = step.into();
        writeln!(self.input, "{with}").expect("the client runs");
        Step(self.next)
    }

    /// What a step came to: its answer, or why there is none.
    #[track_caller]
    pub fn end(&mut self, step: Step) -> Result<Value, String> {
        let answer = self.wait(&format!("an answer to step {}", step.0), |line| {
            line["id"] == step.0
        });
        match answer["ok"] == true {
            true => Ok(answer),
            false => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// A step that must succeed.
    #[track_caller]
    pub fn ask(&mut self, step: &str, with: Value) -> Value {
        match self.attempt(step, with.clone()) {
            Ok(answer) => answer,
            Err(error) => panic!("{step} {with}: {error}"),
        }
    }

    /// A step that may fail.
    #[track_caller]
    pub fn attempt(&mut self, step: &str, with: Value) -> Result<Value, String> {
        let begun = self.begin(step, with);
        self.end(begun)
    }

    /// Waits for an event of a kind that fits; it may have come already.
    #[track_caller]
    pub fn event(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait(&format!("an event {kind}"), |line| {
            line["event"] == kind && fits(line)
        })
    }

    /// All events of a kind so far.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let lines = &self.said.state.lock().unwrap().0;
        let events = lines.iter().filter(|line| line["event"] == kind);
        events.cloned().collect()
    }

    /// Waits until there are so many events of a kind that fit.
    #[track_caller]
    pub fn events_at_least(&self, count: usize, kind: &str, fits: impl Fn(&Value) -> bool) {
        self.until(&format!("{count} events {kind}"), |lines| {
            let of_kind = lines.iter().filter(|line| line["event"] == kind);
            (of_kind.filter(|line| fits(line)).count() >= count).then_some(())
        });
    }

    #[track_caller]
    fn wait(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.until(what, |lines| lines.iter().find(|line| fits(line)).cloned())
    }

    #[track_caller]
    fn until<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut state = self.said.state.lock().unwrap();
        loop {
            if let Some(found) = find(&state.0) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !state.1 && !left.is_zero(),
                "the client did not say {what}, {}; it said {:#?}",
                if state.1 { "and ended" } else { "in time" },
                state.0
            );
            state = self.said.more.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(name: &str) -> Command {
    let mut command = Command::new(installed(&format!("{name}/bin/python")));
    command.arg(script(&format!("{name}/client.py")));
    command
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk/clients")
        .join(name)
}

/// What `.ci/install` put there.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/sdk")
        .join(name);
    assert!(
        path.exists(),
        "{} is not there: run .ci/install",
        path.display()
    );
    path
}

/// An object without the names that begin so.
pub fn without(object: &Value, prefix: &str) -> Value {
    let pairs = object.as_object().into_iter().flatten();
    let kept = pairs.filter(|(name, _)| !name.starts_with(prefix));
    kept.fold(json!({}), |mut all, (name, value)| {
        all[name] = value.clone();
        all
    })
}
