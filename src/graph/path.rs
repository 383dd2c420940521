//! Shortest paths, with and without a given edge.
