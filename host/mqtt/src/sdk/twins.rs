//! Twins (client contract, 6.3 to 6.5): every request is answered, errors with a body.

use edge_hub::{Side, TwinError};
use edge_store::Lsn;
use serde_json::{Map, Value, json};

use super::{Sdk, json, loose};
use crate::azure;
use crate::link::{Close, Link, Reply};
use crate::packet::QoS;

/// Status and error code of a refusal; Node's SDK reads the code and nothing else.
fn code(error: &TwinError) -> (u16, u32) {
    match error {
        TwinError::Invalid(_) => (400, 400_004),
        TwinError::TooLarge { .. } => (413, 413_001),
        TwinError::NotStored(_) => (503, 503_001),
    }
}

impl Sdk {
    fn twin_error(&self, link: &mut Link, rid: &str, error: &TwinError) {
        let (status, code) = code(error);
        tracing::warn!(client = %self.identity, %error, "twin request refused");
        let body = json(&json!({ "errorCode": code, "message": error.to_string() }));
        self.twin_answer(
            link,
            Lsn(0),
            azure::twin_answer_topic(status, rid, None),
            body,
        );
    }

    fn twin_answer(&self, link: &mut Link, lsn: Lsn, topic: String, body: bytes::Bytes) {
        // Nobody to answer: Python asks after each reconnect even if it never listens.
        if let Some(qos) = self.subscriptions.twin {
            link.reply_after(lsn, Reply::Loose(loose(topic, body), qos));
        }
    }

    pub(super) fn twin_get(&mut self, link: &mut Link, rid: &str) -> Result<(), Close> {
        link.commit_batch()?;
        let section = |side| self.hub.twin(&self.identity, side, None);
        match (section(Side::Desired), section(Side::Reported)) {
            (Ok(desired), Ok(reported)) => {
                if self.subscriptions.desired.is_some() {
                    link.session.stored.desired = desired.version;
                }
                let body = json(&json!({
                    "desired": Value::Object(desired.with_version()),
                    "reported": Value::Object(reported.with_version()),
                }));
                // What it says may have been changed a moment ago.
                let lsn = self.hub.newest_lsn();
                self.twin_answer(link, lsn, azure::twin_answer_topic(200, rid, None), body);
            }
            (Err(error), _) | (_, Err(error)) => self.twin_error(link, rid, &error),
        }
        Ok(())
    }

    pub(super) fn report(&mut self, link: &mut Link, rid: &str, body: &[u8]) -> Result<(), Close> {
        link.commit_batch()?;
        let changed = match std::str::from_utf8(body) {
            Ok(patch) => self.hub.change_reported(&self.identity, patch),
            Err(_) => Err(TwinError::Invalid("the patch is not UTF-8".to_owned())),
        };
        match changed {
            Ok((version, lsn)) => {
                let topic = azure::twin_answer_topic(204, rid, Some(version));
                let lsn = lsn.unwrap_or(Lsn(0));
                self.twin_answer(link, lsn, topic, bytes::Bytes::new());
                if self.subscriptions.twin.is_none() {
                    // The acknowledgement alone promises that it is kept.
                    link.reply_after(lsn, Reply::Packet(bytes::Bytes::new()));
                }
            }
            Err(error) => self.twin_error(link, rid, &error),
        }
        Ok(())
    }

    /// Tells of a change of desired properties.
    pub(super) fn desired(
        &mut self,
        link: &mut Link,
        patch: String,
        version: u64,
        lsn: Option<Lsn>,
    ) {
        let Some(qos) = self.subscriptions.desired else {
            return;
        };
        if version <= link.session.stored.desired {
            // It is in what was sent as a whole.
            return;
        }
        match serde_json::from_str::<Map<String, Value>>(&patch) {
            Ok(patch) => self.send_desired(link, patch, version, lsn.unwrap_or(Lsn(0)), qos),
            Err(error) => {
                tracing::error!(client = %self.identity, %error, "change of desired properties not sent");
            }
        }
    }

    /// Sends all desired properties as one change, if the client does not know them yet.
    pub(super) fn resend_desired(&mut self, link: &mut Link) -> Result<(), Close> {
        let Some(qos) = self.subscriptions.desired else {
            return Ok(());
        };
        match self.hub.twin(&self.identity, Side::Desired, None) {
            Ok(section) if section.version > link.session.stored.desired => {
                let (version, lsn) = (section.version, self.hub.newest_lsn());
                self.send_desired(link, section.properties, version, lsn, qos);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(client = %self.identity, %error, "desired properties not sent");
            }
        }
        Ok(())
    }

    fn send_desired(
        &self,
        link: &mut Link,
        mut patch: Map<String, Value>,
        version: u64,
        lsn: Lsn,
        qos: QoS,
    ) {
        link.session.stored.desired = version;
        // In the body: clients look nowhere else (client contract, section 1, row 11).
        patch.insert("$version".to_owned(), version.into());
        let topic = azure::desired_patch_topic(version);
        let packet = loose(topic, json(&Value::Object(patch)));
        link.reply_after(lsn, Reply::Loose(packet, qos));
    }
}
