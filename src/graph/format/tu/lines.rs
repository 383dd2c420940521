//! The lines of one packed text file, read as a stream within a budget of unpacked bytes.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use super::TuError;

/// Longer than a line of any dataset, attributes and all.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Room for the longest line, and for enough behind it that unpacking goes in large pieces.
const BUFFER_BYTES: usize = 4 * MAX_LINE_BYTES;

/// How many bytes may still be unpacked from an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, left: limit }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), TuError> {
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(|| {
            TuError::TooLarge(format!("the archive unpacks to more than the limit of {} bytes", self.limit))
        })?;
        Ok(())
    }
}

/// Why what a line says is refused.
pub(super) enum Refusal {
    Wrong(String),
    TooLarge(String),
}

impl Refusal {
    fn at(self, file: &str, line: usize) -> TuError {
        match self {
            Self::Wrong(detail) => TuError::Line { file: file.to_owned(), line, detail },
            Self::TooLarge(detail) => TuError::TooLarge(detail),
        }
    }
}

impl From<String> for Refusal {
    fn from(detail: String) -> Self {
        Self::Wrong(detail)
    }
}

/// A cursor over lines, each read where it was unpacked.
pub(super) struct Lines<'a, R> {
    file: &'a str,
    reader: R,
    budget: &'a mut Budget,
    buffer: Vec<u8>,
    /// What is unpacked and not yet read, in the buffer.
    unread: Range<usize>,
    /// The number of the line last read, from 1.
    number: usize,
}

impl<'a, R: Read> Lines<'a, R> {
    pub(super) fn new(file: &'a str, reader: R, budget: &'a mut Budget) -> Self {
        Self { file, reader, budget, buffer: vec![0; BUFFER_BYTES], unread: 0..0, number: 0 }
    }

    /// The next line without its end and the blanks around it; `None` at the end of the file, which blank lines may
    /// precede.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, TuError> {
        let mut first_blank = None;
        loop {
            let Some(mut line) = self.next_range()? else { return Ok(None) };
            self.budget.spend(line.len())?;
            self.number += 1;
            if line.len() > MAX_LINE_BYTES {
                return Err(self.error(self.number, format!("the line is longer than {MAX_LINE_BYTES} bytes")));
            }
            if self.number == 1 && self.buffer[line.clone()].starts_with(b"\xef\xbb\xbf") {
                line.start += 3;
            }
            if self.buffer[line.clone()].trim_ascii().is_empty() {
                first_blank.get_or_insert(self.number);
                continue;
            }
            if let Some(blank) = first_blank {
                return Err(self.error(blank, "the line is empty, but others follow".to_owned()));
            }
            return Ok(Some(Line { file: self.file, number: self.number, text: self.buffer[line].trim_ascii() }));
        }
    }

    /// Hands the first integer of each line that is left to `take`, whose refusal is the line's error.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is of one lifetime only")]
    pub(super) fn integers(&mut self, take: impl FnMut(i64) -> Result<(), Refusal>) -> Result<(), TuError> {
        self.each(plain_integer, |line| line.first_integer(), take)
    }

    /// Hands the two integers of each line that is left to `take`, whose refusal is the line's error.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is of one lifetime only")]
    pub(super) fn pairs(&mut self, take: impl FnMut((i64, i64)) -> Result<(), Refusal>) -> Result<(), TuError> {
        self.each(plain_pair, |line| line.pair(), take)
    }

    /// `plain` reads what a buffer begins with, and gives how long it is, `any` a line of any form.
    fn each<T>(
        &mut self,
        plain: impl Fn(&[u8]) -> Option<(T, usize)>,
        any: impl Fn(&Line<'_>) -> Result<T, TuError>,
        mut take: impl FnMut(T) -> Result<(), Refusal>,
    ) -> Result<(), TuError> {
        loop {
            // Nearly all lines of the large files are plain and whole in the buffer: in one pass, from where they are.
            while let Some((value, length)) = plain(&self.buffer[self.unread.clone()]) {
                self.budget.spend(length)?;
                self.number += 1;
                self.unread.start += length;
                take(value).map_err(|refusal| refusal.at(self.file, self.number))?;
            }
            let Some(line) = self.next()? else { return Ok(()) };
            take(any(&line)?).map_err(|refusal| refusal.at(line.file, line.number))?;
        }
    }

    /// Where the next line is in the buffer, its end included, or the beginning of one that is too long.
    fn next_range(&mut self) -> Result<Option<Range<usize>>, TuError> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.unread.clone()];
            let end = memchr::memchr(b'\n', &unread[searched..]).map(|place| searched + place + 1);
            let length = match end {
                Some(length) => length,
                None if unread.len() > MAX_LINE_BYTES => unread.len(),
                None => {
                    searched = unread.len();
                    if self.fill()? > 0 {
                        continue;
                    }
                    if searched == 0 {
                        return Ok(None);
                    }
                    searched
                }
            };
            let line = self.unread.start..self.unread.start + length;
            self.unread.start = line.end;
            return Ok(Some(line));
        }
    }

    /// Unpacks more behind what is unread, which moves to the front; gives how many bytes.
    fn fill(&mut self) -> Result<usize, TuError> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        loop {
            match self.reader.read(&mut self.buffer[self.unread.end..]) {
                Ok(bytes) => {
                    self.unread.end += bytes;
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(TuError::Invalid(format!("{} can't be unpacked: {error}", self.file))),
            }
        }
    }

    fn error(&self, line: usize, detail: String) -> TuError {
        TuError::Line { file: self.file.to_owned(), line, detail }
    }
}

/// One line that isn't blank.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    file: &'a str,
    number: usize,
    text: &'a [u8],
}

impl Line<'_> {
    pub(super) fn error(&self, detail: impl Into<String>) -> TuError {
        TuError::Line { file: self.file.to_owned(), line: self.number, detail: detail.into() }
    }

    /// The integer in the first column.
    pub(super) fn first_integer(&self) -> Result<i64, TuError> {
        let first = at_comma(self.text).map_or(self.text, |(first, _)| first);
        integer(first).ok_or_else(|| self.error(format!("expected an integer, found {}", shown(first))))
    }

    /// The two integers of a line that has just these.
    fn pair(&self) -> Result<(i64, i64), TuError> {
        at_comma(self.text).and_then(|(a, b)| Some((integer(a)?, integer(b)?))).ok_or_else(|| {
            self.error(format!("expected two integers with a comma between, found {}", shown(self.text)))
        })
    }
}

/// The line `12` that some bytes begin with, and its length with its end; `None` of a line of any other form.
#[inline]
fn plain_integer(text: &[u8]) -> Option<(i64, usize)> {
    let (value, at) = digits(text, 0)?;
    Some((value, line_end(text, at)?))
}

/// The line `12, 345`, likewise.
#[inline]
fn plain_pair(text: &[u8]) -> Option<((i64, i64), usize)> {
    let (first, mut at) = digits(text, 0)?;
    if text.get(at) != Some(&b',') {
        return None;
    }
    at += 1;
    at += usize::from(text.get(at) == Some(&b' '));
    let (second, at) = digits(text, at)?;
    Some(((first, second), line_end(text, at)?))
}

/// Behind the end of a line that ends at a place.
#[inline]
fn line_end(text: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(text.get(at) == Some(&b'\r'));
    (text.get(at) == Some(&b'\n')).then_some(at + 1)
}

/// The number of one to nine digits at a place, and where it ends.
#[inline]
fn digits(text: &[u8], start: usize) -> Option<(i64, usize)> {
    let (mut value, mut at) = (0_u32, start);
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit <= 9) {
        if at - start == 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
        at += 1;
    }
    (at > start).then_some((value.into(), at))
}

/// What is before and after the first comma.
fn at_comma(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    Some((text.get(..comma)?, text.get(comma + 1..)?))
}

/// Datasets have millions of these: read from the bytes as they are, without a detour through text.
fn integer(field: &[u8]) -> Option<i64> {
    let (negative, digits) = match field.trim_ascii() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Below zero there is room for one more integer than above.
    let mut below: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        below = below.checked_mul(10)?.checked_sub(digit.into())?;
    }
    if negative { Some(below) } else { below.checked_neg() }
}

/// The beginning of some bytes, fit to be shown in a message.
fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    format!("{text:?}{}", if bytes.len() > SHOWN { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_whole_fields() {
        assert_eq!(integer(b" 42\t"), Some(42));
        assert_eq!(integer(b"-0"), Some(0));
        for none in ["", " ", "-", "--1", "+1", "1 2", "1.0", "0x1", "9223372036854775808", "-9223372036854775809"] {
            assert_eq!(integer(none.as_bytes()), None, "{none:?}");
        }
    }

    /// A reader that gives a few bytes at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(self.0.len()).min(7);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn a_pair_reads_as_it_is_written(a: i64, b: i64, small in prop::bool::ANY, blank in "[ \t]{0,2}") {
            let (a, b) = if small { (a % 1_000_000, b % 1_000_000) } else { (a, b) };
            let text = format!("{a},{blank}{b}\n{b},{a}\r\n0,0");
            let (mut budget, mut read) = (Budget::new(u64::MAX), Vec::new());
            let mut lines = Lines::new("file", Trickle(text.as_bytes()), &mut budget);
            lines.pairs(|pair| { read.push(pair); Ok(()) }).unwrap();
            prop_assert_eq!(read, [(a, b), (b, a), (0, 0)]);
            prop_assert_eq!(u64::MAX - budget.left, text.len() as u64);
            let mut budget = Budget::new(u64::MAX);
            let mut lines = Lines::new("file", Trickle(text.as_bytes()), &mut budget);
            let refused = lines.pairs(|(first, _)| if first == b { Err("no".to_owned().into()) } else { Ok(()) });
            let Err(TuError::Line { line, .. }) = refused else { panic!("it was not refused") };
            prop_assert_eq!(line, if a == b { 1 } else { 2 });
            let (mut budget, mut read) = (Budget::new(u64::MAX), Vec::new());
            let mut lines = Lines::new("file", Trickle(text.as_bytes()), &mut budget);
            lines.integers(|first| { read.push(first); Ok(()) }).unwrap();
            prop_assert_eq!(read, [a, b, 0]);
        }

        #[test]
        fn an_integer_reads_as_it_is_written(integers in prop::collection::vec(any::<i64>(), 1..9), small: bool) {
            let integers: Vec<i64> = integers.into_iter().map(|i| if small { i % 1_000_000 } else { i }).collect();
            let text: String = integers.iter().map(|integer| format!("{integer}\n")).collect();
            let (mut budget, mut read) = (Budget::new(u64::MAX), Vec::new());
            let mut lines = Lines::new("file", Trickle(text.as_bytes()), &mut budget);
            lines.integers(|integer| { read.push(integer); Ok(()) }).unwrap();
            prop_assert_eq!(read, integers);
            prop_assert_eq!(u64::MAX - budget.left, text.len() as u64);
        }

        #[test]
        fn lines_are_those_of_the_text_however_it_comes(
            lines in prop::collection::vec("[a-z0-9, ]{0,9}[a-z]", 0..60), ends_with_newline: bool, long in 0_usize..70_000,
        ) {
            let mut expected = lines;
            if long > 0 {
                expected.push("x".repeat(long));
            }
            let mut text = expected.join("\n");
            if ends_with_newline && !text.is_empty() {
                text.push('\n');
            }
            let mut budget = Budget::new(u64::MAX);
            let mut lines = Lines::new("file", Trickle(text.as_bytes()), &mut budget);
            for (number, expected) in (1..).zip(&expected) {
                if expected.len() >= MAX_LINE_BYTES {
                    let Err(TuError::Line { line, .. }) = lines.next() else { panic!("too long a line was read") };
                    prop_assert_eq!(line, number);
                    return Ok(());
                }
                let line = lines.next().unwrap().unwrap();
                prop_assert_eq!(line.text, expected.trim().as_bytes());
                prop_assert_eq!(line.number, number);
            }
            prop_assert!(lines.next().unwrap().is_none());
            let left = budget.left;
            prop_assert_eq!(u64::MAX - left, text.len() as u64);
        }

        #[test]
        fn integers_read_as_they_are_written(value: i64) {
            prop_assert_eq!(integer(value.to_string().as_bytes()), Some(value));
            prop_assert_eq!(integer(i64::MIN.to_string().as_bytes()), Some(i64::MIN));
        }
    }
}
