//! The lines of one packed text file, read as a stream within a budget of unpacked bytes.

use std::io::{BufRead, BufReader, Read};

use super::TuError;

/// Longer than a line of any dataset, attributes and all.
const MAX_LINE_BYTES: u64 = 64 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

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

/// A cursor over lines, the buffer of one line reused.
pub(super) struct Lines<'a, R> {
    file: &'a str,
    reader: BufReader<R>,
    budget: &'a mut Budget,
    buffer: Vec<u8>,
    /// The number of the line last read, from 1.
    number: usize,
}

impl<'a, R: Read> Lines<'a, R> {
    pub(super) fn new(file: &'a str, reader: R, budget: &'a mut Budget) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        Self { file, reader, budget, buffer: Vec::new(), number: 0 }
    }

    /// The next line without its end and the blanks around it; `None` at the end of the file, which blank lines may
    /// precede.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, TuError> {
        let mut first_blank = None;
        loop {
            self.buffer.clear();
            let read = (&mut self.reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| TuError::Invalid(format!("{} can't be unpacked: {error}", self.file)))?;
            if read == 0 {
                return Ok(None);
            }
            self.budget.spend(read)?;
            self.number += 1;
            if read as u64 > MAX_LINE_BYTES {
                return Err(self.error(self.number, format!("the line is longer than {MAX_LINE_BYTES} bytes")));
            }
            if self.number == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
            }
            if self.buffer.trim_ascii().is_empty() {
                first_blank.get_or_insert(self.number);
                continue;
            }
            if let Some(blank) = first_blank {
                return Err(self.error(blank, "the line is empty, but others follow".to_owned()));
            }
            return Ok(Some(Line { file: self.file, number: self.number, text: self.buffer.trim_ascii() }));
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
    pub(super) fn pair(&self) -> Result<(i64, i64), TuError> {
        at_comma(self.text).and_then(|(a, b)| Some((integer(a)?, integer(b)?))).ok_or_else(|| {
            self.error(format!("expected two integers with a comma between, found {}", shown(self.text)))
        })
    }
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

    proptest! {
        #[test]
        fn integers_read_as_they_are_written(value: i64) {
            prop_assert_eq!(integer(value.to_string().as_bytes()), Some(value));
            prop_assert_eq!(integer(i64::MIN.to_string().as_bytes()), Some(i64::MIN));
        }
    }
}
