//! What a condition may ask of a message.

use std::borrow::Cow;

use edge_core::{Message, Properties, Source, system};

/// A message as conditions see it. Names match whatever their letter case.
pub trait MessageView {
    /// The body's bytes.
    fn body(&self) -> &[u8];

    /// An application property. `None`: there is none; `Some(None)`: it is there and null, which
    /// only the vectors of the language know.
    fn property(&self, name: &str) -> Option<Option<Cow<'_, str>>>;

    /// A system property by its name without the `$`.
    fn system(&self, name: &str) -> Option<Option<Cow<'_, str>>>;
}

/// Value of `$messageType` of a change of reported properties.
const TWIN_CHANGE: &str = "twinChangeNotification";
/// The other name of `correlationId`, on the wire and in conditions.
const CORRELATION_ID_SHORT: &str = "cid";

/// What the hub knows about a message comes from it, never from properties that a sender set.
impl MessageView for Message {
    fn body(&self) -> &[u8] {
        &self.content.body
    }

    fn property(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        Some(Some(Cow::Borrowed(find(&self.content.properties, name)?)))
    }

    fn system(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let sent = |name: &str| find(&self.content.system, name).map(Cow::Borrowed);
        // Lengths first: comparing eight names for each look-up would cost more than the look-up.
        let value = match name.len() {
            18 if is(system::CONNECTION_DEVICE_ID) => {
                Some(Cow::Borrowed(self.origin.device().as_str()))
            }
            18 if is(system::CONNECTION_MODULE_ID) => {
                self.origin.module().map(|m| Cow::Borrowed(m.as_str()))
            }
            10 if is(system::OUTPUT_NAME) => self.origin.output().map(Cow::Borrowed),
            12 if is(system::ENQUEUED_TIME) => Some(Cow::Owned(self.enqueued.to_string())),
            13 if is(system::EDGE_MESSAGE_ID) => Some(Cow::Owned(self.id.to_string())),
            13 if is(system::CORRELATION_ID) => sent(name).or_else(|| sent(CORRELATION_ID_SHORT)),
            3 if is(CORRELATION_ID_SHORT) => sent(name).or_else(|| sent(system::CORRELATION_ID)),
            11 if is(system::MESSAGE_TYPE)
                && matches!(self.origin.source(), Source::TwinChange(_)) =>
            {
                Some(Cow::Borrowed(TWIN_CHANGE))
            }
            _ => sent(name),
        };
        value.map(Some)
    }
}

/// What [`Properties::get`] finds, quicker where names are ASCII: a name is looked up once for each
/// route that mentions it, and mostly against names that are others.
fn find<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    let mut ascii = true;
    for (key, value) in properties.iter() {
        if key.len() == name.len() && key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        ascii &= key.is_ascii();
    }
    if ascii && name.is_ascii() {
        return None;
    }
    properties.get(name)
}

/// The source path of a message as its system properties tell it (section 2). [`Message`]s have
/// theirs in [`edge_core::Origin::path`].
pub fn source_path(view: &(impl MessageView + ?Sized)) -> String {
    let get = |name| view.system(name).flatten().filter(|v| !v.is_empty());
    if get(system::MESSAGE_TYPE).is_some_and(|t| t.eq_ignore_ascii_case(TWIN_CHANGE)) {
        return "/twinChangeNotifications".to_owned();
    }
    match (get(system::CONNECTION_MODULE_ID), get(system::OUTPUT_NAME)) {
        (None, _) => "/messages".to_owned(),
        (Some(module), None) => format!("/messages/modules/{module}"),
        (Some(module), Some(output)) => format!("/messages/modules/{module}/outputs/{output}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_core::{DeviceId, Identity, MessageBuilder, MessageId, ModuleId, Origin, Timestamp};

    fn message(source: Source) -> Message {
        Message {
            content: MessageBuilder::new("b")
                .property("Key", "v")
                .system("cid", "c1")
                .system("connectionDeviceId", "spoofed")
                .system("outputName", "spoofed")
                .build(),
            origin: Origin::new(source),
            id: MessageId::default(),
            enqueued: Timestamp(0),
            hops: 0,
        }
    }

    fn get(m: &Message, name: &str) -> Option<String> {
        m.system(name).flatten().map(Cow::into_owned)
    }

    #[test]
    fn what_the_hub_knows_cannot_be_set_by_a_sender() {
        let (device, module) = (
            DeviceId::new("d").expect("id"),
            ModuleId::new("m").expect("id"),
        );
        let m = message(Source::Module {
            device: device.clone(),
            module,
            output: Some("o".into()),
        });
        assert_eq!(get(&m, "CONNECTIONDEVICEID").as_deref(), Some("d"));
        assert_eq!(get(&m, "connectionModuleId").as_deref(), Some("m"));
        assert_eq!(get(&m, "outputname").as_deref(), Some("o"));
        assert_eq!(get(&m, "messageType"), None);
        assert_eq!(
            get(&m, "enqueuedTime").as_deref(),
            Some("1970-01-01T00:00:00.000Z")
        );
        assert_eq!(get(&m, "edgeMessageId").map(|id| id.len()), Some(32));
        assert_eq!(source_path(&m), m.origin.path());
        let leaf = message(Source::Device(device.clone()));
        assert_eq!(
            (get(&leaf, "outputName"), get(&leaf, "connectionModuleId")),
            (None, None)
        );
        let twin = message(Source::TwinChange(Identity::Device(device)));
        assert_eq!(
            get(&twin, "messageType").as_deref(),
            Some("twinChangeNotification")
        );
        assert_eq!(source_path(&twin), twin.origin.path());
    }

    #[test]
    fn names_beyond_ascii_are_found_in_any_case() {
        let properties: Properties = [("Ärger", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(find(&properties, "äRGER"), Some("1"));
        assert_eq!(find(&properties, "B"), Some("2"));
        assert_eq!(find(&properties, "c"), None);
    }

    #[test]
    fn correlation_id_has_two_names() {
        let m = message(Source::Device(DeviceId::new("d").expect("id")));
        assert_eq!(get(&m, "correlationId").as_deref(), Some("c1"));
        assert_eq!(get(&m, "CID").as_deref(), Some("c1"));
    }
}
