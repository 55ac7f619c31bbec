//! Tells a gateway who is behind it: all of them when it attaches, then every change (`edge_identity::ScopeTeller`).
//! Only it can ask. A few updates are on their way at a time.

use std::sync::Arc;
use std::time::Duration;

use edge_core::Identity;
use edge_heads::Bell;
use edge_identity::{ScopeTeller, Watcher};
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::Sender;
use fe2o3_amqp_types::messaging::{Data, Message, Outcome};
use fe2o3_amqp_types::primitives::Binary;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::time::sleep;

use crate::SCOPE_WINDOW;

use super::client::{Common, Ending, refuse, told};

/// Changes that come within this of each other are told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Rings at any change: who is behind a gateway may depend on every device.
struct Changed(Arc<Bell>);

impl Watcher for Changed {
    fn changed(&self, _: &Identity) {
        self.0.ring();
    }
}

/// A watcher that is gone when this is dropped.
struct Watching<'a> {
    common: &'a Common,
    watcher: Arc<dyn Watcher>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.common.config.registry.unwatch(&self.watcher);
    }
}

/// Serves a link on which a gateway is told.
pub(super) async fn serve(
    common: Arc<Common>,
    mut sender: Sender,
    known: Option<String>,
    mut ending: Ending,
) {
    let Identity::Device(gateway) = &common.identity else {
        return;
    };
    let bell = Arc::<Bell>::default();
    let watching = Watching {
        common: &common,
        watcher: Arc::new(Changed(bell.clone())),
    };
    let registry = &common.config.registry;
    registry.watch(watching.watcher.clone());
    let mut teller = ScopeTeller::new(gateway.clone(), known);
    let serving = async {
        loop {
            // What a crash takes back is told again after it.
            let mut under_way = FuturesOrdered::new();
            let mut updates = teller.updates(registry).into_iter().fuse();
            loop {
                if under_way.len() < usize::from(SCOPE_WINDOW)
                    && let Some(update) = updates.next()
                {
                    let body = Binary::from(update.to_json().into_bytes());
                    let packet = Message::builder().body(Data(body)).build();
                    let Ok(outcome) = sender.send_batchable(packet).await else {
                        return;
                    };
                    under_way.push_back(outcome);
                    continue;
                }
                match under_way.next().await {
                    Some(Ok(Outcome::Accepted(_))) => {}
                    // It asks anew, and is told of all that it does not know.
                    Some(_) => return,
                    None => break,
                }
            }
            tokio::select! {
                () = bell.rung() => sleep(TOGETHER).await,
                _ = sender.on_detach() => return,
            }
        }
    };
    let refusal = tokio::select! {
        () = serving => None,
        refusal = told(&mut ending) => Some(refusal),
    };
    drop(watching);
    if let Some(refusal) = refusal {
        refuse(LinkEndpoint::Sender(sender), refusal).await;
    }
}
