//! Probes, metrics, the contract's page.

use reqwest::Method;
use serde_json::json;

use crate::support::App;

#[tokio::test]
async fn a_started_service_is_live_and_ready() {
    let app = App::start().await;
    assert_eq!(app.get("/health/live").await.expect(200), json!({"live": true}));
    let ready = app.get("/health/ready").await.expect(200);
    assert_eq!(
        ready,
        json!({"ready": true, "checks": {"store": true, "scorer": true, "device": true, "running": true}})
    );
}

#[tokio::test]
async fn metrics_count_requests_by_route_not_by_path() {
    let app = App::start().await;
    app.create_family("counted").await;
    app.get("/v1/families/counted").await.expect(200);
    app.get("/v1/nonsense/counted").await.expect(404);
    let metrics = app.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.content_type().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = metrics.text();
    assert!(text.contains("graphkin_http_requests_total"), "{text}");
    assert!(text.contains(r#"route="/v1/families/{family}""#), "{text}");
    assert!(!text.contains("counted"), "{text}");
}

#[tokio::test]
async fn the_page_of_the_contract_needs_no_internet() {
    let app = App::start().await;
    let home = app.get("/").await;
    assert_eq!((home.status, home.header("location")), (307, "/docs/"));
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.content_type().unwrap().starts_with("text/html"));
    assert!(!page.text().contains("//"), "{}", page.text());
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        assert!(page.text().contains(file), "{}", page.text());
        assert_eq!(app.get(&format!("/docs/{file}")).await.status, 200, "{file}");
    }
    let script = app.get("/docs/swagger-initializer.js").await.text();
    assert!(script.contains("/openapi.yaml"), "{script}");
}

#[tokio::test]
async fn long_answers_are_compressed_when_asked() {
    let app = App::start().await;
    let request = app.request(Method::GET, "/openapi.yaml").header("accept-encoding", "gzip");
    let answer = app.send(request).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    let plain = app.get("/openapi.yaml").await;
    assert!(plain.headers.get("content-encoding").is_none());
    assert!(answer.bytes.len() < plain.bytes.len() / 4, "{} of {}", answer.bytes.len(), plain.bytes.len());
}

#[tokio::test]
async fn a_request_id_is_kept_where_it_is_a_sane_one() {
    let app = App::start().await;
    let request = app.request(Method::GET, "/v1/families/none").header("x-request-id", "trace-7");
    let answer = app.send(request).await;
    assert_eq!(answer.header("x-request-id"), "trace-7");
    assert_eq!(answer.expect(404)["request_id"], "trace-7");
    let request = app.request(Method::GET, "/health/live").header("x-request-id", "{evil}");
    assert_ne!(app.send(request).await.header("x-request-id"), "{evil}");
}
