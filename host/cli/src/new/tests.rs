use std::collections::BTreeSet;

use super::*;

const LANGUAGES: [Language; 4] = [Language::Rust, Language::C, Language::Js, Language::Python];

fn name(text: &str) -> Name {
    text.parse().expect("name")
}

fn args(dir: &Path, lang: Language, text: &str) -> Args {
    Args {
        name: name(text),
        lang,
        path: Some(dir.to_owned()),
    }
}

#[test]
fn names_that_some_language_refuses_are_refused() {
    for good in ["a", "filter-2", "a_b"] {
        assert!(good.parse::<Name>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "-a",
        "2a",
        "A",
        "a b",
        "a/b",
        "..",
        "a.b",
        "ä",
        &"a".repeat(65),
    ] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
}

#[test]
fn keywords_are_refused_for_rust_only() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let error = run(args(dir.path(), Language::Rust, "proc-macro")).expect_err("refused");
    assert!(error.to_string().contains("my-proc-macro"), "{error}");
    run(args(dir.path(), Language::Js, "loop")).expect("created");
}

#[test]
fn every_language_gets_all_of_our_wit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let ours: BTreeSet<_> = fs::read_dir(root)
        .expect("list")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|file| file.ends_with(".wit"))
        .collect();
    for language in LANGUAGES {
        let copied: BTreeSet<_> = Template::of(language)
            .files()
            .filter_map(|file| file.path.strip_prefix("wit/deps/edge-module/"))
            .map(str::to_owned)
            .collect();
        assert_eq!(copied, ours, "{language:?}");
    }
}

#[test]
fn the_wit_of_every_language_resolves() {
    for language in LANGUAGES {
        let dir = tempfile::tempdir().expect("temporary folder");
        run(args(dir.path(), language, "a-module")).expect("created");
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir(dir.path().join("wit")).expect("WIT");
        resolve
            .select_world(&[package], Some("module"))
            .expect("world");
    }
}

#[test]
fn the_name_stands_wherever_the_originals_had_theirs() {
    for language in LANGUAGES {
        let template = Template::of(language);
        let mut named = 0;
        for file in template.files() {
            let content = file.content(&name("pump-7"));
            for stand_in in [
                "my-module",
                "my_module",
                "filter-c",
                "filter-js",
                "filter-python",
            ] {
                assert!(
                    !content.contains(stand_in),
                    "{language:?} {}: {stand_in}",
                    file.path
                );
            }
            named += usize::from(content.contains("pump-7") || content.contains("pump_7"));
        }
        assert!(named >= 2, "{language:?}");
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(dir.path().join("mine"), "").expect("write");
    let error = run(args(dir.path(), Language::C, "a")).expect_err("refused");
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
    let error = run(args(&dir.path().join("mine"), Language::C, "a")).expect_err("refused");
    assert!(error.to_string().contains("a file of that name"), "{error}");
}

#[test]
fn a_path_that_a_shell_would_take_apart_is_quoted() {
    let quote = |text: &str| quoted(Path::new(text));
    assert_eq!(quote("/tmp/a-b"), "/tmp/a-b");
    assert_eq!(quote("a b"), "'a b'");
    assert_eq!(quote("it's"), r"'it'\''s'");
    assert_eq!(quote("-x"), "./-x");
}

#[cfg(unix)]
#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().expect("temporary folder");
    run(args(dir.path(), Language::Python, "a")).expect("created");
    let mode = fs::metadata(dir.path().join("build.sh"))
        .expect("script")
        .permissions()
        .mode();
    assert_eq!(mode & 0o100, 0o100);
}
