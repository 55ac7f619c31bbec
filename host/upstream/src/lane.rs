//! What one identity sends: its token, its link, its batches.
//!
//! ```text
//!   deliveries ─► token ─► link ─► batch of what is there ─► accepted ─────────► settled
//!                   ▲ renewed in time                        rejected, one ────► dead letter
//!                                                            rejected, several ─► one by one
//!                                                            released ─────────► again, before all after it
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use edge_amqp::Address;
use edge_amqp::batch::{self, BatchBuilder};
use edge_amqp::client::{LinkFault, Links, Turn, said};
use edge_amqp::message::{self, Purpose};
use edge_core::Identity;
use edge_store::Delivery;
use fe2o3_amqp::Sendable;
use fe2o3_amqp::link::{SendError, Sender};
use fe2o3_amqp_types::messaging::Outcome;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use crate::Signer;

/// Bytes of a transfer, at most: what IoT Hub takes.
const TRANSFER: usize = 256 << 10;
/// Transfers without an outcome.
const FLIGHTS: usize = 8;
/// Messages that go into one transfer, at most.
const BATCH: usize = 1_000;
/// A parent that gave something back is asked again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// What became of deliveries.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The parent has them.
    Accepted(Vec<Delivery>),
    /// It never takes this one.
    Rejected(Delivery, String),
    /// The identity is not let in; what it had comes again.
    Refused(Identity, String),
    /// Its link was ended, as the parent does when it disables an identity or replaces its keys; what it had comes
    /// again. When the whole connection is over, whoever owns it hears of that as well.
    Ended(Identity, String),
    /// The parent has answered a question that was only asked to hear of it.
    Answered,
    /// The connection is over.
    Lost(String),
}

/// A transfer, and what the parent says of it.
type Settled = (Vec<Delivery>, Result<Outcome, SendError>);
type Flight = Pin<Box<dyn Future<Output = Settled> + Send>>;

pub(crate) struct Lane {
    pub(crate) identity: Identity,
    pub(crate) links: Links,
    pub(crate) signer: Signer,
    pub(crate) deliveries: mpsc::UnboundedReceiver<Delivery>,
    pub(crate) verdicts: mpsc::UnboundedSender<Verdict>,
}

impl Lane {
    /// Runs until the connection ends, the identity is refused, or its link is ended.
    pub(crate) async fn run(mut self) {
        let verdict = match self.serve().await {
            Ok(()) => return,
            Err(End::Fault(LinkFault::Refused(why))) => {
                Verdict::Refused(self.identity.clone(), why)
            }
            Err(End::Fault(LinkFault::Lost(why))) => Verdict::Lost(why),
            Err(End::Detached(why)) => Verdict::Ended(self.identity.clone(), why),
        };
        // Nobody listens when the connection is over.
        let _ = self.verdicts.send(verdict);
    }

    async fn serve(&mut self) -> Result<(), End> {
        let (_, mut renew) = self.signer.prove(&self.links, &self.identity).await?;
        let address = Address::Events(self.identity.clone());
        let sender = self.links.sender(&address, None, Turn::First).await?;
        let limit = match sender.max_message_size() {
            Some(size) => usize::try_from(size).unwrap_or(TRANSFER).min(TRANSFER),
            None => TRANSFER,
        };
        let mut sending = Sending {
            sender,
            limit,
            flights: FuturesOrdered::new(),
            again: Vec::new(),
            alone: 0,
        };
        let mut waiting = Vec::new();
        loop {
            let has_room = sending.flights.len() < FLIGHTS && sending.again.is_empty();
            tokio::select! {
                biased;
                Some(settled) = sending.flights.next() => {
                    self.settle(&mut sending, settled)?;
                    // Once nothing is under way any more, what came back goes first.
                    if sending.flights.is_empty() && !sending.again.is_empty() {
                        sleep(if sending.alone > 0 { Duration::ZERO } else { AGAIN }).await;
                        let again = std::mem::take(&mut sending.again);
                        self.send(&mut sending, again).await?;
                    }
                }
                error = sending.sender.on_detach() => return Err(End::Detached(said::said(&error))),
                () = sleep_until(renew) => {
                    (_, renew) = self.signer.prove(&self.links, &self.identity).await?;
                }
                count = self.deliveries.recv_many(&mut waiting, BATCH), if has_room => {
                    if count == 0 {
                        return Ok(());
                    }
                    let batch = std::mem::take(&mut waiting);
                    self.send(&mut sending, batch).await?;
                }
            }
        }
    }

    /// Sends deliveries in as few transfers as there can be, or each in its own.
    async fn send(&self, sending: &mut Sending, deliveries: Vec<Delivery>) -> Result<(), End> {
        let mut builder = BatchBuilder::default();
        let mut batch: Vec<Delivery> = Vec::new();
        for delivery in deliveries {
            let alone = sending.alone > 0;
            sending.alone = sending.alone.saturating_sub(1);
            let content = &delivery.message.content;
            let origin = &delivery.message.origin;
            let purpose = Purpose::Parent { origin };
            let mut added = !alone
                && builder
                    .push(content, purpose, sending.limit)
                    .unwrap_or(true);
            if !added {
                sending.flush(&mut builder, &mut batch).await?;
                added = builder.push(content, purpose, sending.limit).is_ok();
            }
            if !added {
                let why = "it cannot be encoded".to_owned();
                let _ = self.verdicts.send(Verdict::Rejected(delivery, why));
                continue;
            }
            batch.push(delivery);
        }
        sending.flush(&mut builder, &mut batch).await
    }

    fn settle(&self, sending: &mut Sending, (mut deliveries, outcome): Settled) -> Result<(), End> {
        let verdict = match outcome {
            Ok(Outcome::Accepted(_)) => Verdict::Accepted(deliveries),
            Ok(Outcome::Rejected(_))
            | Err(SendError::MessageSizeExceeded(_) | SendError::MessageEncodeError) => {
                if deliveries.len() > 1 {
                    // One of them is meant; which one, is said of each alone.
                    sending.alone += deliveries.len();
                    sending.again.extend(deliveries);
                    return Ok(());
                }
                let Some(delivery) = deliveries.pop() else {
                    return Ok(());
                };
                Verdict::Rejected(delivery, why(outcome))
            }
            Ok(_) | Err(SendError::NonTerminalDeliveryState | SendError::IllegalDeliveryState) => {
                sending.again.extend(deliveries);
                return Ok(());
            }
            Err(error) => return Err(End::Detached(said::said(&error))),
        };
        // Nobody listens when the connection is over.
        let _ = self.verdicts.send(verdict);
        Ok(())
    }
}

/// Why a message is not taken.
fn why(outcome: Result<Outcome, SendError>) -> String {
    let error = match outcome {
        Ok(Outcome::Rejected(rejected)) => rejected.error,
        Ok(_) => None,
        Err(error) => return format!("the parent does not take it: {}", said::said(&error)),
    };
    let why = error.map_or("no reason given".to_owned(), |error| said::error(&error));
    format!("the parent rejected it: {why}")
}

/// Why a lane is over.
enum End {
    Fault(LinkFault),
    /// The parent ended its link.
    Detached(String),
}

impl From<LinkFault> for End {
    fn from(fault: LinkFault) -> Self {
        Self::Fault(fault)
    }
}

struct Sending {
    sender: Sender,
    limit: usize,
    /// In the order in which they were sent, so that what comes back keeps it.
    flights: FuturesOrdered<Flight>,
    again: Vec<Delivery>,
    /// So many go alone.
    alone: usize,
}

impl Sending {
    async fn flush(
        &mut self,
        builder: &mut BatchBuilder,
        batch: &mut Vec<Delivery>,
    ) -> Result<(), End> {
        let deliveries = std::mem::take(batch);
        let outcome = match deliveries.as_slice() {
            [] => return Ok(()),
            [only] => {
                // Without the frame of a batch: smaller, and every parent takes it.
                builder.take();
                let origin = &only.message.origin;
                let message = message::write(&only.message.content, Purpose::Parent { origin });
                self.sender.send_batchable(message).await
            }
            _ => {
                let sendable = Sendable::builder()
                    .message(builder.take())
                    .message_format(batch::FORMAT)
                    .build();
                self.sender.send_batchable(sendable).await
            }
        };
        let flight: Flight = match outcome {
            Ok(outcome) => Box::pin(async move { (deliveries, outcome.await) }),
            // It was not sent, and nothing else is wrong with the link.
            Err(error @ (SendError::MessageSizeExceeded(_) | SendError::MessageEncodeError)) => {
                Box::pin(std::future::ready((deliveries, Err(error))))
            }
            Err(error) => return Err(End::Detached(said::said(&error))),
        };
        self.flights.push_back(flight);
        Ok(())
    }
}
