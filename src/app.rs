//! The composition root: open, load, spawn, serve, drain.
