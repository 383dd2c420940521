#!/usr/bin/env python3
"""Trains detectors on one family and ranks another family's graphs against its held-out ones, over HTTP.

    python3 docs/experiments/two_families.py dd-0 dd-1 --kinds graphrnn gran

The service must be running and have both families. A kind that is active already is not trained again. Printed for each kind
and tail: the AUROC of the nonconformity, and of the graphs that are kin the share that was accused at alpha 0.05.
Needs Python's standard library alone.
"""

import argparse
import json
import time
import urllib.request

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("normal", help="the family to learn")
arguments.add_argument("anomalous", help="the family whose graphs are strangers")
arguments.add_argument("--kinds", nargs="+", default=["graphrnn", "gran"])
arguments.add_argument("--hyperparameters", type=json.loads, default={}, help="JSON; else the defaults")
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--service", default="http://127.0.0.1:8080")


def call(service, path, body=None, content_type="application/json"):
    """The answer's text."""
    request = urllib.request.Request(service + path, data=body, headers={"content-type": content_type})
    with urllib.request.urlopen(request, timeout=3600) as answer:
        return answer.read().decode()


def get(service, path):
    return json.loads(call(service, path))


def train(service, family, kind, hyperparameters, seed):
    job = {"family": family, "kind": kind, "seed": seed, "hyperparameters": hyperparameters}
    job = json.loads(call(service, "/v1/admin/training-jobs", json.dumps(job).encode()))
    while job["state"] in ("queued", "running"):
        time.sleep(1)
        job = get(service, f"/v1/admin/training-jobs/{job['id']}")
    if job["state"] != "succeeded":
        raise SystemExit(f"training {kind} on {family}: {job}")


def graphs(service, family, split=None):
    """The graphs of a family, of one split where given."""
    cursor = ""
    while True:
        page = get(service, f"/v1/families/{family}/graphs?limit=200{cursor}")
        for row in page["items"]:
            if split in (None, row["split"]):
                yield get(service, f"/v1/families/{family}/graphs/{row['id']}")
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


def score(service, family, of, query):
    lines = "".join(json.dumps(graph) + "\n" for graph in of)
    answers = call(service, f"/v1/families/{family}/score?{query}", lines.encode(), "application/x-ndjson")
    return [json.loads(line) for line in answers.splitlines()]


def auroc(normal, anomalous):
    """The chance that an anomalous value is above a normal one, ties by half (Mann and Whitney's U)."""
    above = sum((a > n) + (a == n) / 2 for a in anomalous for n in normal)
    return above / (len(normal) * len(anomalous))


def main():
    options = arguments.parse_args()
    service, normal = options.service, options.normal
    active = get(service, f"/v1/families/{normal}")["active_detectors"]
    held_out, strangers = list(graphs(service, normal, "test")), list(graphs(service, options.anomalous))
    for kind in options.kinds:
        if all(detector["kind"] != kind for detector in active):
            train(service, normal, kind, options.hyperparameters, options.seed)
        for tail in ("two-sided", "upper"):
            query = f"kinds={kind}&tail={tail}"
            kin, strange = (score(service, normal, of, query) for of in (held_out, strangers))
            ranked = auroc(*([answer["verdict"]["nonconformity"] for answer in of] for of in (kin, strange)))
            accused = sum(answer["verdict"]["anomalous"] is True for answer in kin)
            print(f"{normal} against {options.anomalous}, {kind}, {tail}: AUROC {ranked:.4f}, "
                  f"{accused} of {len(kin)} kin accused", flush=True)


main()
