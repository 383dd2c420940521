//! What a request may cost before its handler sees it: its rate, its size, its time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http_body_util::Limited;
use tower_http::timeout::TimeoutBody;

use super::Config;
use super::auth::Caller;
use super::error::Problem;
use super::extract::content_type;

/// Bodies that arrive as a stream: no limit on the whole, which is never held, but on each line.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Bodies written to a file before they are read.
pub(super) const ZIP: &str = "application/zip";

/// The requests of each key, counted.
#[derive(Debug, Clone)]
pub(super) struct Rates(Option<Arc<DefaultKeyedRateLimiter<String>>>);

impl Rates {
    /// `per_second` requests of each key, as many at once; 0 is no limit.
    pub(super) fn new(per_second: u32) -> Self {
        Self(NonZeroU32::new(per_second).map(|rate| Arc::new(RateLimiter::keyed(Quota::per_second(rate)))))
    }

    /// Counts a request; how long to wait when it is one too many. Callers are keys that exist, so they are few.
    fn check(&self, caller: &Caller) -> Result<(), Duration> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        let name = match caller {
            Caller::Key { name } => name.clone(),
            Caller::Anybody => String::new(),
        };
        limiter.check_key(&name).map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }
}

/// 429 for a key over its rate. Open paths have no caller and no rate: probes must always be answered.
pub(super) async fn limit_rate(State(rates): State<Rates>, request: Request, next: Next) -> Result<Response, Problem> {
    if let Some(caller) = request.extensions().get::<Caller>() {
        rates.check(caller).map_err(|wait| Problem::too_many_requests("this key is over its rate", wait))?;
    }
    Ok(next.run(request).await)
}

/// 415 for a compressed body. 413 for one over the limit of its content type: at once where it says its length, else when
/// it gets there.
pub(super) async fn limit_body(
    State(config): State<Arc<Config>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(coding) = request.headers().get(header::CONTENT_ENCODING)
        && coding != "identity"
    {
        let coding = String::from_utf8_lossy(coding.as_bytes());
        return Err(Problem::unsupported_media_type(format!("the body is sent as `{coding}`; send it uncompressed")));
    }
    let limit = match content_type(request.headers()).as_deref() {
        Some(NDJSON) => return Ok(next.run(request).await),
        Some(ZIP) => config.max_upload_bytes,
        _ => config.max_body_bytes,
    };
    if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(Problem::too_large(format!("a body of this content type may have {limit} bytes")));
    }
    Ok(next.run(request.map(|body| Body::new(Limited::new(body, limit)))).await)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// 504 when no answer has begun within the deadline. A stream, up or down, lasts as long as it flows: an upload must
/// bring something within each such time.
pub(super) async fn limit_time(
    State(config): State<Arc<Config>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let limit = config.request_timeout;
    if matches!(content_type(request.headers()).as_deref(), Some(NDJSON | ZIP)) {
        return Ok(next.run(request.map(|body| Body::new(TimeoutBody::new(limit, body)))).await);
    }
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| Problem::deadline(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_rate() {
        let rates = Rates::new(2);
        let key = |name: &str| Caller::Key { name: name.to_owned() };
        assert!(rates.check(&key("a")).is_ok());
        assert!(rates.check(&key("a")).is_ok());
        let wait = rates.check(&key("a")).expect_err("over its rate");
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
        assert!(rates.check(&key("b")).is_ok());
        assert!(rates.check(&Caller::Anybody).is_ok());
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let rates = Rates::new(0);
        assert!((0..10_000).all(|_| rates.check(&Caller::Anybody).is_ok()));
    }
}
