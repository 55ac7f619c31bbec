//! What new projects are made of. Nothing is kept twice: WIT, sources and input are those of this
//! repository, and `host/cli/templates` has what only a project of its own needs.

use super::Language;
use super::name::Name;

/// A file of a new project.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Relative to the project's folder.
    pub path: &'static str,
    text: &'static str,
}

impl File {
    /// The content, with the new module's name wherever the original has its own.
    pub fn content(&self, name: &Name) -> String {
        STAND_INS
            .iter()
            .fold(self.text.to_owned(), |text, stand_in| {
                text.replace(stand_in, name.as_str())
            })
            .replace("my_module", &name.snake())
    }
}

/// Names that the originals have.
const STAND_INS: [&str; 4] = ["my-module", "filter-c", "filter-js", "filter-python"];

macro_rules! files {
    ($($path:literal = $from:literal),* $(,)?) => {
        &[$(File { path: $path, text: include_str!(concat!("../../../../", $from)) }),*]
    };
}

/// In every project: our interfaces and those that they rest on, and some input.
const COMMON: &[File] = files! {
    "wit/deps/edge-module/messages.wit" = "wit/messages.wit",
    "wit/deps/edge-module/methods.wit" = "wit/methods.wit",
    "wit/deps/edge-module/timers.wit" = "wit/timers.wit",
    "wit/deps/edge-module/twins.wit" = "wit/twins.wit",
    "wit/deps/edge-module/types.wit" = "wit/types.wit",
    "wit/deps/edge-module/worlds.wit" = "wit/worlds.wit",
    "wit/deps/config/config.wit" = "wit/deps/config/config.wit",
    "wit/deps/keyvalue/keyvalue.wit" = "wit/deps/keyvalue/keyvalue.wit",
    "wit/deps/logging/logging.wit" = "wit/deps/logging/logging.wit",
    "readings.ndjson" = "sample-modules/readings.ndjson",
};

const RUST: &[File] = files! {
    "Cargo.toml" = "host/cli/templates/rust/Cargo.toml",
    ".cargo/config.toml" = "host/cli/templates/rust/cargo-config.toml",
    ".gitignore" = "host/cli/templates/rust/gitignore",
    "README.md" = "host/cli/templates/rust/README.md",
    "src/lib.rs" = "host/cli/templates/rust/src/lib.rs",
    "wit/world.wit" = "sample-modules/filter-c/wit/world.wit",
};

const C: &[File] = files! {
    "Makefile" = "sample-modules/filter-c/Makefile",
    ".gitignore" = "host/cli/templates/c/gitignore",
    "README.md" = "host/cli/templates/c/README.md",
    "main.c" = "sample-modules/filter-c/main.c",
    "json.c" = "sample-modules/filter-c/json.c",
    "json.h" = "sample-modules/filter-c/json.h",
    "gen/module.c" = "sample-modules/filter-c/gen/module.c",
    "gen/module.h" = "sample-modules/filter-c/gen/module.h",
    "wit/world.wit" = "sample-modules/filter-c/wit/world.wit",
};

const JS: &[File] = files! {
    "package.json" = "sample-modules/filter-js/package.json",
    ".gitignore" = "host/cli/templates/js/gitignore",
    "README.md" = "host/cli/templates/js/README.md",
    "index.js" = "sample-modules/filter-js/index.js",
    "wit/world.wit" = "sample-modules/filter-js/wit/world.wit",
};

const PYTHON: &[File] = files! {
    "build.sh" = "sample-modules/filter-python/build.sh",
    "requirements.txt" = "sample-modules/filter-python/requirements.txt",
    ".gitignore" = "host/cli/templates/python/gitignore",
    "README.md" = "host/cli/templates/python/README.md",
    "src/app.py" = "sample-modules/filter-python/src/app.py",
    "wit/world.wit" = "sample-modules/filter-python/wit/world.wit",
};

/// A project in one language.
#[derive(Debug)]
pub struct Template {
    files: &'static [File],
    /// What builds it.
    build: &'static [&'static str],
    /// Where the component is then; the module's name is `my-module` or `my_module`.
    component: &'static str,
}

impl Template {
    pub fn of(language: Language) -> Self {
        let (files, build, component): (_, &[&str], _) = match language {
            Language::Rust => (
                RUST,
                &["rustup target add wasm32-wasip2", "cargo build --release"],
                "target/wasm32-wasip2/release/my_module.wasm",
            ),
            Language::C => (C, &["make"], "my-module.wasm"),
            Language::Js => (JS, &["npm install", "npm run build"], "my-module.wasm"),
            Language::Python => (PYTHON, &["./build.sh"], "my-module.wasm"),
        };
        Self {
            files,
            build,
            component,
        }
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &'static File> {
        COMMON.iter().chain(self.files)
    }

    /// The commands that build the project and run it.
    pub fn commands(&self, name: &Name) -> Vec<String> {
        let run = File {
            path: "",
            text: self.component,
        };
        let run = format!("edge run {} < readings.ndjson", run.content(name));
        self.build
            .iter()
            .copied()
            .map(str::to_owned)
            .chain([run])
            .collect()
    }
}
