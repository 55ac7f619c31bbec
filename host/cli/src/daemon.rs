//! `edge daemon`: the device.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use edge_core::{Message, ModuleId};
use edge_daemon::settings::{DEFAULT_FILE, Settings};
use edge_daemon::types::{ListenerInfo, MessageInfo};
use edge_daemon::{
    Compiler, DaemonConfig, DaemonError, DataDirError, DeviceError, Ended, Level, LogSink,
    SocketError, Take,
};

use crate::exit::{Code, Exit, say};
use crate::output;

/// Threads for calls and for the agent; modules have their own.
const THREADS: usize = 2;

/// Run the device: takes deployments, keeps messages and state across restarts. Needs no configuration.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Settings; drop-ins in config.d beside it are read as well [default: /etc/edge/config.toml as
    /// root, else edge/config.toml in the user's configuration folder, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything lies that the device keeps [default: as set, else $EDGE_DATA_DIR, else
    /// /var/lib/edge as root, else edge in the user's state folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Read the settings, say every mistake, and end.
    #[arg(long)]
    check: bool,
    /// Print all settings with their defaults, and end.
    #[arg(long, conflicts_with = "check")]
    print_defaults: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    if args.print_defaults {
        output::line(DEFAULT_FILE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = args.config.or_else(edge_daemon::config_file);
    let settings = Settings::load(config.as_deref()).map_err(|bad| {
        for mistake in &bad.0 {
            say(&mistake.to_string());
        }
        let what = match bad.0.len() {
            1 => "there is 1 mistake in the settings".to_owned(),
            n => format!("there are {n} mistakes in the settings"),
        };
        Exit::with(Code::Settings, anyhow!(what))
    })?;
    let data = settings
        .data_dir(args.data.as_deref())
        .map_err(|error| Exit::with(Code::Settings, error))?;
    if let Some(config) = &config {
        say(&format!("edge: settings {}", config.display()));
    }
    say(&format!("edge: data directory {}", data.display()));
    if args.check {
        let keys = settings.verify.read_keys();
        keys.map_err(|error| Exit::with(Code::Settings, error))?;
        say(&format!(
            "edge: the settings are right: device {}, management socket {}",
            settings.device_name(),
            settings.socket(&data).display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("edge")
        .enable_all()
        .build()
        .map_err(Exit::usage)?;
    let config = DaemonConfig {
        settings,
        config,
        data,
        compiler: compiler(),
        console: Some(Arc::new(Console)),
        print: Box::new(Printer(BufWriter::new(io::stdout()))),
    };
    let ended = runtime.block_on(edge_daemon::run(config, |ready| {
        if let Some(at) = ready.metrics {
            say(&format!("edge: metrics http://{at}/metrics"));
        }
        let at = |listener: &ListenerInfo| format!(", {} {}", listener.name, listener.address);
        let listening: String = ready.listeners.iter().map(at).collect();
        say(&format!(
            "edge: ready: device {}, management socket {}{listening}",
            ready.device,
            ready.socket.display()
        ));
    }));
    // What does not end by itself ends with the process.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Clean) => Ok(ExitCode::SUCCESS),
        Ok(Ended::Left(modules)) => {
            let names: Vec<_> = modules.iter().map(ModuleId::to_string).collect();
            say(&format!(
                "edge: modules that did not end in time: {}",
                names.join(", ")
            ));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ended::AtOnce) => Ok(Code::Interrupted.into()),
        Err(error) => Err(Exit::with(code(&error), error)),
    }
}

/// This very program, also where another one has been put in its place since.
fn compiler() -> Compiler {
    const SELF: &str = "/proc/self/exe";
    if std::fs::exists(SELF).is_ok_and(|there| there) {
        return Compiler::Child(SELF.into());
    }
    match std::env::current_exe() {
        Ok(path) => Compiler::Child(path),
        Err(_) => Compiler::InProcess,
    }
}

fn code(error: &DaemonError) -> Code {
    match error {
        DaemonError::Data(DataDirError::InUse { .. })
        | DaemonError::Socket(SocketError::InUse(_)) => Code::InUse,
        DaemonError::Socket(SocketError::NoGroup(_) | SocketError::NoSocket(_))
        | DaemonError::Device(
            DeviceError::Certificates(_) | DeviceError::NoGroup(_) | DeviceError::Key(_),
        ) => Code::Settings,
        DaemonError::Store(_) | DaemonError::Device(DeviceError::Store { .. }) => Code::Store,
        DaemonError::Fault(_) => Code::Incomplete,
        _ => Code::Usage,
    }
}

/// What modules log, in the daemon's journal.
#[derive(Debug)]
struct Console;

impl LogSink for Console {
    fn line(&self, module: &ModuleId, level: Level, context: &str, line: &str) {
        let context = match context {
            "" => String::new(),
            context => format!("{context}: "),
        };
        say(&format!("[{module}] {level}: {context}{line}"));
    }
}

/// Messages for upstream, one JSON object a line.
struct Printer(BufWriter<io::Stdout>);

impl Take for Printer {
    fn message(&mut self, message: &Message) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &MessageInfo::from(message)).map_err(io::Error::from)?;
        self.0.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
