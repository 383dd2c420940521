//! Every error is a problem in our words, wherever it arises.

use reqwest::Method;
use serde_json::json;

use crate::support::App;

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let app = App::start().await;
    for path in ["/v1", "/v1/", "/v1/familie", "/v1/families/", "/v1/families/a/b/c/d", "/../etc/passwd", "//"] {
        app.get(path).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_known_path_says_which_methods_it_takes() {
    let app = App::start().await;
    for (method, path, allowed) in [
        (Method::PUT, "/v1/families", ["GET", "POST"]),
        (Method::PATCH, "/v1/families/a", ["GET", "DELETE"]),
        (Method::DELETE, "/v1/datasets?name=a", ["POST", "POST"]),
        (Method::POST, "/health/live", ["GET", "HEAD"]),
    ] {
        let answer = app.send(app.request(method, path)).await;
        answer.expect_problem(405, "method-not-allowed");
        for allowed in allowed {
            assert!(answer.header("allow").contains(allowed), "{path}: {}", answer.header("allow"));
        }
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = App::start().await;
    let response = reqwest::Client::new().head(format!("{}/v1/families", app.address)).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_problem_names_its_request() {
    let app = App::start().await;
    let answer = app.get("/v1/families/none?x=1").await;
    let problem = answer.expect_problem(404, "not-found");
    assert_eq!(problem["instance"], "/v1/families/none");
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    assert_eq!(problem["status"], 404);
}

#[tokio::test]
async fn a_missing_content_type_is_415() {
    let app = App::start().await;
    let request = app.request(Method::POST, "/v1/families").body(r#"{"name": "a"}"#);
    app.send(request).await.expect_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_compressed_body_is_415() {
    let app = App::start().await;
    let request = |coding| app.request(Method::POST, "/v1/families").header("content-encoding", coding);
    for coding in ["gzip", "br"] {
        app.send(request(coding).json(&json!({"name": "a"}))).await.expect_problem(415, "unsupported-media-type");
    }
    app.send(request("identity").json(&json!({"name": "a"}))).await.expect(201);
}

#[tokio::test]
async fn an_array_is_no_object_and_null_is_nothing() {
    let app = App::with(&[("load-samples", "true")]).await;
    let (graph, path) = (json!({"nodes": 2, "edges": [[0, 1]]}), "/v1/families/ladder/score");
    app.post_json(path, &json!({"graph": graph, "graphs": null, "options": null})).await.expect(200);
    app.post_json("/v1/families", &json!(["a", null])).await.expect_problem(422, "invalid");
    app.post_json(path, &json!([graph, null, {}])).await.expect_problem(422, "invalid");
    let options = json!([0.5, null, null, null, null, null, null, null, null]);
    let problem =
        app.post_json(path, &json!({"graph": graph, "options": options})).await.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/options");
}

#[tokio::test]
async fn a_missing_parameter_is_400() {
    let app = App::start().await;
    let problem = app.post_json("/v1/datasets", &json!({})).await.expect_problem(400, "bad-request");
    assert!(problem["detail"].as_str().unwrap().contains("name"), "{problem}");
}

#[tokio::test]
async fn a_method_of_no_route_is_refused_before_its_body_is_read() {
    let app = App::start().await;
    app.put_json("/v1/families", &json!({"name": "a"})).await.expect_problem(405, "method-not-allowed");
}

/// A client that promises a body and goes silent must not hold a handler for ever.
#[tokio::test]
async fn a_silent_client_meets_the_deadline() {
    let app = App::with(&[("request-timeout", "0.3")]).await;
    app.create_family("f").await;
    let silent = || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("{\"nodes\": 1, \"edges\": []}\n")]);
        reqwest::Body::wrap_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    app.post("/v1/families", "application/json", silent()).await.expect_problem(504, "deadline");
    let stalled = app.post("/v1/families/f/graphs", "application/x-ndjson", silent()).await;
    let problem = stalled.expect_problem(408, "upload-stalled");
    assert!(problem["detail"].as_str().unwrap().ends_with("1 graphs were added before"), "{problem}");
}
