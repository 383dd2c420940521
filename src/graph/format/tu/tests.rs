use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::graph::format::test_data::dataset;

const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entries: 100,
    max_unpacked_bytes: 64 << 20,
    max_graphs: 10_000,
    graph: Limits { max_nodes: 10_000, max_edges: 100_000 },
};

fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, contents) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(contents).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn read_files(files: &[(&str, &str)]) -> Result<TuDataset, TuError> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|&(name, text)| (name, text.as_bytes())).collect();
    read(Cursor::new(pack(&files)), &LIMITS)
}

/// A dataset of the given files, without node labels.
fn read_three(adjacency: &str, indicator: &str, graph_labels: &str) -> Result<TuDataset, TuError> {
    read_files(&[("X_A.txt", adjacency), ("X_graph_indicator.txt", indicator), ("X_graph_labels.txt", graph_labels)])
}

fn error(result: Result<TuDataset, TuError>) -> String {
    result.unwrap_err().to_string()
}

/// The number and edges of each graph of a class.
fn edges(class: &TuClass) -> Vec<(usize, Vec<(u32, u32)>)> {
    class.graphs.iter().map(|(number, graph)| (*number, graph.edges().collect())).collect()
}

mod real {
    use super::*;

    /// Nodes, edges, and graphs by class label.
    type Figures = (usize, usize, Vec<(i64, usize)>);

    fn figures(dataset: &TuDataset) -> Figures {
        let graphs = || dataset.classes.iter().flat_map(|class| &class.graphs).map(|(_, graph)| graph);
        (
            graphs().map(Graph::node_count).sum(),
            graphs().map(Graph::edge_count).sum(),
            dataset.classes.iter().map(|class| (class.label, class.graphs.len())).collect(),
        )
    }

    fn open(name: &str) -> Option<TuDataset> {
        let dataset = read(Cursor::new(dataset(&format!("{name}.zip"))?), &LIMITS).unwrap();
        assert_eq!(dataset.name, name);
        for class in &dataset.classes {
            assert!(class.graphs.is_sorted_by_key(|(number, _)| *number));
        }
        Some(dataset)
    }

    fn labelled(dataset: &TuDataset) -> bool {
        dataset.classes.iter().flat_map(|class| &class.graphs).all(|(_, graph)| graph.labels().is_some())
    }

    #[test]
    fn aids() {
        let Some(dataset) = open("AIDS") else { return };
        assert_eq!(figures(&dataset), (31_385, 32_390, vec![(0, 400), (1, 1600)]));
        assert!(labelled(&dataset));
        assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
    }

    #[test]
    fn dd() {
        let Some(dataset) = open("DD") else { return };
        assert_eq!(figures(&dataset), (334_925, 843_046, vec![(1, 691), (2, 487)]));
        let largest = dataset.classes.iter().flat_map(|class| &class.graphs).map(|(_, graph)| graph.node_count()).max();
        assert_eq!(largest, Some(5748));
        assert!(labelled(&dataset));
        assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
    }

    #[test]
    fn imdb_multi() {
        let Some(dataset) = open("IMDB-MULTI") else { return };
        assert_eq!(figures(&dataset), (19_502, 98_903, vec![(1, 500), (2, 500), (3, 500)]));
        assert!(!labelled(&dataset));
        // 395,612 lines are two for each direction of 98,903 edges.
        assert_eq!(dataset.warnings, ["lines that repeat an edge were dropped: 197806"]);
    }

    #[test]
    fn mutag() {
        let Some(dataset) = open("MUTAG") else { return };
        assert_eq!(figures(&dataset), (3371, 3721, vec![(-1, 63), (1, 125)]));
        assert!(labelled(&dataset));
        let (number, first) = &dataset.classes[1].graphs[0];
        assert_eq!((*number, first.node_count(), first.edge_count()), (1, 17, 19));
        assert!(first.has_edge(0, 1), "the file begins with 2, 1");
    }
}

mod accepted {
    use super::*;

    #[test]
    fn two_small_graphs() {
        let dataset = read_files(&[
            ("X_A.txt", "1, 2\n2, 1\n2,3\n3,2\n5 ,\t4\n4,5\n"),
            ("X_graph_indicator.txt", "1\n1\n1\n2\n2\n2\n"),
            ("X_graph_labels.txt", "7\n-3\n"),
            ("X_node_labels.txt", "10\n-20\n10\n0\n5\n5\n"),
        ])
        .unwrap();
        assert_eq!(dataset.name, "X");
        assert!(dataset.warnings.is_empty());
        let labels: Vec<i64> = dataset.classes.iter().map(|class| class.label).collect();
        assert_eq!(labels, [-3, 7]);
        assert_eq!(edges(&dataset.classes[0]), [(2, vec![(0, 1)])]);
        assert_eq!(edges(&dataset.classes[1]), [(1, vec![(0, 1), (1, 2)])]);
        let second = &dataset.classes[0].graphs[0].1;
        assert_eq!((second.node_count(), second.labels()), (3, Some(&[0, 5, 5][..])), "its last node is isolated");
    }

    #[test]
    fn line_ends_blank_ends_and_a_byte_order_mark() {
        let dataset = read_three("\u{feff}1, 2\r\n2, 1\r\n\r\n \n", "1\r\n1\r\n", "0").unwrap();
        assert_eq!(edges(&dataset.classes[0]), [(1, vec![(0, 1)])]);
    }

    #[test]
    fn a_dataset_without_edges() {
        let dataset = read_three("", "1\n", "0\n").unwrap();
        assert_eq!(edges(&dataset.classes[0]), [(1, vec![])]);
    }

    #[test]
    fn nodes_of_graphs_may_be_mixed() {
        let dataset = read_three("1,3\n2,4\n", "2\n1\n2\n1\n2\n", "0\n0\n").unwrap();
        assert_eq!(edges(&dataset.classes[0]), [(1, vec![(0, 1)]), (2, vec![(0, 1)])]);
        assert_eq!(dataset.classes[0].graphs[1].1.node_count(), 3);
    }

    #[test]
    fn node_labels_take_the_first_column_and_follow_their_nodes() {
        let dataset = read_files(&[
            ("X_A.txt", ""),
            ("X_graph_indicator.txt", "2\n1\n2\n"),
            ("X_graph_labels.txt", "0\n0\n"),
            ("X_node_labels.txt", "20, 1, x\n10, 2, y\n21, 3\n"),
        ])
        .unwrap();
        let labels: Vec<_> = dataset.classes[0].graphs.iter().map(|(_, graph)| graph.labels().unwrap()).collect();
        assert_eq!(labels, [&[10][..], &[20, 21]]);
    }

    #[test]
    fn what_is_dropped_is_told() {
        let dataset = read_three("1,1\n1,2\n2,1\n1,2\n", "1\n1\n3\n", "0\n0\n0\n").unwrap();
        assert_eq!(
            dataset.warnings,
            [
                "self-loops were dropped: 1",
                "lines that repeat an edge were dropped: 1",
                "graphs without nodes were left out: 1, the first is graph 2",
            ]
        );
        let numbers: Vec<usize> = dataset.classes[0].graphs.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3]);
    }

    #[test]
    fn files_are_found_wherever_they_are() {
        let dataset = read_files(&[
            ("__MACOSX/deep/._Y_A.txt", "junk"),
            ("__MACOSX/Y_A.txt", "junk"),
            ("deep/._Y_A.txt", "junk"),
            ("deep/Y_edge_labels.txt", "junk"),
            ("deep/readme.txt", "junk"),
            ("../../etc/Y_A.txt", "1,2\n"),
            ("C:\\deep\\Y_graph_indicator.txt", "1\n1\n"),
            ("/Y_graph_labels.txt", "0\n"),
        ])
        .unwrap();
        assert_eq!(dataset.name, "Y");
        assert_eq!(edges(&dataset.classes[0]), [(1, vec![(0, 1)])]);
    }

    #[test]
    fn both_directions_count_once_for_the_limit() {
        let limits = ArchiveLimits { graph: Limits { max_nodes: 2, max_edges: 1 }, ..LIMITS };
        let files: [(&str, &[u8]); 3] =
            [("X_A.txt", b"1,2\n2,1\n"), ("X_graph_indicator.txt", b"1\n1\n"), ("X_graph_labels.txt", b"0\n")];
        assert!(read(Cursor::new(pack(&files)), &limits).is_ok());
    }
}

mod refused {
    use super::*;

    #[test]
    fn what_is_no_archive() {
        assert!(matches!(read(Cursor::new(b"PK\x03\x04 not really"), &LIMITS), Err(TuError::NotZip(_))));
        assert!(matches!(read(Cursor::new(b""), &LIMITS), Err(TuError::NotZip(_))));
    }

    #[test]
    fn missing_files() {
        let files = [("X_A.txt", ""), ("X_graph_indicator.txt", "1\n"), ("X_graph_labels.txt", "0\n")];
        for without in 0..files.len() {
            let rest: Vec<_> = files.iter().enumerate().filter(|&(i, _)| i != without).map(|(_, file)| *file).collect();
            let suffix = files[without].0.strip_prefix('X').unwrap();
            assert_eq!(error(read_files(&rest)), format!("the archive has no file whose name ends in {suffix}"));
        }
    }

    #[test]
    fn two_datasets_in_one_archive() {
        assert_eq!(
            error(read_files(&[("X/X_A.txt", ""), ("Y/Y_A.txt", "")])),
            "the archive has several files whose names end in _A.txt, such as X_A.txt"
        );
    }

    #[test]
    fn wrong_lines_are_named() {
        let nodes = "1\n1\n2\n";
        let labels = "0\n0\n";
        let pair = "expected two integers with a comma between, found";
        for (adjacency, expected) in [
            ("1,2\n1 2\n", format!(r#"X_A.txt, line 2: {pair} "1 2""#)),
            ("1,2,3\n", format!(r#"X_A.txt, line 1: {pair} "1,2,3""#)),
            ("1,\n", format!(r#"X_A.txt, line 1: {pair} "1,""#)),
            ("1,2.5\n", format!(r#"X_A.txt, line 1: {pair} "1,2.5""#)),
            ("1,99999999999999999999\n", format!(r#"X_A.txt, line 1: {pair} "1,99999999999999999999""#)),
            ("0,1\n", "X_A.txt, line 1: there is no node 0: the nodes are 1 to 3".to_owned()),
            ("1,2\n1,4\n", "X_A.txt, line 2: there is no node 4: the nodes are 1 to 3".to_owned()),
            ("-1,2\n", "X_A.txt, line 1: there is no node -1: the nodes are 1 to 3".to_owned()),
            ("1,2\n2,3\n", "X_A.txt, line 2: node 2 is in graph 1, but node 3 is in graph 2".to_owned()),
            ("1,2\n\n\n2,1\n", "X_A.txt, line 2: the line is empty, but others follow".to_owned()),
        ] {
            assert_eq!(error(read_three(adjacency, nodes, labels)), expected);
        }
        assert_eq!(
            error(read_three("", "1\n3\n", labels)),
            "X_graph_indicator.txt, line 2: there is no graph 3: there are labels for graphs 1 to 2"
        );
        assert_eq!(
            error(read_three("", "0\n", labels)),
            "X_graph_indicator.txt, line 1: there is no graph 0: there are labels for graphs 1 to 2"
        );
        assert_eq!(
            error(read_three("", nodes, "0\nactive\n")),
            r#"X_graph_labels.txt, line 2: expected an integer, found "active""#
        );
    }

    #[test]
    fn long_lines_and_odd_bytes_are_shown_shortened() {
        let long = "7".repeat(1000);
        assert!(error(read_three(&long, "1\n", "0\n")).len() < 150);
        let endless = "7".repeat(100_000);
        assert_eq!(error(read_three(&endless, "1\n", "0\n")), "X_A.txt, line 1: the line is longer than 65536 bytes");
        let files: [(&str, &[u8]); 3] =
            [("X_A.txt", b"\xff\0,\x1b"), ("X_graph_indicator.txt", b"1\n"), ("X_graph_labels.txt", b"0\n")];
        let message = error(read(Cursor::new(pack(&files)), &LIMITS));
        assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
    }

    #[test]
    fn node_labels_fit_the_nodes() {
        let with = |labels| {
            read_files(&[
                ("X_A.txt", ""),
                ("X_graph_indicator.txt", "1\n1\n"),
                ("X_graph_labels.txt", "0\n"),
                ("X_node_labels.txt", labels),
            ])
        };
        assert_eq!(error(with("1\n")), "X_node_labels.txt has 1 labels for 2 nodes");
        assert_eq!(error(with("1\n2\n3\n")), "X_node_labels.txt, line 3: there are more labels than the 2 nodes");
        assert_eq!(error(with("1\nC\n")), r#"X_node_labels.txt, line 2: expected an integer, found "C""#);
    }

    #[test]
    fn empty_datasets() {
        assert_eq!(error(read_three("", "", "")), "the dataset has no graphs");
        assert_eq!(error(read_three("", "", "0\n")), "no graph of the dataset has a node");
    }

    #[test]
    fn limits() {
        let files: [(&str, &[u8]); 3] =
            [("X_A.txt", b"1,2\n2,3\n"), ("X_graph_indicator.txt", b"1\n1\n1\n2\n"), ("X_graph_labels.txt", b"0\n0\n")];
        let archive = pack(&files);
        let bytes: u64 = files.iter().map(|(_, contents)| contents.len() as u64).sum();
        let within = |limits: ArchiveLimits| read(Cursor::new(&archive), &limits);
        let graph = LIMITS.graph;
        for (limits, expected) in [
            (ArchiveLimits { max_entries: 2, ..LIMITS }, "3 entries are more than the limit of 2"),
            (ArchiveLimits { max_graphs: 1, ..LIMITS }, "there are more graphs than the limit of 1"),
            (
                ArchiveLimits { graph: Limits { max_nodes: 2, ..graph }, ..LIMITS },
                "graph 1: there are more nodes than the limit of 2",
            ),
            (
                ArchiveLimits { graph: Limits { max_edges: 1, ..graph }, ..LIMITS },
                "graph 1: 2 edges are more than the limit of 1",
            ),
            (
                ArchiveLimits { graph: Limits { max_edges: 0, ..graph }, ..LIMITS },
                "graph 1: there are more edges than the limit of 0",
            ),
            (
                ArchiveLimits { max_unpacked_bytes: bytes - 1, ..LIMITS },
                "the archive unpacks to more than the limit of 19 bytes",
            ),
        ] {
            let error = within(limits).unwrap_err();
            assert!(matches!(error, TuError::TooLarge(_)));
            assert_eq!(error.to_string(), expected);
        }
        assert!(within(ArchiveLimits { max_unpacked_bytes: bytes, max_entries: 3, max_graphs: 2, ..LIMITS }).is_ok());
    }

    /// 40 MB that pack into some hundred kB; then with a header that says they are 4 bytes.
    #[test]
    fn a_bomb_ends_at_the_limit_or_where_its_header_lies() {
        let adjacency = "1,2\n".repeat(10_000_000);
        let archive = pack(&[
            ("X_A.txt", adjacency.as_bytes()),
            ("X_graph_indicator.txt", b"1\n1\n"),
            ("X_graph_labels.txt", b"0\n"),
        ]);
        assert!(archive.len() < 400_000);
        let limits = ArchiveLimits { max_unpacked_bytes: 1 << 20, ..LIMITS };
        let limits = ArchiveLimits { graph: Limits { max_edges: usize::MAX, ..LIMITS.graph }, ..limits };
        let expected = "the archive unpacks to more than the limit of 1048576 bytes";
        assert_eq!(error(read(Cursor::new(&archive), &limits)), expected);
        let expected = "graph 1: there are more edges than the limit of 100000";
        assert_eq!(error(read(Cursor::new(&archive), &LIMITS)), expected);

        let mut lying = archive;
        let told = (adjacency.len() as u32).to_le_bytes();
        let places: Vec<usize> = (0..lying.len() - 4).filter(|&at| lying[at..at + 4] == told).collect();
        assert!(!places.is_empty());
        for at in places {
            lying[at..at + 4].copy_from_slice(&4_u32.to_le_bytes());
        }
        assert!(error(read(Cursor::new(&lying), &LIMITS)).starts_with("X_A.txt can't be unpacked: "));
    }

    #[test]
    fn damaged_contents() {
        let mut archive = pack(&[
            ("X_A.txt", "1,2\n2,1\n".repeat(100).as_bytes()),
            ("X_graph_indicator.txt", b"1\n1\n"),
            ("X_graph_labels.txt", b"0\n"),
        ]);
        // The first entry's packed bytes follow its header of 30 bytes and its name.
        for byte in &mut archive[38..44] {
            *byte ^= 0x55;
        }
        assert!(error(read(Cursor::new(archive), &LIMITS)).starts_with("X_A.txt can't be unpacked: "));
    }
}

/// Text that looks like a file of a dataset, now and then not quite.
fn any_file() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => (0..6_i32).prop_map(|a| a.to_string()),
        8 => (0..6_i32, 0..6_i32).prop_map(|(a, b)| format!("{a}, {b}")),
        1 => Just(String::new()),
        1 => any::<i64>().prop_map(|a| a.to_string()),
        1 => "[0-9,. \t\r-]{0,8}",
    ];
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_files_are_survived(a in any_file(), indicator in any_file(), labels in any_file(), nodes in any_file()) {
        let _ = read_files(&[
            ("X_A.txt", &a),
            ("X_graph_indicator.txt", &indicator),
            ("X_graph_labels.txt", &labels),
            ("X_node_labels.txt", &nodes),
        ]);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(Cursor::new(bytes), &LIMITS);
    }

    #[test]
    fn any_damage_is_survived(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut archive = pack(&[
            ("X_A.txt", b"1,2\n2,1\n"),
            ("X_graph_indicator.txt", b"1\n1\n2\n"),
            ("X_graph_labels.txt", b"0\n1\n"),
        ]);
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = read(Cursor::new(&archive), &LIMITS);
        archive.truncate(cut.index(archive.len()));
        let _ = read(Cursor::new(&archive), &LIMITS);
    }

    /// Graphs written as a dataset come back.
    #[test]
    fn graphs_round_trip(
        graphs in prop::collection::vec(
            (1_usize..8).prop_flat_map(|nodes| {
                (Just(nodes), prop::collection::vec((0..nodes as u64, 0..nodes as u64), 0..12), -2_i64..3)
            }),
            1..8,
        ),
        spaced: bool,
    ) {
        let (mut a, mut indicator, mut labels) = (String::new(), String::new(), String::new());
        let (comma, end) = if spaced { (", ", "\r\n") } else { (",", "\n") };
        let mut first = 1;
        for (index, (nodes, edges, label)) in graphs.iter().enumerate() {
            for (u, v) in edges {
                a.push_str(&format!("{}{comma}{}{end}", u + first, v + first));
            }
            indicator.push_str(&format!("{}{end}", index + 1).repeat(*nodes));
            labels.push_str(&format!("{label}{end}"));
            first += *nodes as u64;
        }
        let dataset = read_three(&a, &indicator, &labels).unwrap();
        for (index, (nodes, edges, label)) in graphs.iter().enumerate() {
            let class = dataset.classes.iter().find(|class| class.label == *label).unwrap();
            let (_, graph) = class.graphs.iter().find(|(number, _)| *number == index + 1).unwrap();
            let (expected, _) = Graph::new(*nodes as u64, edges, None, &LIMITS.graph).unwrap();
            prop_assert_eq!(graph, &expected);
        }
    }
}
