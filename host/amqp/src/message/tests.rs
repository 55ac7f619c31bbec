use edge_core::{DeviceId, MessageBuilder, ModuleId, Source};
use fe2o3_amqp_types::messaging::AmqpValue;
use fe2o3_amqp_types::messaging::Batch;

use super::*;

fn origin() -> std::sync::Arc<Origin> {
    Origin::new(Source::Module {
        device: DeviceId::new("edge1").expect("id"),
        module: ModuleId::new("filter").expect("id"),
        output: Some("alarm".into()),
    })
}

fn any(message: Message<Data>) -> Message<Body<Value>> {
    message.map_body(|data| Body::Data(Batch::from(vec![data])))
}

#[test]
fn all_properties_come_through_to_a_parent_with_the_output() {
    let content = MessageBuilder::new("body")
        .json()
        .system(system::MESSAGE_ID, "m-1")
        .system(system::CORRELATION_ID, "c-1")
        .system(system::USER_ID, "ü")
        .system(system::TO, "/x")
        .system(system::EXPIRY, "2026-11-24T10:00:00.123Z")
        .system(system::CREATION_TIME, "yesterday")
        .system(system::MESSAGE_SCHEMA, "s")
        .system(system::ACK, "full")
        .system(system::OPERATION, "o")
        .system(system::INTERFACE_ID, "i")
        .system(system::SUBJECT, "part")
        .property("na sty&k", "a b&c=d/é")
        .property("empty", "")
        .build();
    let origin = origin();
    let message = write(&content, Purpose::Parent { origin: &origin });
    let read = read(any(message)).expect("it is read");
    assert_eq!(read.output.as_deref(), Some("alarm"));
    assert_eq!(read.content.body, content.body);
    assert_eq!(read.content.properties, content.properties);
    let sorted = |p: &Properties| {
        let mut all: Vec<_> = p
            .iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&read.content.system), sorted(&content.system));
}

#[test]
fn an_input_is_told_its_name_and_who_sent() {
    let content = MessageBuilder::new("x").property(OUTPUT, "forged").build();
    let origin = origin();
    let purpose = Purpose::Input {
        input: "input1",
        origin: &origin,
    };
    let message = write(&content, purpose);
    assert_eq!(message.application_properties, None);
    let annotations = message.message_annotations.expect("annotations").0;
    let of = |key: &str| annotations.get(&OwnedKey::from(key)).cloned();
    let text = |text: &str| Some(Value::String(text.to_owned()));
    assert_eq!(of(INPUT), text("input1"));
    assert_eq!(of(DEVICE), text("edge1"));
    assert_eq!(of(MODULE), text("filter"));
}

#[test]
fn who_sent_it_is_not_believed() {
    let mut message = any(write(&Content::default(), Purpose::DeviceBound));
    let mut annotations = MessageAnnotations::default();
    for key in [DEVICE, MODULE, INPUT] {
        annotations
            .0
            .insert(OwnedKey::from(key), Value::String("forged".to_owned()));
    }
    message.message_annotations = Some(annotations);
    let read = read(message).expect("it is read");
    assert_eq!(*read.content, Content::default());
}

#[test]
fn numbers_times_and_uuids_become_text() {
    let uuid = Uuid::from([
        0x9b, 0xdd, 0x83, 0x60, 0xfc, 0xed, 0x4a, 0x8f, 0x9c, 0x22, 0xbc, 0x47, 0x08, 0x9f, 0xd0,
        0xc6,
    ]);
    let mut message = any(write(&Content::default(), Purpose::DeviceBound));
    message.properties = Some(Sections {
        message_id: Some(MessageId::Uuid(uuid)),
        correlation_id: Some(MessageId::Ulong(7)),
        absolute_expiry_time: Some(1_709_164_800_123.into()),
        ..Sections::new()
    });
    let mut pairs = ApplicationProperties::default();
    pairs.0.insert("n".to_owned(), SimpleValue::Int(-3));
    pairs
        .0
        .insert("f".to_owned(), SimpleValue::Double(1.5.into()));
    pairs.0.insert("b".to_owned(), SimpleValue::Bool(true));
    message.application_properties = Some(pairs);
    let content = read(message).expect("it is read").content;
    let id = "9bdd8360-fced-4a8f-9c22-bc47089fd0c6";
    assert_eq!(content.system.get(system::MESSAGE_ID), Some(id));
    assert_eq!(content.system.get(system::CORRELATION_ID), Some("7"));
    let expiry = Some("2024-02-29T00:00:00.123Z");
    assert_eq!(content.system.get(system::EXPIRY), expiry);
    let pairs: Vec<_> = content.properties.iter().collect();
    assert_eq!(pairs, [("n", "-3"), ("f", "1.5"), ("b", "true")]);
}

#[test]
fn bodies_in_pieces_and_single_values_are_bytes() {
    let of = |body: Body<Value>| {
        let message = write(&Content::default(), Purpose::DeviceBound).map_body(|_| body);
        read(message).map(|read| read.content.body.clone())
    };
    let data = |text: &str| Data(Binary::from(text.as_bytes().to_vec()));
    let pieces = Body::Data(Batch::from(vec![data("ab"), data("c")]));
    assert_eq!(of(pieces), Ok(Bytes::from("abc")));
    let value = |value| of(Body::Value(AmqpValue(value)));
    assert_eq!(value(Value::String("s".to_owned())), Ok(Bytes::from("s")));
    assert_eq!(of(Body::Empty), Ok(Bytes::new()));
    let error = value(Value::Bool(true)).expect_err("no bytes");
    assert!(
        error.to_string().contains("expected data sections"),
        "{error}"
    );
}

#[test]
fn too_many_properties_and_nameless_ones_are_refused() {
    let with = |pairs: &mut dyn Iterator<Item = String>| {
        let mut message = any(write(&Content::default(), Purpose::DeviceBound));
        let mut all = ApplicationProperties::default();
        for name in pairs {
            all.0.insert(name, SimpleValue::Null);
        }
        message.application_properties = Some(all);
        read(message)
    };
    assert!(with(&mut (0..1_000).map(|n| n.to_string())).is_ok());
    assert_eq!(
        with(&mut (0..1_001).map(|n| n.to_string())),
        Err(MessageFault::TooMany)
    );
    assert_eq!(
        with(&mut [String::new()].into_iter()),
        Err(MessageFault::NoName)
    );
}
