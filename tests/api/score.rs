//! Scoring: one graph, a batch, a stream; the same numbers each time; what is refused, and where.

use std::time::Duration;

use futures::stream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, pointers};
use crate::trained::{KINDS, create_layers, train};

const SCORE: &str = "/v1/families/layers/score";
const NDJSON: &str = "application/x-ndjson";
/// A line that can be scored.
const SMALL: &str = "{\"nodes\": 3, \"edges\": [[0, 1], [1, 2]]}\n";

/// Graphs of many shapes, each with something special to read or to score.
fn graphs() -> Vec<Value> {
    let ring: Vec<Value> = (0..16).map(|u| json!([u, (u + 1) % 16])).collect();
    let clique: Vec<Value> = (0..9).flat_map(|a| (a + 1..9).map(move |b| json!([a, b]))).collect();
    vec![
        json!({"nodes": 16, "edges": ring, "id": "ring"}),
        json!({"nodes": 9, "edges": clique, "id": "clique"}),
        json!({"nodes": 1, "edges": [], "id": "lone"}),
        json!({"nodes": 5, "edges": [], "id": "edgeless"}),
        json!({"nodes": 7, "edges": [[0, 1], [0, 2], [1, 3], [1, 4], [2, 5], [2, 6]], "id": "tree"}),
        json!({"nodes": 6, "edges": [[0, 1], [1, 2], [2, 0], [3, 4]], "id": "torn"}),
        json!({"nodes": 3, "edges": [[0, 1], [1, 0], [1, 1], [1, 2]], "id": "untidy"}),
    ]
}

fn lines(graphs: &[Value]) -> String {
    graphs.iter().map(|graph| format!("{graph}\n")).collect()
}

fn answers(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status, answer.content_type()), (200, Some(NDJSON)), "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

async fn trained_app(settings: &[(&str, &str)], kinds: &[&str]) -> App {
    let app = App::with(settings).await;
    create_layers(&app, "layers", 60).await;
    for kind in kinds {
        train(&app, "layers", kind, 1).await;
    }
    app
}

#[tokio::test]
async fn nothing_scores_before_a_training() {
    let app = App::start().await;
    app.create_family("layers").await;
    let body = json!({"graph": {"nodes": 2, "edges": [[0, 1]]}});
    let problem = app.post_json(SCORE, &body).await.expect_problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("training-jobs"), "it says what to do: {problem}");
    app.post_json("/v1/families/nobody/score", &body).await.expect_problem(404, "not-found");
    app.post_json("/v1/detectors/019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b/score", &body)
        .await
        .expect_problem(404, "not-found");
}

#[tokio::test]
async fn the_same_question_has_the_same_answer_to_the_bit() {
    // Every answer is computed: remembered ones would be the same for another reason.
    let app = trained_app(&[("score-cache", "0")], &KINDS).await;
    let graphs = graphs();
    let options = json!({"seed": 7, "samples": 20, "orderings": 5, "explain": true, "alpha": 0.1});

    let mut alone = Vec::new();
    for graph in &graphs {
        let answer = app.post_json(SCORE, &json!({"graph": graph, "options": options})).await;
        answer.expect(200);
        assert!(answer.header("server-timing").starts_with("queue;dur="), "{:?}", answer.headers);
        alone.push(answer.text());
    }
    for (graph, answer) in graphs.iter().zip(&alone) {
        check_shape(graph, &serde_json::from_str(answer).unwrap());
    }

    let batch = app.post_json(SCORE, &json!({"graphs": graphs, "options": options})).await;
    batch.expect(200);
    assert_eq!(batch.text(), format!("{{\"results\":[{}]}}", alone.join(",")), "in a batch");

    let query = format!("{SCORE}?seed=7&samples=20&orderings=5&explain=true&alpha=0.1");
    assert_eq!(answers(&app.post(&query, NDJSON, lines(&graphs)).await), alone, "in a stream");
    let backwards: Vec<Value> = graphs.iter().rev().cloned().collect();
    let mut streamed = answers(&app.post(&query, NDJSON, lines(&backwards)).await);
    streamed.reverse();
    assert_eq!(streamed, alone, "in other company");

    let all = json!({"graphs": graphs, "options": options});
    let first = json!({"graph": graphs[0], "options": options});
    let (one, other, between) =
        tokio::join!(app.post_json(SCORE, &all), app.post_json(SCORE, &all), app.post_json(SCORE, &first));
    assert_eq!((one.text(), other.text()), (batch.text(), batch.text()), "at the same time");
    assert_eq!(between.text(), alone[0], "between them");
    assert_eq!(count(&app, "graphkin_score_cache_hits_total").await, 0.0, "nothing is remembered");

    let app = app.restart_with(&[]).await;
    for when in ["after a restart", "as it is remembered"] {
        let again = app.post_json(SCORE, &json!({"graphs": graphs, "options": options})).await;
        assert_eq!(again.text(), batch.text(), "{when}");
    }
    let remembered = (graphs.len() * KINDS.len()) as f64;
    assert_eq!(count(&app, "graphkin_score_cache_hits_total").await, remembered);

    let other = json!({"seed": 8, "samples": 20, "orderings": 5, "explain": true, "alpha": 0.1});
    let other = app.post_json(SCORE, &json!({"graphs": graphs, "options": other})).await;
    other.expect(200);
    assert_ne!(other.text(), batch.text(), "the seed matters");
}

/// A metric that has no labels; 0 before it is first counted.
async fn count(app: &App, name: &str) -> f64 {
    let text = app.get("/metrics").await.text();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
}

/// A request that takes a second or so, of one graph many times.
fn slow_list() -> Value {
    let ring: Vec<Value> = (0..100).map(|u| json!([u, (u + 1) % 100])).collect();
    json!({"graphs": vec![json!({"nodes": 100, "edges": ring}); 40], "options": {"samples": 10_000}})
}

#[tokio::test]
async fn what_was_asked_before_is_answered_without_computing_or_waiting() {
    let app = trained_app(&[("max-requests", "1")], &["full-mask", "full-edge-prediction"]).await;
    let (hits, misses) = ("graphkin_score_cache_hits_total", "graphkin_score_cache_misses_total");
    let graphs = graphs();
    let first = app.post_json(SCORE, &json!({"graph": graphs[0]})).await;
    let answer = first.expect(200);
    assert_eq!((count(&app, hits).await, count(&app, misses).await), (0.0, 2.0));

    // The only place in the queue is taken, but what is known needs none.
    let slow = slow_list();
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let known = app.post_json(SCORE, &json!({"graph": graphs[0]})).await;
        (known, app.post_json(SCORE, &json!({"graph": graphs[1]})).await)
    };
    let (slow, (known, unknown)) = tokio::join!(app.post_json(SCORE, &slow), meanwhile);
    slow.expect(200);
    unknown.expect_problem(429, "too-many-requests");
    assert_eq!(known.text(), first.text());
    assert_eq!(known.header("server-timing"), "queue;dur=0.000, compute;dur=0.000");

    // Of a list only what is new is computed, and a detector's answer is the same by whichever way it is asked.
    let before = (count(&app, hits).await, count(&app, misses).await);
    let list = app.post_json(SCORE, &json!({"graphs": [graphs[1], graphs[0], graphs[2]]})).await.expect(200);
    assert_eq!(list["results"][1], answer);
    let id = answer["scores"][0]["detector_id"].as_str().unwrap();
    let alone = app.post_json(&format!("/v1/detectors/{id}/score"), &json!({"graph": graphs[2]})).await.expect(200);
    assert_eq!(alone["scores"][0], list["results"][2]["scores"][0]);
    let after = (count(&app, hits).await, count(&app, misses).await);
    assert_eq!((after.0 - before.0, after.1 - before.1), (3.0, 4.0));

    app.post_json(SCORE, &json!({"graph": graphs[0], "options": {"seed": 1}})).await.expect(200);
    assert_eq!(count(&app, misses).await - after.1, 2.0, "another seed is another question");
}

/// What holds for every answer to `explain` with 20 samples and 5 orderings under all kinds.
fn check_shape(graph: &Value, answer: &Value) {
    assert_eq!(answer["family"], "layers");
    assert_eq!((&answer["graph"]["id"], &answer["graph"]["nodes"]), (&graph["id"], &graph["nodes"]));
    let untidy = graph["id"] == "untidy";
    assert_eq!(!answer["warnings"].to_string().contains("self-loop"), !untidy, "{answer}");
    let edges = answer["graph"]["edges"].as_u64().unwrap();
    assert_eq!(edges, if untidy { 2 } else { graph["edges"].as_array().unwrap().len() as u64 });

    let kinds: Vec<_> =
        answer["scores"].as_array().unwrap().iter().map(|score| score["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, KINDS);
    for score in answer["scores"].as_array().unwrap() {
        assert!(score["nonconformity"].is_f64(), "{score}");
        if ["graphrnn", "gran"].contains(&score["kind"].as_str().unwrap()) {
            check_nll(score, answer["graph"]["nodes"].as_f64().unwrap());
            continue;
        }
        assert!(score.get("nll").is_none(), "{score}");
        let completion = &score["completion"];
        let counts: u64 = completion["histogram"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(completion["bin_edges"].as_array().unwrap().len(), 11);
        assert_eq!(counts, completion["samples"].as_u64().unwrap(), "{score}");
        assert_eq!(completion["mean"].is_null(), edges == 0, "{score}");
    }
    let verdict = &answer["verdict"];
    let number = |name: &str| verdict[name].as_f64().unwrap_or_else(|| panic!("{name} of {verdict}"));
    assert!((number("min_p") - 1.0 / (number("calibration_size") + 1.0)).abs() < 1e-15);
    for name in ["p_value", "p_size", "p_structure"] {
        assert!((number("min_p")..=1.0).contains(&number(name)), "{name} of {verdict}");
    }
    assert_eq!(verdict["anomalous"], json!(number("p_value") <= 0.1));
    let explained = answer["explanation"]["edges"].as_array().unwrap();
    assert_eq!(explained.len() as u64, edges, "each edge of a small graph");
    let likelihood = ["graphrnn", "gran"].contains(&answer["explanation"]["kind"].as_str().unwrap());
    let unlikely = |edge: &Value| {
        let (completion, nll) = (edge["completion"].as_f64().unwrap(), edge["nll"].as_f64().unwrap());
        assert!((0.0..=1.0).contains(&completion) && nll > 0.0, "both sorts of kinds say what they find: {edge}");
        if likelihood { nll } else { -completion }
    };
    let unlikely: Vec<f64> = explained.iter().map(unlikely).collect();
    assert!(unlikely.is_sorted_by(|a, b| a >= b), "the least likely first: {unlikely:?}");
    let nodes: Vec<f64> =
        answer["explanation"]["nodes"].as_array().unwrap().iter().map(|node| node["nll"].as_f64().unwrap()).collect();
    assert_eq!(nodes.len() as u64, answer["graph"]["nodes"].as_u64().unwrap(), "each node's share");
    assert!(nodes.is_sorted_by(|a, b| a >= b), "the least likely first: {nodes:?}");
    let means = answer["scores"].as_array().unwrap().iter().filter_map(|score| score["nll"]["mean"].as_f64());
    let shares: f64 = nodes.iter().sum();
    assert!(means.into_iter().any(|mean| (shares / mean - 1.0).abs() < 1e-9), "the shares of {shares} are of one kind");
}

/// What holds for the likelihood of every graph over 5 orderings.
fn check_nll(score: &Value, nodes: f64) {
    let number = |name: &str| score["nll"][name].as_f64().unwrap_or_else(|| panic!("{name} of {score}"));
    assert!(score.get("completion").is_none(), "{score}");
    assert_eq!(score["nll"]["orderings"], 5);
    assert!((number("per_node") * nodes / number("total") - 1.0).abs() < 1e-12, "{score}");
    let parts = number("rows") + number("stop") + number("out_of_reach");
    assert!((parts / number("mean") - 1.0).abs() < 1e-9, "{score}");
    assert!(
        number("std_error") >= 0.0 && number("total") <= number("mean") + 1e-9,
        "an average of probabilities: {score}"
    );
}

#[tokio::test]
async fn what_is_asked_of_a_verdict_is_given_or_refused() {
    let app = trained_app(&[("max-samples", "50")], &["full-edge-prediction"]).await;
    let graph = json!({"nodes": 4, "edges": [[0, 1], [1, 2], [2, 3]]});
    let plain = app.post_json(SCORE, &json!({"graph": graph})).await.expect(200);
    assert_eq!(plain["verdict"]["alpha"], 0.05);
    assert_eq!(plain["scores"][0]["completion"]["samples"], 10, "as many as it was calibrated with");
    assert!(plain.get("explanation").is_none(), "not asked for");
    let asked = json!({"graph": graph, "options": {"orderings": 100, "kinds": ["full-edge-prediction"]}});
    assert_eq!(app.post_json(SCORE, &asked).await.expect(200), plain, "what changes nothing");

    let detector = plain["scores"][0]["detector_id"].as_str().unwrap();
    let by_id = app.post_json(&format!("/v1/detectors/{detector}/score"), &json!({"graph": graph})).await.expect(200);
    assert_eq!(by_id, plain, "a family with one detector is that detector");

    for (options, pointer) in [
        (json!({"alpha": 0}), "/options/alpha"),
        (json!({"alpha": 1}), "/options/alpha"),
        (json!({"alpha": 1e-6}), "/options/alpha"),
        (json!({"alpha": "0.1"}), "/options/alpha"),
        (json!({"samples": 0}), "/options/samples"),
        (json!({"samples": 51}), "/options/samples"),
        (json!({"orderings": 101}), "/options/orderings"),
        (json!({"seed": -1}), "/options/seed"),
        (json!({"tail": "lower"}), "/options/tail"),
        (json!({"kinds": []}), "/options/kinds"),
        (json!({"kinds": ["gran"]}), "/options/kinds/0"),
        (json!({"kinds": ["full-edge-prediction", "full-mask"]}), "/options/kinds/1"),
        (json!({"explain": 1}), "/options/explain"),
        (json!({"colour": 1}), "/options/colour"),
    ] {
        let body = json!({"graph": graph, "options": options});
        for path in [SCORE.to_owned(), format!("/v1/detectors/{detector}/score")] {
            let problem = app.post_json(&path, &body).await.expect_problem(422, "invalid");
            assert_eq!(pointers(&problem), [pointer], "{options}");
        }
    }
    for query in ["alpha=0", "alpha=1e-6", "samples=51", "orderings=0", "kinds=gran", "kinds=full-mask"] {
        let line = lines(std::slice::from_ref(&graph));
        app.post(&format!("{SCORE}?{query}"), NDJSON, line).await.expect_problem(422, "invalid");
    }
    for query in ["alpha=x", "colour=1", "samples=-1", "tail=lower"] {
        let line = lines(std::slice::from_ref(&graph));
        app.post(&format!("{SCORE}?{query}"), NDJSON, line).await.expect_problem(400, "bad-request");
    }
    app.post_json(&format!("{SCORE}?alpha=0.1"), &json!({"graph": graph})).await.expect_problem(422, "invalid");
}

#[tokio::test]
async fn what_cannot_be_scored_is_located() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    let good = json!({"nodes": 2, "edges": [[0, 1]]});
    let bad = json!({"nodes": 2, "edges": [[0, 1], [0, 2]]});
    for (body, expected) in [
        (json!({}), vec![""]),
        (json!({"graph": good, "graphs": [good]}), vec![""]),
        (json!({"graphs": []}), vec!["/graphs"]),
        (json!({"graphs": vec![&good; 51]}), vec!["/graphs"]),
        (json!({"graph": {"nodes": 0, "edges": []}}), vec!["/graph/nodes"]),
        (json!({"graph": {"nodes": 1_000_000_000, "edges": []}}), vec!["/graph/nodes"]),
    ] {
        let problem = app.post_json(SCORE, &body).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), expected, "{problem}");
    }
    let problem = app.post_json(SCORE, &json!({"graphs": [good, bad, good, bad]})).await.expect_problem(422, "invalid");
    let places = pointers(&problem);
    assert_eq!(places.len(), 2, "both, and only those: {problem}");
    assert!(places[0].starts_with("/graphs/1/edges/1") && places[1].starts_with("/graphs/3/edges/1"), "{places:?}");

    app.post(SCORE, "application/json", "{\"graph\": ").await.expect_problem(400, "malformed-body");
    app.post(SCORE, "text/plain", "x").await.expect_problem(415, "unsupported-media-type");
    app.post(SCORE, "application/json", "x".repeat(65_537)).await.expect_problem(413, "too-large");
}

#[tokio::test]
async fn an_explanation_speaks_of_the_senders_nodes() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    let graph = json!({"nodes": [{"id": "a"}, {"id": 2.5}, {"id": "c"}], "links": [
        {"source": "a", "target": 2.5}, {"source": 2.5, "target": "c"}
    ]});
    let body = json!({"graph": graph, "options": {"explain": true}});
    let answer = app.post_json(SCORE, &body).await.expect(200);
    let edges = answer["explanation"]["edges"].as_array().unwrap();
    assert_eq!(edges.len(), 2, "{answer}");
    for edge in edges {
        let ends = edge["edge"].as_array().unwrap();
        assert!(ends.contains(&json!(2.5)) && (ends.contains(&json!("a")) || ends.contains(&json!("c"))), "{edge}");
    }
}

#[tokio::test]
async fn a_bad_line_costs_no_other() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    let good = r#"{"nodes": 3, "edges": [[0, 1], [1, 2]]}"#;
    let long = format!(r#"{{"nodes": 1, "edges": [], "id": "{}"}}"#, "x".repeat(5_000));
    let stream = [good, "", "not json", &long, r#"{"nodes": 2, "edges": [[0, 5]]}"#, "\u{0}", good].join("\n");
    let answer = app.post(SCORE, NDJSON, stream).await;
    let told: Vec<Value> = answers(&answer).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: Vec<_> = told.iter().map(|line| (line["line"].as_u64(), line["error"]["status"].as_u64())).collect();
    let expected = [
        (None, None),
        (Some(3), Some(400)),
        (Some(4), Some(413)),
        (Some(5), Some(422)),
        (Some(6), Some(400)),
        (None, None),
    ];
    assert_eq!(places, expected, "{told:#?}");
    assert!(told[3]["error"]["errors"][0]["pointer"].as_str().unwrap().starts_with("/edges/0"), "{}", told[3]);
    assert_eq!(told[1]["error"]["request_id"], answer.header("x-request-id"));
    assert_eq!(told[0], told[5]);
    let empty = app.post(SCORE, NDJSON, "").await;
    assert_eq!((empty.status, empty.bytes.len()), (200, 0));
}

/// A stream to score that the test feeds line by line, and its answer as it comes.
async fn open_stream(app: &App) -> (tokio::sync::mpsc::Sender<&'static str>, reqwest::Response) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let lines = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|line: &str| (Ok::<_, std::io::Error>(line), receiver))
    });
    sender.send(SMALL).await.expect("room for a line");
    let request = app.request(Method::POST, SCORE).header("content-type", NDJSON);
    let response = request.body(reqwest::Body::wrap_stream(lines)).send().await;
    (sender, response.expect("the head comes after the first line"))
}

#[tokio::test]
async fn a_stream_is_answered_line_by_line() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    let (sender, mut response) = open_stream(&app).await;
    for _ in 0..3 {
        let piece = tokio::time::timeout(Duration::from_secs(10), response.chunk()).await.expect("an answer at once");
        assert!(piece.unwrap().is_some_and(|piece| piece.ends_with(b"\n")));
        sender.send(SMALL).await.unwrap();
    }
    drop(sender);
    assert!(response.chunk().await.unwrap().is_some(), "the last line's");
    assert!(response.chunk().await.unwrap().is_none(), "the end");
}

#[tokio::test]
async fn a_stream_that_is_open_when_the_service_stops_is_told_so() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    let (_sender, response) = open_stream(&app).await;
    app.ask_to_stop().await;
    let text = tokio::time::timeout(Duration::from_secs(10), response.text()).await.expect("it ends by itself");
    let told: Vec<Value> = text.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told[0]["verdict"].is_object(), "what was let in is answered: {told:#?}");
    assert_eq!((&told[1]["line"], &told[1]["error"]["status"]), (&json!(2), &json!(503)), "{told:#?}");
    assert_eq!(told.len(), 2);
}

#[tokio::test]
async fn a_full_queue_is_429_and_a_stream_that_began_waits() {
    // Room for one line at a time: every other line of a stream has to wait for its permit.
    let app = trained_app(&[("max-requests", "1"), ("score-cache", "0")], &["full-edge-prediction"]).await;
    let graph = json!({"nodes": 3, "edges": [[0, 1], [1, 2]]});
    let many: Vec<Value> = vec![graph.clone(); 100];
    assert_eq!(answers(&app.post(SCORE, NDJSON, lines(&many)).await).len(), 100);

    let slow = slow_list();
    let busy = app.post_json(SCORE, &slow);
    let refused = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        app.post_json(SCORE, &json!({"graph": graph})).await
    };
    let (busy, refused) = tokio::join!(busy, refused);
    busy.expect(200);
    refused.expect_problem(429, "too-many-requests");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn what_is_too_costly_ever_to_be_scored_says_so() {
    let app = trained_app(&[("max-cost", "3000000")], &["full-edge-prediction"]).await;
    let ring: Vec<Value> = (0..2_000).map(|u| json!([u, (u + 1) % 2_000])).collect();
    let body = json!({"graph": {"nodes": 2_000, "edges": ring}, "options": {"samples": 1_000}});
    let problem = app.post_json(SCORE, &body).await.expect_problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("3000000"), "{problem}");
    let small = "{\"nodes\": 3, \"edges\": [[0, 1], [1, 2]]}";
    let large: Vec<String> = (0..300).map(|u| format!("[{u},{}]", (u + 1) % 300)).collect();
    let large = format!("{{\"nodes\":300,\"edges\":[{}]}}", large.join(","));
    let answer = app.post(&format!("{SCORE}?samples=10000"), NDJSON, format!("{large}\n{small}\n")).await;
    let told: Vec<Value> = answers(&answer).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told[0]["error"]["status"], 422, "a line that is too costly is no reason to refuse the stream");
}

#[tokio::test]
async fn a_family_too_small_for_the_default_level_says_what_it_takes() {
    let app = App::start().await;
    create_layers(&app, "layers", 14).await;
    train(&app, "layers", "full-edge-prediction", 1).await;
    let graph = json!({"nodes": 3, "edges": [[0, 1], [1, 2]]});
    let answer = app.post_json(SCORE, &json!({"graph": graph})).await.expect(200);
    let size = answer["verdict"]["calibration_size"].as_u64().unwrap();
    assert!(size < 19, "too many for this test: {size}");
    assert_eq!(answer["verdict"]["anomalous"], json!(null));
    assert!(answer["warnings"].to_string().contains(&format!("{} more", 19 - size)), "{answer}");
    let reachable = json!({"graph": graph, "options": {"alpha": answer["verdict"]["min_p"]}});
    assert!(app.post_json(SCORE, &reachable).await.expect(200)["verdict"]["anomalous"].is_boolean());
}
