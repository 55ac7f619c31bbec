//! `edge dead-letters`: messages that were given up.

use std::process::ExitCode;

use edge_daemon::Client;
use edge_daemon::types::{DeadLetterInfo, Handled, Which};

use crate::exit::{Code, Exit, say};
use crate::output::{self, Table};
use crate::remote::Target;

/// Dead letters that are asked for at a time.
const PAGE: usize = 1_000;

/// List, show, replay or drop messages that were given up.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List them, oldest first.
    List(List),
    /// Show one in full.
    Show(Show),
    /// Put them back into the queues that they came from, as new.
    Replay(Pick),
    /// Forget them.
    Drop(Pick),
}

#[derive(clap::Args, Debug)]
struct List {
    /// From this number on.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    max: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args, Debug)]
struct Show {
    /// Its number, as the list has it.
    number: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args, Debug)]
struct Pick {
    /// Their numbers, as the list has them.
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "NUMBER"
    )]
    numbers: Vec<u64>,
    /// All that there are.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    match args.command {
        Command::List(args) => list(&args),
        Command::Show(args) => show(&args),
        Command::Replay(args) => pick(&args, "replayed", async |client, which| {
            Ok(client.replay(&which).await?)
        }),
        Command::Drop(args) => pick(&args, "dropped", async |client, which| {
            Ok(client.drop_letters(&which).await?)
        }),
    }
}

fn list(args: &List) -> Result<ExitCode, Exit> {
    let letters = args.target.run(async |client| {
        let mut letters: Vec<DeadLetterInfo> = Vec::new();
        let most = args.max.unwrap_or(usize::MAX);
        loop {
            let from = letters.last().map_or(args.from, |last| last.number + 1);
            let wanted = PAGE.min(most - letters.len());
            let page = client.dead_letters(from, wanted).await?;
            let last = page.len() < wanted || wanted == 0;
            letters.extend(page);
            if last || letters.len() >= most {
                return Ok(letters);
            }
        }
    })?;
    if args.json {
        output::json(&letters)?;
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        output::line("there are no dead letters")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[">NUMBER", "GIVEN UP", "ENDPOINT", ">TRIES", "WHY", "BODY"]);
    for letter in &letters {
        let why = letter.reason.lines().next().unwrap_or_default();
        table.row([
            letter.number.to_string(),
            letter.at.clone(),
            letter.endpoint.clone(),
            letter.attempts.to_string(),
            cut(why, 60),
            cut(&output::excerpt(&letter.message.body), 60),
        ]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn show(args: &Show) -> Result<ExitCode, Exit> {
    let letter = args
        .target
        .run(async |client| Ok(client.dead_letter(args.number).await?))?;
    if args.json {
        output::json(&letter)?;
        return Ok(ExitCode::SUCCESS);
    }
    let message = &letter.message;
    for (name, value) in [
        ("number", letter.number.to_string()),
        ("endpoint", letter.endpoint.clone()),
        ("given up", letter.at.clone()),
        ("tries", letter.attempts.to_string()),
        ("why", letter.reason.clone()),
        ("id", message.id.clone()),
        ("taken in", message.enqueued.clone()),
        ("from", message.from.clone()),
        ("size", output::bytes(message.size as u64)),
    ] {
        output::line(&format!("{name:<10} {value}"))?;
    }
    for (kind, pairs) in [
        ("property", &message.properties),
        ("system", &message.system),
    ] {
        for (name, value) in pairs {
            output::line(&format!("{kind:<10} {name}={value}"))?;
        }
    }
    output::line(&format!("{:<10} {}", "body", message.body.0))?;
    Ok(ExitCode::SUCCESS)
}

fn pick(
    args: &Pick,
    done: &str,
    act: impl AsyncFnOnce(Client, Which) -> Result<Handled, Exit>,
) -> Result<ExitCode, Exit> {
    let which = match args.all {
        true => Which::All,
        false => Which::Numbers(args.numbers.clone()),
    };
    let handled = args.target.run(async |client| act(client, which).await)?;
    match args.json {
        true => output::json(&handled)?,
        false => output::line(&format!("{done}: {}", handled.done.len()))?,
    }
    for (number, why) in &handled.failed {
        say(&format!("not {done}: {number}: {why}"));
    }
    match handled.failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(Code::Incomplete.into()),
    }
}
