"""GraphRNN (You et al. 2018) in mode `proper`: variant `rnn`, and `mlp`, which is GraphRNN-S."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from case import parameters
from sequences import Sequences, far_cost

# Rows whose slots the edge-level RNN goes through together: the more the faster in small graphs, but in large ones what
# no longer fits the caches is slower.
ROWS_AT_ONCE = 1_024


@dataclass
class Rows:
    """The rows of K orderings: row i tells the links of position i + 1, and the last that there is no such position."""

    inputs: torch.Tensor  # [K, N, M + 1]: the row before, ones at first; and the share of M that is open
    targets: torch.Tensor  # [K, N, M]
    widths: torch.Tensor  # [K, N]: slots that are open and in reach
    far_edges: torch.Tensor  # [K]: out of reach
    far_slots: torch.Tensor  # [K]

    @staticmethod
    def of(orders, edges, m):
        count, nodes = orders.shape
        sequences = Sequences.of(orders, edges)
        opened = torch.arange(1, nodes + 1) - sequences.first
        widths = opened.clamp(max=m)
        links = sequences.rows(m)
        start, end = torch.ones(count, 1, m), torch.zeros(count, 1, m)
        openness = (widths / m).unsqueeze(2)
        far = sequences.late - sequences.early > m
        return Rows(
            inputs=torch.cat([torch.cat([start, links[:, 1:]], 1), openness], 2),
            targets=torch.cat([links[:, 1:], end], 1),
            widths=widths,
            far_edges=far.sum(1),
            far_slots=(opened - widths)[:, :-1].sum(1),
        )


@dataclass
class Packed:
    """Rows of several graphs in one ordering each, packed step by step as PyTorch packs them."""

    inputs: nn.utils.rnn.PackedSequence  # S rows
    stops: torch.Tensor  # [S]: 1 at the last row of each graph
    told: torch.Tensor  # the rows whose slots the loss is over,
    targets: torch.Tensor  # their slots
    widths: torch.Tensor
    weight: float  # how many rows each of those stands for


def two_layers(inputs, between, outputs):
    layers = nn.Sequential()
    layers.add_module("first", nn.Linear(inputs, between))
    layers.add_module("relu", nn.ReLU())
    layers.add_module("second", nn.Linear(between, outputs))
    return layers


class GraphRnn(nn.Module):
    def __init__(self, case):
        super().__init__()
        shape = case.about["shape"]
        self.m = m = shape["max_prev_node"]
        hidden, embedding, layers = shape["hidden_dim"], shape["embedding_dim"], shape["layers"]
        self.input = nn.Linear(m + 1, embedding)
        self.graph_level = nn.GRU(embedding, hidden, layers, batch_first=True)
        self.stop = two_layers(hidden, embedding, 1)
        self.dependent = shape["variant"] == "rnn"
        if self.dependent:
            edge_hidden, edge_embedding = shape["edge_hidden_dim"], shape["edge_embedding_dim"]
            self.edge_start = two_layers(hidden, embedding, edge_hidden)
            self.edge_input = nn.Linear(1, edge_embedding)
            self.edge_level = nn.GRU(edge_embedding, edge_hidden, layers, batch_first=True)
            self.slots = two_layers(edge_hidden, edge_embedding, 1)
        else:
            self.slots = two_layers(hidden, embedding, m)
        self.load_state_dict(parameters(case.weights))
        self.far_edge_probability = case.weights["far_edge_probability"].item()

    def graphs(self, case):
        return case.ordered_graphs()

    def batches(self, graph):
        yield Rows.of(*graph, self.m)

    def score(self, rows):
        """The negative log-likelihood of each ordering [K], in nats."""
        count, nodes, _ = rows.targets.shape
        states, _ = self.graph_level(self.input(rows.inputs).relu())  # [K, N, H]
        stops = torch.zeros(count, nodes)
        stops[:, -1] = 1.0
        costs = cross_entropy(self.stop(states).squeeze(2), stops).sum(1)
        of_rows = self.slot_costs(
            states[:, :-1].flatten(0, 1), rows.targets[:, :-1].flatten(0, 1), rows.widths[:, :-1].flatten()
        )
        costs = costs + of_rows.reshape(count, nodes - 1).sum(1)
        return costs.double() + far_cost(self.far_edge_probability, rows.far_edges, rows.far_slots)

    def slot_costs(self, states, targets, widths):
        """What the slots of each row cost [R]: of its state [R, H], its slots [R, M] and how many of them are open."""
        if not self.dependent:
            return (cross_entropy(self.slots(states), targets) * (torch.arange(self.m) < widths.unsqueeze(1))).sum(1)
        costs = torch.zeros(len(widths))
        # The widest first, so that the rows of a part are about as wide as one another.
        for part in widths.argsort(descending=True).split(ROWS_AT_ONCE):
            costs = costs.index_add(0, part, self.dependent_costs(states[part], targets[part], widths[part]))
        return costs

    def dependent_costs(self, states, targets, widths):
        """The same of rows with the widest first, slot after slot, each given the one before it and the first a one."""
        targets = targets[:, : widths[0]]
        before = torch.cat([torch.ones(len(targets), 1), targets[:, :-1]], 1).unsqueeze(2)
        before, targets = (pack_padded_sequence(slots, widths, batch_first=True) for slots in (before, targets))
        first = torch.zeros(self.edge_level.num_layers, len(states), self.edge_level.hidden_size)
        first[0] = self.edge_start(states)
        outputs, _ = self.edge_level(before._replace(data=self.edge_input(before.data).relu()), first)
        costs = cross_entropy(self.slots(outputs.data).squeeze(1), targets.data)
        return pad_packed_sequence(targets._replace(data=costs), batch_first=True)[0].sum(1)

    def training_batch(self, case):
        """The graphs of a step, the largest first."""
        of_graphs = [Rows.of(*graph, self.m) for graph in self.graphs(case)]
        lengths = [rows.widths.shape[1] for rows in of_graphs]

        def pack(rows):
            return pack_padded_sequence(pad_sequence([row.squeeze(0) for row in rows], True), lengths, True)

        inputs = pack([rows.inputs for rows in of_graphs])
        stops = pack([torch.eye(length)[-1:] for length in lengths]).data
        told = case.arrays.get("told_rows", (stops == 0).nonzero().squeeze(1))
        return Packed(
            inputs=inputs,
            stops=stops,
            told=told,
            targets=pack([rows.targets for rows in of_graphs]).data[told],
            widths=pack([rows.widths for rows in of_graphs]).data[told],
            weight=(len(stops) - len(lengths)) / len(told),
        )

    def loss(self, batch):
        """In nats per node."""
        states, _ = self.graph_level(batch.inputs._replace(data=self.input(batch.inputs.data).relu()))
        slots = self.slot_costs(states.data[batch.told], batch.targets, batch.widths).sum()
        stops = cross_entropy(self.stop(states.data).squeeze(1), batch.stops).sum()
        return (slots * batch.weight + stops) / len(batch.stops)


def cross_entropy(logits, targets):
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")
