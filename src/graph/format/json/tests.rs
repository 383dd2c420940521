use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<ParsedGraph, JsonError> {
    parse(text.as_bytes(), &Limits::default())
}

fn edges(parsed: &ParsedGraph) -> Vec<(u32, u32)> {
    parsed.graph.edges().collect()
}

/// `pointer: detail`, each place of an invalid graph.
fn places(text: &str) -> Vec<String> {
    places_within(text, &Limits::default())
}

fn places_within(text: &str, limits: &Limits) -> Vec<String> {
    match parse(text.as_bytes(), limits) {
        Err(JsonError::Invalid(places)) => {
            places.into_iter().map(|place| format!("{}: {}", place.pointer, place.detail)).collect()
        }
        other => panic!("{text} gave {other:?}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    read(text).unwrap().warnings
}

mod canonical {
    use super::*;

    #[test]
    fn the_example_of_the_documentation() {
        let parsed = read(
            r#"{"nodes": 5, "edges": [[0,1],[1,2],[2,3],[3,4],[4,0]], "node_labels": [6,6,6,7,8], "id": "ring-5"}"#,
        )
        .unwrap();
        assert_eq!(parsed.graph.node_count(), 5);
        assert_eq!(edges(&parsed), [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]);
        assert_eq!(parsed.graph.labels(), Some(&[6, 6, 6, 7, 8][..]));
        assert_eq!(parsed.id.as_deref(), Some("ring-5"));
        assert_eq!(parsed.node_ids, None);
        assert!(parsed.warnings.is_empty());
    }

    #[test]
    fn keys_come_in_any_order_and_null_is_absent() {
        let parsed = read(r#"{"node_labels": null, "id": null, "edges": [[1,0]], "nodes": 2}"#).unwrap();
        assert_eq!((parsed.graph.labels(), parsed.id.as_deref()), (None, None));
        assert_eq!(read(r#"{"nodes": 1, "edges": [], "id": 7}"#).unwrap().id.as_deref(), Some("7"));
    }

    #[test]
    fn integral_floats_are_integers() {
        assert_eq!(edges(&read(r#"{"nodes": 3.0, "edges": [[0.0, 2e0]]}"#).unwrap()), [(0, 2)]);
    }

    #[test]
    fn what_is_dropped_is_told() {
        let text = r#"{"nodes": 3, "edges": [[0,0],[0,1],[1,0],[0,1],[2,2]]}"#;
        assert_eq!(warnings(text), ["2 self-loops were dropped", "2 repeated edges were dropped"]);
        assert_eq!(warnings(r#"{"nodes": 3, "edges": [[0,0]]}"#), ["1 self-loop was dropped"]);
    }

    #[test]
    fn unknown_keys_are_told_and_bounded() {
        assert_eq!(
            warnings(r#"{"nodes": 1, "edges": [], "node_label": [1]}"#),
            [r#"the unknown key "node_label" was ignored"#]
        );
        let many: serde_json::Map<String, Value> =
            (0..9).map(|i| (format!("{i}{}", "x".repeat(100)), json!([i]))).collect();
        let mut graph = json!({"nodes": 1, "edges": []});
        graph.as_object_mut().unwrap().extend(many);
        let warnings = warnings(&graph.to_string());
        assert_eq!(warnings.len(), 6);
        assert_eq!(warnings[5], "4 more unknown keys were ignored");
        assert!(warnings.iter().all(|warning| warning.len() < 100));
    }

    #[test]
    fn node_counts_that_are_none() {
        for (nodes, detail) in [
            ("0", "a graph needs at least one node"),
            ("-1", "expected the number of nodes, an integer of at least 1, found -1"),
            ("2.5", "expected the number of nodes, an integer of at least 1, found 2.5"),
            ("1e300", "expected the number of nodes, an integer of at least 1, found 1e300"),
            ("true", "expected the number of nodes, an integer of at least 1, found true"),
            ("null", "expected the number of nodes, an integer of at least 1, found null"),
            (r#""5""#, r#"expected the number of nodes, an integer of at least 1, found "5""#),
            ("1e9", "1000000000 nodes are more than the limit of 100000"),
            ("18446744073709551615", "18446744073709551615 nodes are more than the limit of 100000"),
        ] {
            let text = format!(r#"{{"nodes": {nodes}, "edges": []}}"#);
            assert_eq!(places(&text), [format!("/nodes: {detail}")]);
        }
    }

    #[test]
    fn every_wrong_edge_has_its_place() {
        let text = r#"{"nodes": 2, "edges": [[0,1],[0,1,2],[-1,0],[0],"0-1",[0,2],[0.5,{}],[0,"1"],[7,8],null]}"#;
        let number = "expected the number of a node, an integer of at least 0, found";
        let edge = "expected an edge, such as [0, 1], found";
        assert_eq!(
            places(text),
            [
                "/edges/1: expected a pair of node numbers, found an array of 3".to_owned(),
                format!("/edges/2/0: {number} -1"),
                "/edges/3: expected a pair of node numbers, found an array of 1".to_owned(),
                format!(r#"/edges/4: {edge} "0-1""#),
                format!("/edges/6/0: {number} 0.5"),
                format!("/edges/6/1: {number} an object"),
                format!(r#"/edges/7/1: {number} "1""#),
                format!("/edges/9: {edge} null"),
                "/edges/5/1: there is no node 2: the nodes are 0 to 1".to_owned(),
                "/edges/8/0: there is no node 7: the nodes are 0 to 1".to_owned(),
                "/edges/8/1: there is no node 8: the nodes are 0 to 1".to_owned(),
            ]
        );
    }

    #[test]
    fn places_are_bounded() {
        let edges = vec![[-1, -1]; 1000];
        assert_eq!(places(&json!({"nodes": 2, "edges": edges}).to_string()).len(), 20);
    }

    #[test]
    fn labels_fit_the_nodes() {
        assert_eq!(
            places(r#"{"nodes": 2, "edges": [], "node_labels": [1]}"#),
            ["/node_labels: 1 labels were given for 2 nodes"]
        );
        assert_eq!(
            places(r#"{"nodes": 2, "edges": [], "node_labels": [1, "C"]}"#),
            [r#"/node_labels/1: expected an integer label, found "C""#]
        );
        assert_eq!(
            places(r#"{"nodes": 2, "edges": [], "node_labels": 3}"#),
            ["/node_labels: expected an array with an integer for each node, found 3"]
        );
        let extremes = format!(r#"{{"nodes": 2, "edges": [], "node_labels": [{}, {}]}}"#, i64::MIN, i64::MAX);
        assert_eq!(read(&extremes).unwrap().graph.labels(), Some(&[i64::MIN, i64::MAX][..]));
    }

    #[test]
    fn what_is_missing_or_double() {
        assert_eq!(places("{}"), [": the graph has no `nodes`"]);
        assert_eq!(places(r#"{"nodes": 3}"#), [": the graph has no `edges`"]);
        assert_eq!(places(r#"{"nodes": 3, "nodes": 2, "edges": []}"#), ["/nodes: this key is given twice"]);
        assert_eq!(places(r#"{"nodes": 3, "links": [], "edges": []}"#), ["/edges: the edges are given twice"]);
        assert_eq!(places(r#"{"nodes": 3, "edges": 4}"#), ["/edges: expected an array of edges, found 4"]);
        assert_eq!(places(r#"{"nodes": 1, "edges": [], "id": [1]}"#), ["/id: expected a string, found an array"]);
    }

    #[test]
    fn limits_end_the_reading() {
        let limits = Limits { max_nodes: 3, max_edges: 2 };
        let edges = "[0,1],".repeat(1000);
        assert_eq!(
            // What follows the limit isn't even looked at.
            places_within(&format!(r#"{{"nodes": 2, "edges": [{edges} not JSON"#), &limits),
            ["/edges: there are more edges than the limit of 2"]
        );
        assert_eq!(
            places_within(r#"{"nodes": 4, "edges": []}"#, &limits),
            ["/nodes: 4 nodes are more than the limit of 3"]
        );
        assert_eq!(
            places_within(r#"{"nodes": [{"id":1},{"id":2},{"id":3},{"id":4}], "links": []}"#, &limits),
            ["/nodes: there are more nodes than the limit of 3"]
        );
        assert_eq!(
            places_within(r#"{"graph": {"nodes": {"a":{},"b":{},"c":{},"d":{}}}}"#, &limits),
            ["/graph/nodes: there are more nodes than the limit of 3"]
        );
        assert_eq!(
            places_within(r#"{"node_labels": [1,2,3,4], "nodes": 3, "edges": []}"#, &limits),
            ["/node_labels: there are more nodes than the limit of 3"]
        );
    }

    #[test]
    fn other_values_are_no_graph() {
        for (text, found) in [("[]", "an array"), ("3", "3"), (r#""x""#, r#""x""#), ("null", "null")] {
            assert_eq!(places(text), [format!(": expected a graph, which is a JSON object, found {found}")]);
        }
    }
}

mod node_link {
    use super::*;

    /// `networkx.node_link_data(G)` of version 3.3 (`links`) for a graph with nodes of several sorts.
    #[test]
    fn as_networkx_writes_it() {
        let text = r#"{"directed": false, "multigraph": false, "graph": {"name": "demo"},
            "nodes": [{"color": "red", "id": "a"}, {"id": 7}, {"id": 1.5}, {"id": true}],
            "links": [{"weight": 2, "source": "a", "target": 7}, {"source": 7, "target": 1.5},
                      {"source": true, "target": "a"}]}"#;
        let parsed = read(text).unwrap();
        assert_eq!(edges(&parsed), [(0, 1), (0, 3), (1, 2)]);
        assert_eq!(parsed.node_ids, Some(vec![json!("a"), json!(7), json!(1.5), json!(true)]));
        assert!(parsed.warnings.is_empty());
        assert_eq!(read(&text.replace("links", "edges")).unwrap(), parsed);
    }

    #[test]
    fn edges_may_come_before_nodes() {
        let parsed =
            read(r#"{"links": [{"target": 0, "source": 2}], "nodes": [{"id": 0}, {"id": 1}, {"id": 2}]}"#).unwrap();
        assert_eq!(edges(&parsed), [(0, 2)]);
        assert_eq!(parsed.node_ids, None, "0, 1, 2 are the indices themselves");
    }

    #[test]
    fn numbers_are_names_by_value_and_not_by_spelling() {
        let parsed = read(r#"{"nodes": [{"id": 1}, {"id": "1"}], "links": [{"source": 1.0, "target": "1"}]}"#).unwrap();
        assert_eq!(edges(&parsed), [(0, 1)]);
    }

    #[test]
    fn directed_edges_are_merged() {
        let text = r#"{"directed": true, "nodes": [{"id": 0}, {"id": 1}, {"id": 2}], "links": [
            {"source": 0, "target": 1}, {"source": 1, "target": 0}, {"source": 0, "target": 1},
            {"source": 2, "target": 2}, {"source": 1, "target": 2}]}"#;
        assert_eq!(
            warnings(text),
            [
                "the graph is directed; its edges were read as undirected",
                "1 pair of opposite edges was read as one edge each",
                "1 self-loop was dropped",
                "1 repeated edge was dropped",
            ]
        );
    }

    #[test]
    fn integer_labels_are_categories() {
        let parsed = read(r#"{"nodes": [{"id": 0, "label": 6}, {"id": 1, "label": -7}], "links": []}"#).unwrap();
        assert_eq!(parsed.graph.labels(), Some(&[6, -7][..]));
        let text = r#"{"nodes": [{"id": 0, "label": "C"}, {"id": 1}], "links": []}"#;
        assert_eq!(read(text).unwrap().graph.labels(), None);
        assert_eq!(warnings(text), ["node labels that are not integers were ignored"]);
        let detail = "this node has no integer label, but others have: label all nodes or none";
        for second in [r#"{"id": 1}"#, r#"{"id": 1, "label": "C"}"#, r#"{"id": 1, "label": null}"#] {
            let text = format!(r#"{{"nodes": [{{"id": 0, "label": 6}}, {second}], "links": []}}"#);
            assert_eq!(places(&text), [format!("/nodes/1: {detail}")]);
        }
    }

    #[test]
    fn every_wrong_node_and_edge_has_its_place() {
        let text = r#"{"nodes": [{"id": 0}, 5, {}, {"id": [1]}, {"id": 0}],
            "links": [{"source": 0, "target": 9}, {"source": 0}, 3, {"source": {}, "target": 0}]}"#;
        assert_eq!(
            places(text),
            [
                "/nodes/1: expected a node, which is a JSON object, found 5",
                "/nodes/2: the node has no `id`",
                "/nodes/3/id: expected a string or a number, found an array",
                "/nodes/4/id: there is already a node 0",
                "/links/1: the edge has no `target`",
                "/links/2: expected an edge, such as [0, 1], found 3",
                "/links/3/source: expected the id of a node, found an object",
                "/links/0/target: there is no node 9",
            ]
        );
        assert_eq!(places(r#"{"nodes": [], "links": []}"#), ["/nodes: a graph needs at least one node"]);
        assert_eq!(
            places(r#"{"nodes": [{"id": 0}], "links": [], "directed": "no"}"#),
            [r#"/directed: expected true or false, found "no""#]
        );
    }

    #[test]
    fn forms_are_not_mixed() {
        assert_eq!(
            places(r#"{"nodes": [{"id": 0}], "edges": [[0, 0]]}"#),
            ["/edges/0: expected an object with `source` and `target`, as the nodes have names"]
        );
        assert_eq!(
            places(r#"{"nodes": 2, "edges": [[0, 1], {"source": 0, "target": 1}]}"#),
            ["/edges/1: expected a pair of node numbers, such as [0, 1], as `nodes` is a number"]
        );
        assert_eq!(
            places(r#"{"nodes": [{"id": 0}], "edges": [], "node_labels": [1]}"#),
            ["/node_labels: labels of named nodes go into the nodes, as `label`"]
        );
    }
}

mod json_graph_format {
    use super::*;

    #[test]
    fn version_2() {
        let text = r#"{"graph": {"id": "trio", "type": "t", "label": "Trio", "metadata": {"a": [1, {}]}, "directed": false,
            "nodes": {"alice": {"label": "Alice", "metadata": {"label": 3}}, "bob": {"metadata": {"label": 4}},
                      "c/~d": {"label": 5}},
            "edges": [{"source": "alice", "target": "c/~d", "relation": "knows", "label": "e", "directed": false,
                       "metadata": {}}]}}"#;
        let parsed = read(text).unwrap();
        assert_eq!(edges(&parsed), [(0, 2)]);
        assert_eq!(parsed.graph.labels(), Some(&[3, 4, 5][..]));
        assert_eq!(parsed.id.as_deref(), Some("trio"));
        assert_eq!(parsed.node_ids, Some(vec![json!("alice"), json!("bob"), json!("c/~d")]));
        assert!(parsed.warnings.is_empty());
    }

    #[test]
    fn edges_and_labels_are_optional() {
        let parsed = read(r#"{"graph": {"nodes": {"0": {}, "1": {"label": "one"}}}}"#).unwrap();
        assert_eq!((parsed.graph.node_count(), parsed.graph.edge_count(), parsed.graph.labels()), (2, 0, None));
        assert_eq!(parsed.node_ids, Some(vec![json!("0"), json!("1")]), "names are text, not indices");
        assert_eq!(parsed.warnings, ["node labels that are not integers were ignored"]);
    }

    #[test]
    fn one_directed_edge_makes_it_directed() {
        let text = r#"{"graph": {"nodes": {"a": {}, "b": {}},
            "edges": [{"source": "a", "target": "b", "directed": true}]}}"#;
        assert_eq!(warnings(text), ["the graph is directed; its edges were read as undirected"]);
    }

    #[test]
    fn pointers_go_through_the_graph() {
        assert_eq!(
            places(
                r#"{"graph": {"nodes": {"a/b": {"label": 1}, "~c": {}, "d": 7}, "edges": [{"source": "a/b", "target": "x"}]}}"#
            ),
            [
                "/graph/nodes/d: expected a node, which is a JSON object, found 7",
                "/graph/edges/0/target: there is no node \"x\"",
                "/graph/nodes/~0c: this node has no integer label, but others have: label all nodes or none",
            ]
        );
        assert_eq!(
            places(r#"{"graph": {"nodes": {"a": {}, "a": {}}}}"#),
            [r#"/graph/nodes/a: there is already a node "a""#]
        );
        assert_eq!(places(r#"{"graph": {"edges": []}}"#), ["/graph: the graph has no `nodes`"]);
        assert_eq!(places(r#"{"graph": 5}"#), ["/graph: expected a graph, which is a JSON object, found 5"]);
        assert_eq!(places(r#"{"graph": {"nodes": {}}}"#), ["/graph/nodes: a graph needs at least one node"]);
        assert_eq!(
            places(r#"{"graph": {"nodes": {"a": {}}, "hyperedges": []}}"#),
            ["/graph/hyperedges: hyperedges can't be read, only edges"]
        );
    }

    #[test]
    fn several_graphs_are_sent_one_by_one() {
        assert_eq!(
            places(r#"{"graphs": [{"nodes": {}}]}"#),
            ["/graphs: several graphs are in one document; send them one by one"]
        );
    }
}

mod syntax {
    use super::*;

    fn place(bytes: &[u8]) -> (usize, usize, String) {
        match parse(bytes, &Limits::default()) {
            Err(JsonError::Syntax { line, column, detail }) => (line, column, detail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_tell_line_and_column() {
        assert_eq!(place(b""), (1, 1, "EOF while parsing a value".to_owned()));
        assert_eq!(place(b"{\"nodes\": 3,\n \"edges\": [[0,1],]}"), (2, 18, "trailing comma".to_owned()));
        assert_eq!(place(b"{\"nodes\": NaN}").0, 1);
        assert_eq!(place(b"{\"nodes\": 1, \"edges\": []} {}").2, "trailing characters");
        assert_eq!(place(b"{\"nodes\": 1e999, \"edges\": []}").2, "number out of range");
    }

    #[test]
    fn bytes_that_are_not_utf8() {
        assert_eq!(place(b"{\n\n \"id\": \"\xff\"}"), (3, 9, "these bytes are not UTF-8".to_owned()));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert!(read("\u{feff}{\"nodes\": 1, \"edges\": []}").is_ok());
    }

    #[test]
    fn depth_costs_no_stack() {
        for start in ["[", "{\"graph\":", "{\"nodes\":", "{\"nodes\":[", "{\"x\":[", "{\"nodes\":1,\"edges\":[["] {
            let deep = format!("{start}{}", "[{\"graph\":".repeat(200_000));
            place(deep.as_bytes());
            let closed = format!("{start}{}{}", "[".repeat(200_000), "]".repeat(200_000));
            assert!(read(&closed).is_err());
        }
    }
}

#[test]
fn canonical_keys_are_optional() {
    let (graph, _) = Graph::new(2, &[(1, 0)], None, &Limits::default()).unwrap();
    assert_eq!(to_canonical(&graph, None), json!({"nodes": 2, "edges": [[0, 1]]}));
}

fn any_graph() -> impl Strategy<Value = Graph> {
    (1_usize..30).prop_flat_map(|nodes| {
        let node = 0..nodes as u64;
        let edges = prop::collection::vec((node.clone(), node), 0..60);
        let labels = prop::option::of(prop::collection::vec(any::<i64>(), nodes));
        (edges, labels)
            .prop_map(move |(edges, labels)| Graph::new(nodes as u64, &edges, labels, &Limits::default()).unwrap().0)
    })
}

/// Any JSON made of the words of the formats, so that it goes deep into the reader.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "nodes",
        "edges",
        "links",
        "graph",
        "graphs",
        "id",
        "label",
        "metadata",
        "source",
        "target",
        "directed",
        "node_labels",
        "hyperedges",
        "x",
        "~/",
    ]);
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..5).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    scalar.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_json_round_trips(graph in any_graph(), id in prop::option::of(".*")) {
        let text = to_canonical(&graph, id.as_deref()).to_string();
        let parsed = read(&text).unwrap();
        prop_assert_eq!(&parsed.graph, &graph);
        prop_assert_eq!(parsed.id, id);
        prop_assert!(parsed.node_ids.is_none() && parsed.warnings.is_empty());
    }

    /// The three forms say the same.
    #[test]
    fn forms_agree(graph in any_graph()) {
        let links: Vec<Value> = graph.edges().map(|(a, b)| json!({"source": a, "target": b})).collect();
        let label = |node: u32| graph.labels().map(|labels| labels[node as usize]);
        let nodes: Vec<Value> =
            (0..graph.node_count() as u32).map(|node| json!({"id": node, "label": label(node)})).collect();
        let parsed = read(&json!({"nodes": nodes, "links": links}).to_string()).unwrap();
        prop_assert_eq!(&parsed.graph, &graph);

        // Keys of an object are sorted when written: names of equal length keep the order of the nodes.
        let name = |node: u32| format!("n{node:06}");
        let links: Vec<Value> =
            graph.edges().map(|(a, b)| json!({"source": name(a), "target": name(b)})).collect();
        let nodes: serde_json::Map<String, Value> = (0..graph.node_count() as u32)
            .map(|node| (name(node), json!({"label": "x", "metadata": {"label": label(node)}})))
            .collect();
        let parsed = read(&json!({"graph": {"nodes": nodes, "edges": links}}).to_string()).unwrap();
        prop_assert_eq!(&parsed.graph, &graph);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, &Limits::default());
    }

    #[test]
    fn any_json_is_survived_and_errors_point_somewhere(value in any_json()) {
        if let Err(error) = read(&value.to_string()) {
            let JsonError::Invalid(places) = error else { panic!("{value} is JSON, but: {error}") };
            prop_assert!((1..=20).contains(&places.len()));
            for place in places {
                let target = value.pointer(&place.pointer);
                prop_assert!(target.is_some(), "{} is not in {}", place.pointer, value);
            }
        }
    }
}
