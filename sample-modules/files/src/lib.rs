//! Works with files of a granted directory (grant `dirs`); plain `std::fs`, nothing else.
//!
//! A message with property `write` (a path) stores its body there. Any other one lists the
//! directory of property `dir` (`/data`): for every file, in order of names, a message
//! `{"name":"a.txt","size":12}` goes to `output1`.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "message-module",
        generate_all,
    });
}

use std::{fs, io};

use bindings::edge::module::send_event;
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::input_handler::Guest;
use serde_json::json;

struct Files;
bindings::export!(Files with_types_in bindings);

impl Guest for Files {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        if let Some(path) = message.property("write") {
            return fs::write(&path, message.body())
                .map_err(|error| failure("write", &path, &error));
        }
        let dir = message
            .property("dir")
            .unwrap_or_else(|| "/data".to_owned());
        let files = list(&dir).map_err(|error| failure("list", &dir, &error))?;
        for (name, size) in files {
            let body = json!({ "name": name, "size": size }).to_string();
            send_event::send("output1", &Message::json(&body, &[]))
                .map_err(|error| Failure::Reject(format!("send to output1: {}", error.name())))?;
        }
        Ok(())
    }
}

/// Names and sizes of a directory's files, by name.
fn list(dir: &str) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            files.push((
                entry.file_name().to_string_lossy().into_owned(),
                metadata.len(),
            ));
        }
    }
    files.sort();
    Ok(files)
}

fn failure(what: &str, path: &str, error: &io::Error) -> Failure {
    Failure::Reject(format!("{what} {path}: {error}"))
}
