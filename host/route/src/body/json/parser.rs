//! From text to nodes.

use super::super::Unreadable;
use super::{Kind, Node, Text};

/// Deepest nesting of objects and arrays.
const MAX_DEPTH: usize = 128;

/// Reads one text.
pub(super) struct Parser<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    pub nodes: &'a mut Vec<Node>,
    pub unescaped: &'a mut String,
}

type Step<T> = Result<T, Unreadable>;

impl Parser<'_> {
    pub fn document(&mut self) -> Step<()> {
        if u32::try_from(self.bytes.len()).is_err() {
            return self.fault("a text of more than 4 GiB");
        }
        self.blank();
        self.value(Text::default(), 0)?;
        self.blank();
        if self.at < self.bytes.len() {
            return self.fault("text after the value");
        }
        match self.nodes.first() {
            Some(node) if node.kind == Kind::Object => Ok(()),
            _ => Err(Unreadable::NotAnObject),
        }
    }

    fn fault<T>(&self, what: &'static str) -> Step<T> {
        Err(Unreadable::NotJson(self.at, what))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// An offset; [`document`](Self::document) has checked that all of them fit.
    fn offset(n: usize) -> u32 {
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    fn push(&mut self, key: Text, kind: Kind) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            key,
            kind,
            next: Self::offset(index + 1),
        });
        index
    }

    fn value(&mut self, key: Text, depth: usize) -> Step<()> {
        match self.peek() {
            Some(b'{') => self.object(key, depth),
            Some(b'[') => self.array(key, depth),
            Some(b'"') => {
                let text = self.string()?;
                self.push(key, Kind::Str(text));
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                self.push(key, Kind::Num(number));
                Ok(())
            }
            Some(b't') => self.word(b"true", key, Kind::Bool(true)),
            Some(b'f') => self.word(b"false", key, Kind::Bool(false)),
            Some(b'n') => self.word(b"null", key, Kind::Null),
            Some(_) => self.fault("no value begins like this"),
            None => self.fault("the text ends early"),
        }
    }

    fn word(&mut self, word: &[u8], key: Text, kind: Kind) -> Step<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fault("no value begins like this");
        }
        self.at += word.len();
        self.push(key, kind);
        Ok(())
    }

    fn enter(&mut self, key: Text, kind: Kind, depth: usize) -> Step<usize> {
        if depth >= MAX_DEPTH {
            return self.fault("more than 128 levels of nesting");
        }
        self.at += 1;
        self.blank();
        Ok(self.push(key, kind))
    }

    /// After a member or element: whether another one follows.
    fn more(&mut self, close: u8) -> Step<bool> {
        self.blank();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.blank();
                Ok(true)
            }
            Some(b) if b == close => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => self.fault("expected a comma or the closing bracket"),
            None => self.fault("the text ends early"),
        }
    }

    fn object(&mut self, key: Text, depth: usize) -> Step<()> {
        let index = self.enter(key, Kind::Object, depth)?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(_) => return self.fault("expected a key in double quotes"),
                None => return self.fault("the text ends early"),
            }
            let key = self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return self.fault("expected a colon after a key");
            }
            self.at += 1;
            self.blank();
            self.value(key, depth + 1)?;
            if !self.more(b'}')? {
                break;
            }
        }
        self.nodes[index].next = Self::offset(self.nodes.len());
        Ok(())
    }

    fn array(&mut self, key: Text, depth: usize) -> Step<()> {
        let index = self.enter(key, Kind::Array, depth)?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(Text::default(), depth + 1)?;
            if !self.more(b']')? {
                break;
            }
        }
        self.nodes[index].next = Self::offset(self.nodes.len());
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Step<f64> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || zero && whole > 1 {
            return self.fault("a malformed number");
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            integer = false;
            if self.digits() == 0 {
                return self.fault("a malformed number");
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            integer = false;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fault("a malformed number");
            }
        }
        let text = &self.bytes[from..self.at];
        // Whole numbers of up to 9 digits are exact, and quicker this way.
        if integer && whole <= 9 {
            let n = text
                .iter()
                .filter(|b| b.is_ascii_digit())
                .fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
            return Ok(if text[0] == b'-' {
                -f64::from(n)
            } else {
                f64::from(n)
            });
        }
        match std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()) {
            Some(number) => Ok(number),
            None => self.fault("a malformed number"),
        }
    }

    fn string(&mut self) -> Step<Text> {
        self.at += 1;
        let from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = Text {
                        start: Self::offset(from),
                        end: Self::offset(self.at),
                        unescaped: false,
                    };
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => return self.escaped(from),
                Some(0..0x20) => return self.fault("a control character in a string"),
                Some(_) => self.at += 1,
                None => return self.fault("an unterminated string"),
            }
        }
    }

    /// The rest of a string from its first escape on.
    fn escaped(&mut self, from: usize) -> Step<Text> {
        let start = self.unescaped.len();
        let mut plain = from;
        loop {
            let b = self.peek();
            if matches!(b, Some(b'"' | b'\\')) {
                // Cut at ASCII, so this is whole characters.
                let run = std::str::from_utf8(&self.bytes[plain..self.at]).unwrap_or_default();
                self.unescaped.push_str(run);
            }
            match b {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text {
                        start: Self::offset(start),
                        end: Self::offset(self.unescaped.len()),
                        unescaped: true,
                    });
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    self.unescaped.push(c);
                    plain = self.at;
                }
                Some(0..0x20) => return self.fault("a control character in a string"),
                Some(_) => self.at += 1,
                None => return self.fault("an unterminated string"),
            }
        }
    }

    fn escape(&mut self) -> Step<char> {
        let c = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.fault("an escape that there is not"),
        };
        self.at += 1;
        Ok(c)
    }

    fn unit(&mut self) -> Step<u16> {
        let digits = self.bytes.get(self.at..self.at + 4);
        let text = digits.and_then(|d| std::str::from_utf8(d).ok());
        let unit = text
            .filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|t| u16::from_str_radix(t, 16).ok());
        match unit {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.fault("an escape that there is not"),
        }
    }

    /// After `\u`. Half a surrogate pair becomes U+FFFD.
    fn unicode(&mut self) -> Step<char> {
        let high = self.unit()?;
        if (0xD800..0xDC00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.unit()?;
            if let Some(Ok(c)) = char::decode_utf16([high, low]).next() {
                return Ok(c);
            }
            self.at = back;
        }
        Ok(char::from_u32(high.into()).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}
