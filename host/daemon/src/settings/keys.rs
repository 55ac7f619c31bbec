//! The keys there are, and what each may hold.
//!
//! A reader of a value says everything that is wrong with it; of lists and sections in them, each part.

mod registries;
mod topics;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use edge_core::DeviceId;
use toml::Spanned;
use toml::de::DeValue;

use super::{
    Cache, KeepDays, ParentDeployments, RootMessages, Settings, TokenLife, UpstreamKind, WhenFull,
};
use values::{
    MAX_LIFETIME, MAX_SKEW, MIN_LIFETIME, absolute, address, addresses, count, host_name, list,
    loopback, mode, off_or, one_of, path, size, some, span, span_of, span_text, text, text_owned,
    unix_socket, wrong, yes_or_no,
};

pub(super) use values::{found, nearest};

/// A value with its place in the file.
type Value<'v> = Spanned<DeValue<'v>>;

/// One thing that is wrong with a value.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Where it begins, in bytes from the start of the file.
    pub(super) at: usize,
    /// What follows the key, for values that have parts: `[1].publish[0]`.
    pub(super) part: String,
    /// What was found and what was expected.
    pub(super) message: String,
}

/// Everything that is wrong with a value.
pub(super) type Wrongs = Vec<Wrong>;

/// A key with its place, and how its value gets into the settings.
pub(super) struct Key {
    /// Section and name, joined by a dot.
    pub(super) path: &'static str,
    /// Says what was expected if the value is something else.
    pub(super) set: fn(&mut Settings, &Value<'_>) -> Result<(), Wrongs>,
}

macro_rules! keys {
    ($($path:literal => $($field:ident).+ = $read:expr;)*) => {
        /// Every key.
        pub(super) const KEYS: &[Key] = &[$(Key {
            path: $path,
            set: |settings, value| {
                settings.$($field).+ = $read(value)?;
                Ok(())
            },
        },)*];
    };
}

keys! {
    "data" => data = some(path);
    "device.name" => device.name = some(device);
    "device.hostname" => device.hostname = some(host_name);
    "device.hub-name" => device.hub_name = host_name;
    "management.socket" => management.socket = some(path);
    "management.mode" => management.mode = mode;
    "management.group" => management.group = some(text_owned);
    "store.path" => store.path = some(path);
    "store.limit" => store.limit = some(size(1 << 20, u64::MAX));
    "store.reserve" => store.reserve = size(0, u64::MAX);
    "store.when-full" => store.when_full = one_of(&[
        ("reject", WhenFull::Reject),
        ("drop-oldest", WhenFull::DropOldest),
        ("drop-lowest-priority", WhenFull::DropLowestPriority),
    ]);
    "store.segment-size" => store.segment_size = size(1 << 20, 1 << 30);
    "hub.message-limit" => hub.message_limit = size(1 << 10, 16 << 20);
    "hub.twin-limit" => hub.twin_limit = size(1 << 10, 1 << 20);
    "hub.method-limit" => hub.method_limit = size(1 << 10, 1 << 20);
    "hub.time-to-live" => hub.time_to_live = span;
    "hub.clock-skew" => hub.clock_skew = span_of(Duration::ZERO, MAX_SKEW);
    "limits.connections" => limits.connections = count(1, 1_000_000);
    "mqtt.listen" => mqtt.listen = addresses;
    "amqp.listen" => amqp.listen = addresses;
    "https.listen" => https.listen = addresses;
    "certificates.names" => certificates.names = list(host_name);
    "certificates.lifetime" => certificates.lifetime = span_of(MIN_LIFETIME, MAX_LIFETIME);
    "certificates.ca-certificate" => certificates.ca_certificate = some(path);
    "certificates.ca-key" => certificates.ca_key = some(path);
    "certificates.certificate" => certificates.certificate = some(path);
    "certificates.key" => certificates.key = some(path);
    "certificates.trusted" => certificates.trusted = list(path);
    "workload.dir" => workload.dir = some(path);
    "workload.mode" => workload.mode = mode;
    "workload.group" => workload.group = some(text_owned);
    "workload.listen" => workload.listen = off_or(loopback);
    "topics.listen" => topics.listen = addresses;
    "topics.tls" => topics.tls = yes_or_no;
    "topics.anonymous" => topics.anonymous = yes_or_no;
    "topics.queue-limit" => topics.queue_limit = size(1 << 20, 1 << 40);
    "topics.rules" => topics.rules = topics::rules;
    "topics.mappings" => topics.mappings = topics::mappings;
    "metrics.listen" => metrics.listen = off_or(address);
    "wasm.workers" => wasm.workers = some(count(1, 1_024));
    "wasm.cache" => wasm.cache = |value| {
        let at = off_or(absolute)(value)?;
        Ok::<_, Wrongs>(at.map_or(Cache::Off, Cache::At))
    };
    "agent.rollback" => agent.rollback = yes_or_no;
    "agent.rollback-within" => agent.rollback_within = span;
    "agent.rollback-stable" => agent.rollback_stable = span;
    "containers.socket" => containers.socket = off_or(unix_socket);
    "containers.network" => containers.network = text_owned;
    "containers.unused-images" => containers.unused_images = off_or(span_text);
    "containers.allow" => containers.allow = list(one_of(edge_moby::Allow::WORDS));
    "verify.require-digest" => verify.require_digest = yes_or_no;
    "verify.require-signature" => verify.require_signature = yes_or_no;
    "verify.keys" => verify.keys = list(path);
    "registries" => registries = registries::registries;
    "upstream.kind" => upstream.kind = one_of(&[
        ("none", UpstreamKind::None),
        ("amqp", UpstreamKind::Amqp),
    ]);
    "upstream.connection-string-file" => upstream.connection_string_file = some(path);
    "upstream.port" => upstream.port = |value| {
        let port = count(1, usize::from(u16::MAX))(value)?;
        Ok::<_, Wrongs>(u16::try_from(port).ok())
    };
    "upstream.transport" => upstream.transport = one_of(&[
        ("amqp", edge_upstream::Transport::Tls),
        ("websocket", edge_upstream::Transport::WebSocket),
    ]);
    "upstream.proxy" => upstream.proxy = some(proxy);
    "upstream.trusted" => upstream.trusted = list(path);
    "upstream.token-life" => upstream.token_life = |value| {
        let life = span(value)?;
        match life.as_secs() {
            1..=31_536_000 => Ok::<_, Wrongs>(TokenLife(life)),
            _ => wrong(value, "expected a time from 1s to 365d"),
        }
    };
    "upstream.deployments" => upstream.deployments = one_of(&[
        ("accept", ParentDeployments::Accept),
        ("ignore", ParentDeployments::Ignore),
    ]);
    "upstream.messages" => upstream.messages = one_of(&[
        ("keep", RootMessages::Keep),
        ("print", RootMessages::Print),
        ("files", RootMessages::Files),
    ]);
    "upstream.folder" => upstream.folder = some(path);
    "upstream.keep-days" => upstream.keep_days = |value| {
        let days = count(1, 36_500)(value)?;
        Ok::<_, Wrongs>(KeepDays(days))
    };
}

/// `http://[user:password@]host:port`.
fn proxy(value: &Value<'_>) -> Result<edge_upstream::Proxy, Wrongs> {
    let expected = "expected a proxy as in \"http://proxy.example:3128\"";
    let rest = text(value)?.strip_prefix("http://");
    let Some(rest) = rest.map(|rest| rest.trim_end_matches('/')) else {
        return wrong(value, expected);
    };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login.to_owned()), place),
        None => (None, rest),
    };
    let parts = place.rsplit_once(':');
    let port = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match port {
        Some((host, port)) if port > 0 && !host.is_empty() => Ok(edge_upstream::Proxy {
            address: edge_upstream::Address {
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
            },
            login,
        }),
        _ => wrong(value, expected),
    }
}

fn device(value: &Value<'_>) -> Result<DeviceId, Wrongs> {
    DeviceId::new(text(value)?).or_else(|error| wrong(value, error.to_string()))
}

/// What is wrong with settings as a whole, by the key that is to be changed.
pub(super) fn check(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let files = &settings.certificates;
    let mut pair = |names: [&'static str; 2], files: [&Option<PathBuf>; 2]| {
        if let [Some(_), None] | [None, Some(_)] = files {
            let (there, other) = match files[0] {
                Some(_) => (names[0], names[1]),
                None => (names[1], names[0]),
            };
            wrong.push((
                there,
                format!("{other} is missing: the two belong together"),
            ));
        }
    };
    pair(
        ["certificates.ca-certificate", "certificates.ca-key"],
        [&files.ca_certificate, &files.ca_key],
    );
    pair(
        ["certificates.certificate", "certificates.key"],
        [&files.certificate, &files.key],
    );
    if settings.verify.require_signature && settings.verify.keys.is_empty() {
        wrong.push((
            "verify.require-signature",
            "no key is trusted, so nothing would ever run: name files with public keys in verify.keys"
                .to_owned(),
        ));
    }
    let upstream = &settings.upstream;
    if upstream.kind == UpstreamKind::Amqp && upstream.connection_string_file.is_none() {
        wrong.push((
            "upstream.kind",
            "upstream.connection-string-file is missing: it says who this device is to its parent"
                .to_owned(),
        ));
    }
    if upstream.kind == UpstreamKind::None && upstream.connection_string_file.is_some() {
        wrong.push((
            "upstream.connection-string-file",
            "upstream.kind is \"none\", so this device would stand alone: write kind = \"amqp\" beside it, \
             or take this away"
                .to_owned(),
        ));
    }
    if upstream.kind == UpstreamKind::Amqp && upstream.messages != RootMessages::Keep {
        wrong.push((
            "upstream.messages",
            "messages for $upstream go to the parent, and nowhere else: take this away, or \
             write upstream.kind = \"none\" for a device without a parent"
                .to_owned(),
        ));
    }
    if files.ca_certificate.is_some() && files.certificate.is_some() {
        wrong.push((
            "certificates.certificate",
            "there is a CA of yours, which issues this one: take away certificates.certificate and \
             certificates.key, or certificates.ca-certificate and certificates.ca-key"
                .to_owned(),
        ));
    }
    wrong
}
