//! Shortest paths, with and without a given edge.

use super::Graph;

#[derive(Debug, Default)]
pub struct PathFinder {
    stamp: Vec<u32>,
    now: u32,
    queue: Vec<(u32, u32)>,
}

impl PathFinder {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn distance(&mut self, g: &Graph, from: u32, to: u32, without: Option<(u32, u32)>, cap: u32) -> Option<u32> {
        self.stamp.resize(g.node_count(), 0);
        self.now += 1;
        self.queue.clear();
        self.queue.push((from, 0));
        self.stamp[from as usize] = self.now;
        let mut i = 0;
        while i < self.queue.len() {
            let (u, d) = self.queue[i];
            i += 1;
            if u == to {
                return Some(d);
            }
            if d >= cap {
                continue;
            }
            for &v in g.neighbours(u) {
                if without == Some((u, v)) || without == Some((v, u)) {
                    continue;
                }
                if self.stamp[v as usize] != self.now {
                    self.stamp[v as usize] = self.now;
                    self.queue.push((v, d + 1));
                }
            }
        }
        None
    }
}
