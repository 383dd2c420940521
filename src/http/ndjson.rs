//! Bodies of newline-delimited JSON, a bounded line at a time.

use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;

use super::error::Problem;
use super::extract::body_problem;

/// A line that holds something, numbered from 1 over all lines, empty ones too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) content: Result<Bytes, LineTooLong>,
}

/// The line is over the limit; it was skipped without being held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is longer than {limit} bytes")]
pub(super) struct LineTooLong {
    limit: usize,
}

/// Reads a body's lines. Never holds more than a line's limit and one piece of the body.
#[derive(Debug)]
pub(super) struct Lines {
    body: BodyDataStream,
    /// What has arrived and is not read yet.
    buffer: BytesMut,
    /// How much of the buffer holds no line end, as known from before.
    searched: usize,
    limit: usize,
    /// Whether the line that the buffer is in the midst of is already known to be too long.
    overlong: bool,
    ended: bool,
    number: u64,
}

impl Lines {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        let body = body.into_data_stream();
        Self { body, buffer: BytesMut::new(), searched: 0, limit, overlong: false, ended: false, number: 0 }
    }

    /// The next line that isn't blank; none at the body's end. The last line needs no line end.
    ///
    /// # Errors
    /// When the body breaks off or stalls.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Problem> {
        loop {
            if let Some(line) = self.take_line() {
                if line.content.as_ref().is_ok_and(|content| content.trim_ascii().is_empty()) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Err(body_problem(&error)),
                None => self.ended = true,
            }
        }
    }

    /// A whole line out of the buffer, if there is one.
    fn take_line(&mut self) -> Option<Line> {
        let end = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
        let content = match end {
            Some(end) => {
                let content = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                content
            }
            None if self.ended && (self.overlong || !self.buffer.is_empty()) => self.buffer.split().freeze(),
            None => {
                if self.buffer.len() > self.limit {
                    self.overlong = true;
                    self.buffer.clear();
                }
                self.searched = self.buffer.len();
                return None;
            }
        };
        self.searched = 0;
        self.number += 1;
        let too_long = std::mem::take(&mut self.overlong) || content.len() > self.limit;
        let content = if too_long { Err(LineTooLong { limit: self.limit }) } else { Ok(content) };
        Some(Line { number: self.number, content })
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    /// The lines of a body that arrives in these pieces: each number with its text, or none for one too long.
    async fn lines(pieces: Vec<Vec<u8>>, limit: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
        let mut lines = Lines::new(body, limit);
        let mut read = Vec::new();
        while let Some(Line { number, content }) = lines.next().await.expect("a whole body") {
            read.push((number, content.ok().map(|bytes| bytes.to_vec())));
        }
        read
    }

    #[tokio::test]
    async fn blank_lines_count_and_a_long_line_costs_no_other() {
        let pieces = vec![b"ab\n\n  \r\nlong".to_vec(), b"er than".to_vec(), b" eight\ncd".to_vec()];
        let read = lines(pieces, 8).await;
        assert_eq!(read, vec![(1, Some(b"ab".to_vec())), (4, None), (5, Some(b"cd".to_vec()))]);
    }

    #[tokio::test]
    async fn a_broken_body_is_an_error_after_its_whole_lines() {
        let pieces = [Ok(b"ab\ncd".to_vec()), Err(std::io::Error::other("reset"))];
        let mut lines = Lines::new(Body::from_stream(stream::iter(pieces)), 100);
        assert_eq!(lines.next().await.unwrap().map(|line| line.number), Some(1));
        assert_eq!(lines.next().await.expect_err("broken").status.as_u16(), 400);
    }

    proptest! {
        /// However a body is cut into pieces, its lines are those of the whole.
        #[test]
        fn pieces_do_not_matter(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b' ')], 0..60),
            cuts in proptest::collection::vec(1_usize..7, 1..20),
            limit in 1_usize..10,
        ) {
            let mut pieces = Vec::new();
            let mut rest = text.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = after;
            }
            let expected: Vec<(u64, Option<Vec<u8>>)> = text
                .split(|&byte| byte == b'\n')
                .enumerate()
                .filter(|(_, line)| line.len() > limit || !line.trim_ascii().is_empty())
                .map(|(index, line)| (index as u64 + 1, (line.len() <= limit).then(|| line.to_vec())))
                .collect();
            let read = futures::executor::block_on(lines(pieces, limit));
            prop_assert_eq!(read, expected);
        }
    }
}
