//! The words of `edge run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use edge_core::deployment::{DirGrant, InstanceMode};
use edge_core::{ByteSize, Digest, ModuleId, parse_duration};
use edge_daemon::Level;
use edge_route::Mode;

use crate::remote::Target;

/// Run components here and now: no config, no containers, no cloud.
///
/// Each line of standard input is the body of one message to the first module's `input1`. What
/// modules send comes out on standard output, one JSON object a line; logs and rejected messages on
/// standard error.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Component files; each is a module with the file's name. `FILE@sha256:…` pins its bytes.
    #[arg(
        value_name = "MODULE.wasm",
        required_unless_present_any = ["manifest", "as"],
        conflicts_with_all = ["manifest", "as"]
    )]
    pub(crate) modules: Vec<String>,
    /// Run the modules and routes of a deployment manifest; what goes to $upstream is printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,

    /// The input that messages go to.
    #[arg(
        long,
        default_value = "input1",
        value_name = "NAME",
        help_heading = "Messages"
    )]
    pub(crate) input: String,
    /// The module, and the input, that messages go to; by default the first that takes any.
    #[arg(long, value_name = "MODULE[/INPUT]", help_heading = "Messages")]
    pub(crate) to: Option<To>,
    /// Send one message with this body instead of reading standard input.
    #[arg(long, value_name = "TEXT", help_heading = "Messages")]
    pub(crate) body: Option<String>,
    /// An application property of each message.
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Messages")]
    pub(crate) property: Vec<Pair>,
    /// What a line of standard input is.
    #[arg(long, value_enum, default_value_t = Format::Lines, help_heading = "Messages")]
    pub(crate) format: Format,
    /// Call a direct method when the messages are handled; the payload is JSON, null if not given.
    #[arg(long, value_name = "NAME[=PAYLOAD]", help_heading = "Messages")]
    pub(crate) method: Vec<Call>,
    /// A JSON file `{"desired": {…}}`: the desired properties of the module's twin. What the module
    /// reports is printed at the end.
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub(crate) twin: Option<PathBuf>,

    /// A route; with none, everything that modules send is printed.
    #[arg(
        long,
        value_name = "ROUTE",
        conflicts_with = "manifest",
        help_heading = "Routes"
    )]
    pub(crate) route: Vec<String>,
    /// The routing language: as IoT Edge has it (compat), or without its traps (strict). By default
    /// compat for manifests and strict for --route.
    #[arg(long, value_name = "MODE", help_heading = "Routes")]
    pub(crate) routes: Option<Mode>,

    /// A timer of the modules that handle timers.
    #[arg(
        long,
        value_name = "NAME=PERIOD",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) timer: Vec<Timer>,
    /// A setting: environment variable and wasi:config key.
    #[arg(
        long,
        value_name = "NAME=VALUE",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) env: Vec<Pair>,
    /// Something to reach beyond the hub: `state`, `http=https://HOST`, `dir=HOST:GUEST`,
    /// `dir=HOST:GUEST:rw`.
    #[arg(
        long,
        value_name = "GRANT",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) grant: Vec<Grant>,
    /// One instance for all messages, or a fresh one for each.
    #[arg(long, value_enum, default_value_t = Instances::Resident, conflicts_with = "manifest", help_heading = "Modules")]
    pub(crate) mode: Instances,
    /// Most memory of an instance [default: 64MiB]
    #[arg(
        long,
        value_name = "SIZE",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) memory: Option<ByteSize>,
    /// Most CPU time of a call [default: 500ms]
    #[arg(
        long,
        value_name = "SPAN",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) deadline: Option<Span>,
    /// Most time of a call, waiting included [default: 30s]
    #[arg(
        long,
        value_name = "SPAN",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) timeout: Option<Span>,
    /// What the component must hash to (one module only).
    #[arg(
        long,
        value_name = "sha256:…",
        conflicts_with = "manifest",
        help_heading = "Modules"
    )]
    pub(crate) digest: Option<Digest>,
    /// An argument of a service.
    #[arg(
        long,
        value_name = "ARG",
        conflicts_with = "manifest",
        allow_hyphen_values = true,
        help_heading = "Modules"
    )]
    pub(crate) arg: Vec<String>,
    /// Take up new builds of the components between two messages.
    #[arg(long, help_heading = "Modules")]
    pub(crate) watch: bool,

    /// End after this time.
    #[arg(long = "for", value_name = "SPAN", help_heading = "Running")]
    pub(crate) duration: Option<Span>,
    /// How long messages that modules put off are waited for after the input has ended.
    #[arg(
        long,
        value_name = "SPAN",
        default_value = "10s",
        help_heading = "Running"
    )]
    pub(crate) drain: Span,
    /// Least severity of module logs that is shown.
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "info", help_heading = "Running")]
    pub(crate) log: Level,
    /// Where compiled components are kept [default: $EDGE_CACHE_DIR, else the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Running")]
    cache_dir: Option<PathBuf>,
    /// Keep no compiled components.
    #[arg(long, conflicts_with = "cache_dir", help_heading = "Running")]
    no_cache: bool,
    #[command(flatten)]
    pub(crate) acting: As,
}

/// A process as a module of a running daemon.
#[derive(clap::Args, Debug)]
pub(crate) struct As {
    /// Act as this module of the running daemon, for instance under a debugger: run the command after
    /// `--` in its environment, or print that.
    #[arg(
        id = "as",
        long = "as",
        value_name = "MODULE",
        conflicts_with = "manifest",
        help_heading = "As a module"
    )]
    pub(crate) module: Option<String>,
    /// The command and its arguments.
    #[arg(
        last = true,
        value_name = "COMMAND",
        requires = "as",
        help_heading = "As a module"
    )]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) target: Target,
}

impl Args {
    /// Where compiled components are kept, if anywhere.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        self.cache_dir.clone().or_else(edge_daemon::cache_dir)
    }
}

/// What a line of standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The body of a message.
    Lines,
    /// A JSON object: `{"input":…,"body":…,"properties":{…}}`.
    Envelope,
}

/// How instances live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Instances {
    /// One for all messages.
    Resident,
    /// A fresh one for each call.
    PerMessage,
}

impl From<Instances> for InstanceMode {
    fn from(instances: Instances) -> Self {
        match instances {
            Instances::Resident => Self::Resident,
            Instances::PerMessage => Self::PerMessage,
        }
    }
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

fn split(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = split(text)?;
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// `MODULE[/INPUT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct To {
    pub(crate) module: ModuleId,
    pub(crate) input: Option<String>,
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (module, input) = match text.split_once('/') {
            Some((module, input)) if !input.is_empty() => (module, Some(input.to_owned())),
            Some(_) => return Err("expected MODULE or MODULE/INPUT".to_owned()),
            None => (text, None),
        };
        let module = ModuleId::new(module).map_err(|error| error.to_string())?;
        Ok(Self { module, input })
    }
}

/// `NAME[=PAYLOAD]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) payload: String,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, payload) = text.split_once('=').unwrap_or((text, "null"));
        if name.is_empty() {
            return Err("expected NAME or NAME=PAYLOAD".to_owned());
        }
        serde_json::from_str::<serde::de::IgnoredAny>(payload)
            .map_err(|error| format!("the payload is not JSON: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            payload: payload.to_owned(),
        })
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// `NAME=PERIOD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) name: String,
    pub(crate) period: Duration,
}

impl FromStr for Timer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, period) =
            split(text).map_err(|_| "expected NAME=PERIOD, as in poll=5s".to_owned())?;
        let period = parse_duration(period).map_err(|error| error.to_string())?;
        if period < Duration::from_millis(1) {
            return Err("a period is at least 1ms".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            period,
        })
    }
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    State,
    Http(String),
    Dir(DirGrant),
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "state" => Ok(Self::State),
            Some(("http", origin)) if !origin.is_empty() => Ok(Self::Http(origin.to_owned())),
            Some(("dir", dir)) => {
                let (dir, write) = match dir.strip_suffix(":rw") {
                    Some(dir) => (dir, true),
                    None => (dir.strip_suffix(":ro").unwrap_or(dir), false),
                };
                match dir.rsplit_once(':') {
                    Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
                        Ok(Self::Dir(DirGrant {
                            host: host.into(),
                            guest: guest.to_owned(),
                            write,
                        }))
                    }
                    _ => Err(
                        "expected dir=HOST:GUEST or dir=HOST:GUEST:rw, GUEST beginning with /"
                            .to_owned(),
                    ),
                }
            }
            _ => Err("expected state, http=ORIGIN or dir=HOST:GUEST".to_owned()),
        }
    }
}

fn parse_level(text: &str) -> Result<Level, String> {
    Ok(match text {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        "critical" => Level::Critical,
        _ => return Err("expected trace, debug, info, warn, error or critical".to_owned()),
    })
}
