//! A head in memory, and a client of another make: the same library's client side.

use std::sync::Arc;
use std::time::Duration;

use edge_amqp::{AmqpHead, Limits};
use edge_core::{ByteSize, DeviceId, Identity, ModuleId, Priority};
use edge_heads::HeadConfig;
use edge_hub::{Hub, HubConfig};
use edge_identity::{Peer, PeerAddress, Registry, Token};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{Commit, Delivery, MemoryLog, Visible};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection, Session};
use fe2o3_amqp_types::definitions::Fields;
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Symbol, Value};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::time::timeout;

pub const SOON: Duration = Duration::from_secs(10);

pub struct World {
    pub hub: Arc<Hub>,
    pub registry: Arc<Registry>,
    pub head: Arc<AmqpHead>,
    pub closing: watch::Sender<bool>,
}

pub fn device() -> Identity {
    Identity::Device(DeviceId::new("d").unwrap())
}

pub fn module() -> Identity {
    Identity::Module(DeviceId::new("d").unwrap(), ModuleId::new("m").unwrap())
}

impl World {
    /// Module `m` of device `d`, whose output `o` leads to its own input `i`, and all else upstream.
    pub fn new() -> Self {
        Self::with(Limits::default(), edge_core::ByteSize(64 << 20))
    }

    pub fn with(limits: Limits, room: ByteSize) -> Self {
        let log = Arc::new(MemoryLog::new(room));
        let hub = Hub::new(HubConfig::new(DeviceId::new("d").unwrap()), log.clone());
        let route = |name: &str, text: &str| RouteEntry {
            name: name.to_owned(),
            route: Route::compile(text, Mode::Compat).unwrap().unwrap(),
            priority: Priority::DEFAULT,
            time_to_live: None,
        };
        let loops =
            r#"FROM /messages/modules/m/outputs/o INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
        let up = "FROM /messages/modules/m/outputs/up INTO $upstream";
        let all = vec![route("loops", loops), route("up", up)];
        hub.set_routes(RouteTable::new(all), None);
        let registry = Registry::open(log).unwrap();
        let (closing, closed) = watch::channel(false);
        let config = HeadConfig::new(hub.clone(), registry.clone(), closed);
        let head = AmqpHead::new(config, limits);
        let now = hub.now();
        registry.ensure(&device(), now).unwrap();
        registry.ensure(&module(), now).unwrap();
        Self {
            hub,
            registry,
            head,
            closing,
        }
    }

    /// A token that holds for so long.
    pub fn token(&self, who: &Identity, holds: Duration) -> String {
        let entry = self.registry.get(who).unwrap();
        let key = &entry.auth.keys().unwrap().primary;
        let expires = self.hub.now().after(holds);
        Token::make("hub", who, key, expires).to_string()
    }

    /// A stream to the head.
    pub fn dial(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(self.head.serve(far, Peer::plain(PeerAddress::Unix)));
        near
    }

    /// A connection on which an identity has put its token.
    pub async fn connect(&self, who: &Identity) -> Client {
        let mut client = Client::open(self.dial()).await;
        let token = self.token(who, Duration::from_secs(3600));
        assert_eq!(client.put_token(&token).await.0, 200);
        client
    }

    /// What waits for upstream, in order.
    pub fn upstream(&self) -> Vec<Delivery> {
        struct Nobody;
        impl edge_hub::Wake for Nobody {
            fn wake(&self) {}
        }
        let owner = edge_hub::Owner::Upstream;
        let mut inbox = self.hub.inbox(owner, Arc::new(Nobody), Visible::Committed);
        let mut all = Vec::new();
        let mut commit = Commit::new();
        loop {
            let before = all.len();
            inbox.take(10_000, self.hub.now(), &mut all, &mut commit);
            if all.len() == before {
                return all;
            }
        }
    }
}

/// A client on one session.
pub struct Client {
    pub connection: ConnectionHandle<()>,
    pub session: SessionHandle<()>,
    cbs: Option<(Sender, Receiver)>,
    links: usize,
}

impl Client {
    pub async fn open(stream: DuplexStream) -> Self {
        let mut connection = Connection::builder()
            .container_id("client")
            .max_frame_size(32 << 10)
            .open_with_stream(stream)
            .await
            .unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        Self {
            connection,
            session,
            cbs: None,
            links: 0,
        }
    }

    /// Puts a token; status and description of the answer.
    pub async fn put_token(&mut self, token: &str) -> (i32, String) {
        if self.cbs.is_none() {
            let sender = self.sender("$cbs").await.unwrap();
            let receiver = self.receiver("$cbs").await.unwrap();
            self.cbs = Some((sender, receiver));
        }
        let (sender, receiver) = self.cbs.as_mut().unwrap();
        let mut properties = ApplicationProperties::default();
        for (name, value) in [
            ("operation", "put-token"),
            ("type", "servicebus.windows.net:sastoken"),
            ("name", "hub"),
        ] {
            let value = SimpleValue::String(value.to_owned());
            properties.0.insert(name.to_owned(), value);
        }
        let message = Message::builder()
            .properties(
                Properties::builder()
                    .message_id(MessageId::String("1".to_owned()))
                    .build(),
            )
            .application_properties(properties)
            .body(AmqpValue(Value::String(token.to_owned())))
            .build();
        sender.send(message).await.unwrap();
        let answer = timeout(SOON, receiver.recv::<Body<Value>>());
        let answer = answer.await.expect("an answer").unwrap();
        receiver.accept(&answer).await.unwrap();
        let answer = answer.into_message();
        let id = answer.properties.unwrap().correlation_id;
        assert_eq!(id, Some(MessageId::String("1".to_owned())));
        let properties = answer.application_properties.unwrap();
        let Some(SimpleValue::Int(status)) = properties.0.get("status-code") else {
            panic!("no status: {properties:?}");
        };
        let Some(SimpleValue::String(why)) = properties.0.get("status-description") else {
            panic!("no description: {properties:?}");
        };
        (*status, why.clone())
    }

    fn name(&mut self) -> String {
        self.links += 1;
        format!("link{}", self.links)
    }

    pub async fn sender(&mut self, address: &str) -> Result<Sender, String> {
        self.sender_named(address, None).await
    }

    pub async fn receiver(&mut self, address: &str) -> Result<Receiver, String> {
        self.receiver_named(address, None).await
    }

    pub async fn sender_named(
        &mut self,
        address: &str,
        correlation: Option<&str>,
    ) -> Result<Sender, String> {
        let sender = Sender::builder()
            .name(self.name())
            .target(address)
            .properties(fields(correlation))
            .attach(&mut self.session);
        let sender = timeout(SOON, sender).await.expect("an answer");
        sender.map_err(|error| format!("{error:?}"))
    }

    pub async fn receiver_named(
        &mut self,
        address: &str,
        correlation: Option<&str>,
    ) -> Result<Receiver, String> {
        let receiver = Receiver::builder()
            .name(self.name())
            .source(address)
            .properties(fields(correlation))
            .credit_mode(fe2o3_amqp::link::CreditMode::Manual)
            .attach(&mut self.session);
        let mut receiver = timeout(SOON, receiver)
            .await
            .expect("an answer")
            .map_err(|error| format!("{error:?}"))?;
        receiver
            .set_credit(100)
            .await
            .map_err(|error| format!("{error:?}"))?;
        Ok(receiver)
    }
}

fn fields(correlation: Option<&str>) -> Fields {
    let mut fields = Fields::default();
    if let Some(name) = correlation {
        let key = Symbol::from("com.microsoft:channel-correlation-id");
        fields.insert(key, Value::String(name.to_owned()));
    }
    fields
}
