//! Topics and names as the SDKs were seen to send them.

use super::*;

fn telemetry<'a>(device: &'a str, module: Option<&'a str>, bag: &'a str) -> Publish<'a> {
    Publish::Telemetry {
        owner: Owner { device, module },
        bag,
    }
}

#[test]
fn telemetry_is_told_by_whose_it_is_and_loses_one_slash_at_the_end() {
    for (topic, expected) in [
        (
            "devices/leaf1/messages/events/",
            telemetry("leaf1", None, ""),
        ),
        (
            "devices/leaf1/messages/events//",
            telemetry("leaf1", None, ""),
        ),
        (
            "devices/leaf1/messages/events",
            telemetry("leaf1", None, ""),
        ),
        (
            "devices/leaf1/messages/events/%24.mid=1&a=b",
            telemetry("leaf1", None, "%24.mid=1&a=b"),
        ),
        (
            "devices/edge1/modules/mod1/messages/events/%24.on=output1&p=%C3%A9/",
            telemetry("edge1", Some("mod1"), "%24.on=output1&p=%C3%A9"),
        ),
        (
            "devices/edge1/modules/$edgeAgent/messages/events/",
            telemetry("edge1", Some("$edgeAgent"), ""),
        ),
        // A device may be called as a part of a topic is.
        (
            "devices/modules/messages/events/",
            telemetry("modules", None, ""),
        ),
        (
            "devices/messages/messages/events/a=b",
            telemetry("messages", None, "a=b"),
        ),
    ] {
        assert_eq!(Publish::parse(topic), Ok(expected), "{topic}");
    }
}

#[test]
fn twin_and_method_topics_have_a_request_id() {
    for (topic, expected) in [
        (
            "$iothub/twin/GET/?$rid=1fd0e4f8-16a3",
            Publish::TwinGet {
                rid: "1fd0e4f8-16a3",
            },
        ),
        (
            "$iothub/twin/GET/?x=1&$rid=7&y",
            Publish::TwinGet { rid: "7" },
        ),
        (
            "$iothub/twin/PATCH/properties/reported/?$rid=3bed",
            Publish::ReportedPatch { rid: "3bed" },
        ),
        (
            "$iothub/methods/res/200/?$rid=d1fe",
            Publish::MethodAnswer {
                status: 200,
                rid: "d1fe",
            },
        ),
        (
            "$iothub/methods/res/-1/?$rid=d",
            Publish::MethodAnswer {
                status: -1,
                rid: "d",
            },
        ),
    ] {
        assert_eq!(Publish::parse(topic), Ok(expected), "{topic}");
    }
}

#[test]
fn other_topics_are_none() {
    for topic in [
        "",
        "a/b",
        "devices",
        "devices/",
        "devices/d",
        "devices//messages/events/",
        "devices/d/modules//messages/events/",
        "devices/d/messages/event/a=b",
        "devices/d/messages/eventsx",
        "devices/d/messages/events/a=b/c",
        "devices/d/messages/events///",
        "devices/d/messages/devicebound/",
        "devices/d/modules/m/inputs/i/",
        "Devices/d/messages/events/",
        "$iothub",
        "$iothub/twin/GET",
        "$iothub/twin/GET/",
        "$iothub/twin/GET/?$rid=",
        "$iothub/twin/GET/?rid=1",
        "$iothub/twin/GET/$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/methods/res/?$rid=1",
        "$iothub/methods/res/ok/?$rid=1",
        "$iothub/methods/res/99999999999/?$rid=1",
        "$iothub/methods/POST/m/?$rid=1",
        "$iothub/twin/GET/?$rid=a/b",
    ] {
        assert!(Publish::parse(topic).is_err(), "{topic}");
    }
}

#[test]
fn filters_are_those_of_the_sdks() {
    let owner = |device, module| Owner { device, module };
    for (filter, expected) in [
        (
            "devices/d/modules/m/inputs/#",
            Subscription::Inputs(owner("d", Some("m"))),
        ),
        (
            "devices/d/modules/m/#",
            Subscription::Inputs(owner("d", Some("m"))),
        ),
        (
            "devices/d/messages/devicebound/#",
            Subscription::DeviceBound(owner("d", None)),
        ),
        ("$iothub/twin/res/#", Subscription::TwinAnswers),
        (
            "$iothub/twin/PATCH/properties/desired/#",
            Subscription::DesiredPatches,
        ),
        ("$iothub/methods/POST/#", Subscription::Methods),
    ] {
        assert_eq!(Subscription::parse(filter), Ok(expected), "{filter}");
    }
    for filter in [
        "#",
        "devices/#",
        "devices/d/#",
        "devices/+/messages/devicebound/#",
        "devices/d/modules/+/inputs/#",
        "devices/+/modules/m/#",
        "devices/d/messages/events/#",
        "$iothub/#",
        "$iothub/twin/#",
        "$share/g/devices/d/modules/m/#",
    ] {
        assert!(Subscription::parse(filter).is_err(), "{filter}");
    }
}

#[test]
fn owners_are_compared_with_identities() {
    let device = Identity::Device(DeviceId::new("d").expect("id"));
    let module = Identity::Module(
        DeviceId::new("d").expect("id"),
        ModuleId::new("m").expect("id"),
    );
    let owner = |device, module| Owner { device, module };
    assert!(owner("d", None).is(&device) && owner("d", Some("m")).is(&module));
    assert!(!owner("d", None).is(&module) && !owner("d", Some("m")).is(&device));
    assert!(!owner("D", None).is(&device) && !owner("d", Some("n")).is(&module));
}

#[test]
fn topics_to_clients_are_as_the_sdks_expect() {
    let device = DeviceId::new("edge1").expect("id");
    let module = ModuleId::new("mod1").expect("id");
    assert_eq!(
        input_topic(&device, &module, "input1", "").concat(),
        "devices/edge1/modules/mod1/inputs/input1/"
    );
    assert_eq!(
        input_topic(&device, &module, "input1", "a=b").concat(),
        "devices/edge1/modules/mod1/inputs/input1/a=b"
    );
    assert_eq!(
        device_bound_topic(&device, "%24.mid=c2d-1").concat(),
        "devices/edge1/messages/devicebound/%24.mid=c2d-1"
    );
    assert_eq!(
        twin_answer_topic(200, "1fd0", None),
        "$iothub/twin/res/200/?$rid=1fd0"
    );
    assert_eq!(
        twin_answer_topic(204, "3bed", Some(2)),
        "$iothub/twin/res/204/?$rid=3bed&$version=2"
    );
    assert_eq!(
        desired_patch_topic(2),
        "$iothub/twin/PATCH/properties/desired/?$version=2"
    );
    assert_eq!(
        method_topic("checkMethod", "d1fe"),
        "$iothub/methods/POST/checkMethod/?$rid=d1fe"
    );
}

#[test]
fn client_ids_name_a_device_or_a_module() {
    let name = |id: &str| parse_client_id(id).map(|identity| identity.to_string());
    for good in ["leaf1", "edge1/mod1", "edge1/$edgeAgent"] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    assert!(matches!(parse_client_id("leaf1"), Ok(Identity::Device(_))));
    for bad in ["", "/", "d/", "/m", "d/m/x", "d m", "dä"] {
        assert!(parse_client_id(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn user_names_are_read_as_the_sdks_write_them() {
    for (text, hub, identity, client_type) in [
        (
            "hub1.azure-devices.net/edge1/mod1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%20%231%20SMP%29",
            "hub1.azure-devices.net",
            "edge1/mod1",
            Some("azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%20%231%20SMP%29"),
        ),
        (
            "hub1.azure-devices.net/leaf1/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20.20.2%3B%20x64)",
            "hub1.azure-devices.net",
            "leaf1",
            Some("azure-iot-device%2F1.18.4%20(node%20v20.20.2%3B%20x64)"),
        ),
        (
            "hub/edge1/$edgeAgent/?api-version=2018-06-30&model-id=dtmi:x;1&nobody-knows",
            "hub",
            "edge1/$edgeAgent",
            None,
        ),
        // Old clients: no '?', and '/' between the keys.
        (
            "hub/d/api-version=2016-11-14/DeviceClientType=c",
            "hub",
            "d",
            Some("c"),
        ),
        (
            "hub/d/m/api-version=2016-11-14&DeviceClientType=c",
            "hub",
            "d/m",
            Some("c"),
        ),
        ("hub/d?x/?api-version=1", "hub", "d?x", None),
    ] {
        let name = UserName::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (name.hub, &*name.identity.to_string()),
            (hub, identity),
            "{text}"
        );
        assert_eq!(name.value("DeviceClientType"), client_type, "{text}");
    }
    let name = UserName::parse("hub/d/?api-version=1&model-id=dtmi%3Ax%3B1").expect("valid");
    assert_eq!(name.value("model-id"), Some("dtmi%3Ax%3B1"));
}

#[test]
fn user_names_without_ids_or_api_version_are_refused() {
    for bad in [
        "",
        "hub",
        "/d/?api-version=1",
        "hub/?api-version=1",
        "hub/a/b/c/?api-version=1",
    ] {
        assert!(
            matches!(UserName::parse(bad), Err(InvalidUserName::Shape(_))),
            "{bad}"
        );
    }
    for bad in [
        "hub/d",
        "hub/d/",
        "hub/d/m",
        "hub/d/?",
        "hub/d/?api-version=",
        "hub/d/?x=1",
    ] {
        assert!(
            matches!(UserName::parse(bad), Err(InvalidUserName::NoApiVersion(_))),
            "{bad}"
        );
    }
    for bad in [
        "hub/d d/?api-version=1",
        "hub/d/m m/?api-version=1",
        "hub//m/?api-version=1",
    ] {
        assert!(
            matches!(UserName::parse(bad), Err(InvalidUserName::Id(_))),
            "{bad}"
        );
    }
}
