//! Graphs of every shape that users bring, and what can't be one.

use serde_json::{Value, json};

use crate::support::{Answer, App, pointers};

const NDJSON: &str = "application/x-ndjson";
const GRAPHS: &str = "/v1/families/f/graphs";

async fn app() -> App {
    let app = App::start().await;
    app.create_family("f").await;
    app
}

/// Adds one graph and reads it back.
async fn round_trip(app: &App, id: &str, mut graph: Value) -> Value {
    graph["id"] = json!(id);
    let added = app.post_json(GRAPHS, &graph).await.expect(200);
    assert_eq!(added["accepted"], 1, "{added}");
    app.get(&format!("{GRAPHS}/{id}")).await.expect(200)
}

#[tokio::test]
async fn graphs_of_every_shape_come_back_in_canonical_form() {
    let app = app().await;
    let clique: Vec<_> = (0..12).flat_map(|a| (a + 1..12).map(move |b| json!([a, b]))).collect();
    let cases = [
        ("one-node", json!({"nodes": 1, "edges": []})),
        ("no-edges", json!({"nodes": 7, "edges": []})),
        ("clique", json!({"nodes": 12, "edges": clique})),
        ("tree", json!({"nodes": 5, "edges": [[0, 1], [0, 2], [1, 3], [1, 4]]})),
        ("disconnected", json!({"nodes": 6, "edges": [[0, 1], [4, 5]]})),
        ("labelled", json!({"nodes": 3, "edges": [[0, 1]], "node_labels": [-1, 0, 9_007_199_254_740_993_i64]})),
    ];
    for (id, graph) in cases {
        let mut read = round_trip(&app, id, graph.clone()).await;
        let split = read["split"].take();
        assert!(["train", "calibration", "test"].contains(&split.as_str().unwrap()), "{split}");
        for key in ["nodes", "edges", "node_labels"] {
            assert_eq!(read[key], graph[key], "{id}: {key}");
        }
        assert_eq!(read["id"], id);
    }
    let listed = app.get(GRAPHS).await.expect(200);
    let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
    assert_eq!(ids, ["one-node", "no-edges", "clique", "tree", "disconnected", "labelled"]);
    assert_eq!(listed["items"][2]["nodes"], 12);
    assert_eq!(listed["items"][2]["edges"], 66);
}

#[tokio::test]
async fn what_is_dropped_is_said() {
    let app = app().await;
    let messy = json!({"id": "messy", "nodes": 3, "edges": [[0, 1], [1, 0], [0, 1], [2, 2]]});
    let added = app.post_json(GRAPHS, &messy).await.expect(200);
    assert_eq!(added["warnings_count"], 1);
    let said = added["warnings"].to_string();
    assert!(said.contains("self-loop") && said.contains("repeated"), "{said}");
    assert_eq!(app.get(&format!("{GRAPHS}/messy")).await.expect(200)["edges"], json!([[0, 1]]));
}

#[tokio::test]
async fn other_formats_are_read_as_they_are() {
    let app = app().await;
    let node_link = json!({
        "directed": true, "multigraph": false, "graph": {},
        "nodes": [{"id": "C1", "label": 6}, {"id": "O1", "label": 8}, {"id": 7, "label": 6}],
        "links": [{"source": "C1", "target": "O1"}, {"source": 7, "target": "C1"}],
    });
    let added = app.post_json(GRAPHS, &node_link).await.expect(200);
    assert_eq!(added["accepted"], 1);
    assert!(added["warnings"].to_string().contains("directed"), "{added}");
    let json_graph = json!({"graph": {
        "directed": false,
        "nodes": {"a": {}, "b": {}, "c": {}},
        "edges": [{"source": "a", "target": "c"}],
    }});
    app.post_json(GRAPHS, &json_graph).await.expect(200);
    let listed = app.get(GRAPHS).await.expect(200);
    assert_eq!(listed["items"][0]["nodes"], 3);
    assert_eq!(listed["items"][0]["edges"], 2);
    assert_eq!(listed["items"][1]["edges"], 1);
}

#[tokio::test]
async fn what_is_no_graph_is_located() {
    let app = app().await;
    let cases = [
        (json!({"nodes": 0, "edges": []}), "/nodes"),
        (json!({"nodes": -3, "edges": []}), "/nodes"),
        (json!({"nodes": 1_000_000_000, "edges": []}), "/nodes"),
        (json!({"nodes": 1e300, "edges": []}), "/nodes"),
        (json!({"nodes": 2, "edges": [[0, 1], [0, 2]]}), "/edges/1/1"),
        (json!({"nodes": 2, "edges": [[-1, 0]]}), "/edges/0/0"),
        (json!({"nodes": 2, "edges": [[0]]}), "/edges/0"),
        (json!({"nodes": 2, "edges": [], "node_labels": [1]}), "/node_labels"),
        (json!({"id": "", "nodes": 2, "edges": []}), "/id"),
    ];
    for (graph, pointer) in cases {
        let problem = app.post_json(GRAPHS, &graph).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), [pointer], "{graph}: {problem}");
    }
    for graph in [json!([]), json!(3), json!(null), json!({}), json!({"edges": []}), json!({"graphs": 3})] {
        app.post_json(GRAPHS, &graph).await.expect_problem(422, "invalid");
    }
    assert_eq!(app.get(GRAPHS).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_bad_graph_of_several_costs_no_other() {
    let app = app().await;
    let body = json!({"graphs": [
        {"id": "a", "nodes": 2, "edges": [[0, 1]]},
        {"id": "b", "nodes": 2, "edges": [[0, 1], [0, 9]]},
        {"id": "a", "nodes": 3, "edges": []},
        "not a graph",
        {"nodes": 4, "edges": []},
    ]});
    let added = app.post_json(GRAPHS, &body).await.expect(200);
    assert_eq!(added["accepted"], 2, "{added}");
    assert_eq!(added["rejected_count"], 3);
    let rejected = added["rejected"].as_array().unwrap();
    let indices: Vec<_> = rejected.iter().map(|note| note["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [1, 2, 3]);
    assert_eq!(rejected[0]["pointer"], "/graphs/1/edges/1/1");
    assert!(rejected[1]["detail"].as_str().unwrap().contains("`a`"), "{added}");
    assert_eq!(rejected[2]["pointer"], "/graphs/3");
    assert_eq!(app.get(GRAPHS).await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn more_graphs_than_the_limit_are_refused_whole() {
    let app = app().await;
    let graphs = vec![json!({"nodes": 1, "edges": []}); 51];
    let problem = app.post_json(GRAPHS, &json!({ "graphs": graphs })).await.expect_problem(422, "invalid");
    assert_eq!(pointers(&problem), ["/graphs"]);
    assert_eq!(app.get("/v1/families/f").await.expect(200)["graphs"]["total"], 0);
}

#[tokio::test]
async fn a_single_graph_with_a_taken_id_is_a_conflict() {
    let app = app().await;
    let graph = json!({"id": "x", "nodes": 1, "edges": []});
    app.post_json(GRAPHS, &graph).await.expect(200);
    app.post_json(GRAPHS, &graph).await.expect_problem(409, "conflict");
}

#[tokio::test]
async fn a_bad_line_of_a_stream_costs_no_other() {
    let app = app().await;
    let long = format!("{{\"nodes\": 1, \"edges\": [], \"x\": \"{}\"}}", "y".repeat(5000));
    let deep = "[".repeat(3000);
    let body = [
        r#"{"id": "first", "nodes": 2, "edges": [[0, 1]]}"#,
        "",
        "this is not JSON",
        r#"{"nodes": 2, "edges": [[0, 5]]}"#,
        long.as_str(),
        deep.as_str(),
        r#"{"id": "first", "nodes": 2, "edges": []}"#,
        "{\"id\": \"last\", \"nodes\": 1, \"edges\": []}\r",
    ]
    .join("\n");
    let added = app.post(GRAPHS, NDJSON, body).await.expect(200);
    assert_eq!(added["accepted"], 2, "{added}");
    assert_eq!(added["rejected_count"], 5);
    let rejected = added["rejected"].as_array().unwrap();
    let lines: Vec<_> = rejected.iter().map(|note| note["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7]);
    assert_eq!(rejected[1]["pointer"], "/edges/0/1");
    assert!(rejected[2]["detail"].as_str().unwrap().contains("4096"), "{added}");
    app.get(&format!("{GRAPHS}/last")).await.expect(200);
}

#[tokio::test]
async fn a_line_that_is_not_utf_8_costs_no_other() {
    let app = app().await;
    let mut body = b"{\"nodes\": 1, \"edges\": []}\n{\"id\": \"\xff\xfe\", \"nodes\": 1, \"edges\": []}\n".to_vec();
    body.extend_from_slice(b"{\"nodes\": 2, \"edges\": []}");
    let added = app.post(GRAPHS, NDJSON, body).await.expect(200);
    assert_eq!((&added["accepted"], &added["rejected"][0]["line"]), (&json!(2), &json!(2)), "{added}");
}

#[tokio::test]
async fn a_stream_wrong_throughout_makes_no_endless_answer() {
    let app = app().await;
    let body = "nonsense\n".repeat(20_000);
    let answer = app.post(GRAPHS, NDJSON, body).await;
    let added = answer.expect(200);
    assert_eq!(added["rejected_count"], 20_000);
    assert_eq!(added["rejected"].as_array().unwrap().len(), 100);
    assert!(answer.bytes.len() < 20_000, "{} bytes", answer.bytes.len());
}

#[tokio::test]
async fn a_stream_may_be_longer_than_any_body() {
    let app = app().await;
    let line = format!(
        "{{\"nodes\": 60, \"edges\": [{}]}}\n",
        (1..60).map(|b| format!("[0,{b}]")).collect::<Vec<_>>().join(",")
    );
    let count = 400;
    assert!(line.len() * count > 65_536 * 2);
    let added = app.post(GRAPHS, NDJSON, line.repeat(count)).await.expect(200);
    assert_eq!(added["accepted"], count);
    assert_eq!(app.get("/v1/families/f").await.expect(200)["graphs"]["total"], count);
}

#[tokio::test]
async fn an_empty_stream_adds_nothing() {
    let app = app().await;
    assert_eq!(app.post(GRAPHS, NDJSON, "\n\n").await.expect(200)["accepted"], 0);
}

#[tokio::test]
async fn what_is_not_json_is_400() {
    let app = app().await;
    let deep = format!("{{\"nodes\": 1, \"edges\": {}", "[".repeat(20_000));
    let cases: [&[u8]; 5] = [b"", b"{", b"\xff\xfe", b"{\"nodes\": 1, \"edges\": []} x", deep.as_bytes()];
    for body in cases {
        app.post(GRAPHS, "application/json", body.to_vec()).await.expect_problem(400, "malformed-body");
    }
}

#[tokio::test]
async fn the_wrong_content_type_is_415() {
    let app = app().await;
    for content_type in ["text/plain", "application/zip", "application/jsonx", "multipart/form-data; boundary=x"] {
        app.post(GRAPHS, content_type, "{}").await.expect_problem(415, "unsupported-media-type");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_however_it_is_sent() {
    let app = app().await;
    let body = format!("{{\"nodes\": 1, \"edges\": [], \"x\": \"{}\"}}", "y".repeat(70_000));
    app.post(GRAPHS, "application/json", body.clone()).await.expect_problem(413, "too-large");
    let pieces =
        body.into_bytes().chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    app.post(GRAPHS, "application/json", chunked).await.expect_problem(413, "too-large");
}

#[tokio::test]
async fn graphs_of_no_family_are_not_found() {
    let app = App::start().await;
    let not_found = |answer: Answer| answer.expect_problem(404, "not-found");
    not_found(app.get(GRAPHS).await);
    not_found(app.get(&format!("{GRAPHS}/1")).await);
    not_found(app.post_json(GRAPHS, &json!({"nodes": 1, "edges": []})).await);
    app.create_family("f").await;
    not_found(app.get(&format!("{GRAPHS}/1")).await);
}

#[tokio::test]
async fn graphs_without_an_id_get_one_and_the_list_is_paged() {
    let app = app().await;
    let graphs = vec![json!({"nodes": 1, "edges": []}); 5];
    app.post_json(GRAPHS, &json!({ "graphs": graphs })).await.expect(200);
    let mut ids = std::collections::BTreeSet::new();
    let mut path = format!("{GRAPHS}?limit=2");
    loop {
        let page = app.get(&path).await.expect(200);
        for item in page["items"].as_array().unwrap() {
            let id = item["id"].as_str().unwrap();
            app.get(&format!("{GRAPHS}/{id}")).await.expect(200);
            assert!(ids.insert(id.to_owned()), "{id} twice");
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{GRAPHS}?limit=2&cursor={cursor}");
    }
    assert_eq!(ids.len(), 5);
}
