use std::fs;

use edge_mqtt::{TopicMapping, TopicRule};

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
    // are, and each of its examples must be valid, though some of them do not go together.
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
    let BadSettings(mistakes) = read::text("default.toml", &all)
        .expect_err("two CAs, and who it is to a parent that there is not");
    let keys: Vec<_> = mistakes.iter().map(|mistake| &*mistake.key).collect();
    let expected = [
        "upstream.connection-string-file",
        "certificates.certificate",
    ];
    assert_eq!(keys, expected, "{mistakes:#?}");
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
fn settings_of_a_parent_that_would_do_nothing_are_mistakes() {
    let told = |text: &str| match read::text("c.toml", text) {
        Ok(_) => Vec::new(),
        Err(BadSettings(mistakes)) => mistakes.iter().map(Mistake::to_string).collect(),
    };
    let file = "connection-string-file = \"/etc/edge/upstream\"\n";
    for (text, place, why) in [
        (
            format!("[upstream]\n{file}"),
            "c.toml:2:26: error: ",
            "kind = \"amqp\"",
        ),
        (
            format!("[upstream]\nkind = \"none\"\n{file}"),
            "c.toml:3:26: error: ",
            "kind = \"amqp\"",
        ),
        (
            format!("[upstream]\nkind = \"amqp\"\n{file}messages = \"print\"\n"),
            "c.toml:4:12: error: ",
            "go to the parent",
        ),
        (
            format!("[upstream]\nkind = \"amqp\"\nmessages = \"files\"\n{file}"),
            "c.toml:3:12: error: ",
            "go to the parent",
        ),
    ] {
        let told = told(&text);
        assert_eq!(told.len(), 1, "{text}: {told:#?}");
        assert!(
            told[0].starts_with(place) && told[0].contains(why),
            "{told:#?}"
        );
    }
    let parent = format!("[upstream]\nkind = \"amqp\"\n{file}messages = \"keep\"\n");
    for good in ["[upstream]\nmessages = \"print\"\n", &parent] {
        assert_eq!(told(good), Vec::<String>::new());
    }
}

#[test]
fn signatures_are_not_asked_for_where_no_key_is_trusted() {
    let all =
        "[verify]\nrequire-digest = true\nrequire-signature = true\nkeys = [\"/etc/a.pem\"]\n";
    let settings = read::text("c.toml", all).expect("they go together");
    assert_eq!(
        settings.verify,
        VerifySettings {
            require_digest: true,
            require_signature: true,
            keys: vec!["/etc/a.pem".into()],
        }
    );
    let BadSettings(mistakes) =
        read::text("c.toml", "[verify]\nrequire-signature = true\n").expect_err("no key");
    let told = mistakes[0].to_string();
    assert!(
        told.starts_with("c.toml:2:21: error: no key is trusted")
            && told.ends_with("(verify.require-signature)"),
        "{told}"
    );
}

#[test]
fn clocks_may_differ_by_nothing_and_by_a_day_at_most() {
    let read = |skew: &str| read::text("c.toml", &format!("[hub]\nclock-skew = \"{skew}\"\n"));
    assert_eq!(read("0s").expect("nothing").hub.clock_skew, Duration::ZERO);
    let BadSettings(mistakes) = read("2d").expect_err("too much");
    let told = mistakes[0].to_string();
    assert!(told.contains("found 2d"), "{told}");
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
            .contains("did you mean \"mqtt.listen\" or \"amqp.listen\""),
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

#[test]
fn several_addresses_and_none_are_both_addresses() {
    let listen = |value: &str| {
        let text = format!("mqtt.listen = {value}\n");
        read::text("c.toml", &text).map(|settings| settings.mqtt.listen)
    };
    let two = listen("[\"0.0.0.0:8883\", \"[::]:8883\"]").expect("addresses");
    assert_eq!(two.len(), 2);
    assert_eq!(listen("\"off\""), Ok(Vec::new()));
    assert_eq!(listen("[]"), Ok(Vec::new()));
    let BadSettings(mistakes) = listen("[\"a\", \"127.0.0.1:1\", 5]").expect_err("two are wrong");
    let told: Vec<_> = mistakes
        .iter()
        .map(|mistake| (&*mistake.key, mistake.column))
        .collect();
    assert_eq!(told, [("mqtt.listen[0]", 16), ("mqtt.listen[2]", 36)]);
}

#[test]
fn every_mistake_in_topics_is_told_with_its_place() {
    let text = "[topics]\nlisten = \"off\"\n\
                [[topics.rules]]\nidentity = \"press-*\"\npublish = [\"plant/{device}/#\", \"a/#/b\"]\n\
                [[topics.rules]]\npublsh = []\nsubscribe = [\"plant/{machine}\"]\n\
                [[topics.mappings]]\ntopic = \"$iothub/x\"\n\
                [[topics.mappings]]\ntopic = \"{m}/x/{m}\"\noutput = \"a/b\"\n";
    let BadSettings(mistakes) = read::text("c.toml", text).expect_err("it is wrong");
    let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    let expected = [
        (
            "c.toml:5:32: error: \"a/#/b\": # is the last level",
            "(topics.rules[0].publish[1])",
        ),
        (
            "c.toml:6:1: error: identity is missing",
            "(topics.rules[1])",
        ),
        (
            "c.toml:7:1: error: there is no key \"publsh\": did you mean \"publish\"?",
            "(topics.rules[1].publsh)",
        ),
        (
            "c.toml:8:14: error: \"plant/{machine}\": there is no placeholder {machine}",
            "(topics.rules[1].subscribe[0])",
        ),
        (
            "c.toml:10:9: error: \"$iothub/x\": topics that begin with $",
            "(topics.mappings[0].topic)",
        ),
        (
            "c.toml:12:9: error: \"{m}/x/{m}\": the placeholder {m} is there twice",
            "(topics.mappings[1].topic)",
        ),
        (
            "c.toml:13:10: error: \"a/b\" is no name of an output",
            "(topics.mappings[1].output)",
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
fn topics_are_read_whole() {
    let text = "topics.listen = \"127.0.0.1:1883\"\ntopics.tls = false\ntopics.anonymous = true\n\
                [[topics.rules]]\nidentity = \"$anonymous\"\nsubscribe = [\"news/+\"]\n\
                [[topics.mappings]]\ntopic = \"plant/{machine}/#\"\noutput = \"raw\"\n";
    let topics = read::text("c.toml", text).expect("it is right").topics;
    assert!(!topics.tls && topics.anonymous);
    let rule = TopicRule {
        identity: "$anonymous".to_owned(),
        publish: Vec::new(),
        subscribe: vec!["news/+".to_owned()],
    };
    assert_eq!(topics.rules, [rule]);
    let mapping = TopicMapping {
        topic: "plant/{machine}/#".to_owned(),
        output: Some("raw".to_owned()),
    };
    assert_eq!(topics.mappings, [mapping]);
}

#[test]
fn files_that_belong_together_are_missed() {
    let text = "[certificates]\nca-key = \"/k\"\nlifetime = \"1s\"\n";
    let BadSettings(mistakes) = read::text("c.toml", text).expect_err("it is wrong");
    // What does not go together is told when each by itself is right.
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert!(
        mistakes[0].message.contains("expected 10m to 820d"),
        "{mistakes:#?}"
    );
    let text = "[certificates]\nca-key = \"/k\"\n[workload]\nlisten = \"off\"\n";
    let BadSettings(mistakes) = read::text("c.toml", text).expect_err("it is wrong");
    assert_eq!(
        mistakes[0].to_string(),
        "c.toml:2:10: error: certificates.ca-certificate is missing: the two belong together (certificates.ca-key)"
    );
}

#[test]
fn the_workload_api_is_for_this_machine_alone() {
    let BadSettings(mistakes) =
        read::text("c.toml", "workload.listen = \"0.0.0.0:15580\"\n").expect_err("it is wrong");
    assert!(
        mistakes[0].message.contains("can be reached from outside"),
        "{mistakes:#?}"
    );
}

#[test]
fn a_device_that_nobody_reaches_is_localhost() {
    let hostname = |text: &str| read::text("c.toml", text).expect("it is right").hostname();
    assert_eq!(hostname(""), "localhost");
    assert_eq!(
        hostname("device.hostname = \"press-7.example\"\n"),
        "press-7.example"
    );
    let open = hostname("mqtt.listen = \"0.0.0.0:8883\"\n");
    assert!(is_host_name(&open), "{open}");
    for bad in ["a b", "-a", "a..b", "a_b", ""] {
        assert!(!is_host_name(bad), "{bad:?}");
    }
}

#[test]
fn registries_are_read_and_every_mistake_in_them_is_told() {
    let text = "[[registries]]\naddress = \"r.example:5000\"\nusername = \"device\"\n\
                password-file = \"/etc/p\"\nca = \"/etc/ca.pem\"\n\
                [[registries]]\naddress = \"10.0.0.1\"\nplain-http = true\n";
    let settings = read::text("c.toml", text).expect("it is right");
    assert_eq!(
        settings.registries,
        [
            RegistrySettings {
                address: "r.example:5000".to_owned(),
                username: Some("device".to_owned()),
                password_file: Some("/etc/p".into()),
                ca: Some("/etc/ca.pem".into()),
                plain_http: false,
            },
            RegistrySettings {
                address: "10.0.0.1".to_owned(),
                plain_http: true,
                ..RegistrySettings::default()
            },
        ]
    );
    let text = "[[registries]]\naddress = \"https://r.example\"\nuser = \"a\"\n\
                [[registries]]\naddress = \"r.example\"\nusername = \"a\"\n\
                [[registries]]\naddress = \"r.example\"\nca = \"/ca\"\nplain-http = true\n\
                [[registries]]\nplain-http = 1\n";
    let BadSettings(mistakes) = read::text("c.toml", text).expect_err("it is wrong");
    let told: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    let expected = [
        "\"https://r.example\" is no registry",
        "there is no key \"user\"",
        "password-file is missing",
        "leave out one of both",
        "address is missing",
        "expected true or false",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, part) in told.iter().zip(expected) {
        assert!(told.contains(part), "{told} has no {part}");
    }
}
