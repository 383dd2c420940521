//! Breadth-first orderings.
