//! Many messages in one transfer: the batch format of IoT Hub, message format [`FORMAT`].
//!
//! ```text
//!   transfer (message-format 0x80013700) = data section *(data section)
//!   data section                         = one encoded message, with all of its own sections
//! ```
//!
//! A batch is settled as a whole, so whoever takes one accepts it when all of it is stored.

use edge_core::Content;
use fe2o3_amqp_types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp_types::messaging::{Batch, Body, Data, Message};
use fe2o3_amqp_types::primitives::{Binary, Value};

use crate::message::{self, MessageFault, Purpose, Received};

/// The message format of a transfer that holds a batch.
pub const FORMAT: u32 = 0x8001_3700;

/// Most messages that are taken out of one batch.
pub const MAX_MESSAGES: usize = 10_000;

/// Bytes of a section around its message, at most: descriptor, constructor, length.
const SECTION: usize = 8;

/// Why a batch cannot be taken; `at` counts its messages from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// The body is no data sections.
    #[error("a batch is data sections, one for each message; the body is something else")]
    NoSections,
    /// Over [`MAX_MESSAGES`].
    #[error("the batch has {0} messages, at most 10000 are taken")]
    TooMany(usize),
    /// A section holds no message.
    #[error("message {at} of the batch cannot be decoded: {why}")]
    Encoding {
        /// Which.
        at: usize,
        /// The decoder's words.
        why: String,
    },
    /// A message cannot be taken.
    #[error("message {at} of the batch: {why}")]
    Message {
        /// Which.
        at: usize,
        /// Why.
        why: MessageFault,
    },
}

/// Takes a batch apart, in order.
///
/// # Errors
/// See [`BatchFault`]. None of its messages is to be taken then.
pub fn unpack(body: Body<Value>) -> Result<Vec<Received>, BatchFault> {
    let Body::Data(sections) = body else {
        return Err(BatchFault::NoSections);
    };
    let sections = sections.into_inner();
    if sections.len() > MAX_MESSAGES {
        return Err(BatchFault::TooMany(sections.len()));
    }
    let one = |(at, Data(encoded)): (usize, Data)| {
        let Deserializable::<Message<Body<Value>>>(message) = serde_amqp::from_slice(&encoded)
            .map_err(|error| BatchFault::Encoding {
                at,
                why: error.to_string(),
            })?;
        message::read(message).map_err(|why| BatchFault::Message { at, why })
    };
    sections.into_iter().enumerate().map(one).collect()
}

/// A message could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be encoded: {0}")]
pub struct EncodeError(String);

/// Puts a batch together.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    sections: Vec<Data>,
    size: usize,
}

impl BatchBuilder {
    /// Adds a message, unless the batch would be larger than `limit` bytes on the wire then; the first always
    /// goes in. Says whether it did.
    ///
    /// # Errors
    /// It cannot be encoded; the batch is as before.
    pub fn push(
        &mut self,
        content: &Content,
        purpose: Purpose<'_>,
        limit: usize,
    ) -> Result<bool, EncodeError> {
        let message = message::write(content, purpose);
        let encoded = serde_amqp::to_vec(&Serializable(message))
            .map_err(|error| EncodeError(error.to_string()))?;
        let size = self.size + encoded.len() + SECTION;
        if !self.sections.is_empty() && (size > limit || self.sections.len() == MAX_MESSAGES) {
            return Ok(false);
        }
        self.size = size;
        self.sections.push(Data(Binary::from(encoded)));
        Ok(true)
    }

    /// Messages in it.
    pub fn len(&self) -> usize {
        self.sections.len()
    }

    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The message to be sent with [`FORMAT`]; the builder is empty after it.
    pub fn take(&mut self) -> Message<Batch<Data>> {
        self.size = 0;
        Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: None,
            application_properties: None,
            body: Batch::from(std::mem::take(&mut self.sections)),
            footer: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_core::MessageBuilder;
    use proptest::prelude::*;

    use super::*;

    fn packed(builder: &mut BatchBuilder) -> (usize, Body<Value>) {
        let message = builder.take();
        let size = serde_amqp::serialized_size(&Serializable(&message)).expect("it is encoded");
        let wire = serde_amqp::to_vec(&Serializable(message)).expect("it is encoded");
        let read: Deserializable<Message<Body<Value>>> =
            serde_amqp::from_slice(&wire).expect("it is decoded");
        (size, read.0.body)
    }

    #[test]
    fn a_batch_comes_apart_as_it_was_put_together() {
        let mut builder = BatchBuilder::default();
        for n in 0..100 {
            let message = MessageBuilder::new(format!("body {n}")).property("n", &n.to_string());
            let added = builder.push(&message.build(), Purpose::DeviceBound, 1 << 20);
            assert_eq!(added, Ok(true));
        }
        let (_, body) = packed(&mut builder);
        let all = unpack(body).expect("it comes apart");
        assert_eq!(all.len(), 100);
        for (n, received) in all.iter().enumerate() {
            assert_eq!(received.content.body, format!("body {n}"));
            assert_eq!(received.content.properties.get("n"), Some(&*n.to_string()));
        }
        assert!(builder.is_empty());
    }

    #[test]
    fn a_batch_ends_before_its_limit_but_is_never_empty() {
        let mut builder = BatchBuilder::default();
        let message = MessageBuilder::new(vec![7; 1_000]).build();
        let push = |builder: &mut BatchBuilder, limit| {
            builder
                .push(&message, Purpose::DeviceBound, limit)
                .expect("it is encoded")
        };
        assert!(push(&mut builder, 10));
        assert!(!push(&mut builder, 10));
        while push(&mut builder, 10_000) {}
        assert!(builder.len() > 8);
        let (size, _) = packed(&mut builder);
        assert!(size <= 10_000, "{size}");
    }

    #[test]
    fn what_is_no_batch_is_refused_with_its_place() {
        let mut builder = BatchBuilder::default();
        let message = MessageBuilder::new("x").build();
        for _ in 0..2 {
            builder
                .push(&message, Purpose::DeviceBound, 1_000)
                .expect("it is encoded");
        }
        builder.sections.push(Data(Binary::from(vec![0, 0x53])));
        let (_, body) = packed(&mut builder);
        let error = unpack(body).expect_err("the last is cut off");
        assert!(
            matches!(error, BatchFault::Encoding { at: 2, .. }),
            "{error}"
        );
        assert_eq!(unpack(Body::Empty), Err(BatchFault::NoSections));
        let many = vec![Data(Binary::from(Vec::new())); MAX_MESSAGES + 1];
        let error = unpack(Body::Data(many.into()));
        assert_eq!(error, Err(BatchFault::TooMany(MAX_MESSAGES + 1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_messages_are_an_error_and_never_a_panic(
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
            cut in any::<prop::sample::Index>(),
            cuts in any::<bool>(),
        ) {
            let content = MessageBuilder::new("body")
                .json()
                .system("messageId", "m")
                .system("dt-subject", "s")
                .property("name", "value")
                .build();
            let message = message::write(&content, Purpose::DeviceBound);
            let mut encoded = serde_amqp::to_vec(&Serializable(message)).expect("it is encoded");
            let at = at.index(encoded.len());
            encoded[at] ^= with;
            if cuts {
                encoded.truncate(cut.index(encoded.len()));
            }
            // Whichever it is, it says so.
            let _ = unpack(Body::Data(vec![Data(Binary::from(encoded))].into()));
        }
    }
}
