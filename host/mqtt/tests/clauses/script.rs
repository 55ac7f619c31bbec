//! Scripts: what clients send, and what must come.
//!
//! ```text
//!   a joins            connects with a clean start, and is accepted
//!   a joins kept       connects to have its session kept, and is accepted; there was none
//!   a rejoins          likewise, and there was one
//!   a > F // F         sends frames in one go, on a new connection if there is none
//!   a < F              the next frame is this one
//!   a <* F // F        the next frames are these, in any order
//!   a quiet            nothing comes but answers to its PINGREQs
//!   a closed           it is closed without a word
//!   a refused 82       it is closed; version 5 is told with this reason (81|82: with one of these)
//!   a rejected 85 02   its CONNECT is refused with this reason, 3.1.1 with this code (-: without CONNACK)
//!   a rejected         likewise, in whatever words
//!   a gone             it is closed, after whatever else
//!   a drops            its connection is lost
//!   a leaves           sends DISCONNECT, and is closed
//!   clock 10           ten seconds pass on the clock of the hub
//!   stop, start        the heads are stopped; there are new ones on the same store
//! ```
//!
//! A client's id is the letter that its name begins with: `a2` is another connection of `a`. Packet ids belong
//! to that letter, too. Texts in braces are what the head wants that a script runs on, see `World::words`.

use std::collections::HashMap;
use std::time::Duration;

use edge_mqtt::packet::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use crate::notation::{Frame, Ids, show, split};
use crate::world::{Site, World};

/// Something that does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a case is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Open,
    Sdk,
    Both,
}

/// Clauses, and what shows that they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Numbers of 3.1.1 without `MQTT-`, or sections; none: it says nothing about 3.1.1 and is not run with it.
    pub v3: &'static str,
    /// Likewise of 5.
    pub v5: &'static str,
    pub on: On,
    pub claim: &'static str,
    pub script: &'static str,
}

/// A case, in short.
pub const fn case(
    v3: &'static str,
    v5: &'static str,
    on: On,
    claim: &'static str,
    script: &'static str,
) -> Case {
    Case {
        v3,
        v5,
        on,
        claim,
        script,
    }
}

/// What comes on a connection.
enum Heard {
    Frame(Vec<u8>),
    Closed,
    Nothing,
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(bytes) => write!(f, "{}", show(bytes)),
            Self::Closed => f.write_str("it was closed"),
            Self::Nothing => f.write_str("nothing came"),
        }
    }
}

struct Client {
    stream: DuplexStream,
    input: Vec<u8>,
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        // Whoever closes need not read to the end.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    async fn hear(&mut self) -> Heard {
        loop {
            if let Some(frame) = split(&mut self.input) {
                return Heard::Frame(frame);
            }
            match timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await {
                Err(_) => return Heard::Nothing,
                Ok(Ok(0) | Err(_)) => return Heard::Closed,
                Ok(Ok(_)) => {}
            }
        }
    }
}

/// Runs scripts.
pub struct Stage {
    pub world: World,
    version: Version,
    words: Vec<(&'static str, String)>,
    clients: HashMap<String, Client>,
    ids: HashMap<char, Ids>,
}

impl Stage {
    pub fn new(site: Site, version: Version) -> Self {
        let world = World::new(site);
        Self {
            words: world.words(),
            world,
            version,
            clients: HashMap::new(),
            ids: HashMap::new(),
        }
    }

    /// Runs a script; what went wrong, and where.
    pub async fn run(&mut self, script: &str) -> Result<(), String> {
        for (number, line) in script.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            self.line(line)
                .await
                .map_err(|why| format!("line {number}, `{line}`: {why}"))?;
        }
        Ok(())
    }

    async fn line(&mut self, line: &str) -> Result<(), String> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let rest = rest.trim();
        match (name, verb) {
            ("clock", seconds) => {
                let seconds = seconds.parse().expect("seconds");
                self.world.pass(Duration::from_secs(seconds));
            }
            ("stop", "") => self.world.stop(),
            ("start", "") => self.world.start(),
            (_, "joins") => return self.join(name, rest == "kept", false).await,
            (_, "rejoins") => return self.join(name, true, true).await,
            (_, ">") => self.send(name, rest).await,
            (_, "<") => return self.expect(name, &[rest]).await,
            (_, "<*") => {
                return self
                    .expect(name, &rest.split(" // ").collect::<Vec<_>>())
                    .await;
            }
            (_, "quiet") => {
                // A message that is ready when the first comes is out before the second is answered.
                for _ in 0..3 {
                    self.send(name, "c000").await;
                    self.expect(name, &["d000"]).await?;
                }
            }
            (_, "closed") => return self.closed(name).await,
            (_, "gone") => loop {
                match self.client(name).hear().await {
                    Heard::Frame(_) => {}
                    Heard::Closed => {
                        self.clients.remove(name);
                        break;
                    }
                    Heard::Nothing => return Err("it was not closed".to_owned()),
                }
            },
            (_, "refused") => return self.refused(name, rest).await,
            (_, "rejected") => return self.rejected(name, rest).await,
            (_, "drops") => {
                self.clients.remove(name).expect("connected");
            }
            (_, "leaves") => {
                self.send(name, "e000").await;
                return self.closed(name).await;
            }
            _ => panic!("not a line of a script: {line}"),
        }
        Ok(())
    }

    fn client(&mut self, name: &str) -> &mut Client {
        if !self.clients.contains_key(name) {
            let client = Client {
                stream: self.world.connect(),
                input: Vec::new(),
            };
            self.clients.insert(name.to_owned(), client);
        }
        self.clients.get_mut(name).expect("it was just put there")
    }

    fn ids(&mut self, name: &str) -> &mut Ids {
        let letter = name.chars().next().expect("a name");
        self.ids.entry(letter).or_default()
    }

    fn frame(&self, text: &str) -> Frame {
        let mut text = text.to_owned();
        for (word, meaning) in &self.words {
            text = text.replace(word, meaning);
        }
        Frame::parse(&text, self.version)
    }

    async fn send(&mut self, name: &str, frames: &str) {
        let mut bytes = Vec::new();
        for frame in frames.split(" // ") {
            let frame = self.frame(frame);
            bytes.extend(frame.bytes(self.ids(name)));
        }
        self.client(name).send(&bytes).await;
    }

    async fn join(&mut self, name: &str, kept: bool, present: bool) -> Result<(), String> {
        let (flags, who) = self.world.who(&name[..1]);
        let clean = if kept { 0 } else { 2 };
        let flags = flags | clean;
        let expiry = if kept { "11ffffffff" } else { "" };
        let hello =
            format!("10 {{ \"MQTT\" ^(04) %(05) {flags:02x} 0000 %({{ {expiry} }}) {who} }}");
        self.send(name, &hello).await;
        let present = u8::from(present);
        self.expect(name, &[&format!("20 {{ {present:02x} 00 %( < > ) }}")])
            .await
    }

    async fn expect(&mut self, name: &str, frames: &[&str]) -> Result<(), String> {
        let mut left: Vec<_> = frames.iter().map(|text| self.frame(text)).collect();
        while !left.is_empty() {
            let heard = self.client(name).hear().await;
            let Heard::Frame(bytes) = &heard else {
                return Err(format!("{heard}"));
            };
            let ids = self.ids(name);
            match left.iter().position(|frame| frame.is(bytes, ids)) {
                Some(place) => {
                    left.remove(place);
                }
                None => return Err(format!("{heard} came")),
            }
        }
        Ok(())
    }

    async fn closed(&mut self, name: &str) -> Result<(), String> {
        match self.client(name).hear().await {
            Heard::Closed => {
                self.clients.remove(name);
                Ok(())
            }
            heard => Err(format!("{heard}, and it is to be closed")),
        }
    }

    async fn refused(&mut self, name: &str, reasons: &str) -> Result<(), String> {
        if self.version == Version::V5 {
            let heard = self.client(name).hear().await;
            let said = match &heard {
                Heard::Frame(bytes) if bytes[0] == 0xe0 && bytes.len() > 2 => bytes[2],
                _ => return Err(format!("{heard}, and a DISCONNECT is to come")),
            };
            let frame = self.frame(&format!("e0 {{ {said:02x} .. }}"));
            let Heard::Frame(bytes) = &heard else {
                return Err(format!("{heard}"));
            };
            let fits = frame.is(bytes, &mut Ids::new());
            let allowed = reasons.split('|').any(|r| r == format!("{said:02x}"));
            if !fits || !allowed {
                return Err(format!("{heard} came"));
            }
        }
        self.closed(name).await
    }

    async fn rejected(&mut self, name: &str, codes: &str) -> Result<(), String> {
        let heard = self.client(name).hear().await;
        let bytes = match &heard {
            Heard::Frame(bytes) => bytes,
            Heard::Closed if codes.is_empty() => {
                self.clients.remove(name);
                return Ok(());
            }
            Heard::Closed if self.version == Version::V3 && codes.ends_with(" -") => {
                self.clients.remove(name);
                return Ok(());
            }
            _ => return Err(format!("{heard}")),
        };
        let (five, three) = codes.split_once(' ').unwrap_or((codes, ""));
        let wanted = match self.version {
            _ if codes.is_empty() => vec!["20 { 00 .. }".to_owned()],
            Version::V3 => vec![format!("20 {{ 00 {three} }}")],
            Version::V5 => five
                .split('|')
                .map(|code| format!("20 {{ 00 {code} < > }}"))
                .collect(),
        };
        let accepted = self.frame("20 { 00 00 .. }").is(bytes, &mut Ids::new());
        let fits = wanted
            .iter()
            .any(|wanted| self.frame(wanted).is(bytes, &mut Ids::new()));
        if accepted || !fits {
            return Err(format!("{heard} came"));
        }
        self.closed(name).await
    }
}

/// Runs cases, each in every version and on every head that it is about; all that fail are named.
pub async fn run(cases: &[Case]) {
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases {
        for (version, number, clauses) in
            [(Version::V3, "3.1.1", case.v3), (Version::V5, "5", case.v5)]
        {
            if clauses.is_empty() {
                continue;
            }
            for (site, on) in [(Site::Open, On::Open), (Site::Sdk, On::Sdk)] {
                if case.on != on && case.on != On::Both {
                    continue;
                }
                count += 1;
                let mut stage = Stage::new(site, version);
                if let Err(why) = stage.run(case.script).await {
                    let claim = case.claim;
                    failures.push(format!("[{clauses}] in {number}, {site:?}: {claim}: {why}"));
                }
            }
        }
    }
    let failed = failures.len();
    assert!(
        failures.is_empty(),
        "{failed} of {count}:\n{}",
        failures.join("\n")
    );
}
