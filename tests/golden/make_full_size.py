"""Golden numbers for GraphRNN and GRAN at their full size, from PyTorch in float64.

The networks here are written from their description, with torch.nn's own layers. They first prove
themselves on reference_likelihoods.json (numbers of the original authors' modules on tiny
networks); then the same code writes full_size.json. See README.md for the fields.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent
WEIGHT_RULE = (
    "all parameters filled in listed order, row-major: value(g) = scale * (2 * (u - floor(u)) - 1) "
    "with u = (g + 1)^2 * 0.6180339887498949, g the running 0-based element index across the list; "
    "all arithmetic in float64, each operation rounded once"
)

# A hub (3), two triangles (0 1 2 and 3 7 8), cycles and a tail (19 to 23).
# The node order is a breadth-first order from node 0.
EDGES_24 = [
    (0, 1), (0, 2), (0, 3), (1, 2), (1, 4), (2, 5), (2, 6), (3, 7), (3, 8), (3, 9), (3, 10),
    (3, 11), (3, 12), (3, 13), (4, 5), (5, 14), (6, 14), (7, 8), (7, 15), (9, 16), (11, 17),
    (13, 17), (14, 18), (15, 16), (16, 19), (18, 19), (19, 20), (20, 21), (21, 22), (22, 23),
]  # fmt: skip


def adjacency(n, edges):
    """The symmetric 0/1 adjacency matrix."""
    adj = np.zeros((n, n))
    for a, b in edges:
        adj[a, b] = adj[b, a] = 1.0
    return adj


def check_graph_24(adj, m):
    """What the comment on EDGES_24 claims, and that no edge reaches farther back than `m`."""
    parents = [int(np.flatnonzero(adj[v])[0]) for v in range(1, len(adj))]
    assert parents == sorted(parents)
    assert all(parent < v for v, parent in enumerate(parents, start=1))
    assert np.trace(adj @ adj @ adj) == 2 * 6
    assert max(b - a for a, b in EDGES_24) == m


def fill(module, scale):
    """Gives every parameter its value by WEIGHT_RULE; returns [[name, shape, first index], ...]."""
    listing, first = [], 0
    for name, parameter in module.named_parameters():
        g = np.arange(first, first + parameter.numel(), dtype=np.float64)
        u = (g + 1.0) * (g + 1.0) * 0.6180339887498949
        values = scale * (2.0 * (u - np.floor(u)) - 1.0)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))
        listing.append([name, list(parameter.shape), first])
        first += parameter.numel()
    return listing


# GraphRNN


def encode(adj, m):
    """Inputs and targets of one graph, both n x m.

    Row t of the targets holds node t + 1's links to its m predecessors, the nearest first; the
    last row, all zero, is the end. The inputs are the same, one step later, after a row of ones.
    """
    n = len(adj)
    y = np.zeros((n, m))
    for t in range(n - 1):
        for k in range(min(t + 1, m)):
            y[t, k] = adj[t + 1, t - k]
    x = np.vstack([np.ones((1, m)), y[:-1]])
    return torch.from_numpy(x), torch.from_numpy(y)


def two_linear(inputs, between, outputs):
    return nn.Sequential(nn.Linear(inputs, between), nn.ReLU(), nn.Linear(between, outputs))


class Gru(nn.Module):
    """An embedding with ReLU, a GRU of several layers, and perhaps a head of two linear layers."""

    def __init__(self, inputs, embedding, hidden, layers, outputs=None):
        super().__init__()
        self.input = nn.Linear(inputs, embedding)
        self.rnn = nn.GRU(embedding, hidden, layers, batch_first=True)
        self.output = two_linear(hidden, embedding, outputs) if outputs else nn.Identity()

    def forward(self, packed, state=None):
        embedded = packed._replace(data=self.input(packed.data).relu())
        return self.output(self.rnn(embedded, state)[0].data)


class Mlp(nn.Module):
    """The output network of GraphRNN-S: the m links of a node, each by itself."""

    def __init__(self, inputs, between, outputs):
        super().__init__()
        self.deterministic_output = two_linear(inputs, between, outputs)

    def forward(self, states):
        return self.deterministic_output(states)


class GraphRnn(nn.Module):
    """Both variants: with `edge`, the sizes of an edge GRU, GraphRNN; without, GraphRNN-S."""

    def __init__(self, m, embedding, hidden, layers, edge=None):
        super().__init__()
        self.m = m
        self.dependent = edge is not None
        if edge:
            self.rnn = Gru(m, embedding, hidden, layers, edge["hidden"])
            self.output = Gru(1, edge["embedding"], edge["hidden"], edge["layers"], 1)
        else:
            self.rnn = Gru(m, embedding, hidden, layers)
            self.output = Mlp(hidden, embedding, m)

    def forward(self, graphs):
        """Logits and targets of all steps of `graphs` (largest first), and each step's number.

        Logits and targets are (steps of all graphs) x m, the steps packed: the first step of each
        graph, the second of each that has one, ... Step t counts from 1.
        """
        pairs = [encode(adj, self.m) for adj in graphs]
        lengths = [len(adj) for adj in graphs]
        x, y = (
            pack_padded_sequence(nn.utils.rnn.pad_sequence(rows, True), lengths, True)
            for rows in zip(*pairs)
        )
        steps = torch.arange(1, lengths[0] + 1).repeat_interleave(x.batch_sizes)
        states = self.rnn(x)
        if not self.dependent:
            return self.output(states), y.data, steps
        # The state of each step becomes layer 0's first state in the edge GRU; the others' is 0.
        # Step t has min(t, m) links to tell. Each is told the one before it; the first, a one.
        told = torch.cat([torch.ones(len(y.data), 1), y.data[:, :-1]], 1).unsqueeze(2)
        packed = pack_padded_sequence(told, steps.clamp(max=self.m), True, enforce_sorted=False)
        first = torch.zeros(self.output.rnn.num_layers, *states.shape)
        first[0] = states
        logits = packed._replace(data=self.output(packed, first))
        logits, _ = pad_packed_sequence(logits, True, total_length=self.m)
        return logits.squeeze(2), y.data, steps

    def valid(self, steps):
        """Which of the m links exist at each step."""
        return torch.arange(self.m) < steps.unsqueeze(1)

    def nll(self, adj, with_end=True):
        """The whole negative log-likelihood of one graph, the row at the end included or not."""
        logits, y, steps = self([adj])
        each = binary_cross_entropy_with_logits(logits, y, reduction="none")
        valid = self.valid(steps)
        if not with_end:
            valid[-1] = False
        return each[valid].sum()

    def training_loss(self, graphs):
        """The original's: a mean over all places, padding included, though that adds nothing.

        GraphRNN-S: over graphs x steps of the largest x m, where the links that do not exist at
        the early steps are trained to be 0. GraphRNN: over the steps of all graphs x m.
        """
        logits, y, steps = self(graphs)
        each = binary_cross_entropy_with_logits(logits, y, reduction="none")
        if self.dependent:
            widest = min(int(steps.max()), self.m)
            return each[self.valid(steps)].sum() / (len(steps) * widest)
        return each.sum() / (len(graphs) * int(steps.max()) * self.m)


# GRAN


def blocks(adj, block, stride):
    """All blocks of one graph: node `first` on, while `block` nodes are left, by `stride`.

    Each block is a graph of its own: the `first` nodes there are, with their edges, and `block` new
    ones, joined to all and to each other. The entries to tell are all pairs of a new node and any
    node of the block, the pairs (a, a) and, within the block, (b, a) beside (a, b) included.
    """
    features, attention, edges, pairs, labels, owner, lower = [], [], [], [], [], [], []
    for index, first in enumerate(range(0, len(adj) - block + 1, stride)):
        base, last = len(features), first + block
        features += [*range(1, first + 1), *[0] * block]
        attention += [*[0] * first, *range(1, block + 1)]
        joined = np.ones((last, last))
        joined[:first, :first] = adj[:first, :first]
        np.fill_diagonal(joined, 0)
        edges += (np.argwhere(joined) + base).tolist()
        for column in range(last):
            for row in range(first, last):
                pairs.append([base + row, base + column])
                labels.append(float(adj[row, column]))
                owner.append(index)
                lower.append(column < row)
    return {
        "node_idx_feat": torch.tensor(features),
        "att_idx": torch.tensor(attention),
        "edges": torch.tensor(edges).reshape(-1, 2),
        "node_idx_gnn": torch.tensor(pairs),
        "labels": torch.tensor(labels),
        "subgraph_idx": torch.tensor(owner),
        "lower": torch.tensor(lower),
    }


class Propagation(nn.Module):
    """The attentive message passing: one GRU cell and two edge networks per layer."""

    KINDS = 64  # a node is there already (0) or new (1 to block): one-hot at both ends of an edge

    def __init__(self, hidden, layers, attention):
        super().__init__()
        wide = hidden + 2 * self.KINDS
        each = range(layers)
        self.update_func = nn.ModuleList(nn.GRUCell(hidden, hidden) for _ in each)
        self.msg_func = nn.ModuleList(two_linear(wide, hidden, hidden) for _ in each)
        self.att_head = nn.ModuleList(two_linear(wide, attention, hidden) for _ in each)

    def forward(self, h, edges, kinds):
        source, target = edges.T
        ends = torch.zeros(len(edges), 2 * self.KINDS)
        ends.scatter_(1, kinds[source].unsqueeze(1), 1.0)
        ends.scatter_(1, self.KINDS + kinds[target].unsqueeze(1), 1.0)
        layers = zip(self.update_func, self.msg_func, self.att_head)
        for layer, (update, message, gate) in enumerate(layers):
            if layer > 0:
                h = h.relu()
            z = torch.cat([h[source] - h[target], ends], 1)
            messages = message(z) * gate(z).sigmoid()
            h = update(torch.zeros_like(h).index_add(0, target, messages), h)
        return h


class Gran(nn.Module):
    """GRAN with one round per layer; `nodes` is the width of its node input."""

    def __init__(self, nodes, hidden, layers, mixtures, attention, block, stride):
        super().__init__()
        self.nodes, self.block, self.stride = nodes, block, stride
        self.output_theta = self.head(hidden, mixtures)
        self.output_alpha = self.head(hidden, mixtures)
        self.decoder_input = nn.Sequential(nn.Linear(nodes, hidden))
        self.decoder = Propagation(hidden, layers, attention)

    @staticmethod
    def head(hidden, mixtures):
        return nn.Sequential(
            *[nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()],
            nn.Linear(hidden, mixtures),
        )

    def forward(self, adj):
        """Theta and alpha (both logits, entries x mixtures) and the blocks they belong to."""
        batch = blocks(adj, self.block, self.stride)
        rows = torch.zeros(len(adj), self.nodes)
        rows[:, : len(adj)] = torch.from_numpy(np.tril(adj, -1))
        existing = self.decoder_input(rows)
        new = torch.zeros(1, existing.shape[1])
        h = torch.cat([new, existing])[batch["node_idx_feat"]]
        h = self.decoder(h, batch["edges"], batch["att_idx"])
        one, other = batch["node_idx_gnn"].T
        difference = h[one] - h[other]
        return self.output_theta(difference), self.output_alpha(difference), batch

    def block_log_probs(self, theta, alpha, batch, lower_only=False):
        """Of each block; `lower_only` leaves out all entries but those of an earlier node."""
        labels = batch["labels"].unsqueeze(1).expand_as(theta)
        each = binary_cross_entropy_with_logits(theta, labels, reduction="none")
        if lower_only:
            each = each * batch["lower"].unsqueeze(1)
        owner = batch["subgraph_idx"]
        sums = torch.zeros(int(owner[-1]) + 1, theta.shape[1])
        mean_alpha = sums.index_add(0, owner, alpha) / owner.bincount().unsqueeze(1)
        log_alpha = mean_alpha.log_softmax(1)
        return (log_alpha - sums.index_add(0, owner, each)).logsumexp(1)

    def training_loss(self, graphs):
        """The original's for one graph in one order: per entry of the graph."""
        (adj,) = graphs
        theta, alpha, batch = self(adj)
        return -self.block_log_probs(theta, alpha, batch).sum() / len(theta)


# Checks against the original


def agree(ours, theirs, what):
    """That two numbers, or lists of them, are the same to rounding."""
    if isinstance(theirs, list):
        assert len(ours) == len(theirs), what
        for one, other in zip(ours, theirs):
            agree(one, other, what)
    else:
        assert math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-13), (what, ours, theirs)


def agree_on_gradients(module, loss, theirs, what):
    norms = gradient_norms(module, loss)
    assert norms.keys() == theirs.keys(), what
    for name, norm in norms.items():
        agree(norm, theirs[name], (what, name))


def agree_on_parameters(module, golden, what):
    theirs = [[name.removeprefix("gran."), *rest] for name, *rest in golden["params"]]
    assert fill(module, golden["scale"]) == theirs, what


def self_check(golden):
    """Rebuilds all tiny networks of the reference file; fails where a number differs."""
    adj = adjacency(golden["graph"]["n"], golden["graph"]["edges"])
    x, y = encode(adj, golden["M"])
    assert (x.tolist(), y.tolist()) == (golden["x"], golden["y"])
    tiny_edge = {"embedding": 5, "hidden": 4, "layers": 2}
    for what, edge in (("GraphRNN-S", None), ("GraphRNN", tiny_edge)):
        theirs, net = golden[what], GraphRnn(golden["M"], 4, 5, 2, edge)
        agree_on_parameters(net, theirs, what)
        logits, _, steps = net([adj])
        if edge:
            agree(ragged(logits, net.valid(steps)), theirs["logits_per_step"], what)
            total, train = "total_nll_faithful(incl EOS step)", "train_loss_mean_over_padded"
        else:
            agree(logits.tolist(), theirs["logits"], what)
            total = "total_nll_faithful(mask k<min(t+1,M), incl EOS row)"
            train = "train_loss_mean_over_n*M(unmasked)"
            agree(net.nll(adj, False).item(), theirs["total_nll_without_EOS_row"], what)
        nll = net.nll(adj)
        agree(nll.item(), theirs[total], what)
        agree(net.training_loss([adj]).item(), theirs[train], what)
        agree_on_gradients(net, nll, theirs["grad_l2_norm_of_total_nll_per_param"], what)
    for block, stride in ((1, 1), (2, 2), (2, 1)):
        what = f"GRAN_K{block}_S{stride}"
        theirs, net = golden[what], Gran(6, 8, 2, 3, 128, block, stride)
        agree_on_parameters(net, theirs, what)
        theta, alpha, batch = net(adj)
        for name, rows in {**theirs["batch"], **theirs}.items():
            assert name not in batch or batch[name].tolist() == rows, (what, name)
        agree(theta.tolist(), theirs["log_theta"], what)
        agree(alpha.tolist(), theirs["log_alpha"], what)
        for lower, name, total in (
            (False, "faithful", "faithful -log p(lower+diag+dup entries)"),
            (True, "lower", "strict-lower-triangle -log p (alpha still averaged over all entries)"),
        ):
            log_probs = net.block_log_probs(theta, alpha, batch, lower)
            agree(log_probs.tolist(), theirs[f"block_log_probs_{name}"], what)
            agree(-log_probs.sum().item(), theirs[total], what)
        loss = net.training_loss([adj])
        agree(loss.item(), theirs["original loss (per-entry normalised)"], what)
        agree_on_gradients(net, loss, theirs["grad_l2_norm_of_original_loss_per_param"], what)


# What is written


def ragged(rows, valid):
    return [row[keep].tolist() for row, keep in zip(rows, valid)]


def l2_norm(tensor):
    return torch.linalg.vector_norm(tensor.detach()).item()


def exact_sum(tensor):
    return math.fsum(tensor.detach().flatten().tolist())


def gradient_norms(module, loss):
    module.zero_grad()
    loss.backward()
    return {name: l2_norm(parameter.grad) for name, parameter in module.named_parameters()}


def adam_step(module, graphs, rate):
    """One step of torch.optim.Adam on the training loss of `graphs`; `module` is changed."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    loss = module.training_loss(graphs)
    module.zero_grad()
    loss.backward()
    optimizer.step()
    return {
        "learning_rate": rate,
        "graph_nodes": [len(adj) for adj in graphs],
        "loss_before": loss.item(),
        "loss_after": module.training_loss(graphs).item(),
        "params_after": {
            name: {"l2_norm": l2_norm(parameter), "sum": exact_sum(parameter)}
            for name, parameter in module.named_parameters()
        },
    }


def graph_rnn(scale, sizes, adj, small):
    net = GraphRnn(**sizes)
    params = fill(net, scale)
    logits, _, steps = net([adj])
    loss = net.training_loss([adj])
    return {
        "arch": sizes,
        "scale": scale,
        "params": params,
        "logits": ragged(logits, net.valid(steps)) if net.dependent else logits.tolist(),
        "total_nll": net.nll(adj).item(),
        "total_nll_without_end_row": net.nll(adj, with_end=False).item(),
        "training_loss": loss.item(),
        "gradient_l2_norm_of_training_loss": gradient_norms(net, loss),
        "adam_step": adam_step(net, [adj, small], 3e-3),
    }


def gran(scale, sizes, adj):
    net = Gran(**sizes)
    params = fill(net, scale)
    theta, alpha, batch = net(adj)
    faithful = net.block_log_probs(theta, alpha, batch)
    lower = net.block_log_probs(theta, alpha, batch, lower_only=True)
    loss = net.training_loss([adj])
    digest = {
        name: {
            "sum": exact_sum(rows),
            "l2_norm": l2_norm(rows),
            "first_rows": rows[:5].tolist(),
            "last_rows": rows[-5:].tolist(),
        }
        for name, rows in (("log_theta", theta), ("log_alpha", alpha))
    }
    return {
        "arch": sizes,
        "scale": scale,
        "params": params,
        **digest,
        "n_entries": len(theta),
        "block_log_probs": faithful.tolist(),
        "block_log_probs_lower": lower.tolist(),
        "total_nll": -faithful.sum().item(),
        "total_nll_lower": -lower.sum().item(),
        "training_loss": loss.item(),
        "gradient_l2_norm_of_training_loss": gradient_norms(net, loss),
        "adam_step": adam_step(net, [adj], 1e-3),
    }


def to_json(value):
    """JSON with sorted keys, where a list of numbers is one line."""
    text = json.dumps(value, indent=1, sort_keys=True)
    return re.sub(r"\[[^][{}\"]*\]", lambda numbers: re.sub(r"\s+", "", numbers[0]), text)


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    reference = json.loads((HERE / "reference_likelihoods.json").read_text())
    self_check(reference)
    print("the tiny networks agree with the original's numbers")

    m = 10
    adj = adjacency(24, EDGES_24)
    check_graph_24(adj, m)
    small = adjacency(reference["graph"]["n"], reference["graph"]["edges"])
    graph_gru = {"m": m, "embedding": 64, "hidden": 128, "layers": 4}
    edge_gru = {"embedding": 8, "hidden": 16, "layers": 4}
    wide = {"nodes": 24, "hidden": 128, "mixtures": 20, "attention": 128}
    # The scales: large enough for outputs that depend on the input, too small to saturate.
    result = {
        "torch_version": torch.__version__.partition("+")[0],
        "weight_rule": WEIGHT_RULE,
        "M": m,
        "graph": {"n": 24, "edges": [list(edge) for edge in EDGES_24]},
        "small_graph": reference["graph"],
        "GraphRNN-S": graph_rnn(0.25, graph_gru, adj, small),
        "GraphRNN": graph_rnn(0.5, {**graph_gru, "edge": edge_gru}, adj, small),
        "GRAN_K1_S1": gran(0.14, {**wide, "layers": 7, "block": 1, "stride": 1}, adj),
        "GRAN_K4_S2": gran(0.16, {**wide, "layers": 3, "block": 4, "stride": 2}, adj),
    }
    (HERE / "full_size.json").write_text(to_json(result) + "\n")


if __name__ == "__main__":
    main()
