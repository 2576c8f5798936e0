#!/usr/bin/env python3
"""What one laptop cluster takes and gives: upload, memory, index build, recall and search.

    make bench-laptop DATA=FOLDER

The folder holds `minilm_base_f16.npy` (points, one a row), `minilm_queries_f32.npy` and
`minilm_truth_ids.npy` (the exact neighbours by cosine, best first). Without it the points are drawn
at random around some centres, and the truth is the cluster's own exact search.

It starts the optimized binary on an empty folder, on a port of its own. The clients share the cores
with the cluster. Exact search in the same run is the baseline of every ratio.
"""

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
NAME = "bench"
# The recall at which a search's processor time is told.
WANTED = 0.95


class Cluster:
    """`vectorsphere dev` on a folder that is thrown away."""

    def __init__(self, binary, folder, manifest):
        manifest = ["-f", manifest] if manifest else []
        command = [binary, "dev", "--data-dir", folder, "--listen", "127.0.0.1:0", *manifest]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.process.stdout:
            ready = re.match(r"ready http://(\S+)", line)
            if ready:
                self.address = ready.group(1)
                self.ready_after = time.perf_counter() - began
                break
        else:
            sys.exit("the cluster ended before it was ready")
        self.http = http.client.HTTPConnection(self.address, timeout=120)

    def send(self, method, path, body=None):
        """A request whose body is bytes or a value; the result."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.http.request(method, path, body, {"Content-Type": "application/json"})
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {text[:500]}")
        return json.loads(text)["result"]

    def pids(self):
        """The process and its children."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def memory(self):
        """Anonymous memory of all processes, in MiB, and of each by name."""
        parts = {}
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            kib = int(re.search(r"RssAnon:\s+(\d+)", status).group(1))
            role = words[1].decode()
            parts[role] = parts.get(role, 0) + kib / 1024
        return sum(parts.values()), parts

    def cpu(self):
        """Seconds of processor time of each process so far."""
        times = {}
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            ticks = int(fields[11]) + int(fields[12])
            role = words[1].decode()
            times[role] = times.get(role, 0) + ticks / os.sysconf("SC_CLK_TCK")
        return times

    def profile(self, folder, during):
        """Runs `during` and returns where each role computed meanwhile: the share of each function
        in its samples, by `perf`, the processor's clock 999 times a second."""
        recorders = {}
        for pid in self.pids()[1:]:
            role = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1].decode()
            path = Path(folder) / f"{role}.perf"
            command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-p", str(pid)]
            recorder = subprocess.Popen([*command, "-o", path], stderr=subprocess.DEVNULL)
            recorders[role] = (recorder, path)
        during()
        shares = {}
        for role, (recorder, path) in recorders.items():
            recorder.send_signal(signal.SIGINT)
            recorder.wait()
            command = ["perf", "report", "-i", path, "--stdio", "-q", "-s", "dso,sym"]
            table = subprocess.run(command, capture_output=True, text=True).stdout
            lines = [" ".join(line.split()) for line in table.splitlines() if "%" in line]
            shares[role] = sorted(lines, key=lambda line: -float(line.split("%")[0]))
        return shares

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def data(folder, count):
    """Points, queries and, where known, the ids of the true neighbours."""
    if folder:
        base = np.load(folder / "minilm_base_f16.npy").astype(np.float32)[:count]
        queries = np.load(folder / "minilm_queries_f32.npy")
        whole = len(base) == 100_000
        truth = np.load(folder / "minilm_truth_ids.npy") if whole else None
        return base, queries, truth
    random = np.random.default_rng(7)
    centres = random.standard_normal((200, 384)).astype(np.float32)
    near = lambda n: centres[random.integers(0, 200, n)] + 0.7 * random.standard_normal(
        (n, 384)
    ).astype(np.float32)
    return near(count), near(500), None


def bodies(base, batch):
    """Upserts, encoded before any clock starts."""
    made = []
    for start in range(0, len(base), batch):
        rows = base[start : start + batch]
        points = [{"id": start + i, "vector": row.tolist()} for i, row in enumerate(rows)]
        made.append(json.dumps({"points": points}, separators=(",", ":")).encode())
    return made


def search(cluster, queries, params):
    """The ids found for each query, and how long each took, in ms."""
    found, took = [], []
    for query in queries:
        body = {"query": query.tolist(), "limit": 10}
        if params:
            body["params"] = params
        body = json.dumps(body).encode()
        began = time.perf_counter()
        points = cluster.send("POST", f"/collections/{NAME}/points/query", body)["points"]
        took.append(1000 * (time.perf_counter() - began))
        found.append([point["id"] for point in points])
    return found, np.array(took)


def least_effort(cluster, queries, truth):
    """The least of some efforts that finds the wanted share of the neighbours, and the share; the last of
    them where none does."""
    for effort in (50, 60, 70, 85, 100, 140, 200):
        found, _ = search(cluster, queries, {"hnsw_ef": effort})
        share = recall(found, truth)
        if share >= WANTED:
            break
    return effort, share


def cost(cluster, queries, params=None, rounds=8):
    """Microseconds of processor time that a search takes of each process, and of the client; all
    bodies are encoded before."""
    asked = [{"query": query.tolist(), "limit": 10} for query in queries]
    bodies = [json.dumps(body | ({"params": params} if params else {})).encode() for body in asked]
    path = f"/collections/{NAME}/points/query"
    before, own = cluster.cpu(), time.process_time()
    for _ in range(rounds):
        for body in bodies:
            cluster.send("POST", path, body)
    own = time.process_time() - own
    each = 1e6 / (rounds * len(bodies))
    return {k: round((v - before[k]) * each) for k, v in cluster.cpu().items()}, round(own * each)


def recall(found, truth):
    return np.mean([len(set(f) & set(t[:10])) / 10 for f, t in zip(found, truth)])


def say(name, took):
    p50, p99 = np.percentile(took, [50, 99])
    print(f"{name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {1000 / took.mean():.0f} searches/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target" / "dist" / "vectorsphere")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("-f", "--manifest")
    parser.add_argument(
        "--profile", type=int, metavar="LINES", help="where upload and searches compute, by perf: so many lines a role"
    )
    options = parser.parse_args()
    base, queries, truth = data(options.data, options.points)
    uploads = bodies(base, options.batch)
    size = sum(map(len, uploads)) / 2**20
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(options.binary, folder, options.manifest)
        print(f"ready after {cluster.ready_after:.2f} s on an empty folder")
        total, parts = cluster.memory()
        print(f"anonymous memory idle: {total:.0f} MiB", {k: round(v) for k, v in parts.items()})
        vectors = {"size": base.shape[1], "distance": "Cosine"}
        cluster.send("PUT", f"/collections/{NAME}", {"vectors": vectors})
        before = cluster.cpu()
        path = f"/collections/{NAME}/points?wait=true"
        own = time.process_time()
        took = []

        def upload():
            for body in uploads:
                start = time.perf_counter()
                cluster.send("PUT", path, body)
                took.append(1000 * (time.perf_counter() - start))

        shares = cluster.profile(folder, upload) if options.profile else upload()
        seconds = sum(took) / 1000
        own = time.process_time() - own
        spent = {k: round(v - before[k], 2) for k, v in cluster.cpu().items()}
        print(
            f"upload: {len(base)} points ({size:.0f} MiB of JSON) in {seconds:.2f} s, "
            f"a batch p50 {np.percentile(took, 50):.1f} ms, p99 {np.percentile(took, 99):.1f} ms; "
            f"processor seconds {spent}, of the client {own:.2f}"
        )
        for role, lines in (shares or {}).items():
            print(f"profile of the upload, {role}:", *lines[: options.profile], sep="\n  ")
        total, parts = cluster.memory()
        print(f"anonymous memory loaded: {total:.0f} MiB", {k: round(v) for k, v in parts.items()})
        began = time.perf_counter()
        peak = total
        give_up = began + 600
        settled, indexed = 0, began
        while settled < 8 and time.perf_counter() < give_up:
            info = cluster.send("GET", f"/collections/{NAME}")
            peak = max(peak, cluster.memory()[0])
            done = info["status"] == "green" and info["indexed_vectors_count"] == len(base)
            indexed = indexed if done and settled else time.perf_counter()
            settled = settled + 1 if done else 0
            time.sleep(0.25)
        spent = {k: round(v - before[k], 2) for k, v in cluster.cpu().items()}
        print(
            f"index: {info['indexed_vectors_count']} points {indexed - began:.1f} s after the upload, "
            f"{indexed - began + seconds:.1f} s after its begin, status {info['status']}; "
            f"processor seconds with the upload {spent}; "
            f"anonymous memory at most {peak:.0f} MiB"
        )
        exact, slow = search(cluster, queries[:200], {"exact": True})
        say("exact search (the baseline)", slow)
        truth = exact if truth is None else truth
        print(f"  recall@10 of exact search: {recall(exact, truth):.4f}")
        found, fast = search(cluster, queries, None)
        say("search without parameters", fast)
        asked = len(found) if len(truth) >= len(found) else len(truth)
        print(f"  recall@10: {recall(found[:asked], truth[:asked]):.4f}")
        print(f"  {np.percentile(slow, 50) / np.percentile(fast, 50):.1f} times exact search")
        effort, share = least_effort(cluster, queries[:asked], truth[:asked])
        ways = {"": None, f" at recall {share:.4f} (hnsw_ef {effort})": {"hnsw_ef": effort}}
        # In turns, since a machine that others share changes its pace.
        turns = [{way: cost(cluster, queries, params) for way, params in ways.items()} for _ in range(5)]
        for way in ways:
            took = [turn[way] for turn in turns]
            together = sorted(sum(each.values()) for each, _ in took)
            print(f"processor time of a search{way}, in us: together {together}, median {together[len(turns) // 2]}")
            print("  of each, and of the client:", "; ".join(f"{each}, {own}" for each, own in took))
        if options.profile:
            for role, lines in cluster.profile(folder, lambda: cost(cluster, queries, rounds=10)).items():
                print(f"profile of searches, {role}:", *lines[: options.profile], sep="\n  ")
        info = cluster.send("GET", f"/collections/{NAME}")
        print("what it says of its own searches:", info.get("vectorsphere"))
        total, parts = cluster.memory()
        print(f"anonymous memory at the end: {total:.0f} MiB", {k: round(v) for k, v in parts.items()})
        cluster.stop()


if __name__ == "__main__":
    main()
