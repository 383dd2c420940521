//! Scoring a stream: a graph a line in, an answer a line out, in order, at the pace of whoever is slower.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::judge::{Case, Judge};
use crate::graph::Limits;
use crate::graph::format::json;
use crate::http::AppState;
use crate::http::error::{Problem, ProblemBody};
use crate::http::limits::NDJSON;
use crate::http::ndjson::{Line, LineTooLong, Lines};
use crate::http::request_id::RequestId;
use crate::scorer::{Permit, PermitError};

/// Lines of one stream that are scored or wait for their turn to be answered.
const WINDOW: usize = 16;
/// How often a line that found the queue full asks again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The answer to a line that can't be scored. It costs no other line.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LineError {
    /// From 1, empty lines counted.
    #[schema(example = 3)]
    line: u64,
    error: ProblemBody,
}

/// Answers a stream line by line.
///
/// # Errors
/// What goes wrong before the first line is let in: 429 when the queue is full, 400 when the body breaks off.
pub(super) async fn answer(state: &AppState, judge: Judge, request: Request) -> Result<Response, Problem> {
    let voice = Voice::of(&request);
    let mut intake = Intake {
        lines: Lines::new(request.into_body(), state.config.max_line_bytes),
        limits: state.config.graph,
        closing: state.closing.clone(),
        judge: judge.clone(),
        number: 0,
        ended: false,
    };
    let first = intake.first().await?;
    let rest = stream::unfold(intake, |mut intake| async { intake.next().await.map(|entry| (entry, intake)) });
    // The intake lets lines in one at a time, so they get their permits in order; `buffered` keeps the answers in order,
    // and asks for more lines only while its window has room and the client takes the answers.
    let answers = stream::iter(first).chain(rest).map(move |entry| entry.answer(judge.clone(), voice.clone()));
    let body = Body::from_stream(answers.buffered(WINDOW).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

/// A line that was read, and may be scored or not.
struct Entry {
    line: u64,
    admitted: Result<(Case, Permit), Problem>,
}

impl Entry {
    async fn answer(self, judge: Judge, voice: Voice) -> Bytes {
        let Self { line, admitted } = self;
        let scored = match admitted {
            Ok((case, permit)) => judge.judge(permit, case).await.map(|(answers, _)| answers),
            Err(problem) => Err(problem),
        };
        match scored {
            Ok(answers) => answers.iter().flat_map(to_line).collect(),
            Err(problem) => voice.line(line, &problem),
        }
    }
}

/// The reading half of a stream.
struct Intake {
    lines: Lines,
    limits: Limits,
    closing: CancellationToken,
    judge: Judge,
    /// The last line read.
    number: u64,
    ended: bool,
}

impl Intake {
    /// The first line, while the answer can still be a refusal as a whole.
    async fn first(&mut self) -> Result<Option<Entry>, Problem> {
        let Some(Line { number, content }) = self.lines.next().await? else { return Ok(None) };
        self.number = number;
        let admitted = match open(content, self.limits, &self.judge).await {
            Ok(case) => match self.judge.permit(&case) {
                Ok(permit) => Ok((case, permit)),
                Err(error @ (PermitError::TooCostly { .. } | PermitError::TooLarge { .. })) => Err(error.into()),
                Err(refused) => return Err(refused.into()),
            },
            Err(problem) => Err(problem),
        };
        Ok(Some(Entry { line: number, admitted }))
    }

    /// The next line, once there is room for it in the queue; none after the last, or after one that tells why there
    /// will be no more.
    async fn next(&mut self) -> Option<Entry> {
        if self.ended {
            return None;
        }
        match self.read().await {
            Ok(line) => {
                let Line { number, content } = line?;
                self.number = number;
                Some(Entry { line: number, admitted: admit(content, self.limits, &self.judge).await })
            }
            Err(problem) => {
                self.ended = true;
                Some(Entry { line: self.number + 1, admitted: Err(problem) })
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Line>, Problem> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {
                Err(Problem::unavailable("the service is stopping: from this line on nothing is answered"))
            }
            line = self.lines.next() => line,
        }
    }
}

async fn open(content: Result<Bytes, LineTooLong>, limits: Limits, judge: &Judge) -> Result<Case, Problem> {
    let content = content.map_err(|error| Problem::too_large(error.to_string()))?;
    judge.open(content.len(), move || Ok(vec![json::parse(&content, &limits)?])).await
}

/// The head is sent, so a full queue can't be refused any more: the client is kept waiting instead.
async fn admit(content: Result<Bytes, LineTooLong>, limits: Limits, judge: &Judge) -> Result<(Case, Permit), Problem> {
    let case = open(content, limits, judge).await?;
    loop {
        match judge.permit(&case) {
            Err(PermitError::Overloaded { .. }) => tokio::time::sleep(ASK_AGAIN).await,
            decided => return Ok((case, decided?)),
        }
    }
}

/// What the problems of a stream's lines have in common.
#[derive(Debug, Clone)]
struct Voice {
    instance: String,
    request_id: String,
}

impl Voice {
    fn of(request: &Request) -> Self {
        let request_id = request.extensions().get::<RequestId>().map(|RequestId(id)| id.clone()).unwrap_or_default();
        Self { instance: request.uri().path().to_owned(), request_id }
    }

    /// The line that tells of `problem`. The layer that logs failures sees only the head of the answer, so it's done here.
    fn line(&self, line: u64, problem: &Problem) -> Bytes {
        if let Some(cause) = problem.cause() {
            tracing::error!(request.id = %self.request_id, line, cause, "scoring a line failed");
        }
        to_line(&LineError { line, error: problem.body(&self.instance, &self.request_id) })
    }
}

fn to_line(value: &impl Serialize) -> Bytes {
    // Only a map with keys that aren't strings could fail, and no answer has one.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
