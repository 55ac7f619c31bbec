//! Tokens as the Python and Node SDKs make them; the texts were made by those languages' own functions.

use edge_core::{DeviceId, ModuleId};

use super::*;

/// Bytes 0 to 31.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SE: Timestamp = Timestamp(1_795_292_852_000_000_000);

const PYTHON_MODULE: &str = "SharedAccessSignature sr=hub1.azure-devices.net%2Fdevices%2Fedge1%2Fmodules%2Fmod1&sig=2FjdtWqRa4umSSe8vvkZVIM8tsS2ckz1NOpCmq5OQHA%3D&se=1795292852";
const PYTHON_AGENT: &str = "SharedAccessSignature sr=hub1.azure-devices.net%2Fdevices%2Fedge1%2Fmodules%2F%24edgeAgent&sig=w74h67l8%2BoR0MLuHnhD2a09bYvAOQNP7zauhF7hCDjA%3D&se=1795292852";
const PYTHON_AWKWARD: &str = "SharedAccessSignature sr=hub1.azure-devices.net%2Fdevices%2Fd%21%27%28%29%2A%40%3A%2C%3D%2B&sig=Aply42x%2FwbEZIknAbTk70Q7mDfTvC2ZYOJZOUajePVY%3D&se=1795292852";
const NODE_AWKWARD: &str = "SharedAccessSignature sr=hub1.azure-devices.net%2Fdevices%2Fd%21%27%28%29%2a%40%3A%2C%3D%2B&sig=kg7L2hTFeHQqMPdOTQ1DDKeyZnO1DKzarE4sVyxYb9A%3D&se=1795292852";
const NODE_POLICY: &str = "SharedAccessSignature sr=hub1.azure-devices.net%2Fdevices%2Fedge1%2Fmodules%2Fmod1&sig=2FjdtWqRa4umSSe8vvkZVIM8tsS2ckz1NOpCmq5OQHA%3D&skn=x&se=1795292852";

fn device(id: &str) -> Identity {
    Identity::Device(DeviceId::new(id).unwrap())
}

fn module(device: &str, module: &str) -> Identity {
    Identity::Module(
        DeviceId::new(device).unwrap(),
        ModuleId::new(module).unwrap(),
    )
}

fn key() -> Secret {
    Secret::from_base64(KEY).unwrap()
}

#[test]
fn tokens_of_both_sdks_are_verified_over_the_text_as_it_came() {
    let awkward = device("d!'()*@:,=+");
    for (text, identity) in [
        (PYTHON_MODULE, module("edge1", "mod1")),
        (PYTHON_AGENT, module("edge1", "$edgeAgent")),
        (PYTHON_AWKWARD, awkward.clone()),
        (NODE_AWKWARD, awkward),
        (NODE_POLICY, module("edge1", "mod1")),
    ] {
        let token = Token::parse(text).unwrap();
        assert!(token.is_signed_by(&key()), "{text}");
        assert!(token.is_for(&identity), "{text}");
        assert_eq!(token.expires(), SE);
        assert!(!token.is_signed_by(&Secret::generate().unwrap()));
    }
}

#[test]
fn fields_may_come_in_any_order() {
    let (_, fields) = PYTHON_MODULE.split_once(' ').unwrap();
    let mut fields: Vec<_> = fields.split('&').collect();
    fields.reverse();
    let text = format!("SharedAccessSignature {}", fields.join("&"));
    assert!(Token::parse(&text).unwrap().is_signed_by(&key()));
}

#[test]
fn a_token_made_here_is_that_of_python() {
    let made = Token::make(
        "hub1.azure-devices.net",
        &module("edge1", "mod1"),
        &key(),
        SE,
    );
    assert_eq!(*made, PYTHON_MODULE);
    let made = Token::make("hub1.azure-devices.net", &device("d!'()*@:,=+"), &key(), SE);
    assert_eq!(*made, PYTHON_AWKWARD);
}

#[test]
fn a_changed_resource_or_expiry_breaks_the_signature() {
    for (from, to) in [
        ("mod1", "mod2"),
        ("1795292852", "1795292853"),
        ("2Fedge1", "2fedge1"),
    ] {
        let text = PYTHON_MODULE.replace(from, to);
        assert!(!Token::parse(&text).unwrap().is_signed_by(&key()), "{text}");
    }
}

#[test]
fn a_token_is_for_one_identity_only() {
    let token = Token::parse(PYTHON_MODULE).unwrap();
    for other in [
        device("edge1"),
        device("mod1"),
        module("edge1", "mod2"),
        module("edge2", "mod1"),
    ] {
        assert!(!token.is_for(&other), "{other}");
    }
    let to_device = PYTHON_MODULE.replace("%2Fmodules%2Fmod1", "");
    let token = Token::parse(&to_device).unwrap();
    assert!(token.is_for(&device("edge1")));
    assert!(!token.is_for(&module("edge1", "mod1")));
}

#[test]
fn ids_that_were_encoded_twice_are_understood() {
    let text = PYTHON_AGENT.replace("%24edgeAgent", "%2524edgeAgent");
    let token = Token::parse(&text).unwrap();
    assert!(token.is_for(&module("edge1", "$edgeAgent")));
    // An id with a percent sign is still itself.
    let text = PYTHON_AGENT.replace("%24edgeAgent", "a%2541");
    let token = Token::parse(&text).unwrap();
    assert!(token.is_for(&module("edge1", "a%41")));
}

#[test]
fn what_is_no_token_is_named() {
    let long = format!("{PYTHON_MODULE}&x={}", "y".repeat(5000));
    let twice = format!("{PYTHON_MODULE}&sr=x");
    let cut = PYTHON_MODULE.replace("OQHA%3D", "");
    for (text, fault) in [
        ("", TokenFault::Scheme),
        (KEY, TokenFault::Scheme),
        (&long, TokenFault::TooLong),
        (
            "SharedAccessSignature sr=a&se=1",
            TokenFault::Missing("sig"),
        ),
        (
            "SharedAccessSignature sig=a&se=1",
            TokenFault::Missing("sr"),
        ),
        ("SharedAccessSignature", TokenFault::Scheme),
        (
            "SharedAccessSignature sr=a&sig=b",
            TokenFault::Missing("se"),
        ),
        (&twice, TokenFault::Twice("sr")),
        (
            &PYTHON_MODULE.replace("=1795292852", "=+1"),
            TokenFault::Expiry,
        ),
        (
            &PYTHON_MODULE.replace("=1795292852", "="),
            TokenFault::Expiry,
        ),
        (&cut, TokenFault::Encoding),
    ] {
        assert_eq!(Token::parse(text).map(|_| ()), Err(fault), "{text}");
    }
}

#[test]
fn an_expiry_beyond_all_clocks_is_the_end_of_time() {
    let text = PYTHON_MODULE.replace("1795292852", "253402300799000");
    assert_eq!(Token::parse(&text).unwrap().expires(), Timestamp(u64::MAX));
}
