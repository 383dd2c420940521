"""A case as the driver wrote it: weights by name, arrays, and what shapes the network."""

import json
import re

import torch
from safetensors import safe_open

WEIGHTS = "weights/"


class Case:
    def __init__(self, path):
        with safe_open(path, framework="pt") as file:
            self.about = json.loads(file.metadata()["case"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.weights = {
            name.removeprefix(WEIGHTS): tensor for name, tensor in tensors.items() if name.startswith(WEIGHTS)
        }
        self.arrays = {name: tensor for name, tensor in tensors.items() if not name.startswith(WEIGHTS)}

    def graphs(self):
        """Of each graph: how many nodes, and its edges [E, 2], each once."""
        edges = self.arrays["edges"].reshape(-1, 2).split(self.arrays["edge_counts"].tolist())
        return list(zip(self.arrays["node_counts"].tolist(), edges))

    def ordered_graphs(self):
        """Of each graph: its orderings [K, N] and its edges [E, 2]."""
        graphs = self.graphs()
        count = self.about["orderings"]
        orders = self.arrays["orders"].split([count * nodes for nodes, _ in graphs])
        return [(of_graph.reshape(count, -1), edges) for of_graph, (_, edges) in zip(orders, graphs)]


def parameters(weights):
    """The parameters among `weights`, each layer of a GRU under the name that torch.nn.GRU gives it."""
    return {
        re.sub(r"^(graph_level|edge_level)\.(\d+)\.(\w+)$", r"\1.\3_l\2", name): tensor
        for name, tensor in weights.items()
        if tensor.dtype == torch.float32
    }
