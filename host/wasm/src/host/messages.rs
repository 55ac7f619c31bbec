//! `edge:module/types` and `edge:module/send-event`.

use std::sync::Arc;

use bytes::Bytes;
use edge_core::{
    ByteSize, Content, Identity, Message, Origin, Properties, Source, Timestamp, system,
};
use edge_hub::SendRefusal;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr,
};
use wasmtime::{Result, bail};

use super::HostState;

/// What generated code expects of this interface; its functions are added by hand, below.
pub mod interface {
    use wasmtime::component::{HasData, Linker};

    pub type Duration = u64;

    pub trait Host {}
    impl<T: ?Sized> Host for T {}

    pub trait HostWithStore<T>: HasData {}
    impl<D: HasData, T> HostWithStore<T> for D {}

    pub fn add_to_linker<T: 'static, D: HostWithStore<T>>(
        _: &mut Linker<T>,
        _: fn(&mut T) -> D::Data<'_>,
    ) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// Messages that one instance may hold handles to.
const MAX_HELD: usize = 100_000;
/// What a held message costs beside what the guest put in it.
const HELD_COST: usize = 256;

/// A message as a guest holds it.
#[derive(Debug, Clone)]
pub(crate) struct GuestMessage {
    content: Arc<Content>,
    origin: Arc<Origin>,
    enqueued: Timestamp,
    attempts: u32,
    /// The input at which it was delivered.
    input: Option<Arc<str>>,
    /// Bytes that this guest added to host memory with it.
    held: usize,
}

impl GuestMessage {
    pub(crate) fn delivered(message: Message, input: Arc<str>, attempts: u32) -> Self {
        Self {
            content: message.content,
            origin: message.origin,
            enqueued: message.enqueued,
            attempts,
            input: Some(input),
            held: 0,
        }
    }
}

/// The messages that an instance holds, by handle. What it makes itself counts against its memory.
#[derive(Debug)]
pub(crate) struct GuestMessages {
    slots: Vec<Option<GuestMessage>>,
    free: Vec<u32>,
    held: usize,
    limit: usize,
}

impl GuestMessages {
    pub(crate) fn new(limit: ByteSize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            held: 0,
            limit: usize::try_from(limit.0).unwrap_or(usize::MAX),
        }
    }

    /// Gives a message a handle.
    ///
    /// # Errors
    /// A trap: the guest holds more than its memory's worth.
    pub(crate) fn insert(&mut self, message: GuestMessage) -> Result<u32> {
        let held = self.held.saturating_add(message.held);
        if held > self.limit || self.slots.len() - self.free.len() >= MAX_HELD {
            bail!(
                "the guest holds more messages than its memory may hold ({} bytes in {})",
                held,
                self.slots.len() - self.free.len()
            );
        }
        self.held = held;
        if let Some(rep) = self.free.pop() {
            self.slots[rep as usize] = Some(message);
            return Ok(rep);
        }
        let rep = u32::try_from(self.slots.len())?;
        self.slots.push(Some(message));
        Ok(rep)
    }

    pub(crate) fn remove(&mut self, rep: u32) {
        if let Some(message) = self.slots.get_mut(rep as usize).and_then(Option::take) {
            self.held -= message.held;
            self.free.push(rep);
        }
    }

    fn get(&self, handle: &Resource<GuestMessage>) -> Result<&GuestMessage> {
        match self.slots.get(handle.rep() as usize) {
            Some(Some(message)) => Ok(message),
            _ => bail!("a message handle that is not held"),
        }
    }
}

/// `types.failure`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum GuestFailure {
    #[component(name = "retry")]
    Retry(Option<u64>),
    #[component(name = "reject")]
    Reject(String),
}

/// `method-types.response`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct GuestResponse {
    pub(crate) status: u32,
    pub(crate) payload: String,
}

/// `types.source`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum GuestSource {
    #[component(name = "device")]
    Device(String),
    #[component(name = "module")]
    Module((String, Option<String>)),
    #[component(name = "twin-change")]
    TwinChange(String),
}

/// `send-event.send-error`.
#[derive(Debug, Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
enum SendError {
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "not-allowed")]
    NotAllowed,
    #[component(name = "full")]
    Full,
}

type Handle = Resource<GuestMessage>;
type Pairs = Vec<(String, String)>;
type Cx<'a> = StoreContextMut<'a, HostState>;

/// System properties that a module may set.
const SETTABLE: [&str; 7] = [
    system::CONTENT_TYPE,
    system::CONTENT_ENCODING,
    system::MESSAGE_ID,
    system::CORRELATION_ID,
    system::USER_ID,
    system::MESSAGE_SCHEMA,
    system::CREATION_TIME,
];

pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> Result<()> {
    let mut types = linker.instance("edge:module/types@0.1.0")?;
    types.resource(
        "message",
        ResourceType::host::<GuestMessage>(),
        |mut cx, rep| {
            cx.data_mut().messages.remove(rep);
            Ok(())
        },
    )?;
    types.func_wrap(
        "[constructor]message",
        |mut cx: Cx, (body, properties): (WasmList<u8>, Pairs)| {
            let content = Content {
                body: Bytes::copy_from_slice(body.as_le_slice(&cx)),
                properties: properties.into_iter().collect(),
                ..Content::default()
            };
            new_message(&mut cx, content)
        },
    )?;
    types.func_wrap(
        "[static]message.json",
        |mut cx: Cx, (body, properties): (String, Pairs)| {
            let mut content = Content {
                body: body.into(),
                properties: properties.into_iter().collect(),
                ..Content::default()
            };
            content.system.set(system::CONTENT_TYPE, "application/json");
            content.system.set(system::CONTENT_ENCODING, "utf-8");
            new_message(&mut cx, content)
        },
    )?;
    types.func_wrap("[method]message.body", |cx: Cx, (this,): (Handle,)| {
        Ok((cx.data().messages.get(&this)?.content.body.clone(),))
    })?;
    types.func_wrap("[method]message.size", |cx: Cx, (this,): (Handle,)| {
        Ok((cx.data().messages.get(&this)?.content.body.len() as u64,))
    })?;
    types.func_wrap(
        "[method]message.read",
        |cx: Cx, (this, offset, length): (Handle, u64, u64)| {
            let body = &cx.data().messages.get(&this)?.content.body;
            let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(body.len());
            Ok((body.slice(at(offset)..at(offset.saturating_add(length))),))
        },
    )?;
    types.func_wrap(
        "[method]message.property",
        |cx: Cx, (this, name): (Handle, WasmStr)| {
            let name = name.to_str(&cx)?;
            let message = cx.data().messages.get(&this)?;
            Ok((message.content.properties.get(&name).map(str::to_owned),))
        },
    )?;
    types.func_wrap(
        "[method]message.properties",
        |cx: Cx, (this,): (Handle,)| {
            Ok((owned(&cx.data().messages.get(&this)?.content.properties),))
        },
    )?;
    types.func_wrap(
        "[method]message.system-property",
        |cx: Cx, (this, name): (Handle, WasmStr)| {
            let name = name.to_str(&cx)?;
            Ok((system_property(cx.data().messages.get(&this)?, &name),))
        },
    )?;
    types.func_wrap(
        "[method]message.system-properties",
        |cx: Cx, (this,): (Handle,)| {
            let message = cx.data().messages.get(&this)?;
            let mut all = owned(&message.content.system);
            for name in HUB_SET {
                all.extend(system_property(message, name).map(|value| (name.to_owned(), value)));
            }
            Ok((all,))
        },
    )?;
    types.func_wrap("[method]message.source", |cx: Cx, (this,): (Handle,)| {
        let message = cx.data().messages.get(&this)?;
        Ok((match message.origin.source() {
            Source::Device(device) => GuestSource::Device(device.to_string()),
            Source::Module { module, output, .. } => {
                GuestSource::Module((module.to_string(), output.as_deref().map(str::to_owned)))
            }
            Source::TwinChange(identity) => GuestSource::TwinChange(identity.to_string()),
        },))
    })?;
    types.func_wrap("[method]message.enqueued", |cx: Cx, (this,): (Handle,)| {
        Ok((cx.data().messages.get(&this)?.enqueued.0,))
    })?;
    types.func_wrap("[method]message.attempts", |cx: Cx, (this,): (Handle,)| {
        Ok((cx.data().messages.get(&this)?.attempts,))
    })?;
    types.func_wrap(
        "[method]message.derive",
        |mut cx: Cx, (this, set, remove): (Handle, Pairs, Vec<String>)| {
            let message = cx.data().messages.get(&this)?.clone();
            let mut content = Content::clone(&message.content);
            for name in &remove {
                content.properties.remove(name);
            }
            for (name, value) in set {
                content.properties.set(name, value);
            }
            derived(&mut cx, message, content)
        },
    )?;
    types.func_wrap(
        "[method]message.with-body",
        |mut cx: Cx, (this, body): (Handle, WasmList<u8>)| {
            let body = Bytes::copy_from_slice(body.as_le_slice(&cx));
            let message = cx.data().messages.get(&this)?.clone();
            let content = Content {
                body,
                ..Content::clone(&message.content)
            };
            derived(&mut cx, message, content)
        },
    )?;
    types.func_wrap(
        "[method]message.with-system-properties",
        |mut cx: Cx, (this, set): (Handle, Pairs)| {
            let message = cx.data().messages.get(&this)?.clone();
            let mut content = Content::clone(&message.content);
            for (name, value) in set {
                match SETTABLE
                    .iter()
                    .find(|known| known.eq_ignore_ascii_case(&name))
                {
                    Some(known) => content.system.set(*known, value),
                    None => return Ok((Err(name),)),
                }
            }
            let (handle,) = derived(&mut cx, message, content)?;
            Ok((Ok(handle),))
        },
    )?;

    let mut send_event = linker.instance("edge:module/send-event@0.1.0")?;
    send_event.func_wrap(
        "send",
        |mut cx: Cx, (output, message): (WasmStr, Handle)| {
            let content = cx.data().messages.get(&message)?.content.clone();
            // The step leaves the state for this call, so that the output's name can stay where it is:
            // in the guest's memory.
            let mut step =
                cx.data_mut().step.take().ok_or_else(|| {
                    wasmtime::format_err!("send was called outside of any handler")
                })?;
            let sent = output.to_str(&cx).map(|output| step.send(&output, content));
            cx.data_mut().step = Some(step);
            Ok((match sent? {
                Ok(()) => Ok(()),
                Err(SendRefusal::TooLarge { .. }) => Err(SendError::TooLarge),
                Err(SendRefusal::InvalidOutput(_)) => Err(SendError::NotAllowed),
                Err(SendRefusal::Full) => Err(SendError::Full),
            },))
        },
    )?;
    Ok(())
}

fn new_message(cx: &mut Cx, content: Content) -> Result<(Handle,)> {
    let state = cx.data_mut();
    let Identity::Module(device, module) = &state.shared.identity else {
        bail!("a module has a module's identity");
    };
    let message = GuestMessage {
        content: Arc::default(),
        origin: Origin::new(Source::Module {
            device: device.clone(),
            module: module.clone(),
            output: None,
        }),
        enqueued: state.step()?.now,
        attempts: 0,
        input: None,
        held: 0,
    };
    derived(cx, message, content)
}

/// Holds `from` with other content. All of it counts as held, shared or not: the handle keeps it.
fn derived(cx: &mut Cx, from: GuestMessage, content: Content) -> Result<(Handle,)> {
    let held = content.size();
    let rep = cx.data_mut().messages.insert(GuestMessage {
        content: Arc::new(content),
        held: held.saturating_add(HELD_COST),
        attempts: 0,
        ..from
    })?;
    Ok((Resource::new_own(rep),))
}

fn owned(properties: &Properties) -> Pairs {
    properties
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// System properties that the hub sets, not the sender.
const HUB_SET: [&str; 5] = [
    system::CONNECTION_DEVICE_ID,
    system::CONNECTION_MODULE_ID,
    system::OUTPUT_NAME,
    system::INPUT_NAME,
    system::ENQUEUED_TIME,
];

fn system_property(message: &GuestMessage, name: &str) -> Option<String> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is(system::CONNECTION_DEVICE_ID) {
        Some(message.origin.device().to_string())
    } else if is(system::CONNECTION_MODULE_ID) {
        message.origin.module().map(ToString::to_string)
    } else if is(system::OUTPUT_NAME) {
        message.origin.output().map(str::to_owned)
    } else if is(system::INPUT_NAME) {
        message.input.as_deref().map(str::to_owned)
    } else if is(system::ENQUEUED_TIME) {
        Some(message.enqueued.to_string())
    } else {
        message.content.system.get(name).map(str::to_owned)
    }
}
