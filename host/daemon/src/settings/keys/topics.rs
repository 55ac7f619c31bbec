//! The lists of `[topics]`: who may publish and subscribe what, and what enters the hub.

use edge_core::ModuleId;
use edge_mqtt::{TopicMapping, TopicRule};

use super::values::{Fields, Gather, list, text, wrong};
use super::{Value, Wrongs};

/// `[[topics.rules]]`
pub(super) fn rules(value: &Value<'_>) -> Result<Vec<TopicRule>, Wrongs> {
    list(rule)(value)
}

fn rule(value: &Value<'_>) -> Result<TopicRule, Wrongs> {
    let mut gathered = Gather::default();
    let mut rule = TopicRule::default();
    let known = &["identity", "publish", "subscribe"];
    if let Some(fields) = Fields::new(value, known, &mut gathered) {
        let name = fields.need("identity", &mut gathered, identity);
        rule.identity = name.unwrap_or_default();
        let publish = fields.get("publish", &mut gathered, list(rule_filter));
        rule.publish = publish.unwrap_or_default();
        let subscribe = fields.get("subscribe", &mut gathered, list(rule_filter));
        rule.subscribe = subscribe.unwrap_or_default();
    }
    gathered.or(rule)
}

/// `[[topics.mappings]]`
pub(super) fn mappings(value: &Value<'_>) -> Result<Vec<TopicMapping>, Wrongs> {
    list(mapping)(value)
}

fn mapping(value: &Value<'_>) -> Result<TopicMapping, Wrongs> {
    let mut gathered = Gather::default();
    let mut mapping = TopicMapping::default();
    if let Some(fields) = Fields::new(value, &["topic", "output"], &mut gathered) {
        let topic = fields.need("topic", &mut gathered, mapping_filter);
        mapping.topic = topic.unwrap_or_default();
        mapping.output = fields.get("output", &mut gathered, output);
    }
    gathered.or(mapping)
}

/// `*`, `press-*`, `device/module`, `$anonymous`.
fn identity(value: &Value<'_>) -> Result<String, Wrongs> {
    let pattern = text(value)?;
    let parts: Vec<_> = pattern.split('/').collect();
    // A star is a letter that ids may have, so a pattern has to look like an identity.
    match parts.len() <= 2 && parts.iter().all(|part| ModuleId::new(part).is_ok()) {
        true => Ok(pattern.to_owned()),
        false => wrong(
            value,
            format!(
                "{pattern:?} names no identity: expected DEVICE or DEVICE/MODULE, with * for any \
                 letters in them, or \"$anonymous\""
            ),
        ),
    }
}

fn output(value: &Value<'_>) -> Result<String, Wrongs> {
    let name = text(value)?;
    let bad = |c: char| c.is_control() || matches!(c, '/' | '#' | '+');
    match name.len() <= 128 && !name.contains(bad) {
        true => Ok(name.to_owned()),
        false => wrong(
            value,
            format!("{name:?} is no name of an output: expected up to 128 bytes without / # +"),
        ),
    }
}

fn rule_filter(value: &Value<'_>) -> Result<String, Wrongs> {
    let filter = text(value)?;
    let known = |word: &str| match word {
        "device" | "module" => Ok(()),
        _ => Err(format!(
            "there is no placeholder {{{word}}}: known here are {{device}} and {{module}}"
        )),
    };
    match check(filter, known) {
        Ok(()) => Ok(filter.to_owned()),
        Err(message) => wrong(value, message),
    }
}

fn mapping_filter(value: &Value<'_>) -> Result<String, Wrongs> {
    let filter = text(value)?;
    let mut seen = Vec::new();
    let new = |word: &str| {
        if word.is_empty() || word.contains(char::is_control) {
            return Err("a placeholder has a name, as in {machine}".to_owned());
        }
        if seen.iter().any(|known| known == word) {
            return Err(format!("the placeholder {{{word}}} is there twice"));
        }
        seen.push(word.to_owned());
        Ok(())
    };
    match check(filter, new) {
        Ok(()) => Ok(filter.to_owned()),
        Err(message) => wrong(value, message),
    }
}

/// A topic filter as MQTT has it [MQTT-4.7.1-2, 4.7.1-3, 4.7.3-1..3], in which a whole level may be a
/// placeholder.
fn check(
    filter: &str,
    mut placeholder: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    if filter.len() > 65_535 || filter.contains('\0') {
        return Err("a topic filter has at most 65535 bytes, and no NUL".to_owned());
    }
    if filter.starts_with('$') {
        return Err(format!(
            "{filter:?}: topics that begin with $ are those of the hub, and not open"
        ));
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let inner = level
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match (level, inner) {
            ("#", _) if levels.peek().is_some() => {
                return Err(format!("{filter:?}: # is the last level or none"));
            }
            ("#" | "+", _) => {}
            (_, Some(word)) if !word.contains(['{', '}', '+', '#']) => {
                placeholder(word).map_err(|why| format!("{filter:?}: {why}"))?;
            }
            (level, _) if level.contains(['+', '#', '{', '}']) => {
                return Err(format!(
                    "{filter:?}: +, # and a placeholder each take a whole level, found {level:?}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
