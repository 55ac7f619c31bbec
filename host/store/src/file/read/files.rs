//! Bytes of segments: records by chunks, places of entries by pages.

use bytes::Bytes;

use super::super::frame::{self, FRAME};
use super::super::index::{self, PLACE};
use super::super::queue::Place;
use super::super::{Shared, segment_name};
use super::{CHUNK, Chunk, Cursor, Fetch, PAGE, Page, Trouble};

impl Shared {
    /// The bytes of a record and perhaps more, from the chunk or from the file.
    pub(super) fn record(
        &self,
        cursor: &mut Cursor,
        segment: u64,
        offset: u32,
        written: u64,
    ) -> Result<Bytes, Unreadable> {
        let offset = u64::from(offset);
        if let Some(chunk) = &cursor.chunk
            && chunk.segment == segment
            && let Some(record) = chunk.record(offset)
        {
            return Ok(record);
        }
        let mut want = CHUNK;
        loop {
            let left = usize::try_from(written.saturating_sub(offset)).unwrap_or(usize::MAX);
            let bytes = self.bytes(cursor, segment, offset, want.min(left))?;
            let chunk = Chunk {
                segment,
                offset,
                bytes,
            };
            let needed = chunk.needed();
            if needed <= chunk.bytes.len() {
                let record = chunk.bytes.clone();
                cursor.chunk = Some(chunk);
                return Ok(record);
            }
            if needed > left || needed <= want {
                return Err(Unreadable::Bad(
                    "the record is longer than the segment".to_owned(),
                ));
            }
            want = needed;
        }
    }

    fn bytes(
        &self,
        cursor: &mut Cursor,
        segment: u64,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, Unreadable> {
        let file = match &cursor.file {
            Some((open, file)) if *open == segment => file.clone(),
            _ => {
                let name = segment_name(segment);
                let opened = self.disk.open(&name);
                let file = opened.map_err(|error| Unreadable::of("open it", &error))?;
                cursor.file = Some((segment, file.clone()));
                file
            }
        };
        let mut bytes = vec![0; len];
        let read = file
            .read_at(&mut bytes, offset)
            .map_err(|error| Unreadable::of("read it", &error))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// The place of an entry in the index of its segment, and the number after the place's entries.
    pub(super) fn place(
        &self,
        cursor: &mut Cursor,
        fetch: &Fetch,
        at: u32,
        count: u32,
    ) -> Result<(Place, u64), Trouble> {
        let bad = |trouble: Unreadable| trouble.into_index();
        if let Some(page) = &cursor.page
            && (page.segment, page.at) == (fetch.segment, at)
            && let Some(found) = page.find(fetch.from)
        {
            return Ok(found);
        }
        let places = |cursor: &mut Cursor, from: u32, n: u32| {
            let offset = u64::from(at) + u64::from(from) * PLACE as u64;
            let bytes = self.bytes(cursor, fetch.segment, offset, n as usize * PLACE)?;
            Ok(index::places(&bytes).collect::<Vec<_>>())
        };
        // The last place that begins at or before the number.
        let (mut low, mut high) = (0, count);
        while high - low > PAGE {
            let middle = low + (high - low) / 2;
            let found = places(cursor, middle, 1).map_err(bad)?;
            match found.first() {
                Some(place) if place.seq <= fetch.from => low = middle,
                _ => high = middle,
            }
        }
        let mut found = places(cursor, low, (high - low + 1).min(count - low)).map_err(bad)?;
        let sorted = found.windows(2).all(|two| two[0].seq < two[1].seq);
        if !sorted || found.is_empty() {
            return Err(Trouble::Index("its numbers are not in order".to_owned()));
        }
        let until = match low as usize + found.len() < count as usize {
            true => found.pop().map_or(fetch.end, |beyond| beyond.seq),
            false => fetch.end,
        };
        let page = cursor.page.insert(Page {
            segment: fetch.segment,
            at,
            places: found,
            until,
        });
        page.find(fetch.from)
            .ok_or_else(|| Trouble::Index("it does not have the entry".to_owned()))
    }
}

/// Why bytes of a segment cannot be had.
pub(super) enum Unreadable {
    Bad(String),
    Gone,
    Io(String),
}

impl Unreadable {
    /// A device that cannot read a place has lost what was there; anything else may pass.
    fn of(doing: &str, error: &std::io::Error) -> Self {
        let what = format!("cannot {doing}: {error}");
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Gone,
            _ if is_lost(error) => Self::Bad(what),
            _ => Self::Io(what),
        }
    }
}

/// Whether the device says that it cannot read what was written (`EIO`).
pub(crate) fn is_lost(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

impl Unreadable {
    pub(super) fn into_record(self, until: u64) -> Trouble {
        match self {
            Self::Bad(what) => Trouble::Record { until, what },
            Self::Gone => Trouble::Gone,
            Self::Io(what) => Trouble::Io(what),
        }
    }

    pub(super) fn into_index(self) -> Trouble {
        match self {
            Self::Bad(what) => Trouble::Index(what),
            Self::Gone => Trouble::Gone,
            Self::Io(what) => Trouble::Io(what),
        }
    }
}

impl Chunk {
    /// The bytes from a record on, if all of it is here.
    fn record(&self, offset: u64) -> Option<Bytes> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let rest = self.bytes.get(start..)?;
        let len = frame::u32_at(rest.get(..4)?, 0) as usize;
        (FRAME + len <= rest.len()).then(|| self.bytes.slice(start..))
    }

    /// Bytes that the record at its start has.
    fn needed(&self) -> usize {
        match self.bytes.get(..4) {
            Some(len) => FRAME.saturating_add(frame::u32_at(len, 0) as usize),
            None => FRAME,
        }
    }
}

impl Page {
    fn find(&self, seq: u64) -> Option<(Place, u64)> {
        if seq >= self.until {
            return None;
        }
        let after = self.places.partition_point(|place| place.seq <= seq);
        let place = self.places.get(after.checked_sub(1)?)?;
        let until = self.places.get(after).map_or(self.until, |next| next.seq);
        Some((*place, until))
    }
}
