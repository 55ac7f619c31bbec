//! Messages for a parent that there is not, in files by day.
//!
//! ```text
//!   upstream/2026-11-27.jsonl    a message a line, as `edge tail --json` shows them; the day is UTC's
//! ```
//!
//! A batch is on the device before its progress is noted: a crash in between writes it once more, a line that was
//! cut off is taken back first. Without room they wait in their queue, and writing is tried again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_core::{Message, Timestamp};

use super::Take;
use crate::types::MessageInfo;

/// How a file of a day ends.
const ENDING: &str = ".jsonl";
/// A disk that is full or fails is asked again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes messages to files by day, and removes the oldest.
#[derive(Debug)]
pub(crate) struct DayFiles<C> {
    folder: PathBuf,
    keep_days: usize,
    /// Now.
    clock: C,
    /// Lines that are not written yet.
    lines: Vec<u8>,
    open: Option<(String, BufWriter<File>)>,
}

impl<C: FnMut() -> Timestamp> DayFiles<C> {
    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made or written to.
    pub(crate) fn open(folder: &Path, keep_days: usize, clock: C) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut files = Self {
            folder: folder.to_owned(),
            keep_days: keep_days.max(1),
            clock,
            lines: Vec::new(),
            open: None,
        };
        // Said at the start rather than with the first message.
        let day = files.today();
        files.begin(day)?;
        Ok(files)
    }

    fn today(&mut self) -> String {
        let now = (self.clock)().to_string();
        now.get(..10).unwrap_or("unknown").to_owned()
    }

    /// Opens the file of a day, after its last whole line.
    fn begin(&mut self, day: String) -> io::Result<&mut BufWriter<File>> {
        let path = self.folder.join(format!("{day}{ENDING}"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let end = whole_lines(&mut file)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        // The name of a new file is to be there after a power cut as well.
        File::open(&self.folder)?.sync_all()?;
        self.remove_old()?;
        Ok(&mut self.open.insert((day, BufWriter::new(file))).1)
    }

    fn remove_old(&self) -> io::Result<()> {
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_day = |day: &str| {
                day.len() == 10
                    && day
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || byte == b'-')
            };
            if name.strip_suffix(ENDING).is_some_and(is_day) {
                days.push(name.to_owned());
            }
        }
        days.sort_unstable();
        let surplus = days.len().saturating_sub(self.keep_days);
        for name in &days[..surplus] {
            fs::remove_file(self.folder.join(name))?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let day = self.today();
        let lines = std::mem::take(&mut self.lines);
        let written = (|| {
            let file = match &mut self.open {
                Some((open, file)) if *open == day => file,
                _ => self.begin(day)?,
            };
            file.write_all(&lines)?;
            file.flush()?;
            file.get_ref().sync_data()
        })();
        if written.is_err() {
            // What was written of them is taken back when it is opened again.
            if let Some((_, file)) = self.open.take() {
                drop(file.into_parts());
            }
            self.lines = lines;
        }
        written
    }
}

/// Where the last whole line of a file ends.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut piece = [0; 4096];
    while end > 0 {
        let size = end.min(piece.len() as u64);
        file.seek(SeekFrom::Start(end - size))?;
        let piece = &mut piece[..usize::try_from(size).unwrap_or(0)];
        file.read_exact(piece)?;
        match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => return Ok(end - size + at as u64 + 1),
            None => end -= size,
        }
    }
    Ok(0)
}

impl<C: FnMut() -> Timestamp + Send> Take for DayFiles<C> {
    fn message(&mut self, message: &Message) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, &MessageInfo::from(message))?;
        self.lines.push(b'\n');
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut said = false;
        while let Err(error) = self.write() {
            if !said {
                tracing::error!(folder = %self.folder.display(), %error, "messages for upstream cannot be written; they wait");
                said = true;
            }
            std::thread::sleep(AGAIN);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use edge_core::{DeviceId, MessageBuilder, MessageId, Origin, Source};

    use super::*;

    fn message(body: &str) -> Message {
        Message {
            content: MessageBuilder::new(body.to_owned()).build(),
            origin: Origin::new(Source::Device(DeviceId::new("d").expect("id"))),
            id: MessageId { start: 1, count: 1 },
            enqueued: Timestamp(0),
            hops: 0,
        }
    }

    fn lines(folder: &Path, day: &str) -> usize {
        let text = fs::read_to_string(folder.join(format!("{day}{ENDING}"))).expect("a file");
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().count()
    }

    const DAY: u64 = 86_400_000_000_000;

    #[test]
    fn a_day_has_a_file_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Rc::new(Cell::new(0));
        let clock = now.clone();
        let mut files =
            DayFiles::open(folder.path(), 2, move || Timestamp(clock.get())).expect("it opens");
        for day in 0..4 {
            now.set(day * DAY);
            for _ in 0..=day {
                let info = MessageInfo::from(&message("x"));
                serde_json::to_writer(&mut files.lines, &info).expect("memory");
                files.lines.push(b'\n');
            }
            files.write().expect("it is written");
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["1970-01-03.jsonl", "1970-01-04.jsonl"]);
        assert_eq!(lines(folder.path(), "1970-01-04"), 4);
    }

    #[test]
    fn a_line_that_was_cut_off_is_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1970-01-01.jsonl");
        fs::write(&path, "{\"n\":1}\n{\"n\":2").expect("it is written");
        let mut files = DayFiles::open(folder.path(), 2, || Timestamp(0)).expect("it opens");
        files.message(&message("x")).expect("memory");
        files.flush().expect("it is written");
        assert_eq!(lines(folder.path(), "1970-01-01"), 2);
        assert!(
            fs::read_to_string(&path)
                .expect("a file")
                .starts_with("{\"n\":1}\n{\"")
        );
    }
}
