#!/usr/bin/env python3
"""Measures the graph index beside hnswlib, in turns, on real embeddings.

    make bench-graph DATA=FOLDER [ARGS="--rounds 4 --bits 2 --keep FOLDER"]

FOLDER holds `minilm_base_f16.npy` and `minilm_queries_f32.npy`. It takes numpy and hnswlib from PyPI
(`benches/requirements.txt`); the program is that of `cargo bench --bench graph --no-run`. Both are asked in turns within each round, so
that a busy machine is busy for both; rates are queries per second of the searching thread's own CPU
time, interpolated between lists at equal recall (tie-aware: what is as near as the true tenth
counts). hnswlib is built with M=16, efC=200 and asked in batches, the best of its efs.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time

import hnswlib
import numpy

TARGETS = (0.90, 0.95, 0.99)
LISTS = (14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320)
EFS = (14, 20, 28, 40, 48, 56, 80, 112, 160, 200, 256, 320)


class Graph:
    """Our process: a command a line, an answer a line."""

    def __init__(self, program, data, folder, dimensions):
        self.process = subprocess.Popen(
            [program, data, folder, str(dimensions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        print("our f32 kernels:", json.loads(self.process.stdout.readline())["kernels"])
        self.usual = 100

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, length, half="all", way="one", threads=1, repeats=5):
        effort = math.ceil(length * 100 / self.usual)
        said = self.ask("run", effort, half, way, threads, repeats)
        return said["recall"], said["qps"]


def at_recall(curve, target):
    """The rate at a recall, between the two nearest of (recall, rate)."""
    curve = sorted(curve)
    for (low, fast), (high, slow) in zip(curve, curve[1:]):
        if low <= target <= high and high > low:
            part = (target - low) / (high - low)
            return math.exp(math.log(fast) * (1 - part) + math.log(slow) * part)
    return curve[0][1] if target < curve[0][0] else float("nan")


def ask_hnswlib(index, ef, base, queries, tenth, repeats=3):
    index.set_ef(ef)
    best = float("inf")
    for _ in range(repeats):
        started = time.thread_time()
        labels, _distances = index.knn_query(queries, 10)
        best = min(best, time.thread_time() - started)
    scores = numpy.einsum("qkd,qd->qk", base[labels], queries)
    return float((scores >= tenth[:, None] - 1e-6).mean()), len(queries) / best


def main():
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--data", required=True)
    parse.add_argument("--program", help="else it is built")
    parse.add_argument("--rounds", type=int, default=4)
    parse.add_argument("--bits", default="auto")
    parse.add_argument("--keep", help="folder for what is prepared and built, used again")
    asked = parse.parse_args()
    asked.program = asked.program or built_program()
    with tempfile.TemporaryDirectory() as scratch:
        measure(asked, asked.keep or scratch)


def built_program():
    """Builds the bench's program; its path."""
    command = ["cargo", "bench", "--bench", "graph", "--no-run", "--message-format=json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in said.splitlines()]
    made = [one for one in messages if one.get("executable") and one["target"]["name"] == "graph"]
    return made[-1]["executable"]


def prepare(asked, folder):
    base = numpy.load(os.path.join(asked.data, "minilm_base_f16.npy")).astype(numpy.float32)
    queries = numpy.load(os.path.join(asked.data, "minilm_queries_f32.npy")).astype(numpy.float32)
    for vectors in (base, queries):
        vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    tenth = numpy.sort(queries @ base.T, axis=1)[:, -10].copy()
    for name, numbers in (("base", base), ("queries", queries), ("tenth", tenth)):
        numbers.astype(numpy.float32).tofile(os.path.join(folder, name + ".f32"))
    return base, queries, tenth


def built_hnswlib(base, folder):
    index = hnswlib.Index("ip", base.shape[1])
    path = os.path.join(folder, "hnswlib")
    if os.path.exists(path):
        index.load_index(path)
    else:
        index.init_index(len(base), M=16, ef_construction=200)
        index.set_num_threads(2)
        cpu, wall = time.process_time(), time.time()
        index.add_items(base)
        cpu, wall = time.process_time() - cpu, time.time() - wall
        print(f"hnswlib build, 2 threads: {wall:.1f} s, {cpu:.1f} CPU-s")
        index.save_index(path)
    index.set_num_threads(1)
    return index


def measure(asked, folder):
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        lines = info.read().splitlines()
    model = next(line for line in lines if line.startswith("model name"))
    flags = next(line for line in lines if line.startswith("flags")).split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni") if flag in flags]
    print(model.split(":")[1].strip(), *known, "load", os.getloadavg())
    base, queries, tenth = prepare(asked, folder)
    theirs = built_hnswlib(base, folder)
    place = os.path.join(folder, "index-" + asked.bits)
    os.makedirs(place, exist_ok=True)
    ours = Graph(asked.program, folder, place, base.shape[1])
    if not os.listdir(place):
        said = ours.ask("build", 2, asked.bits)
        print(f"our build, 2 threads: {said['wall']:.1f} s, {said['cpu']:.1f} CPU-s, {said['bytes']} bytes")
    name = sorted(os.listdir(place))[-1]
    with open(os.path.join(place, name, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)["manifest"]
    layout = manifest["layout"]
    print("bits", layout["file"]["bits"], "lists", layout["effort"], "recall of rows", manifest["recall"])
    for file in os.listdir(os.path.join(place, name)):
        handle = os.open(os.path.join(place, name, file), os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    print("cold open:", ours.ask("open"))
    ours.usual = layout["effort"]["few"]
    rounds(asked, ours, (theirs, base, queries, tenth))
    filters(ours, (theirs, base, queries, tenth))


def rounds(asked, ours, hnswlib_side):
    ways = {"one": {}, "four": {}, "two threads": {"threads": 2}, "held out": {"half": "odd"}, "chosen on": {"half": "even"}}
    ways["four"]["way"] = "four"
    curves = {way: [] for way in (*ways, "hnswlib")}
    for number in range(asked.rounds):
        curves["hnswlib"].append([ask_hnswlib(hnswlib_side[0], ef, *hnswlib_side[1:]) for ef in EFS])
        for way, options in ways.items():
            curves[way].append([ours.run(length, **options) for length in LISTS])
        print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}:", end="")
        for target in TARGETS:
            mine = at_recall(curves["one"][-1], target)
            other = at_recall(curves["hnswlib"][-1], target)
            print(f"  {target}: {mine:.0f} / {other:.0f} = {mine / other:.2f}", end="")
        print(flush=True)
    print("\nqueries per CPU-second at recall", *TARGETS, "(best of the rounds, median of the rounds)")
    for way, rounds_of in curves.items():
        cells = []
        for target in TARGETS:
            rates = [at_recall(curve, target) for curve in rounds_of]
            cells.append(f"{max(rates):8.0f} {statistics.median(rates):8.0f}")
        print(f"{way:12}", *cells)
    print("ratios to hnswlib (best to best, median of each round's)")
    for way in ways:
        cells = []
        for target in TARGETS:
            mine = [at_recall(curve, target) for curve in curves[way]]
            other = [at_recall(curve, target) for curve in curves["hnswlib"]]
            each = statistics.median(a / b for a, b in zip(mine, other))
            cells.append(f"{max(mine) / max(other):8.2f} {each:8.2f}")
        print(f"{way:12}", *cells)
    print("recall of each list:", [(length, recall) for length, (recall, _) in zip(LISTS, curves["one"][0])])


def filters(ours, hnswlib_side):
    for percent in (0.1, 1, 5, 10, 20, 50, 90, 99):
        said = ours.ask("allow", percent)
        best = None
        for length in LISTS:
            recall, _ = ours.run(length, repeats=1)
            if recall >= 0.95:
                best = length
                break
        mine, other = [], []
        for _ in range(4):
            other.append(at_recall([ask_hnswlib(hnswlib_side[0], ef, *hnswlib_side[1:]) for ef in (40, 48, 56)], 0.95))
            mine.append(ours.run(best or LISTS[-1])[1])
        recall = ours.run(best or LISTS[-1])[0]
        ratio = max(mine) / max(other)
        print(
            f"filter {percent} % ({said['allowed']} rows): list {best}, recall {recall:.3f}, "
            f"{max(mine):.0f}/s, {ratio:.2f} x hnswlib unfiltered = {ratio * 7307:.0f} scaled to its 7,307",
            flush=True,
        )
    ours.ask("allow", 100)
    said = ours.ask("dead", 30)
    for length in (ours.usual, 2 * ours.usual):
        print(f"30 % deleted ({said['allowed']} left): list {length}:", ours.run(length), flush=True)


if __name__ == "__main__":
    main()
