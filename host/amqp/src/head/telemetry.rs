//! Telemetry and outputs of an identity: accepted when they are on the device.
//!
//! ```text
//!   what is there ─► staged ─► one commit ─► on the device ─► accepted, all of it in one disposition
//!                       │ refused: rejected, and nothing else with it
//!                       └ full: held, and nothing more is received; credit runs out
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use edge_hub::{SendRefusal, Sender};
use edge_store::{Commit, CommitError, Lsn};
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::link::{Receiver, RecvError};
use fe2o3_amqp_types::messaging::{Body, Rejected};
use fe2o3_amqp_types::primitives::Value;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::client::{Common, Ending, refuse, told};
use super::condition::Refusal;
use crate::batch;
use crate::message::{self, Received};

/// When a full store is asked again.
const FULL_AGAIN: Duration = Duration::from_millis(50);
/// Deliveries, and their bytes, that go into one commit.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of messages that a link may have without an outcome, by the largest one seen.
const FLIGHT_BYTES: u64 = 8 << 20;
/// Deliveries in flight whatever their size.
const LEAST_CREDIT: u32 = 8;

type Delivery = fe2o3_amqp::link::delivery::Delivery<Body<Value>>;

/// Why a delivery is not taken.
enum NotTaken {
    /// Later it will be.
    Full,
    /// Never.
    Refused(Refusal),
}

struct Telemetry {
    common: Arc<Common>,
    sender: Sender,
    receiver: Receiver,
    commit: Commit,
    /// Staged in this commit.
    staged: Vec<DeliveryInfo>,
    staged_bytes: usize,
    /// Committed, and not known to be on the device.
    waiting: VecDeque<(Lsn, Vec<DeliveryInfo>)>,
    /// The first one for which there was no room, taken apart.
    held: Option<(DeliveryInfo, Vec<Received>)>,
    largest: u64,
}

/// Serves a link until it ends.
pub(super) async fn serve(common: Arc<Common>, receiver: Receiver, mut ending: Ending) {
    let mut telemetry = Telemetry {
        sender: common.config.hub.sender(common.identity.clone()),
        common,
        receiver,
        commit: Commit::new(),
        staged: Vec::new(),
        staged_bytes: 0,
        waiting: VecDeque::new(),
        held: None,
        largest: 0,
    };
    let refusal = tokio::select! {
        ended = telemetry.run() => match ended {
            // The peer detached it, or the session is over.
            Ok(()) => return,
            Err(refusal) => refusal,
        },
        refusal = told(&mut ending) => refusal,
    };
    let Telemetry { receiver, .. } = telemetry;
    refuse(LinkEndpoint::Receiver(receiver), refusal).await;
}

impl Telemetry {
    /// Ends when the peer ends the link, or with what it is told.
    async fn run(&mut self) -> Result<(), Refusal> {
        let window = self.common.window;
        self.receiver.set_credit_mode(CreditMode::Auto(window));
        if self.receiver.set_credit(window).await.is_err() {
            return Ok(());
        }
        loop {
            // On the device, and committed but not yet there: the one must not wait for the other.
            let hub = self.common.config.hub.clone();
            let front = self.waiting.front().map(|(lsn, _)| *lsn);
            let durable = async {
                match front {
                    Some(lsn) => hub.durable(lsn).await,
                    None => std::future::pending().await,
                }
            };
            let is_stuck = self.held.is_some() || !self.staged.is_empty();
            let received = tokio::select! {
                biased;
                stored = durable => {
                    stored.map_err(Refusal::internal)?;
                    if !self.accept().await {
                        return Ok(());
                    }
                    continue;
                }
                () = sleep(FULL_AGAIN), if is_stuck => {
                    if !self.retry().await? {
                        return Ok(());
                    }
                    continue;
                }
                received = self.receiver.recv::<Body<Value>>(), if !is_stuck => received,
            };
            let mut received = Some(received);
            while let Some(next) = received.take() {
                match next {
                    Ok(delivery) => {
                        if !self.take(delivery).await {
                            return Ok(());
                        }
                    }
                    Err(RecvError::MessageDecode(fault)) => {
                        let why = format!("it cannot be decoded: {:?}", fault.source);
                        if !self.reject(fault.info, Refusal::bad_argument(why)).await {
                            return Ok(());
                        }
                    }
                    Err(error) => {
                        tracing::debug!(client = %self.common.identity, %error, "telemetry link ended");
                        // What was taken before it is not lost for it.
                        return self.commit();
                    }
                }
                let room = self.staged.len() < BATCH && self.staged_bytes < BATCH_BYTES;
                if room && self.held.is_none() {
                    received = self.receiver.recv::<Body<Value>>().now_or_never();
                }
            }
            self.commit()?;
        }
    }

    /// Stages a delivery; false if the link is over.
    async fn take(&mut self, delivery: Delivery) -> bool {
        let format = *delivery.message_format();
        let (info, message) = delivery.into_parts();
        let read = match format.unwrap_or_default() {
            batch::FORMAT => batch::unpack(message.body).map_err(Refusal::bad_argument),
            0 => message::read(message)
                .map(|one| vec![one])
                .map_err(Refusal::bad_argument),
            other => Err(Refusal::bad_argument(format!(
                "message format {other:#x}; expected 0 or {:#x}",
                batch::FORMAT
            ))),
        };
        match read {
            Ok(messages) => self.stage(info, messages).await,
            Err(refusal) => self.reject(info, refusal).await,
        }
    }

    /// Stages all messages of a delivery, or none; false if the link is over.
    async fn stage(&mut self, info: DeliveryInfo, messages: Vec<Received>) -> bool {
        match self.try_stage(&messages) {
            Ok(bytes) => {
                self.staged_bytes += bytes;
                self.largest = self.largest.max(bytes as u64);
                self.staged.push(info);
                true
            }
            Err(NotTaken::Full) => {
                self.held = Some((info, messages));
                true
            }
            Err(NotTaken::Refused(refusal)) => self.reject(info, refusal).await,
        }
    }

    fn try_stage(&mut self, messages: &[Received]) -> Result<usize, NotTaken> {
        if self.common.config.hub.pressure().is_high() {
            return Err(NotTaken::Full);
        }
        let savepoint = self.commit.savepoint();
        let now = self.common.config.hub.now();
        let mut bytes = 0;
        for message in messages {
            let content = message.content.clone();
            bytes += content.size();
            let output = message.output.as_deref();
            let staged = self.sender.stage(&mut self.commit, output, content, 0, now);
            if let Err(refusal) = staged {
                self.commit.rollback(savepoint);
                return Err(match refusal {
                    SendRefusal::Full => NotTaken::Full,
                    error @ SendRefusal::TooLarge { .. } => {
                        NotTaken::Refused(Refusal::too_large(error))
                    }
                    error @ SendRefusal::InvalidOutput(_) => {
                        NotTaken::Refused(Refusal::bad_argument(error))
                    }
                });
            }
        }
        Ok(bytes)
    }

    /// Tries again what found no room: the commit first, then what came after it. False if the link is over.
    async fn retry(&mut self) -> Result<bool, Refusal> {
        self.commit()?;
        if self.staged.is_empty()
            && let Some((info, messages)) = self.held.take()
        {
            let goes_on = self.stage(info, messages).await;
            self.commit()?;
            return Ok(goes_on);
        }
        Ok(true)
    }

    /// Commits what was staged. Without room it stays, and is tried again.
    fn commit(&mut self) -> Result<(), Refusal> {
        if self.staged.is_empty() {
            return Ok(());
        }
        let hub = &self.common.config.hub;
        match hub.commit(&mut self.commit) {
            Ok(lsn) => {
                let lsn = lsn.unwrap_or(Lsn(0));
                hub.hurry(lsn);
                let staged = std::mem::take(&mut self.staged);
                self.waiting.push_back((lsn, staged));
                self.staged_bytes = 0;
                Ok(())
            }
            Err(CommitError::Full { .. }) => Ok(()),
            Err(error) => Err(Refusal::internal(error)),
        }
    }

    /// Accepts what is on the device; false if the link is over.
    async fn accept(&mut self) -> bool {
        let durable = self.common.config.hub.durable_lsn();
        let mut done = Vec::new();
        while let Some((lsn, _)) = self.waiting.front()
            && *lsn <= durable
        {
            if let Some((_, deliveries)) = self.waiting.pop_front() {
                done.extend(deliveries);
            }
        }
        let credit = FLIGHT_BYTES / self.largest.max(1);
        let credit = u32::try_from(credit).unwrap_or(u32::MAX);
        let credit = credit.clamp(LEAST_CREDIT, self.common.window.max(LEAST_CREDIT));
        self.receiver.set_credit_mode(CreditMode::Auto(credit));
        self.receiver.accept_all(done).await.is_ok()
    }

    /// Says that a delivery cannot be taken; false if the link is over.
    async fn reject(&mut self, info: DeliveryInfo, refusal: Refusal) -> bool {
        tracing::warn!(client = %self.common.identity, why = %refusal, "message rejected");
        let error = Some(refusal.into());
        let rejected = Rejected { error };
        self.receiver.dispose(info, rejected).await.is_ok()
    }
}
