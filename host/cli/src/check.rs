//! `edge check`: everything that is wrong with a manifest, or with the device; `edge check-list`.

mod manifest;

use std::path::PathBuf;
use std::process::ExitCode;

use edge_daemon::check::{self, CHECKS, Finding, Status};
use edge_route::Mode;
use serde::Serialize;

use crate::exit::{Code, Exit};
use crate::output::{self, Table};
use crate::place::PlaceArgs;

/// Say everything that is wrong with a manifest, or, without one, with the device. Exits with 0 where there
/// are warnings at most, with 1 where there are errors.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A deployment manifest, which is checked here and now; no daemon is needed.
    manifest: Option<PathBuf>,
    /// The routing language of the manifest: as IoT Edge has it (compat), or without its traps (strict).
    #[arg(long, value_name = "MODE", requires = "manifest")]
    routes: Option<Mode>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Leave a check out; `edge check-list` names them.
    #[arg(long, value_name = "ID", conflicts_with = "manifest")]
    dont_run: Vec<String>,
    /// Count warnings as errors.
    #[arg(long)]
    warnings_as_errors: bool,
    /// Show what was found where nothing is wrong, too.
    #[arg(short, long, conflicts_with = "manifest")]
    verbose: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Counts, for the last line and for the exit code.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Counts {
    errors: usize,
    warnings: usize,
}

impl Counts {
    fn exit(self, warnings_as_errors: bool) -> ExitCode {
        match self.errors > 0 || (warnings_as_errors && self.warnings > 0) {
            true => Code::Incomplete.into(),
            false => ExitCode::SUCCESS,
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let many = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            count => format!("{count} {word}s"),
        };
        let errors = many(self.errors, "error");
        write!(f, "{errors}, {}", many(self.warnings, "warning"))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    checks: &'a [Finding],
    #[serde(flatten)]
    counts: Counts,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    if let Some(path) = &args.manifest {
        let mode = args.routes.unwrap_or(Mode::Compat);
        let counts = manifest::check(path, mode, args.output)?;
        return Ok(counts.exit(args.warnings_as_errors));
    }
    let unknown = |id: &&String| CHECKS.iter().all(|check| check.id != id.as_str());
    if let Some(id) = args.dont_run.iter().find(unknown) {
        return Err(Exit::usage(anyhow::anyhow!(
            "there is no check {id:?}: `edge check-list` names those that there are"
        )));
    }
    let place = args.place.find().map_err(Exit::usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::usage)?;
    let findings = runtime.block_on(check::run(&place, &args.dont_run));
    let count = |status| {
        findings
            .iter()
            .filter(|finding| finding.status == status)
            .count()
    };
    let counts = Counts {
        errors: count(Status::Error),
        warnings: count(Status::Warning),
    };
    match args.output {
        Output::Json => output::json(&Report {
            checks: &findings,
            counts,
        })?,
        Output::Text => {
            for finding in &findings {
                show(finding, args.verbose)?;
            }
            output::line(&counts.to_string())?;
        }
    }
    Ok(counts.exit(args.warnings_as_errors))
}

fn show(finding: &Finding, verbose: bool) -> Result<(), Exit> {
    let word = match finding.status {
        Status::Ok => "ok     ",
        Status::Warning => "warning",
        Status::Error => "error  ",
        Status::Skipped => "skipped",
    };
    output::line(&format!("{word}  {}: {}", finding.id, finding.about))?;
    let wrong = matches!(finding.status, Status::Warning | Status::Error);
    if (wrong || verbose) && !finding.detail.is_empty() {
        for line in finding.detail.lines() {
            output::line(&format!("         {line}"))?;
        }
    }
    match &finding.next {
        Some(next) => output::line(&format!("         next: {next}")),
        None => Ok(()),
    }
}

/// Name the checks of `edge check`.
#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Named {
    id: &'static str,
    about: &'static str,
}

/// Runs `edge check-list`.
pub(crate) fn list(args: ListArgs) -> Result<ExitCode, Exit> {
    let named = CHECKS.iter().map(|check| Named {
        id: check.id,
        about: check.about,
    });
    if args.json {
        output::json(&named.collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["CHECK", "WHAT IS LOOKED AT"]);
    named.for_each(|check| table.row([check.id, check.about]));
    table.print()?;
    Ok(ExitCode::SUCCESS)
}
