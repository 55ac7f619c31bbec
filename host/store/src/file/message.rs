//! A message in a record.
//!
//! ```text
//!   flags u8   [origin]   [id start u64]   id count ±   enqueued ±   hops u8   [properties]   [system]   body
//! ```
//! What is the same as in the message before, in the same record, is left out and flagged; differences
//! (±) are from it. The first message of a record stands after one of zeros.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use edge_core::{
    Content, DeviceId, Identity, Message, MessageId, ModuleId, Origin, Properties, Source,
    Timestamp,
};

use super::wire::{Malformed, Reader, put_bytes, put_delta, put_len, put_str, put_u64};

const SAME_ORIGIN: u8 = 1;
const SAME_START: u8 = 2;
const PROPERTIES: u8 = 4;
const SYSTEM: u8 = 8;
/// Without `PROPERTIES`: they are those of the message before. A sender's messages mostly differ in few.
const SAME_PROPERTIES: u8 = 16;
/// Likewise, without `SYSTEM`.
const SAME_SYSTEM: u8 = 32;

/// The message before, as far as the next one is written against it.
#[derive(Debug, Default)]
pub(crate) struct Before {
    origin: Option<Arc<Origin>>,
    content: Option<Arc<Content>>,
    id: MessageId,
    enqueued: u64,
}

impl Before {
    fn go_on(&mut self, message: &Message) {
        if self.origin.as_ref() != Some(&message.origin) {
            self.origin = Some(message.origin.clone());
        }
        self.content = Some(message.content.clone());
        self.id = message.id;
        self.enqueued = message.enqueued.0;
    }

    fn list(&self, which: impl Fn(&Content) -> &Properties) -> Option<&Properties> {
        self.content.as_deref().map(which)
    }
}

/// How a list of properties is written: not at all, as that before, or out.
fn flag_of(list: &Properties, before: Option<&Properties>, out: u8, same: u8) -> u8 {
    match before {
        _ if list.is_empty() => 0,
        Some(before) if before == list => same,
        _ => out,
    }
}

pub(crate) fn put(out: &mut Vec<u8>, message: &Message, before: &mut Before) {
    let content = &message.content;
    let same_origin = before.origin.as_ref() == Some(&message.origin);
    let same_start = before.id.start == message.id.start;
    let flag = |on, bit| if on { bit } else { 0 };
    let properties = flag_of(
        &content.properties,
        before.list(|content| &content.properties),
        PROPERTIES,
        SAME_PROPERTIES,
    );
    let system = flag_of(
        &content.system,
        before.list(|content| &content.system),
        SYSTEM,
        SAME_SYSTEM,
    );
    out.push(flag(same_origin, SAME_ORIGIN) | flag(same_start, SAME_START) | properties | system);
    if !same_origin {
        put_source(out, message.origin.source());
    }
    if !same_start {
        put_u64(out, message.id.start);
    }
    put_delta(out, message.id.count, before.id.count);
    put_delta(out, message.enqueued.0, before.enqueued);
    out.push(message.hops);
    let lists = [
        (properties == PROPERTIES, &content.properties),
        (system == SYSTEM, &content.system),
    ];
    for (written, list) in lists {
        if written {
            put_len(out, list.len());
            for (name, value) in list.iter() {
                put_str(out, name);
                put_str(out, value);
            }
        }
    }
    put_bytes(out, &content.body);
    before.go_on(message);
}

/// A device, a module with or without output, a change of a device's or a module's twin.
fn put_source(out: &mut Vec<u8>, source: &Source) {
    match source {
        Source::Device(device) => {
            out.push(0);
            put_str(out, device.as_str());
        }
        Source::Module {
            device,
            module,
            output,
        } => {
            out.push(if output.is_some() { 2 } else { 1 });
            put_str(out, device.as_str());
            put_str(out, module.as_str());
            if let Some(output) = output {
                put_str(out, output);
            }
        }
        Source::TwinChange(Identity::Device(device)) => {
            out.push(3);
            put_str(out, device.as_str());
        }
        Source::TwinChange(Identity::Module(device, module)) => {
            out.push(4);
            put_str(out, device.as_str());
            put_str(out, module.as_str());
        }
    }
}

/// Origins that were read before: messages of one sender share theirs.
#[derive(Debug, Default)]
pub(crate) struct Origins(HashMap<Box<[u8]>, Arc<Origin>>);

/// More senders than these, and the cache begins anew.
const MAX_ORIGINS: usize = 1_024;

impl Origins {
    fn get(&mut self, bytes: &[u8], source: impl FnOnce() -> Source) -> Arc<Origin> {
        if let Some(origin) = self.0.get(bytes) {
            return origin.clone();
        }
        if self.0.len() >= MAX_ORIGINS {
            self.0.clear();
        }
        let origin = Origin::new(source());
        self.0.insert(bytes.into(), origin.clone());
        origin
    }
}

/// Reads a message whose record's payload is `payload`; its body is a part of that, not a copy.
pub(crate) fn take(
    reader: &mut Reader<'_>,
    payload: &Bytes,
    before: &mut Before,
    origins: &mut Origins,
) -> Result<Message, Malformed> {
    let flags = reader.u8()?;
    let origin = if flags & SAME_ORIGIN != 0 {
        match &before.origin {
            Some(origin) => origin.clone(),
            None => return reader.malformed("a message without a sender"),
        }
    } else {
        let start = reader.at();
        let source = take_source(reader)?;
        origins.get(&payload[start..reader.at()], || source)
    };
    let start = match flags & SAME_START {
        0 => reader.u64()?,
        _ => before.id.start,
    };
    let id = MessageId {
        start,
        count: reader.delta(before.id.count)?,
    };
    let enqueued = Timestamp(reader.delta(before.enqueued)?);
    let hops = reader.u8()?;
    let mut list = |out, same, which: fn(&Content) -> &Properties| {
        let mut list = Properties::new();
        if flags & same != 0 {
            return match before.list(which) {
                Some(before) => Ok(before.clone()),
                None => reader.malformed("properties of a message before the first"),
            };
        }
        if flags & out != 0 {
            for _ in 0..reader.count()? {
                list.push_stored(reader.str()?, reader.str()?);
            }
        }
        Ok(list)
    };
    let properties = list(PROPERTIES, SAME_PROPERTIES, |content| &content.properties)?;
    let system = list(SYSTEM, SAME_SYSTEM, |content| &content.system)?;
    let body: Range<usize> = reader.range()?;
    let message = Message {
        content: Arc::new(Content {
            body: payload.slice(body),
            properties,
            system,
        }),
        origin,
        id,
        enqueued,
        hops,
    };
    before.go_on(&message);
    Ok(message)
}

fn take_source(reader: &mut Reader<'_>) -> Result<Source, Malformed> {
    let kind = reader.u8()?;
    let device: DeviceId = reader.device()?;
    let mut module = || {
        let name = reader.str()?;
        ModuleId::new(name).or_else(|_| reader.malformed("a name that is no module id"))
    };
    Ok(match kind {
        0 => Source::Device(device),
        1 => Source::Module {
            device,
            module: module()?,
            output: None,
        },
        2 => Source::Module {
            device,
            module: module()?,
            output: Some(reader.str()?.into()),
        },
        3 => Source::TwinChange(Identity::Device(device)),
        4 => Source::TwinChange(Identity::Module(device, module()?)),
        _ => return reader.malformed("a kind of sender that is not known"),
    })
}
