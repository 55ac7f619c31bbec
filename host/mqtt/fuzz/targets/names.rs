//! Any texts, as bags, topics, filters, client ids and user names: two, separated by a line break.
//!
//! What is checked: nothing panics; a bag that was read is, written, one segment of a topic and reads the
//! same; the tree and the sorted map find what comparing one by one finds.
#![no_main]

use edge_core::Content;
use edge_mqtt::azure::{self, UserName};
use edge_mqtt::bag;
use edge_mqtt::topic::{self, Filter};
use edge_mqtt::tree::{Retained, Tree};
use libfuzzer_sys::fuzz_target;

fn bags(text: &str) {
    let Ok(read) = bag::parse(text) else { return };
    let content = Content {
        properties: read.properties,
        system: read.system,
        ..Content::default()
    };
    let mut written = String::new();
    bag::write(&content, None, &mut written);
    assert!(written.is_ascii() && !written.contains(['/', '+', '#', ' ', '\0']));
    let again = bag::parse(&written).expect("our own");
    assert_eq!(again.properties, content.properties, "{written}");
    assert_eq!(again.system, content.system, "{written}");
}

fn azure_names(text: &str) {
    if let Ok(azure::Publish::Telemetry { owner, bag }) = azure::Publish::parse(text) {
        assert!(!owner.device.contains('/') && !bag.contains('/'));
        bags(bag);
    }
    if topic::check_filter(text).is_ok()
        && let Ok(subscription) = azure::Subscription::parse(text)
        && let azure::Subscription::Inputs(owner) | azure::Subscription::DeviceBound(owner) =
            subscription
    {
        let parts = [owner.device, owner.module.unwrap_or_default()];
        assert!(parts.iter().all(|id| !id.contains(['/', '+', '#'])));
    }
    if let Ok(name) = UserName::parse(text) {
        assert!(name.value("api-version").is_some());
        assert_eq!(
            azure::parse_client_id(&name.identity.to_string()),
            Ok(name.identity)
        );
    }
}

fn matching(filter: &str, name: &str) {
    let (Ok(parsed), Ok(())) = (Filter::parse(filter), topic::check_name(name)) else {
        return;
    };
    let expected = topic::matches(parsed.filter, name);
    let mut tree = Tree::new();
    tree.insert(filter, (), ()).expect("a filter");
    let mut found = 0;
    tree.matches(name, |(), ()| found += 1);
    assert_eq!(found, u32::from(expected), "{filter} against {name}");
    let mut retained = Retained::new();
    retained.insert(name, ());
    let found = retained.matching(parsed.filter, None).count();
    assert_eq!(found, usize::from(expected), "{filter} against {name}");
    assert_eq!(tree.remove(filter, &()), Some(()));
    assert!(tree.is_empty());
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    for text in [first, second] {
        bags(text);
        azure_names(text);
    }
    matching(first, second);
});
