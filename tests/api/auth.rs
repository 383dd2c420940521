//! Default-deny: who may do what, and how often.

use reqwest::Method;

use crate::contract::{example_path, operations};
use crate::support::App;

#[tokio::test]
async fn without_any_key_a_loopback_service_is_open_and_then_never_again() {
    let app = App::start().await;
    app.get("/v1/families").await.expect(200);
    app.create_key("first", "admin").await;
    app.get("/v1/families").await.expect_problem(401, "unauthorized");
    app.revoke_key("first").await;
    app.get("/v1/families").await.expect_problem(401, "unauthorized");
    let app = app.kill_and_restart().await;
    app.get("/v1/families").await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn every_route_but_the_open_ones_needs_a_key() {
    let app = App::start().await;
    app.create_key("first", "admin").await;
    for (method, template, _) in operations() {
        let answer = app.send(app.request(method.clone(), &example_path(&template))).await;
        let open = template.starts_with("/health/") || template == "/metrics";
        if open {
            assert_eq!(answer.status, 200, "{method} {template}");
        } else {
            answer.expect_problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"graphkin\"");
        }
    }
    for open in ["/openapi.yaml", "/docs/", "/"] {
        assert!(app.get(open).await.status < 400, "{open}");
    }
    // Not even what is there is told.
    app.get("/v1/nonsense").await.expect_problem(401, "unauthorized");
    app.send(app.request(Method::PATCH, "/v1/families")).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn every_route_asks_for_the_scope_that_the_contract_names() {
    let mut app = App::start().await;
    let scopes = ["read", "score", "admin"];
    let mut keys = Vec::new();
    for scope in scopes {
        keys.push(app.create_key(scope, scope).await);
    }
    for (method, template, operation) in operations() {
        let Some(needed) = operation["security"][0]["key"][0].as_str() else { continue };
        let needed = scopes.iter().position(|scope| *scope == needed).expect("a scope");
        for (held, key) in keys.iter().enumerate() {
            app.use_key(key);
            let answer = app.send(app.request(method.clone(), &example_path(&template))).await;
            assert_eq!(answer.status == 403, held < needed, "{method} {template} with {}", scopes[held]);
            if held < needed {
                let detail = answer.expect_problem(403, "insufficient-scope")["detail"].to_string();
                assert!(detail.contains(&format!("`{}`", scopes[needed])), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn a_revoked_key_stops_at_once() {
    let mut app = App::start().await;
    app.create_key("keeper", "admin").await;
    let key = app.create_key("ci", "read").await;
    app.use_key(&key);
    app.get("/v1/families").await.expect(200);
    app.revoke_key("ci").await;
    app.get("/v1/families").await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn what_is_no_bearer_key_is_refused() {
    let app = App::start().await;
    let key = app.create_key("k", "admin").await;
    let half = &key[..key.len() - 1];
    let values = [
        key.clone(),
        format!("Basic {key}"),
        "Bearer".into(),
        format!("Bearer {half}"),
        format!("Bearer {key}x"),
        String::new(),
    ];
    for value in values {
        let request = app.request(Method::GET, "/v1/families").header("authorization", &value);
        app.send(request).await.expect_problem(401, "unauthorized");
    }
    let request = app.request(Method::GET, "/v1/families").header("authorization", format!("bearer {key}"));
    app.send(request).await.expect(200);
}

#[tokio::test]
async fn a_key_over_its_rate_waits_and_probes_do_not() {
    let mut app = App::with(&[("rate-limit", "2")]).await;
    let one = app.create_key("one", "read").await;
    let other = app.create_key("other", "read").await;
    app.use_key(&one);
    let mut limited = None;
    for _ in 0..20 {
        let answer = app.get("/v1/families").await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("the twentieth request in a row is over a rate of 2 a second");
    limited.expect_problem(429, "too-many-requests");
    assert_eq!(limited.header("retry-after"), "1");
    app.use_key(&other);
    app.get("/v1/families").await.expect(200);
    for _ in 0..10 {
        app.get("/health/live").await.expect(200);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    app.use_key(&one);
    app.get("/v1/families").await.expect(200);
}

#[tokio::test]
async fn a_key_is_never_shown_again() {
    let app = App::start().await;
    let key = app.create_key("shown-once", "admin").await;
    let listed = app.command(&["keys", "list"]).await;
    assert!(listed.contains("shown-once") && !listed.contains(&key), "{listed}");
    let files = std::fs::read_dir(app.data_dir()).unwrap().filter_map(Result::ok).filter(|file| file.path().is_file());
    for file in files {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "{:?}", file.path());
    }
}
