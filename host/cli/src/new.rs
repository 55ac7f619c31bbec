//! `edge new`: writes the folder of a new module, which builds and runs as it is.
//!
//! What it starts from is the sample filter in the language asked for, with the WIT that this
//! program was built with, and input to try it on.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

mod name;
mod templates;

use name::Name;
use templates::Template;

/// Write the folder of a new module.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The module's name: lower-case letters, digits, - and _, a letter first.
    name: Name,
    /// What to write it in.
    #[arg(long, short, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// The folder to write; it must be empty or not exist. By default one with the module's name.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// A language that a module can be written in here. Others work as well: whatever makes components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    C,
    Js,
    Python,
}

/// Runs the command.
///
/// # Errors
/// The name does not suit the language, the folder is not empty, or a file cannot be written.
pub fn run(args: Args) -> Result<ExitCode> {
    if args.lang == Language::Rust {
        args.name.check_crate()?;
    }
    let dir = args
        .path
        .unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let template = Template::of(args.lang);
    create(&dir, &args.name, &template)?;
    tell(&dir, &args.name, &template).context("write to stderr")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes all files of a project.
fn create(dir: &Path, name: &Name, template: &Template) -> Result<()> {
    let attempt = || format!("create module {name} in {}", dir.display());
    match fs::read_dir(dir) {
        Ok(mut entries) => ensure!(
            entries.next().is_none(),
            "{}: the folder is not empty: choose another with --path, or empty it",
            attempt()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            bail!("{}: there is a file of that name", attempt())
        }
        Err(error) => return Err(error).with_context(attempt),
    }
    for file in template.files() {
        let path = dir.join(file.path);
        write(&path, &file.content(name)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Never over a file that appeared meanwhile.
    fs::File::create_new(path)?.write_all(content.as_bytes())?;
    if path.extension().is_some_and(|extension| extension == "sh") {
        executable(path)?;
    }
    Ok(())
}

#[cfg(unix)]
fn executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mut permissions = fs::metadata(path)?.permissions();
    // Whoever may read it may run it.
    permissions.set_mode(permissions.mode() | (permissions.mode() & 0o444) >> 2);
    fs::set_permissions(path, permissions)
}

#[cfg(not(unix))]
fn executable(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Says what was made, and the commands that build and run it.
fn tell(dir: &Path, name: &Name, template: &Template) -> io::Result<()> {
    let mut out = io::stderr().lock();
    writeln!(out, "created module {name} in {}", dir.display())?;
    writeln!(out, "next:")?;
    writeln!(out, "    cd {}", quoted(dir))?;
    for command in template.commands(name) {
        writeln!(out, "    {command}")?;
    }
    Ok(())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    // A first part like `-x` would be an option.
    let option = matches!(path.components().next(), Some(Component::Normal(part)) if part.as_encoded_bytes().starts_with(b"-"));
    let start = if option { "./" } else { "" };
    if text.chars().all(plain) {
        format!("{start}{text}")
    } else {
        format!("'{start}{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
