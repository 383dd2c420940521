"""One case in PyTorch: `peer.py CASE THREADS` reads it, says so in a line, and answers each line with a run.

An answer is a JSON object: the `seconds` that the run took, those of them that went into `preparing` (making tensors of
graphs and orderings), and the `values` that it found.
"""

import json
import sys
from time import perf_counter

import torch

from case import Case
from gran import Gran
from graph_rnn import GraphRnn
from masked import Masked

NETWORKS = {"graphrnn": GraphRnn, "gran": Gran, "full-mask": Masked, "full-edge-prediction": Masked}


def scoring(case):
    """A run scores every graph, one after another."""
    network = NETWORKS[case.about["kind"]](case)
    graphs = network.graphs(case)

    @torch.inference_mode()
    def run():
        values, preparing = [], 0.0
        for graph in graphs:
            scores, begun = 0.0, perf_counter()
            for batch in network.batches(graph):
                preparing += perf_counter() - begun
                scores = scores + network.score(batch)
                begun = perf_counter()
            values += scores.tolist()
        return values, preparing

    return run


def training(case):
    """A run is one more step of training, always on the same batch; its value is the loss before the step."""
    network = NETWORKS[case.about["kind"]](case)
    batch = network.training_batch(case)
    adam = torch.optim.AdamW(
        network.parameters(), lr=case.about["learning_rate"], weight_decay=case.about["weight_decay"], fused=True
    )

    def run():
        adam.zero_grad()
        loss = network.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), case.about["grad_clip"])
        adam.step()
        return [loss.item()], 0.0

    return run


def peak(case):
    """A run multiplies square matrices of each size; its value is the most multiply-adds a second."""
    matrices = [torch.ones(size, size) for size in case.about["sizes"]]

    @torch.inference_mode()
    def run():
        best = 0.0
        for matrix in matrices:
            result = torch.empty_like(matrix)
            begun = perf_counter()
            torch.mm(matrix, matrix, out=result)
            best = max(best, len(matrix) ** 3 / (perf_counter() - begun))
        return [best], 0.0

    return run


def main():
    path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    case = Case(path)
    run = {"score": scoring, "train": training, "peak": peak}[case.about["task"]](case)
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for _ in sys.stdin:
        begun = perf_counter()
        values, preparing = run()
        seconds = perf_counter() - begun
        print(json.dumps({"seconds": seconds, "preparing": preparing, "values": values}), flush=True)


if __name__ == "__main__":
    main()
