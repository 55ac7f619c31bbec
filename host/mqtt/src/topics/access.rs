//! Who may publish and subscribe what, and what enters the hub.

use std::sync::Arc;

use edge_core::Identity;

use crate::topic::{self, TopicError};

/// A rule: what clients of some identities may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicRule {
    /// `DEVICE` or `DEVICE/MODULE`, `*` in them for any letters; `$anonymous` for clients without identity.
    pub identity: String,
    /// Topic filters; a level may be `{device}` or `{module}`, the client's own.
    pub publish: Vec<String>,
    /// Likewise.
    pub subscribe: Vec<String>,
}

/// What enters the hub as a message of whoever published it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicMapping {
    /// A topic filter; what stands at a level that is a `{name}` becomes the property of that name.
    pub topic: String,
    /// The output that the message comes from, if a module published it; none: none.
    pub output: Option<String>,
}

/// A filter in the settings that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic filter {filter:?}: {why}")]
pub struct BadFilter {
    filter: String,
    why: TopicError,
}

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Name(Box<str>),
    /// Any one, and what it is to be called.
    Any(Option<Box<str>>),
    /// The rest, and what it hangs on.
    Rest,
}

/// A topic filter whose levels may be names that only look like wildcards: device ids may have `+` and `#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Level>);

impl Pattern {
    /// Reads a filter; `level` says what a placeholder stands for.
    fn new(filter: &str, level: impl Fn(&str) -> Option<Level>) -> Option<Self> {
        let levels = filter.split('/').map(|part| match part {
            "+" => Some(Level::Any(None)),
            "#" => Some(Level::Rest),
            _ => match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some(name) => level(name),
                None => Some(Level::Name(part.into())),
            },
        });
        levels.collect::<Option<Vec<_>>>().map(Self)
    }

    /// Shows what stands at the levels that have a name; whether the topic matches at all.
    pub(super) fn captures<'t>(&self, topic: &'t str, mut show: impl FnMut(&str, &'t str)) -> bool {
        let mut levels = topic.split('/');
        for (place, level) in self.0.iter().enumerate() {
            let found = match level {
                Level::Rest => return place > 0 || !topic.starts_with('$'),
                _ => levels.next(),
            };
            match (level, found) {
                (_, None) => return false,
                (Level::Name(name), Some(found)) if **name != *found => return false,
                (Level::Any(_), Some(found)) if place == 0 && found.starts_with('$') => {
                    return false;
                }
                (Level::Any(Some(name)), Some(found)) => show(name, found),
                _ => {}
            }
        }
        levels.next().is_none()
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        self.captures(topic, |_, _| {})
    }

    /// Whether it matches every topic that a filter does.
    fn covers(&self, filter: &str) -> bool {
        let mut parts = filter.split('/');
        for (place, level) in self.0.iter().enumerate() {
            match (level, parts.next()) {
                (Level::Rest, part) => {
                    return place > 0 || !part.is_some_and(|part| part.starts_with('$'));
                }
                (_, None | Some("#")) => return false,
                (Level::Any(_), Some(part)) if place == 0 && part.starts_with('$') => return false,
                (Level::Any(_), Some(_)) => {}
                (Level::Name(name), Some(part)) => {
                    if part == "+" || **name != *part {
                        return false;
                    }
                }
            }
        }
        parts.next().is_none()
    }
}

/// All rules and mappings.
#[derive(Debug)]
pub(super) struct Access {
    rules: Vec<TopicRule>,
    mappings: Vec<(Pattern, Option<Arc<str>>)>,
}

/// What one client may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rights {
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
}

impl Access {
    pub(super) fn new(rules: Vec<TopicRule>, mappings: &[TopicMapping]) -> Result<Self, BadFilter> {
        let filters = rules
            .iter()
            .flat_map(|r| r.publish.iter().chain(&r.subscribe));
        for filter in filters.chain(mappings.iter().map(|mapping| &mapping.topic)) {
            topic::check_filter(filter).map_err(|why| BadFilter {
                filter: filter.clone(),
                why,
            })?;
        }
        let pattern = |mapping: &TopicMapping| {
            let pattern = Pattern::new(&mapping.topic, |name| Some(Level::Any(Some(name.into()))));
            Some((pattern?, mapping.output.as_deref().map(Into::into)))
        };
        Ok(Self {
            mappings: mappings.iter().filter_map(pattern).collect(),
            rules,
        })
    }

    /// The rights of a client; none: one without identity.
    pub(super) fn rights(&self, who: Option<&Identity>) -> Rights {
        let (device, module) = match who {
            None => (None, None),
            Some(Identity::Device(device)) => (Some(device.as_str()), None),
            Some(Identity::Module(device, module)) => {
                (Some(device.as_str()), Some(module.as_str()))
            }
        };
        let own = |name: &str| {
            let id = match name {
                "device" => device,
                "module" => module,
                _ => None,
            };
            id.map(|id| Level::Name(id.into()))
        };
        let mut rights = Rights::default();
        for rule in &self.rules {
            let meant = match who {
                None => rule.identity == "$anonymous",
                Some(_) => is_meant(&rule.identity, device.unwrap_or_default(), module),
            };
            if meant {
                // A filter that names a module is nothing for a device.
                let patterns = |all: &[String]| -> Vec<_> {
                    let patterns = all.iter().map(|filter| Pattern::new(filter, own));
                    patterns.flatten().collect()
                };
                rights.publish.extend(patterns(&rule.publish));
                rights.subscribe.extend(patterns(&rule.subscribe));
            }
        }
        rights
    }

    /// The first mapping that a topic matches: its output, and the properties that it gives.
    pub(super) fn mapping(&self, topic: &str) -> Option<Mapped> {
        self.mappings.iter().find_map(|(pattern, output)| {
            let mut properties = Vec::new();
            let matches = pattern.captures(topic, |name, value| {
                properties.push((name.into(), value.into()));
            });
            matches.then(|| Mapped {
                output: output.clone(),
                properties,
            })
        })
    }
}

/// How a topic enters the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) output: Option<Arc<str>>,
    pub(super) properties: Vec<(Box<str>, Box<str>)>,
}

impl Rights {
    pub(super) fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|pattern| pattern.matches(topic))
    }

    pub(super) fn may_subscribe(&self, filter: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.covers(filter))
    }
}

fn is_meant(pattern: &str, device: &str, module: Option<&str>) -> bool {
    match (pattern.split_once('/'), module) {
        (None, None) => glob(pattern, device),
        (Some((d, m)), Some(module)) => glob(d, device) && glob(m, module),
        _ => false,
    }
}

/// Whether a text is what a pattern says, in which `*` stands for any letters, also none.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<_> = rest.split('*').collect();
    let Some(tail) = parts.pop() else {
        return true;
    };
    // The first place where a part fits leaves the most for those after it.
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use edge_core::{DeviceId, ModuleId};
    use proptest::prelude::*;

    use super::*;

    fn plain(filter: &str) -> Pattern {
        Pattern::new(filter, |name| Some(Level::Any(Some(name.into())))).expect("a filter")
    }

    fn device(name: &str) -> Identity {
        Identity::Device(DeviceId::new(name).expect("id"))
    }

    fn access(identity: &str, publish: &str, subscribe: &str) -> Access {
        let rule = TopicRule {
            identity: identity.to_owned(),
            publish: vec![publish.to_owned()],
            subscribe: vec![subscribe.to_owned()],
        };
        Access::new(vec![rule], &[]).expect("filters")
    }

    #[test]
    fn a_client_may_do_what_a_rule_for_it_says_and_nothing_else() {
        let access = access("press-*", "plant/{device}/#", "plant/+/state");
        let rights = access.rights(Some(&device("press-7")));
        assert!(rights.may_publish("plant/press-7/a/b"));
        assert!(!rights.may_publish("plant/press-8/a/b"));
        assert!(!rights.may_publish("plant"));
        assert!(rights.may_subscribe("plant/x/state"));
        assert!(rights.may_subscribe("plant/+/state"));
        assert!(!rights.may_subscribe("plant/#"));
        assert!(!rights.may_subscribe("#"));
        assert_eq!(access.rights(Some(&device("drill"))), Rights::default());
        assert_eq!(access.rights(None), Rights::default());
    }

    #[test]
    fn an_id_that_looks_like_a_wildcard_is_none() {
        let access = access("*", "t/{device}", "t/{device}/#");
        for name in ["+", "#"] {
            let rights = access.rights(Some(&device(name)));
            assert!(!rights.may_publish("t/other"), "{name}");
            assert!(!rights.may_subscribe("t/other/x"), "{name}");
            assert!(!rights.may_subscribe("t/#"), "{name}");
        }
    }

    #[test]
    fn rules_for_modules_are_not_for_devices() {
        let access = access("*/*", "t/{module}", "#");
        assert_eq!(access.rights(Some(&device("d"))), Rights::default());
        let module = Identity::Module(
            DeviceId::new("d").expect("id"),
            ModuleId::new("m").expect("id"),
        );
        assert!(access.rights(Some(&module)).may_publish("t/m"));
    }

    #[test]
    fn a_rule_without_own_name_does_nothing_for_those_without_name() {
        let access = access("$anonymous", "t/{device}", "news/+");
        let rights = access.rights(None);
        assert!(!rights.may_publish("t/x") && rights.may_subscribe("news/today"));
    }

    #[test]
    fn names_in_a_mapping_become_properties() {
        let mapping = |topic: &str, output: Option<&str>| TopicMapping {
            topic: topic.to_owned(),
            output: output.map(str::to_owned),
        };
        let all = [
            mapping("plant/{machine}/+/{kind}", Some("raw")),
            mapping("x/#", None),
        ];
        let access = Access::new(Vec::new(), &all).expect("filters");
        let mapped = access.mapping("plant/7/a/temperature").expect("mapped");
        assert_eq!(mapped.output.as_deref(), Some("raw"));
        let expected: [(Box<str>, Box<str>); 2] = [
            ("machine".into(), "7".into()),
            ("kind".into(), "temperature".into()),
        ];
        assert_eq!(mapped.properties, expected);
        assert!(access.mapping("plant/7/a").is_none());
        assert!(access.mapping("x").is_some());
    }

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("ab", "abc", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_its_filter_does_and_covers_no_more_than_it_matches(
            pattern in "(\\$)?[ab+](/[ab+]){0,3}(/#)?|#",
            filter in "(\\$)?[ab+](/[ab+]){0,3}(/#)?|#",
            name in "(\\$)?[ab](/[ab]){0,4}",
        ) {
            prop_assume!(topic::check_filter(&pattern).is_ok());
            prop_assume!(topic::check_filter(&filter).is_ok());
            let compiled = plain(&pattern);
            prop_assert_eq!(compiled.matches(&name), topic::matches(&pattern, &name));
            if compiled.covers(&filter) && topic::matches(&filter, &name) {
                prop_assert!(compiled.matches(&name), "{} {} {}", pattern, filter, name);
            }
        }
    }
}
