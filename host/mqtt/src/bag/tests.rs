//! Bags as the SDKs were seen to write them, and that nothing is lost on the way through.

use compact_str::CompactString;
use edge_core::{DeviceId, MessageBuilder, ModuleId, Source};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const AWKWARD: (&str, &str) = ("na sty&k", "a b&c=d/e+f%g?h#é");

fn written(content: &Content, origin: Option<&Origin>) -> String {
    let mut out = String::new();
    write(content, origin, &mut out);
    out
}

#[test]
fn pythons_bag_is_read() {
    let bag = parse(
        "%24.on=output1&%24.mid=mid-ff8b&%24.cid=cid-ff8b&%24.ct=application%2Fjson&%24.ce=utf-8&empty=&na%20sty%26k=a%20b%26c%3Dd%2Fe%2Bf%25g%3Fh%23%C3%A9&plain=1",
    )
    .expect("valid");
    assert_eq!(bag.output.as_deref(), Some("output1"));
    assert_eq!(
        bag.system.iter().collect::<Vec<_>>(),
        [
            (system::MESSAGE_ID, "mid-ff8b"),
            (system::CORRELATION_ID, "cid-ff8b"),
            (system::CONTENT_TYPE, "application/json"),
            (system::CONTENT_ENCODING, "utf-8"),
        ]
    );
    assert_eq!(
        bag.properties.iter().collect::<Vec<_>>(),
        [("empty", ""), AWKWARD, ("plain", "1")]
    );
}

#[test]
fn nodes_bag_has_raw_marks_and_keys_without_a_value() {
    let bag = parse("$.on=o!'()*&$.exp=2026-01-01T00:00:00Z&it's=(a)*!&alone&=&").map(|_| ());
    assert!(bag.is_err(), "a value without a name");
    let bag =
        parse("$.on=o!'()*&$.exp=2026-01-01T00:00:00Z&it's=(a)*!&alone&&x=a=b").expect("valid");
    assert_eq!(bag.output.as_deref(), Some("o!'()*"));
    assert_eq!(bag.system.get(system::EXPIRY), Some("2026-01-01T00:00:00Z"));
    assert_eq!(
        bag.properties.iter().collect::<Vec<_>>(),
        [("it's", "(a)*!"), ("alone", ""), ("x", "a=b")]
    );
}

#[test]
fn a_plus_is_a_plus() {
    let bag = parse("a+b=c+d").expect("valid");
    assert_eq!(bag.properties.get("a+b"), Some("c+d"));
}

#[test]
fn an_empty_bag_says_nothing() {
    assert_eq!(parse(""), Ok(Bag::default()));
    assert_eq!(written(&Content::default(), None), "");
}

#[test]
fn who_sent_it_is_the_hubs_to_say() {
    let bag = parse("%24.cdid=other&$.cmid=other&a=1").expect("valid");
    assert_eq!((bag.properties.len(), bag.system.len()), (1, 0));
    let content = MessageBuilder::new("")
        .property("$.cdid", "other")
        .property("$.cmid", "other")
        .property("$.on", "other")
        .property("a", "1")
        .build();
    let module = |device, module| {
        Origin::new(Source::Module {
            device: DeviceId::new(device).expect("id"),
            module: ModuleId::new(module).expect("id"),
            output: Some("output1".into()),
        })
    };
    assert_eq!(
        written(&content, Some(&module("edge1", "$mod"))),
        "a=1&%24.cdid=edge1&%24.cmid=%24mod"
    );
    let leaf = Origin::new(Source::Device(DeviceId::new("leaf1").expect("id")));
    assert_eq!(written(&content, Some(&leaf)), "a=1&%24.cdid=leaf1");
    assert_eq!(written(&content, None), "a=1");
}

#[test]
fn text_that_is_no_utf_8_is_refused() {
    assert_eq!(parse("a=%ff"), Err(BagError::NotUtf8("a=%ff".to_owned())));
    assert_eq!(parse("%c3=a"), Err(BagError::NotUtf8("%c3=a".to_owned())));
    // What begins no escape stays as it is.
    let bag = parse("a=100%&b=%4").expect("valid");
    assert_eq!(
        (bag.properties.get("a"), bag.properties.get("b")),
        (Some("100%"), Some("%4"))
    );
}

#[test]
fn pairs_are_counted() {
    let bag = |pairs| (0..pairs).map(|n| format!("{n}=&")).collect::<String>();
    assert_eq!(
        parse(&bag(MAX_PAIRS)).map(|bag| bag.properties.len()),
        Ok(MAX_PAIRS)
    );
    assert_eq!(parse(&bag(MAX_PAIRS + 1)), Err(BagError::TooMany));
}

#[test]
fn every_system_key_comes_back_under_its_name() {
    for (key, name) in KEYS {
        let bag = parse(&format!("{}=v", utf8_percent_encode(key, ENCODED))).expect("valid");
        assert_eq!(
            bag.system.iter().collect::<Vec<_>>(),
            [(name, "v")],
            "{key}"
        );
        let content = MessageBuilder::new("").system(name, "v").build();
        let text = written(&content, None);
        assert_eq!(parse(&text), Ok(bag), "{text}");
    }
}

#[test]
fn system_properties_without_a_key_are_not_sent() {
    let content = MessageBuilder::new("")
        .system(system::ENQUEUED_TIME, "t")
        .system(system::OUTPUT_NAME, "o")
        .build();
    assert_eq!(written(&content, None), "");
}

#[test]
fn an_awkward_property_is_written_as_python_writes_it() {
    let content = MessageBuilder::new("")
        .property(AWKWARD.0, AWKWARD.1)
        .property("unreserved-._~", "!'()*")
        .build();
    assert_eq!(
        written(&content, None),
        "na%20sty%26k=a%20b%26c%3Dd%2Fe%2Bf%25g%3Fh%23%C3%A9&unreserved-._~=%21%27%28%29%2A"
    );
}

fn properties() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(
        (
            "[^\\x00]{1,8}|[a-zé&=%+/ #]{1,8}",
            "[^\\x00]{0,8}|[a-z&=%+/ #]{0,8}",
        ),
        0..6,
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_is_a_segment_of_a_topic(
        properties in properties(),
        output in proptest::option::of("[a-z]{1,5}"),
    ) {
        let mut content = Content::default();
        for (name, value) in properties {
            let system = KEYS.iter().any(|(key, _)| *key == name);
            if !system && !matches!(&*name, OUTPUT | DEVICE | MODULE) {
                content.properties.set(name, value);
            }
        }
        let mut text = written(&content, None);
        prop_assert!(text.is_ascii() && !text.contains(['/', '+', '#', ' ', '\0']), "{}", text);
        if let Some(output) = &output {
            text = format!("$.on={output}&{text}");
        }
        let bag = parse(&text).expect("valid");
        prop_assert_eq!(bag.properties, content.properties);
        prop_assert_eq!(bag.output, output.map(CompactString::from));
        prop_assert!(bag.system.is_empty());
    }

    #[test]
    fn what_can_be_read_can_be_written_and_read_again(text in "(\\$\\.[a-z]{2,5}|[a-z%$.&=+é]{0,6}|%[0-9a-f]{2}){0,6}") {
        if let Ok(bag) = parse(&text) {
            let content = Content { properties: bag.properties, system: bag.system, ..Content::default() };
            let again = parse(&written(&content, None)).expect("our own");
            // An application property may be called as a key of the hub is, in other letters only.
            prop_assert_eq!(again.properties, content.properties);
            prop_assert_eq!(again.system, content.system);
        }
    }
}
