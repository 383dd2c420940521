"""Graphs in breadth-first orderings: what both autoregressive models are told (docs/likelihood.md)."""

import math
from dataclasses import dataclass

import torch


@dataclass
class Sequences:
    """K orderings of a graph of N nodes and E edges. Position t holds the node that comes t-th, counted from 0."""

    late: torch.Tensor  # [K, E]: the later position of each edge,
    early: torch.Tensor  # [K, E]: and the earlier one
    first: torch.Tensor  # [K, N]: the first position that each position links to; itself where it links to none

    @staticmethod
    def of(orders, edges):
        count, nodes = orders.shape
        positions = torch.arange(nodes).repeat(count, 1)
        places = torch.empty_like(orders).scatter_(1, orders, positions)
        ends = places[:, edges]  # [K, E, 2]
        late, early = ends.amax(2), ends.amin(2)
        return Sequences(late, early, positions.scatter_reduce(1, late, early, "amin"))

    def rows(self, width):
        """[K, N, width]: the links of each position to those before it, the nearest first."""
        count, nodes = self.first.shape
        rows = torch.zeros(count, nodes, width)
        slots = self.late - self.early - 1
        ordering, edge = (slots < width).nonzero(as_tuple=True)
        rows[ordering, self.late[ordering, edge], slots[ordering, edge]] = 1.0
        return rows


def far_cost(probability, edges, slots):
    """What `edges` edges in `slots` slots out of reach cost, in nats."""
    return -edges * math.log(probability) - (slots - edges) * math.log1p(-probability)
