use std::fs;

use super::keys::KEYS;
use super::*;

#[test]
fn the_default_file_says_what_holds_without_it() {
    assert_eq!(
        read::text("default.toml", DEFAULT_FILE),
        Ok(Settings::default())
    );
}

#[test]
fn the_default_file_names_every_key() {
    // With the marks of keys without a fixed default taken away, it must name all keys that there
    // are, and each of its examples must be valid.
    let all: String = DEFAULT_FILE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest
                    .split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                rest
            }
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let table = toml::de::DeTable::parse(&all).expect("it is TOML");
    read::text("default.toml", &all).expect("its examples are valid");
    for key in KEYS {
        let mut at = Some(table.get_ref());
        let (sections, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            at = at
                .and_then(|table| table.get(section))
                .and_then(|value| value.get_ref().as_table());
        }
        assert!(
            at.is_some_and(|table| table.get(name).is_some()),
            "{}",
            key.path
        );
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = "[device]\nname = \"a b\"\n[store]\nlimt = \"1GiB\"\nreserve = \"much\"\nwhen-full = \"panic\"\n\
                [hub]\nmessage-limit = 5\n[metrix]\nlisten = \"off\"\n[metrics]\nlisten = \"x\"\n";
    let BadSettings(mistakes) = read::text("c.toml", text).expect_err("it is wrong");
    let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    let expected = [
        ("c.toml:2:8: error: device id \"a b\"", "(device.name)"),
        (
            "c.toml:4:1: error: there is no key \"limt\": did you mean \"limit\"?",
            "(store.limt)",
        ),
        (
            "c.toml:5:11: error: \"much\" is not a size",
            "(store.reserve)",
        ),
        (
            "c.toml:6:13: error: expected \"reject\" or \"drop-oldest\"",
            "(store.when-full)",
        ),
        (
            "c.toml:8:17: error: expected a size in quotes",
            "(hub.message-limit)",
        ),
        (
            "c.toml:9:2: error: there is no key \"metrix\": did you mean \"metrics\"?",
            "(metrix)",
        ),
        (
            "c.toml:12:10: error: \"x\" is no address",
            "(metrics.listen)",
        ),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (start, end)) in told.iter().zip(expected) {
        assert!(
            told.starts_with(start) && told.ends_with(end),
            "{told} is not {start} … {end}"
        );
    }
}

#[test]
fn text_that_is_no_toml_is_told_with_the_rest() {
    let BadSettings(mistakes) =
        read::text("c.toml", "[store\nlimit = \n[hub]\ntwin-limit = true\n")
            .expect_err("it is wrong");
    assert!(mistakes.len() >= 2, "{mistakes:#?}");
    assert!(
        mistakes
            .iter()
            .any(|mistake| mistake.key == "hub.twin-limit"),
        "{mistakes:#?}"
    );
}

#[test]
fn drop_ins_are_read_in_order_and_the_last_word_holds() {
    let dir = tempfile::tempdir().expect("dir");
    let base = dir.path().join("config.toml");
    let drop_in = dir.path().join("config.d");
    fs::create_dir(&drop_in).expect("dir");
    fs::write(
        &base,
        "[device]\nname = \"base\"\n[hub]\ntwin-limit = \"64KiB\"\n",
    )
    .expect("file");
    fs::write(drop_in.join("20-b.toml"), "device.name = \"last\"\n").expect("file");
    fs::write(
        drop_in.join("10-a.toml"),
        "device.name = \"first\"\nupstream.messages = \"print\"\n",
    )
    .expect("file");
    fs::write(drop_in.join("30-not-read.txt"), "nonsense").expect("file");
    let settings = Settings::load(Some(&base)).expect("it is right");
    assert_eq!(settings.device_name().as_str(), "last");
    assert_eq!(settings.hub.twin_limit, ByteSize(64 << 10));
    assert_eq!(settings.upstream.messages, RootMessages::Print);
}

#[test]
fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
    let BadSettings(mistakes) =
        read::text("c.toml", "[store]\nlisten = \"off\"\n").expect_err("it is wrong");
    assert!(
        mistakes[0]
            .message
            .contains("did you mean \"metrics.listen\"?"),
        "{mistakes:#?}"
    );
}

#[test]
fn a_file_that_is_named_and_not_there_is_a_mistake() {
    let BadSettings(mistakes) =
        Settings::load(Some(Path::new("/not/there.toml"))).expect_err("it is not there");
    assert!(
        mistakes[0]
            .to_string()
            .starts_with("/not/there.toml: error: cannot be read"),
        "{mistakes:#?}"
    );
}
