#!/usr/bin/env python3
"""A network watched as a sequence of snapshots, whose block structure changes half-way: what `drift` says of it.

Python's standard library and a running service are all it takes: graphkin serve, then docs/examples/drift.py [URL].
docs/drift.md explains what it prints.
"""

import json
import random
import sys
import time
import urllib.request

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
NODES = 40  # in two blocks of the same size
# The probability of a link within a block and between the two. Both models have 107 links on average.
NORMAL = (0.25, 0.03)
CHANGED = (0.17, 0.106)


def call(method, path, body=None, content_type="application/json"):
    """Sends a request; gives back the JSON that is answered."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"content-type": content_type}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def snapshot(model, rng):
    """A graph of the stochastic block model."""
    within, between = model
    block = [node * 2 // NODES for node in range(NODES)]
    pairs = ((u, v) for u in range(NODES) for v in range(u + 1, NODES))
    edges = [(u, v) for u, v in pairs if rng.random() < (within if block[u] == block[v] else between)]
    return {"nodes": NODES, "edges": edges}


def train(family):
    """A family of 600 snapshots, and a detector of it."""
    call("POST", "/v1/families", {"name": family})
    lines = "".join(json.dumps(snapshot(NORMAL, random.Random(seed))) + "\n" for seed in range(600))
    call("POST", f"/v1/families/{family}/graphs", lines.encode(), "application/x-ndjson")
    job = {"family": family, "kind": "graphrnn", "seed": 1}
    job = call("POST", "/v1/admin/training-jobs", job)
    while job["state"] in ("queued", "running"):
        time.sleep(1)
        job = call("GET", f"/v1/admin/training-jobs/{job['id']}")
    if job["state"] != "succeeded":
        sys.exit(f"the training {job['state']}: {job['error']}")


def watch(family, model, seeds):
    """Scores one snapshot after another, as they come in; says how many were anomalous by themselves."""
    anomalous = 0
    for seed in seeds:
        answer = call("POST", f"/v1/families/{family}/score", {"graph": snapshot(model, random.Random(seed))})
        anomalous += answer["verdict"]["anomalous"]
    print(f"{anomalous} of {len(seeds)} snapshots are anomalous by themselves, at the level 0.05")


def tell(family):
    """What drift says now."""
    drift = call("GET", f"/v1/families/{family}/drift")
    shown = ("drifted", "reason", "count", "calibration_size", "two_sample", "martingale")
    print(json.dumps({name: drift[name] for name in shown}, indent=2))
    print("p-values in tenths:", drift["p_values"]["counts"], "\n")


def main():
    family = f"network-{int(time.time())}"
    train(family)
    print("Before the change:")
    watch(family, NORMAL, range(10_000, 10_100))
    tell(family)
    print("After it, as many again:")
    watch(family, CHANGED, range(20_000, 20_100))
    tell(family)


main()
