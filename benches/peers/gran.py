"""GRAN (Liao et al. 2019) in mode `proper`."""

import math
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, embedding, linear

from case import parameters
from sequences import Sequences, far_cost

# The codes that tell nodes apart on either end of an edge: 0 for one that exists, 1 to 63 for the nodes of a block.
CODES = 64
# Tentative edges of the blocks that are computed together, about: the more the faster in small graphs, but in large
# ones what no longer fits the caches is slower.
EDGES_AT_ONCE = 8_192


@dataclass
class Batch:
    """Blocks, each as the graph that the GNN sees. Nodes that exist stand first, then those that the blocks add."""

    links: torch.Tensor  # [P, W]: of positions, to the W before each
    existing: torch.Tensor  # [V0]: which of the positions each existing node is
    codes: torch.Tensor  # [V]
    sources: torch.Tensor  # [E]
    destinations: torch.Tensor  # [E]
    rows: torch.Tensor  # [X]: the added node of each entry,
    columns: torch.Tensor  # [X]: and the node that it may link to
    labels: torch.Tensor  # [X, 1]
    counted: torch.Tensor  # [X, 1]: whether the slot is open, and its row not told again by the next block
    blocks: torch.Tensor  # [X]: the block of each entry
    orderings: torch.Tensor  # [B]: the ordering of each block
    told: torch.Tensor  # [B]: rows that count
    costs: torch.Tensor  # [K]: what is charged beside the blocks

    @staticmethod
    def joined(batches):
        """Several batches as one."""
        columns = {field.name: [getattr(batch, field.name) for batch in batches] for field in fields(Batch)}

        def shift(name, like):
            """Makes the numbers of each batch begin where those before it end."""
            shifts = torch.tensor([0] + [len(of_batch) for of_batch in columns[like]]).cumsum(0)
            columns[name] = [numbers + start for numbers, start in zip(columns[name], shifts)]

        # The existing nodes of all batches stand before all added ones.
        kept = [len(of_batch) for of_batch in columns["existing"]]
        added = [len(codes) - count for codes, count in zip(columns["codes"], kept)]
        for name in ("sources", "destinations", "rows", "columns"):
            for index, nodes in enumerate(columns[name]):
                old, new = sum(kept[:index]), sum(kept) + sum(added[:index]) - kept[index]
                columns[name][index] = nodes + torch.where(nodes < kept[index], old, new)
        columns["codes"] = [codes[:count] for codes, count in zip(columns["codes"], kept)] + [
            codes[count:] for codes, count in zip(columns["codes"], kept)
        ]
        shift("existing", like="links")
        shift("blocks", like="orderings")
        shift("orderings", like="costs")
        return Batch(**{name: torch.cat(parts) for name, parts in columns.items()})


class Blocks:
    """K orderings of a graph with what their blocks are made of."""

    def __init__(self, orders, edges, shape):
        self.size, self.stride, self.reach = shape["block_size"], shape["stride"], shape["max_prev_node"]
        self.rounds = shape["layers"] * shape["propagations"]
        self.sequences = Sequences.of(orders, edges)
        late, early, first = self.sequences.late, self.sequences.early, self.sequences.first
        self.count, self.nodes = first.shape
        # Where the open slots of each position begin: at the first link of the position before.
        self.frontier = torch.cat([torch.zeros_like(first[:, :1]), first[:, :-1]], 1)
        self.links = self.sequences.rows(self.reach + self.size)
        # Messages pass either way along the edges that span no more than the reach.
        short = late - early <= self.reach
        self.ends = torch.cat([late, early], 1), torch.cat([early, late], 1), torch.cat([short, short], 1)

    def windows(self, orderings, starts):
        """The first position that the block which begins at each of `starts` may link to."""
        return torch.maximum(self.frontier[orderings, starts], starts - self.reach)

    def far(self):
        """Edges and slots [K] that no block reaches."""
        positions = torch.arange(self.nodes).expand(self.count, -1)
        windows = self.windows(torch.arange(self.count).unsqueeze(1), positions - positions % self.stride)
        slots = (windows - self.frontier).clamp(min=0).sum(1)
        edges = self.sequences.early < windows.gather(1, self.sequences.late)
        return edges.sum(1), slots

    def field(self, window, sources, destinations, passes):
        """Of the positions [B, N] before each block those that messages come from: a window, and what is around it."""
        field = window
        for _ in range(self.rounds):
            reached = torch.zeros(field.shape, dtype=torch.int32)
            reached.scatter_add_(1, sources, (passes & field.gather(1, destinations)).int())
            field = field | (reached > 0)
        return field

    def batch(self, orderings, starts):
        """The blocks that begin at `starts`, positions of `orderings`; those stand in order."""
        positions = torch.arange(self.nodes)
        begin = starts.unsqueeze(1)
        before = positions < begin
        window = before & (positions >= self.windows(orderings, starts).unsqueeze(1))
        sources, destinations, short = (of_links[orderings] for of_links in self.ends)  # [B, 2 E]
        passes = short & (sources < begin) & (destinations < begin)
        field = self.field(window, sources, destinations, passes)

        # A number for each node: those of the field, then those added.
        old_block, old_position = field.nonzero(as_tuple=True)
        old = torch.zeros(field.shape, dtype=torch.long)
        old[field] = torch.arange(len(old_block))
        added = begin + torch.arange(self.size) < self.nodes  # [B, size]
        new = torch.zeros(added.shape, dtype=torch.long)
        new[added] = len(old_block) + torch.arange(int(added.sum()))
        codes = torch.cat([torch.zeros_like(old_block), added.nonzero()[:, 1] + 1])

        # Existing edges; then tentative ones, between window and block and within the block.
        kept = passes & field.gather(1, sources) & field.gather(1, destinations)
        block, link = kept.nonzero(as_tuple=True)
        existing = old[block, sources[block, link]], old[block, destinations[block, link]]
        place_block, place = window.nonzero(as_tuple=True)
        at, outer_row = added[place_block].nonzero(as_tuple=True)
        outer_block, outer_column = place_block[at], place[at]
        outer_new, outer_old = new[outer_block, outer_row], old[outer_block, outer_column]
        inner_block, inner_row, inner_column = (added.unsqueeze(2) & added.unsqueeze(1)).nonzero(as_tuple=True)
        inner = new[inner_block, inner_row], new[inner_block, inner_column]
        apart = inner_row != inner_column

        # Entries: every added node with all that it is joined to, itself included.
        blocks = torch.cat([outer_block, inner_block])
        row = starts[blocks] + torch.cat([outer_row, inner_row])
        column = torch.cat([outer_column, starts[inner_block] + inner_column])
        ordering, span = orderings[blocks], row - column
        counted = (span > 0) & (row < starts[blocks] + self.stride) & (column >= self.frontier[ordering, row])
        lowest = int(orderings[0])
        return Batch(
            links=self.links[lowest : int(orderings[-1]) + 1, :, : self.reach].flatten(0, 1),
            existing=(orderings[old_block] - lowest) * self.nodes + old_position,
            codes=codes,
            sources=torch.cat([existing[0], outer_old, outer_new, inner[0][apart]]),
            destinations=torch.cat([existing[1], outer_new, outer_old, inner[1][apart]]),
            rows=torch.cat([outer_new, inner[0]]),
            columns=torch.cat([outer_old, inner[1]]),
            labels=self.links[ordering, row, (span - 1).clamp(min=0)].unsqueeze(1),
            counted=counted.float().unsqueeze(1),
            blocks=blocks,
            orderings=orderings,
            told=(self.nodes - starts).clamp(max=self.stride),
            costs=torch.zeros(self.count, dtype=torch.double),
        )


class EdgeMlp(nn.Module):
    """Two layers over [h_s - h_d, code of s, code of d] of each edge s to d, the codes one-hot."""

    def __init__(self, hidden, between):
        super().__init__()
        self.first = nn.Linear(hidden + 2 * CODES, between)
        self.second = nn.Linear(between, hidden)

    def forward(self, differences, source_codes, destination_codes):
        # Of a product with a one-hot code one column is left.
        weight, of_source, of_destination = self.first.weight.split([differences.shape[1], CODES, CODES], 1)
        x = linear(differences, weight, self.first.bias)
        x = x + embedding(source_codes, of_source.T) + embedding(destination_codes, of_destination.T)
        return self.second(x.relu())


class Layer(nn.Module):
    def __init__(self, hidden, attention):
        super().__init__()
        self.message = EdgeMlp(hidden, hidden)
        self.attention = EdgeMlp(hidden, attention)
        self.update = nn.GRUCell(hidden, hidden)

    def forward(self, h, batch):
        differences = h[batch.sources] - h[batch.destinations]
        codes = batch.codes[batch.sources], batch.codes[batch.destinations]
        messages = self.message(differences, *codes) * self.attention(differences, *codes).sigmoid()
        return self.update(torch.zeros_like(h).index_add(0, batch.destinations, messages), h)


class Head(nn.ModuleList):
    """Three linear layers with ReLUs between them."""

    def __init__(self, hidden, outputs):
        super().__init__([nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)])

    def forward(self, x):
        first, second, third = self
        return third(second(first(x).relu()).relu())


class Gran(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.shape = shape = case.about["shape"]
        hidden = shape["hidden_dim"]
        self.input = nn.Linear(shape["max_prev_node"], hidden)
        self.layers = nn.ModuleList(Layer(hidden, shape["attention_hidden_dim"]) for _ in range(shape["layers"]))
        self.theta = Head(hidden, shape["mixtures"])
        self.alpha = Head(hidden, shape["mixtures"])
        self.load_state_dict(parameters(case.weights))
        self.far_edge_probability = case.weights["far_edge_probability"].item()
        self.sizes = case.weights["sizes"]  # [sizes, 2]: of the training graphs, each with its count

    def forward(self, batch):
        """The log-probability of each block [B], in nats."""
        h = self.input(batch.links)[batch.existing]
        h = torch.cat([h, torch.zeros(len(batch.codes) - len(h), h.shape[1])])  # [V, H]
        for index, layer in enumerate(self.layers):
            h = h.relu() if index > 0 else h
            for _ in range(self.shape["propagations"]):
                h = layer(h, batch)
        differences = h[batch.rows] - h[batch.columns]
        theta, alpha = self.theta(differences), self.alpha(differences)  # [X, C]
        costs = binary_cross_entropy_with_logits(theta, batch.labels.expand_as(theta), reduction="none")
        of_blocks = torch.zeros(len(batch.orderings), theta.shape[1])
        alpha = of_blocks.index_add(0, batch.blocks, alpha) / batch.blocks.bincount().unsqueeze(1)
        costs = of_blocks.index_add(0, batch.blocks, costs * batch.counted)
        return (alpha.log_softmax(1) - costs).logsumexp(1)

    def graphs(self, case):
        return case.ordered_graphs()

    def batches(self, graph):
        blocks = Blocks(*graph, self.shape)
        starts = torch.arange(0, blocks.nodes, blocks.stride)
        orderings = torch.arange(blocks.count).repeat_interleave(len(starts))
        starts = starts.repeat(blocks.count)
        edges = (2 * (starts - blocks.windows(orderings, starts)) + blocks.size) * blocks.size
        parts = (edges.cumsum(0) // EDGES_AT_ONCE).unique_consecutive(return_counts=True)[1].tolist()
        costs = far_cost(self.far_edge_probability, *blocks.far()).double() + self.size_cost(blocks.nodes)
        for index, part in enumerate(zip(orderings.split(parts), starts.split(parts))):
            batch = blocks.batch(*part)
            batch.costs = costs if index == 0 else torch.zeros_like(costs)
            yield batch

    def score(self, batch):
        """The negative log-likelihood of each ordering [K] as far as these blocks tell it, in nats."""
        return batch.costs.index_add(0, batch.orderings, -self(batch).double())

    def size_cost(self, nodes):
        """-ln p(N): kernels at the training graphs' sizes, of a width by Silverman's rule, and a heavy tail."""
        sizes, counts = self.sizes.T
        graphs = counts.sum()
        mean = (sizes * counts).sum() / graphs
        deviation = (((sizes - mean) ** 2 * counts).sum() / graphs).sqrt()
        rho = torch.exp(-1 / (1.06 * deviation * graphs**-0.2).clamp(min=0.5))
        kernels = rho ** (sizes - nodes).abs() * (1 - rho) / (1 + rho - rho**sizes)
        tail = 1 / (graphs + 1)
        return -math.log((1 - tail) * (counts * kernels).sum() / graphs + tail / (nodes * (nodes + 1)))

    def training_batch(self, case):
        """Some blocks of each graph."""
        graph_of, index_of = case.arrays["blocks"].reshape(-1, 2).T
        batches = []
        for index, graph in enumerate(self.graphs(case)):
            starts = index_of[graph_of == index] * self.shape["stride"]
            batches.append(Blocks(*graph, self.shape).batch(torch.zeros_like(starts), starts))
        return Batch.joined(batches)

    def loss(self, batch):
        """In nats per row."""
        return -self(batch).sum() / batch.told.sum()
