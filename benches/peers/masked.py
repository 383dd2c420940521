"""The masked models: a GNN over the graph, an MLP over pairs of its embeddings."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, layer_norm

from case import parameters


@dataclass
class Batch:
    """A disjoint union of graphs with pairs of their nodes."""

    features: torch.Tensor  # [N, 2]: 1 and ln(1 + degree)
    labels: torch.Tensor  # [N]
    sources: torch.Tensor  # [2 E]
    destinations: torch.Tensor  # [2 E]
    pairs: torch.Tensor  # [P, 2]
    path_classes: torch.Tensor  # [P]


class Convolution(nn.Module):
    """GIN (Xu et al. 2019) with ε = 0, its rows normalised."""

    def __init__(self, hidden):
        super().__init__()
        self.first = nn.Linear(hidden, hidden)
        self.second = nn.Linear(hidden, hidden)

    def forward(self, h, sources, destinations):
        h = h.index_add(0, destinations, h[sources])
        h = self.second(self.first(h).relu()).relu()
        return layer_norm(h, h.shape[1:])


class Masked(nn.Module):
    def __init__(self, case):
        super().__init__()
        shape = case.about["shape"]
        self.masks = shape["masks"]
        hidden = shape["hidden_dim"]
        weights = parameters(case.weights)
        self.input = nn.Linear(2, hidden)
        if "label_embedding.weight" in weights:
            self.label_embedding = nn.Embedding(*weights["label_embedding.weight"].shape)
        self.convolutions = nn.ModuleList(Convolution(hidden) for _ in range(shape["layers"]))
        self.pair_first = nn.Linear(2 * hidden, hidden)
        self.path_embedding = nn.Embedding(*weights["path_embedding.weight"].shape)
        self.pair_second = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 1)
        self.load_state_dict(weights)

    def forward(self, batch):
        """The logits of the pairs [P]."""
        h = self.input(batch.features)
        if hasattr(self, "label_embedding"):
            h = h + self.label_embedding(batch.labels)
        for convolution in self.convolutions:
            h = convolution(h, batch.sources, batch.destinations)
        u, v = h[batch.pairs[:, 0]], h[batch.pairs[:, 1]]
        x = self.pair_first(torch.cat([u + v, u * v], 1)) + self.path_embedding(batch.path_classes)
        return self.output(self.pair_second(x.relu()).relu()).squeeze(1)

    def graphs(self, case):
        """
        Of each graph its edges [E, 2], the labels of its nodes, and its samples [100, 5]: the number of an edge and the
        class of its path, two nodes of a non-edge (-1 where there is none) and the class of theirs.
        """
        graphs = case.graphs()
        labels = case.arrays["labels"].split([nodes for nodes, _ in graphs])
        samples = case.arrays["samples"].reshape(-1, 5).split(case.arrays["sample_counts"].tolist())
        return [(edges, *others) for (_, edges), *others in zip(graphs, labels, samples)]

    def batches(self, graph):
        edges, labels, samples = graph
        edge, non_edge = samples[:, 0], samples[:, 2:4]
        exists = non_edge[:, 0] >= 0
        nodes, copies = len(labels), len(samples) if self.masks else 1
        degrees = edges.flatten().bincount(minlength=nodes).repeat(copies, 1)  # [copies, N]
        base = torch.arange(copies).mul(nodes).unsqueeze(1)  # the first node of each copy
        all_edges = base.unsqueeze(2) + edges  # [copies, E, 2]
        pairs = torch.cat([base + edges[edge], (base + non_edge)[exists]])
        if self.masks:
            kept = torch.ones(copies, len(edges), dtype=torch.bool)
            kept[torch.arange(copies), edge] = False
            all_edges = all_edges[kept]
            degrees.scatter_add_(1, edges[edge], torch.full((copies, 2), -1))
        sources, destinations = all_edges.reshape(-1, 2).T
        degrees = degrees.flatten().float()
        yield Batch(
            features=torch.stack([torch.ones_like(degrees), degrees.log1p()], 1),
            labels=labels.repeat(copies),
            sources=torch.cat([sources, destinations]),
            destinations=torch.cat([destinations, sources]),
            pairs=pairs,
            path_classes=torch.cat([samples[:, 1], samples[exists, 4]]),
        )

    def score(self, batch):
        """The completions, in (0, 1): of the edges, then of the non-edges."""
        return self(batch).sigmoid()

    def training_batch(self, case):
        arrays = case.arrays
        degrees = arrays["degrees"]
        batch = Batch(
            features=arrays["features"].reshape(-1, 2),
            labels=arrays["labels"],
            sources=arrays["neighbours"],
            destinations=torch.arange(len(degrees)).repeat_interleave(degrees),
            pairs=arrays["pairs"].reshape(2, -1).T,
            path_classes=arrays["path_classes"],
        )
        return batch, arrays["targets"]

    def loss(self, batch):
        """In nats per pair."""
        graphs, targets = batch
        return binary_cross_entropy_with_logits(self(graphs), targets)
