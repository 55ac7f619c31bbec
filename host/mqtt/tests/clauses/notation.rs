//! How frames are written in scripts: as bytes, and not with the encoder that is to be judged.
//!
//! ```text
//!   8201         bytes in hex                   "a/b"     text behind its length in two bytes
//!   'a/b'        text as it is                  61*300    a byte so many times
//!   { … }        what is in it, behind its length as a variable byte integer
//!   [ … ]        what is in it, behind its length in two bytes
//!   %            the byte 00 in version 5, nothing in 3.1.1: no properties
//!   %( … )       in version 5 only              ^( … )    in 3.1.1 only
//!   =p           a packet id that is not 0: whatever is first heard as p, and then the same; another name is
//!                another number
//! ```
//!
//! In what is expected, also:
//!
//! ```text
//!   ?            any byte                       ..        any bytes, up to the end of the group
//!   < a, !b, c .. >    properties behind their length: one that is exactly a, none with the identifier b, one with
//!                the identifier c, any others; those with the same identifier in this order
//! ```

use std::collections::HashMap;
use std::fmt::Write;

use edge_mqtt::packet::Version;

#[cfg(test)]
mod tests;

/// Packet ids by the names that a script has for them.
pub type Ids = HashMap<String, [u8; 2]>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Bytes(Vec<u8>),
    Id(String),
    Counted(Vec<Item>),
    Block(Vec<Item>),
    Any,
    Rest,
    Properties(Vec<Property>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Property {
    Is(Vec<u8>),
    Some(u8),
    None(u8),
}

/// A frame, or what one is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Vec<Item>);

struct Parser<'a> {
    text: &'a str,
    version: Version,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) {
        self.text = self.text.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        match self.text.strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn until(&mut self, end: char) -> &'a str {
        let (found, rest) = self
            .text
            .split_once(end)
            .unwrap_or_else(|| panic!("no {end} in {:?}", self.text));
        self.text = rest;
        found
    }

    fn items(&mut self, end: &str) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            self.skip();
            if self.text.is_empty() {
                assert!(end.is_empty(), "expected {end}");
                return items;
            }
            if !end.is_empty() && self.eat(end) {
                return items;
            }
            self.item(&mut items);
        }
    }

    fn item(&mut self, items: &mut Vec<Item>) {
        if self.eat("..") {
            items.push(Item::Rest);
        } else if self.eat("?") {
            items.push(Item::Any);
        } else if self.eat("{") {
            items.push(Item::Counted(self.items("}")));
        } else if self.eat("[") {
            items.push(Item::Block(self.items("]")));
        } else if self.eat("%(") {
            let inner = self.items(")");
            items.extend(inner.into_iter().filter(|_| self.version == Version::V5));
        } else if self.eat("^(") {
            let inner = self.items(")");
            items.extend(inner.into_iter().filter(|_| self.version == Version::V3));
        } else if self.eat("%") {
            if self.version == Version::V5 {
                items.push(Item::Bytes(vec![0]));
            }
        } else if self.eat("\"") {
            let text = self.until('"');
            items.push(Item::Block(vec![Item::Bytes(text.as_bytes().to_vec())]));
        } else if self.eat("'") {
            items.push(Item::Bytes(self.until('\'').as_bytes().to_vec()));
        } else if self.eat("=") {
            items.push(Item::Id(self.word().to_owned()));
        } else if self.eat("<") {
            items.push(Item::Properties(self.properties()));
        } else {
            items.push(Item::Bytes(self.hex()));
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.text.find(|c: char| !c.is_alphanumeric());
        let (word, rest) = self.text.split_at(end.unwrap_or(self.text.len()));
        assert!(!word.is_empty(), "expected a word at {:?}", self.text);
        self.text = rest;
        word
    }

    fn hex(&mut self) -> Vec<u8> {
        let word = self.word();
        assert!(word.len().is_multiple_of(2), "odd digits: {word}");
        let byte = |at: usize| u8::from_str_radix(&word[at..at + 2], 16).expect(word);
        let bytes: Vec<u8> = (0..word.len()).step_by(2).map(byte).collect();
        match self.text.strip_prefix('*') {
            Some(rest) => {
                self.text = rest;
                bytes.repeat(self.word().parse().expect("a number"))
            }
            None => bytes,
        }
    }

    fn properties(&mut self) -> Vec<Property> {
        let mut all = Vec::new();
        loop {
            if self.eat(">") {
                return all;
            }
            let none = self.eat("!");
            let mut items = Vec::new();
            while !self.eat(",") {
                self.skip();
                if self.text.starts_with('>') {
                    break;
                }
                self.item(&mut items);
            }
            let some = items.pop_if(|item| *item == Item::Rest).is_some();
            let bytes = written(&items, &Ids::new());
            all.push(match (none, some) {
                (true, _) => Property::None(bytes[0]),
                (_, true) => Property::Some(bytes[0]),
                _ => Property::Is(bytes),
            });
        }
    }
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(number % 128).expect("seven bits");
        number /= 128;
        if number == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 128);
    }
}

fn written(items: &[Item], ids: &Ids) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::Bytes(bytes) => out.extend(bytes),
            Item::Id(name) => out.extend(ids.get(name).unwrap_or_else(|| panic!("no id {name}"))),
            Item::Counted(inner) => {
                let inner = written(inner, ids);
                varint(inner.len(), &mut out);
                out.extend(inner);
            }
            Item::Block(inner) => {
                let inner = written(inner, ids);
                let len = u16::try_from(inner.len()).expect("a block of at most 65535 bytes");
                out.extend(len.to_be_bytes());
                out.extend(inner);
            }
            Item::Any | Item::Rest | Item::Properties(_) => panic!("{item:?} cannot be sent"),
        }
    }
    out
}

/// Takes a variable byte integer off.
fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for place in 0..4 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(first & 127) << (7 * place);
        if first & 128 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// The properties in a block, each with its identifier.
fn split_properties(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    while let Some(id) = bytes.first() {
        let whole = bytes;
        let mut rest = &bytes[1..];
        let block = |rest: &mut &[u8]| {
            let len = take(rest, 2)?;
            take(rest, usize::from(u16::from_be_bytes([len[0], len[1]]))).map(drop)
        };
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
                take(&mut rest, 1).map(drop)?
            }
            0x13 | 0x21 | 0x22 | 0x23 => take(&mut rest, 2).map(drop)?,
            0x02 | 0x11 | 0x18 | 0x27 => take(&mut rest, 4).map(drop)?,
            0x0b => take_varint(&mut rest).map(drop)?,
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => block(&mut rest)?,
            0x26 => {
                block(&mut rest)?;
                block(&mut rest)?;
            }
            _ => return None,
        }
        all.push(&whole[..whole.len() - rest.len()]);
        bytes = rest;
    }
    Some(all)
}

fn properties_match(wanted: &[Property], found: &[&[u8]]) -> bool {
    let mut from: HashMap<u8, usize> = HashMap::new();
    wanted.iter().all(|wanted| match wanted {
        Property::None(id) => found.iter().all(|found| found[0] != *id),
        Property::Some(id) => found.iter().any(|found| found[0] == *id),
        Property::Is(bytes) => {
            let start = from.entry(bytes[0]).or_default();
            let place = found.iter().skip(*start).position(|found| found == bytes);
            *start += place.map_or(0, |place| place + 1);
            place.is_some()
        }
    })
}

/// Matches, and takes off what did.
fn matches(items: &[Item], bytes: &mut &[u8], ids: &mut Ids) -> bool {
    items.iter().all(|item| match item {
        Item::Bytes(wanted) => take(bytes, wanted.len()) == Some(wanted),
        Item::Any => take(bytes, 1).is_some(),
        Item::Rest => {
            *bytes = &[];
            true
        }
        Item::Id(name) => {
            let Some(&[a, b]) = take(bytes, 2) else {
                return false;
            };
            match ids.get(name) {
                Some(known) => *known == [a, b],
                None => {
                    let other = ids.values().any(|other| *other == [a, b]);
                    ids.insert(name.clone(), [a, b]);
                    [a, b] != [0, 0] && !other
                }
            }
        }
        Item::Counted(inner) => {
            let block = take_varint(bytes).and_then(|len| take(bytes, len));
            block.is_some_and(|mut block| matches(inner, &mut block, ids) && block.is_empty())
        }
        Item::Block(inner) => {
            let len = take(bytes, 2).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])));
            let block = len.and_then(|len| take(bytes, len));
            block.is_some_and(|mut block| matches(inner, &mut block, ids) && block.is_empty())
        }
        Item::Properties(wanted) => {
            let block = take_varint(bytes).and_then(|len| take(bytes, len));
            let found = block.and_then(split_properties);
            found.is_some_and(|found| properties_match(wanted, &found))
        }
    })
}

impl Frame {
    /// Reads it. A test that is written wrong panics here.
    pub fn parse(text: &str, version: Version) -> Self {
        Self(Parser { text, version }.items(""))
    }

    pub fn bytes(&self, ids: &Ids) -> Vec<u8> {
        written(&self.0, ids)
    }

    /// Whether these bytes are it, all of them. Ids that were not known yet are then.
    pub fn is(&self, bytes: &[u8], ids: &mut Ids) -> bool {
        let (mut left, mut learnt) = (bytes, ids.clone());
        let same = matches(&self.0, &mut left, &mut learnt) && left.is_empty();
        if same {
            *ids = learnt;
        }
        same
    }
}

/// Takes a whole frame off, if there is one.
pub fn split(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut rest = input.get(1..)?;
    let len = take_varint(&mut rest)?;
    let header = input.len() - rest.len();
    if rest.len() < len {
        return None;
    }
    let left = input.split_off(header + len);
    Some(std::mem::replace(input, left))
}

/// Bytes for people, shortened.
pub fn show(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes.iter().take(80) {
        let _ = write!(out, "{byte:02x}");
    }
    if bytes.len() > 80 {
        let _ = write!(out, "… ({} bytes)", bytes.len());
    }
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .take(80)
        .map(|c| if c.is_control() { '·' } else { c })
        .collect();
    format!("{out} ‹{text}›")
}
