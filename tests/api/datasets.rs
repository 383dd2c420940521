//! Whole datasets: TU archives, real and broken, and synthetic families.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{App, pointers};
use crate::test_data;

const ZIP: &str = "application/zip";

/// A zip archive of these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Four graphs: numbers 1 and 3 of class 2, number 2 of class -1, number 4 of class 7.
fn small(edges: &str) -> Vec<u8> {
    archive(&[
        ("TOY/TOY_A.txt", edges),
        ("TOY/TOY_graph_indicator.txt", "1\n1\n1\n2\n2\n3\n4\n"),
        ("TOY/TOY_graph_labels.txt", "2\n-1\n2\n7\n"),
        ("TOY/TOY_node_labels.txt", "5\n6\n5\n5\n5\n6\n6\n"),
    ])
}

const EDGES: &str = "1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n";

#[tokio::test]
async fn an_archive_gives_a_family_for_each_class() {
    let app = App::start().await;
    let imported = app.post("/v1/datasets?name=toy", ZIP, small(EDGES)).await.expect(201);
    let families = json!([
        {"name": "toy-0", "class_label": -1, "graphs": 1},
        {"name": "toy-1", "class_label": 2, "graphs": 2},
        {"name": "toy-2", "class_label": 7, "graphs": 1},
    ]);
    assert_eq!(imported["families"], families);
    let graph = app.get("/v1/families/toy-1/graphs/1").await.expect(200);
    assert_eq!(graph["nodes"], 3);
    assert_eq!(graph["edges"], json!([[0, 1], [1, 2]]));
    assert_eq!(graph["node_labels"], json!([5, 6, 5]));
    app.get("/v1/families/toy-1/graphs/3").await.expect(200);
    app.get("/v1/families/toy-1/graphs/2").await.expect(404);
    let family = app.get("/v1/families/toy-0").await.expect(200);
    assert_eq!((&family["class_label"], &family["labelled"]), (&json!(-1), &json!(true)));
}

#[tokio::test]
async fn a_taken_name_imports_nothing() {
    let app = App::start().await;
    app.create_family("toy-1").await;
    app.post("/v1/datasets?name=toy", ZIP, small(EDGES)).await.expect_problem(409, "conflict");
    let families = app.get("/v1/families").await.expect(200);
    assert_eq!(families["items"].as_array().unwrap().len(), 1, "{families}");
}

#[tokio::test]
async fn what_is_wrong_in_an_archive_is_located() {
    let app = App::start().await;
    let problem = app.post("/v1/datasets?name=toy", ZIP, small("1, 2\n2, 99\n")).await.expect_problem(422, "invalid");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("TOY_A.txt") && detail.contains("line 2"), "{problem}");
    let nothing = archive(&[("README", "hello")]);
    app.post("/v1/datasets?name=toy", ZIP, nothing).await.expect_problem(422, "invalid");
    for body in [b"PK not really".to_vec(), Vec::new()] {
        app.post("/v1/datasets?name=toy", ZIP, body).await.expect_problem(400, "malformed-body");
    }
    assert_eq!(app.get("/v1/families").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn an_archive_over_a_limit_is_413() {
    let app = App::start().await;
    let bomb = archive(&[
        ("BOMB/BOMB_A.txt", &"1, 1\n".repeat(1_000_000)),
        ("BOMB/BOMB_graph_indicator.txt", "1\n"),
        ("BOMB/BOMB_graph_labels.txt", "1\n"),
    ]);
    assert!(bomb.len() < 262_144, "{} bytes: the packed limit must not be the one that is met", bomb.len());
    app.post("/v1/datasets?name=bomb", ZIP, bomb).await.expect_problem(413, "too-large");
    app.post("/v1/datasets?name=big", ZIP, vec![0; 300_000]).await.expect_problem(413, "too-large");
    let pieces: Vec<_> = (0..300).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 1000])).collect();
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    app.post("/v1/datasets?name=big", ZIP, chunked).await.expect_problem(413, "too-large");
}

#[tokio::test]
async fn a_name_that_no_family_can_have_is_422() {
    let app = App::start().await;
    let long = "a".repeat(62);
    for name in ["", "-a", "A", "a%20b", long.as_str()] {
        let answer = app.post(&format!("/v1/datasets?name={name}"), ZIP, small(EDGES)).await;
        answer.expect_problem(422, "invalid");
    }
    app.post("/v1/datasets?name=a", "text/csv", "1,2").await.expect_problem(415, "unsupported-media-type");
}

fn synthetic(kind: &str, count: u64) -> Value {
    json!({"synthetic": {"type": kind, "width": 4, "height": 5, "count": count, "seed": 1}})
}

#[tokio::test]
async fn every_synthetic_type_gives_a_family() {
    let app = App::start().await;
    for kind in ["1", "2a", "2b", "2c", "3", "random-regular"] {
        let imported = app.post_json(&format!("/v1/datasets?name=s{kind}"), &synthetic(kind, 20)).await.expect(201);
        assert_eq!(imported["families"], json!([{"name": format!("s{kind}"), "class_label": null, "graphs": 20}]));
        let family = app.get(&format!("/v1/families/s{kind}")).await.expect(200);
        assert_eq!(family["nodes"], json!({"min": 20, "max": 20, "mean": 20.0}));
    }
    // The same seed gives the same graphs.
    app.post_json("/v1/datasets?name=again", &synthetic("2c", 20)).await.expect(201);
    for id in ["1", "20"] {
        let one = app.get(&format!("/v1/families/s2c/graphs/{id}")).await.expect(200);
        let two = app.get(&format!("/v1/families/again/graphs/{id}")).await.expect(200);
        assert_eq!(one["edges"], two["edges"]);
    }
}

#[tokio::test]
async fn an_absurd_synthetic_family_is_refused_before_anything_is_made() {
    let app = App::start().await;
    let cases = [
        (json!({"synthetic": {"type": "9", "width": 4, "height": 5, "count": 5}}), "/synthetic/type"),
        (json!({"synthetic": {"type": "1", "width": 0, "height": 5, "count": 5}}), "/synthetic/width"),
        (json!({"synthetic": {"type": "1", "width": 4, "height": 5, "count": 0}}), "/synthetic/count"),
        (
            json!({"synthetic": {"type": "1", "width": 4, "height": 5, "count": 1_000_000_000_000_u64}}),
            "/synthetic/count",
        ),
        (json!({"synthetic": {"type": "1", "width": u64::MAX, "height": 5, "count": 5}}), "/synthetic"),
        (json!({"synthetic": {"type": "1", "width": -1, "height": 5, "count": 5}}), "/synthetic/width"),
        (json!({"synthetic": {"type": "1"}}), "/synthetic"),
        (json!({}), ""),
    ];
    for (body, pointer) in cases {
        let problem = app.post_json("/v1/datasets?name=s", &body).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), [pointer], "{body}: {problem}");
    }
    assert_eq!(app.get("/v1/families").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_real_dataset_is_imported_whole() {
    let Some(bytes) = test_data::dataset("AIDS.zip") else { return };
    let settings = [
        ("max-upload", "100000000"),
        ("max-unpacked", "1000000000"),
        ("max-dataset-graphs", "100000"),
        ("request-timeout", "60"),
    ];
    let app = App::with(&settings).await;
    let imported = app.post("/v1/datasets?name=aids", ZIP, bytes).await.expect(201);
    let families = json!([
        {"name": "aids-0", "class_label": 0, "graphs": 400},
        {"name": "aids-1", "class_label": 1, "graphs": 1600},
    ]);
    assert_eq!(imported["families"], families);
    let family = app.get("/v1/families/aids-1").await.expect(200);
    assert_eq!(family["graphs"]["total"], 1600);
    let train = family["graphs"]["train"].as_u64().unwrap();
    assert!((1050..1130).contains(&train), "{family}");
}
