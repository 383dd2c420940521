//! The outermost layer: every request has an id, every answer carries it, and every error is written as a problem.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::error::{PROBLEM_JSON, Problem};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 128;

/// What the log and the answer call the request.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Takes the id that a proxy or client gave where it is a sane one, else makes one (its age sorts: version 7).
pub(super) async fn assign_request_id(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    let id = given.map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned);
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(RequestId(id.clone()));

    let mut response = write_problem(next.run(request).await, &path, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// Nothing that could break a log line or a header.
fn is_sane(id: &str) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Gives an error its body. Errors that a library answered with, in its own words, get ours.
fn write_problem(mut response: Response, path: &str, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_problem_or_report(&response) => return response,
        None => foreign(status),
    };
    let (mut parts, _) = response.into_parts();
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_TYPE] {
        parts.headers.remove(name);
    }
    let mut written = (parts.status, Json(problem.body(path, id))).into_response();
    written.headers_mut().extend(parts.headers);
    written.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    written
}

/// Whether an answer with an error's status was meant as it is: readiness reports itself in JSON.
fn is_problem_or_report(response: &Response) -> bool {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.starts_with("application/"))
}

fn foreign(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("nothing is here"),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is too large"),
        _ => Problem::new(status, "http", status.canonical_reason().unwrap_or("Error"), "the request was refused"),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt;

    use super::*;

    async fn call(id: Option<&str>, path: &str) -> (Response, serde_json::Value) {
        let router = Router::new()
            .route("/ok", get(|| async { Json("fine") }))
            .route("/plain", get(|| async { (StatusCode::IM_A_TEAPOT, "in its own words") }))
            .route("/gone", get(|| async { Problem::not_found("there is no x") }))
            .layer(middleware::from_fn(assign_request_id));
        let mut request = Request::builder().uri(path);
        if let Some(id) = id {
            request = request.header(X_REQUEST_ID, id);
        }
        let mut response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let bytes = axum::body::to_bytes(std::mem::take(response.body_mut()), 10_000).await.unwrap();
        (response, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_sane_id_is_kept_and_another_replaced() {
        let (response, _) = call(Some("req-1.2_3:4"), "/ok").await;
        assert_eq!(response.headers()[X_REQUEST_ID], "req-1.2_3:4");
        let long = "x".repeat(129);
        for bad in ["", "with space", "semi;colon", long.as_str()] {
            let (response, _) = call(Some(bad), "/ok").await;
            let id = response.headers()[X_REQUEST_ID].to_str().unwrap();
            assert!(Uuid::parse_str(id).is_ok(), "{bad} became {id}");
        }
        let (first, _) = call(None, "/ok").await;
        let (second, _) = call(None, "/ok").await;
        assert_ne!(first.headers()[X_REQUEST_ID], second.headers()[X_REQUEST_ID]);
    }

    #[tokio::test]
    async fn every_error_is_a_problem() {
        let (response, body) = call(Some("r1"), "/gone").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:graphkin:problem:not-found", "title": "Not found", "status": 404,
                "detail": "there is no x", "instance": "/gone", "request_id": "r1"
            })
        );
        let (response, body) = call(Some("r2"), "/plain").await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(body["title"], "I'm a teapot");
        assert_eq!(body["request_id"], "r2");
        assert!(!body.to_string().contains("own words"));
    }
}
