//! A job's history, as a list or live as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::wire::{After, Event, EventList};
use crate::http::error::Problem;
use crate::http::{AppState, jobs};
use crate::id::JobId;
use crate::job::{Job, JobEvent, TaskName};
use crate::store::StoreError;

/// Streams open at once. Each costs a question to the store every [`POLL`].
pub(in crate::http) const MAX_STREAMS: usize = 64;
/// How stale a live event may be.
const POLL: Duration = Duration::from_millis(250);
/// Below the 15 s after which proxies and clients begin to doubt a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Events read at once, and listed at most.
const PAGE: u32 = 200;
/// Streams end when a client leaves or a job does; nobody knows when that is.
const RETRY_STREAM: Duration = Duration::from_secs(10);

/// Room for event streams, shared by all requests of one service.
#[derive(Debug, Clone)]
pub(in crate::http) struct Streams(Arc<Semaphore>);

impl Streams {
    pub(in crate::http) fn new(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit)))
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::too_many_requests("too many event streams are open", RETRY_STREAM);
        Arc::clone(&self.0).try_acquire_owned().map_err(full)
    }
}

/// What the last event of a stream carries of its job.
pub(in crate::http) type Ended = fn(Job) -> Result<Frame, Problem>;

/// Which job is followed, and from where.
#[derive(Debug)]
pub(in crate::http) struct Followed {
    pub(in crate::http) task: TaskName,
    pub(in crate::http) id: JobId,
    pub(in crate::http) after: After,
    pub(in crate::http) ended: Ended,
}

/// A job's history: a stream of server-sent events, or a list for a client that asks for JSON.
///
/// # Errors
/// 404 when there is no such job; 400 for a `Last-Event-ID` that is none; 429 when too many streams are open.
pub(in crate::http) async fn answer(
    state: AppState,
    streams: &Streams,
    Followed { task, id, after, ended }: Followed,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(headers)?.or(after.after).unwrap_or(0);
    // The first page is read before the head is sent, so that a job that isn't there is a 404.
    jobs::find(&state, task, id).await?;
    let first = state.store.job_events(id, after, PAGE).await?;
    if prefers_json(headers) {
        return Ok(axum::Json(list(first, task)).into_response());
    }
    let _room = streams.enter()?;
    let follower = Follower { state, task, id, after, waiting: first.into(), ended, finished: false, _room };
    Ok(Sse::new(follower.frames()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| Problem::bad_request("Last-Event-ID is not the sequence of an event"))
}

/// Whether the client asks for JSON and not for a stream.
fn prefers_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/event-stream")
}

fn list(events: Vec<JobEvent>, task: TaskName) -> EventList {
    let full = events.len() == PAGE as usize;
    let next_after = events.last().map(|event| event.sequence).filter(|_| full);
    EventList { items: events.into_iter().map(|event| Event::new(event, task)).collect(), next_after }
}

/// One client on its way through a job's events.
struct Follower {
    state: AppState,
    task: TaskName,
    id: JobId,
    /// The sequence of the last event sent.
    after: i64,
    /// Read from the store and not yet sent.
    waiting: VecDeque<JobEvent>,
    ended: Ended,
    finished: bool,
    /// Given back when the stream is dropped, however it ends.
    _room: OwnedSemaphorePermit,
}

/// Why a stream ends early. Its client comes back with the id of the last event it has.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an event cannot be written")]
    Frame(#[from] axum::Error),
    #[error("the job cannot be told")]
    Job,
}

impl Follower {
    /// Ends after `done`, when the service stops, when the job is gone, or when the database fails.
    fn frames(self) -> impl Stream<Item = Result<Frame, Infallible>> {
        futures::stream::unfold(self, |mut follower| async {
            match follower.next().await {
                Ok(frame) => Some((Ok(frame?), follower)),
                Err(error) => {
                    tracing::warn!(job.id = %follower.id, %error, "an event stream broke off");
                    None
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Frame>, Broken> {
        while !self.finished {
            if let Some(event) = self.waiting.pop_front() {
                self.after = event.sequence;
                return Ok(Some(event_frame(Event::new(event, self.task))?));
            }
            // The job is read before its events: one that is final here has its last event there.
            let job = self.state.store.find_job(self.id).await?;
            self.waiting = self.state.store.job_events(self.id, self.after, PAGE).await?.into();
            if self.waiting.is_empty() {
                if job.state.is_final() {
                    self.finished = true;
                    return (self.ended)(job).map(Some).map_err(|_| Broken::Job);
                }
                self.finished = self.stops_while_waiting().await;
            }
        }
        Ok(None)
    }

    async fn stops_while_waiting(&self) -> bool {
        tokio::time::timeout(POLL, self.state.closing.cancelled()).await.is_ok()
    }
}

fn event_frame(event: Event) -> Result<Frame, axum::Error> {
    Frame::default().id(event.sequence.to_string()).event(event.event.as_str()).json_data(event)
}
