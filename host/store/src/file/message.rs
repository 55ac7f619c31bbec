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

/// The message before, as far as the next one is written against it.
#[derive(Debug, Default)]
pub(crate) struct Before {
    origin: Option<Arc<Origin>>,
    id: MessageId,
    enqueued: u64,
}

impl Before {
    fn after(message: &Message) -> Self {
        Self {
            origin: Some(message.origin.clone()),
            id: message.id,
            enqueued: message.enqueued.0,
        }
    }
}

pub(crate) fn put(out: &mut Vec<u8>, message: &Message, before: &mut Before) {
    let content = &message.content;
    let same_origin = before.origin.as_ref() == Some(&message.origin);
    let same_start = before.id.start == message.id.start;
    let flag = |on, bit| if on { bit } else { 0 };
    out.push(
        flag(same_origin, SAME_ORIGIN)
            | flag(same_start, SAME_START)
            | flag(!content.properties.is_empty(), PROPERTIES)
            | flag(!content.system.is_empty(), SYSTEM),
    );
    if !same_origin {
        put_source(out, message.origin.source());
    }
    if !same_start {
        put_u64(out, message.id.start);
    }
    put_delta(out, message.id.count, before.id.count);
    put_delta(out, message.enqueued.0, before.enqueued);
    out.push(message.hops);
    for properties in [&content.properties, &content.system] {
        if !properties.is_empty() {
            put_len(out, properties.len());
            for (name, value) in properties.iter() {
                put_str(out, name);
                put_str(out, value);
            }
        }
    }
    put_bytes(out, &content.body);
    if same_origin {
        before.id = message.id;
        before.enqueued = message.enqueued.0;
    } else {
        *before = Before::after(message);
    }
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
    let mut lists = [Properties::new(), Properties::new()];
    for (list, flag) in lists.iter_mut().zip([PROPERTIES, SYSTEM]) {
        if flags & flag != 0 {
            for _ in 0..reader.count()? {
                list.push_stored(reader.str()?, reader.str()?);
            }
        }
    }
    let [properties, system] = lists;
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
    *before = Before::after(&message);
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
