//! Families: made, listed, read, deleted.

use serde_json::json;

use crate::support::{App, pointers};

#[tokio::test]
async fn a_family_is_made_read_and_deleted() {
    let app = App::start().await;
    let made = app.post_json("/v1/families", &json!({"name": "ego.nets_1", "description": "mine"})).await;
    let family = made.expect(201);
    assert_eq!(made.header("location"), "/v1/families/ego.nets_1");
    assert_eq!(family["name"], "ego.nets_1");
    assert_eq!(family["description"], "mine");
    assert_eq!(family["graphs"], json!({"total": 0, "train": 0, "calibration": 0, "test": 0}));
    assert_eq!(family["nodes"], json!(null));

    let mut read = app.get("/v1/families/ego.nets_1").await.expect(200);
    assert_eq!(read["active_detectors"].take(), json!([]));
    assert_eq!(read["created_at"], family["created_at"]);

    assert!(app.delete("/v1/families/ego.nets_1").await.expect(204).is_null());
    let gone = app.get("/v1/families/ego.nets_1").await.expect_problem(404, "not-found");
    assert_eq!(gone["instance"], "/v1/families/ego.nets_1");
    app.delete("/v1/families/ego.nets_1").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_family_counts_its_graphs_and_their_sizes() {
    let app = App::start().await;
    app.create_family("rings").await;
    let graphs: Vec<_> = (3..23).map(|n| json!({"nodes": n, "edges": [[0, 1], [1, 2]]})).collect();
    app.post_json("/v1/families/rings/graphs", &json!({ "graphs": graphs })).await.expect(200);
    let family = app.get("/v1/families/rings").await.expect(200);
    assert_eq!(family["graphs"]["total"], 20);
    let splits = ["train", "calibration", "test"].map(|split| family["graphs"][split].as_u64().unwrap());
    assert_eq!(splits.iter().sum::<u64>(), 20, "{splits:?}");
    assert!(splits[0] > splits[2] && splits[2] > 0, "{splits:?}");
    assert_eq!(family["nodes"], json!({"min": 3, "max": 22, "mean": 12.5}));
    assert_eq!(family["edges"], json!({"min": 2, "max": 2, "mean": 2.0}));
    assert_eq!(family["labelled"], false);
}

#[tokio::test]
async fn a_taken_name_is_a_conflict() {
    let app = App::start().await;
    app.create_family("a").await;
    let problem = app.post_json("/v1/families", &json!({"name": "a"})).await.expect_problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains('a'), "{problem}");
}

#[tokio::test]
async fn what_can_be_no_family_is_located() {
    let app = App::start().await;
    let long = "a".repeat(64);
    for name in ["", "-a", "A", "a b", "a/b", "é", "a\u{0}", long.as_str()] {
        let problem = app.post_json("/v1/families", &json!({ "name": name })).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), ["/name"], "{name:?}");
    }
    let cases = [
        (json!({"name": 3}), "/name"),
        (json!({}), ""),
        (json!([]), ""),
        (json!({"name": "a", "colour": "red"}), "/colour"),
        (json!({"name": "a", "description": "x".repeat(2001)}), "/description"),
    ];
    for (body, pointer) in cases {
        let problem = app.post_json("/v1/families", &body).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), [pointer], "{body}");
    }
}

#[tokio::test]
async fn the_list_is_paged_by_name() {
    let app = App::start().await;
    for name in ["c", "a", "e", "b", "d"] {
        app.create_family(name).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/families?limit=2".to_owned();
    loop {
        let page = app.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/families?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let app = App::start().await;
    for query in ["limit=0", "limit=201", "limit=x", "cursor=!!", "limit=1&limit=2"] {
        app.get(&format!("/v1/families?{query}")).await.expect_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_path_that_can_be_no_family_is_not_found() {
    let app = App::start().await;
    for name in ["-x", "UPPER", "a%20b", "%00", "%ff", "..%2f..", &"x".repeat(64)] {
        app.get(&format!("/v1/families/{name}")).await.expect_problem(404, "not-found");
        app.delete(&format!("/v1/families/{name}")).await.expect_problem(404, "not-found");
        app.get(&format!("/v1/families/{name}/graphs")).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_family_outlives_the_process() {
    let app = App::start().await;
    app.create_family("kept").await;
    let before = app.get("/v1/families/kept").await.expect(200);
    let app = app.kill_and_restart().await;
    assert_eq!(app.get("/v1/families/kept").await.expect(200), before);
}
