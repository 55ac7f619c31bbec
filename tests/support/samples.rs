//! Where the sample modules are.

use std::path::{Path, PathBuf};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-modules")
}

fn built(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing: build the sample modules with .ci/build-samples",
        path.display()
    );
    path
}

/// A sample module in Rust, by its crate's name.
pub fn sample(name: &str) -> PathBuf {
    built(
        samples()
            .join("target/wasm32-wasip2/release")
            .join(format!("{name}.wasm")),
    )
}

/// A copy of a sample module with another name, in `dir`.
pub fn sample_as(name: &str, dir: &Path, copy: &str) -> PathBuf {
    let path = dir.join(format!("{copy}.wasm"));
    std::fs::copy(sample(name), &path).unwrap();
    path
}

/// The filter in C.
pub fn c_filter() -> PathBuf {
    built(samples().join("target/filter-c.wasm"))
}

/// A sample that CI does not build; says so where it is not there.
pub fn optional(file: &str) -> Option<PathBuf> {
    let path = samples().join("target").join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {file} is not there; sample-modules/build-js-python.sh builds it");
    None
}

/// The sample readings.
pub fn readings() -> Vec<u8> {
    std::fs::read(samples().join("readings.ndjson")).unwrap()
}
