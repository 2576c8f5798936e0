#!/usr/bin/env python3
"""Measures the graph index beside hnswlib and others, in turns, on real embeddings.

    make bench-graph DATA=FOLDER [ARGS="--rounds 4 --bits 2 --keep FOLDER --with faiss,usearch,arroy"]

FOLDER holds `minilm_base_f16.npy` and `minilm_queries_f32.npy`. It takes libraries from PyPI
(`benches/requirements.txt`); the program is that of `cargo bench --profile dist --bench graph --no-run`.
In each round all are asked in turns around each recall, so that a busy machine is busy for all; rates are
queries per second of the processor's time, interpolated between efforts at equal recall. `--points 500000`
makes five points of each real one. `--plot FILE` draws the curves.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile

import numpy

from engines import LIBRARIES, Data, Ours

TARGETS = (0.90, 0.95, 0.99)
# What hnswlib had on the machine that the bars of filtered search were set on.
SCALE = 7307
# Ways to ask an engine, and beside which other way its rate is set besides hnswlib's.
WAYS = {
    "hnswlib": ("hnswlib", {}, None),
    "hnswlib, two threads": ("hnswlib", {"threads": 2}, "hnswlib"),
    "hnswlib, held out": ("hnswlib", {"half": "odd"}, None),
    "hnswlib, other half": ("hnswlib", {"half": "even"}, None),
    "graph": ("graph", {}, None),
    "four at once": ("graph", {"way": "four"}, "graph"),
    "two threads": ("graph", {"threads": 2}, "graph"),
    "held out": ("graph", {"half": "odd"}, "hnswlib, held out"),
    "other half": ("graph", {"half": "even"}, "hnswlib, other half"),
}


def at_recall(curve, target):
    """The rate at a recall, between the two nearest of (recall, rate); none where it lies beyond all."""
    curve = sorted(curve)
    for (low, fast), (high, slow) in zip(curve, curve[1:]):
        if low <= target <= high and high > low:
            part = (target - low) / (high - low)
            return math.exp(math.log(fast) * (1 - part) + math.log(slow) * part)
    return float("nan")


def main():
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--data", required=True)
    parse.add_argument("--program", help="else it is built")
    parse.add_argument("--profile", default="dist", help="by which it is built; release is quicker built and slower")
    parse.add_argument("--points", type=int, default=100_000)
    parse.add_argument("--rounds", type=int, default=10)
    parse.add_argument("--bits", default="auto")
    parse.add_argument("--with", dest="others", default="", help="of faiss, usearch, arroy")
    parse.add_argument("--only", choices=("rounds", "rest"), help="the curves, or all but them")
    parse.add_argument("--plot", help="where the curves are drawn, as SVG")
    parse.add_argument("--keep", help="folder for what is prepared and built, used again")
    asked = parse.parse_args()
    asked.program = asked.program or built_program(asked.profile)
    with tempfile.TemporaryDirectory() as scratch:
        measure(asked, asked.keep or scratch)


def built_program(profile):
    """Builds the bench's program; its path."""
    command = ["cargo", "bench", "--profile", profile, "--bench", "graph", "--no-run", "--message-format=json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in said.splitlines()]
    made = [one for one in messages if one.get("executable") and one["target"]["name"] == "graph"]
    return made[-1]["executable"]


def unit(vectors):
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype(numpy.float32)


def prepare(asked, folder):
    base = unit(numpy.load(os.path.join(asked.data, "minilm_base_f16.npy")).astype(numpy.float32))
    queries = unit(numpy.load(os.path.join(asked.data, "minilm_queries_f32.npy")).astype(numpy.float32))
    if asked.points > len(base):
        base = densified(base, asked.points // len(base) - 1)
    data = Data(base[: asked.points], queries)
    data.save(folder)
    return data


def densified(base, times):
    """So many further points for each real one: between it and one of its near neighbours, with noise of
    the size by which neighbours differ; all in random order."""
    random = numpy.random.default_rng(1)
    count, dimensions = base.shape
    sample = random.choice(count, 20_000, replace=False)
    near = numpy.empty((count, 8), numpy.int64)
    for start in range(0, count, 2_000):
        scores = base[start : start + 2_000] @ base[sample].T
        near[start : start + 2_000] = sample[numpy.argpartition(-scores, 9, axis=1)[:, 1:9]]
    parts = [base]
    for _ in range(times):
        other = base[near[numpy.arange(count), random.integers(0, 8, count)]]
        weight = random.uniform(0.3, 0.7, (count, 1)).astype(numpy.float32)
        noise = random.standard_normal(base.shape).astype(numpy.float32) * (0.35 / math.sqrt(dimensions))
        parts.append(unit(base * (1 - weight) + other * weight + noise))
    points = numpy.vstack(parts)
    return points[random.permutation(len(points))]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        lines = info.read().splitlines()
    model = next(line for line in lines if line.startswith("model name"))
    flags = next(line for line in lines if line.startswith("flags")).split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni") if flag in flags]
    return " ".join([model.split(":")[1].strip(), *known])


def measure(asked, folder):
    print(machine(), "load", os.getloadavg(), flush=True)
    data = prepare(asked, folder)
    wanted = [name for name in asked.others.split(",") if name]
    names = ["hnswlib", *(name for name in wanted if name in LIBRARIES)]
    others = {name: LIBRARIES[name](data, folder) for name in names}
    ours, manifest = started(asked, (folder, "index-" + asked.bits), data, ("build", 2, asked.bits))
    print("our f32 kernels:", ours.kernels)
    layout = manifest["layout"]
    print("bits", layout["file"]["bits"], "lists", layout["effort"], "recall of rows", manifest["recall"])
    ours.usual = layout["effort"]["few"]
    if "arroy" in wanted:
        trees, _ = started(asked, (folder, "index-arroy"), data, ("trees", 2))
        trees.efforts = (20, 35, 50, 70, 100, 140, 200, 300, 450)
        others["arroy"] = trees
    if asked.only != "rest":
        curves = rounds(asked, {"graph": ours, **others})
        if asked.plot:
            draw(asked.plot, curves, f"{len(data.base):,} points of {data.base.shape[1]} dimensions, {machine()}")
    ceiling(ours, layout, data.base.shape[1])
    if asked.only != "rounds":
        rest(ours, others["hnswlib"])


def started(asked, place, data, command):
    """Our process over an index that is built, if it is not there, and opened from a cold disk."""
    place = os.path.join(*place)
    os.makedirs(place, exist_ok=True)
    ours = Ours(asked.program, os.path.dirname(place), place, data.base.shape[1])
    segments = lambda: sorted(name for name in os.listdir(place) if name.startswith("segment-"))
    if not segments():
        said = ours.ask(*command)
        print(
            f"{os.path.basename(place)}: build by 2 threads {said['wall']:.1f} s, {said['cpu']:.1f} CPU-s, "
            f"{said['bytes']} bytes",
            flush=True,
        )
    folder = os.path.join(place, segments()[-1])
    for file in os.listdir(folder):
        handle = os.open(os.path.join(folder, file), os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    print("cold open:", ours.ask("open"))
    ours.ask("scrub")
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        return ours, json.load(file)["manifest"]


def rounds(asked, engines):
    """All efforts once, for the curves. Then, in each round and for each recall, every way one after the
    other at the two efforts around that recall: what is compared was measured within some seconds, since a machine
    that others share changes its pace."""
    ways = WAYS | {name: (name, {}, None) for name in engines if name not in ("hnswlib", "graph")}
    sweep = sweeps(engines, ways)
    rates = {(way, target): [] for way in ways for target in TARGETS}
    for number in range(asked.rounds):
        print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}:", end="")
        for target in TARGETS:
            for way, (engine, options, _) in ways.items():
                points = [engines[engine].run(effort, **options) for effort in around(sweep[way], target)]
                rates[way, target].append(at_recall(points, target))
            mine, other = (rates[way, target][-1] for way in ("graph", "hnswlib"))
            print(f"  {target}: {mine:.0f} / {other:.0f} = {mine / other:.2f}", end="")
        print(flush=True)
    print("\nqueries per CPU-second at recall", *TARGETS, "(best of the rounds, median of the rounds)")
    for way in ways:
        cells = [f"{max(of):8.0f} {statistics.median(of):8.0f}" for of in (rates[way, target] for target in TARGETS)]
        print(f"{way:20}", *cells)
    print("ratios to hnswlib (best to best, median of each round's)")
    for way in ways:
        print(f"{way:20}", *(ratio(rates[way, target], rates["hnswlib", target]) for target in TARGETS))
    print("ratios to another way")
    for way, (_, _, beside) in ways.items():
        if beside:
            cells = (ratio(rates[way, target], rates[beside, target]) for target in TARGETS)
            print(f"{way:20}", *cells, " to", beside)
    print("recall of each list:", [(effort, recall) for effort, recall, _ in sweep["graph"]])
    return {way: [(recall, rate) for _, recall, rate in of] for way, of in sweep.items()}


def sweeps(engines, ways):
    """Effort, recall and rate of each way, for the least effort of each, then the next."""
    swept = {way: [] for way in ways}
    for rank in range(max(len(engine.efforts) for engine in engines.values())):
        for way, (engine, options, _) in ways.items():
            for effort in engines[engine].efforts[rank : rank + 1]:
                swept[way].append((effort, *engines[engine].run(effort, **options)))
    return swept


def around(sweep, target):
    """The two efforts between whose recalls one lies; the two nearest where it lies beyond all."""
    found = [(low, high) for (low, less, _), (high, more, _) in zip(sweep, sweep[1:]) if less <= target < more]
    ends = (sweep[0], sweep[1]) if target < sweep[0][1] else (sweep[-2], sweep[-1])
    return found[0] if found else tuple(effort for effort, _, _ in ends)


def ratio(rates, others):
    each = statistics.median(mine / other for mine, other in zip(rates, others))
    return f"{max(rates) / max(others):8.2f} {each:8.2f}"


def draw(path, curves, title):
    """The rate at each effort, over its recall."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for way, curve in curves.items():
        if way in ("graph", "four at once", "two threads") or way in LIBRARIES or way == "arroy":
            axes.plot(*zip(*sorted(curve)), marker="o", markersize=3, label=way)
    axes.set_yscale("log")
    axes.set_xlim(0.8, 1.0)
    axes.set(xlabel="recall@10", ylabel="queries per second of processor time", title=title)
    axes.title.set_fontsize(9)
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    print("drawn:", path)


def ceiling(ours, layout, dimensions):
    """What a query has to fetch, and what fetching alone would take."""
    bits, list_length = layout["file"]["bits"], ours.usual
    exact = max(30, list_length * 2 // 5) if bits == 2 else max(20, list_length * 3 // 20)
    record = -(-(-(-dimensions // 128) * 128 * bits // 8 + 8) // 64) * 64
    said = ours.ask("run", 100, "all", "one", 1, 20)
    took = ours.ask("memory", record)
    codes = said["compared"] - exact
    fetched = codes * took["record_ns"] + list_length * took["links_ns"] + exact * took["row_ns"]
    query = 1e9 / said["qps"]
    print(
        f"a query at recall {said['recall']:.3f}: {codes:.0f} codes of {record} bytes, about {list_length} lists of "
        f"links, {exact} rows of {4 * dimensions} bytes; {took}; fetching alone {fetched / 1000:.1f} us of "
        f"{query / 1000:.1f} us, {100 * fetched / query:.0f} %",
        flush=True,
    )


def crossover(ours):
    """What a query takes on both sides of where filtered search goes over from a walk to a scan."""
    for percent in (7, 8, 10, 15):
        allowed = ours.ask("allow", percent)["allowed"]
        scans = lambda length: ours.asked(length, repeats=0)["compared"] >= allowed
        first = next((length for length in range(10, 100, 2) if scans(length)), None)
        for length in (first - 2, first) if first and first > 10 else ():
            said = [ours.asked(length, repeats=3) for _ in range(4)]
            took = 1e6 / max(one["qps"] for one in said)
            way = "scan" if length == first else "walk"
            print(f"filter {percent} %, list {length}: a {way}, recall {said[0]['recall']:.3f}, {took:.0f} us", flush=True)


def rest(ours, hnswlib):
    for percent in (0.1, 1, 5, 10, 20, 50, 90, 99):
        said = ours.ask("allow", percent)
        enough = (length for length in ours.efforts if ours.run(length, repeats=1)[0] >= 0.95)
        best = next(enough, ours.efforts[-1])
        mine, other = [], []
        for _ in range(6):
            other.append(at_recall([hnswlib.run(effort, repeats=3) for effort in (40, 48, 56)], 0.95))
            # As long as hnswlib takes, so that a machine that changes its pace changes it for both.
            mine.append(ours.run(best, repeats=40 if percent <= 1 else 10)[1])
        recall = ours.run(best)[0]
        each = statistics.median(of / at for of, at in zip(mine, other))
        scaled = [of * SCALE for of in (max(mine) / max(other), each)]
        print(
            f"filter {percent} % ({said['allowed']} rows): list {best}, recall {recall:.3f}, {max(mine):.0f}/s beside "
            f"{max(other):.0f}/s of hnswlib unfiltered; scaled to its {SCALE}, best and median: {scaled[0]:.0f} {scaled[1]:.0f}",
            flush=True,
        )
    crossover(ours)
    ours.ask("allow", 100)
    for deleted, updated in ((0, 1), (15, 15)):
        said = ours.ask("churn", deleted, updated, 100)
        print(f"{deleted} % deleted, {updated} % updated:", json.dumps(said), flush=True)
    for line in ours.ask("sizes"):
        print("size:", json.dumps(line), flush=True)
    ours.ask("open")
    ours.ask("scrub")
    said = ours.ask("dead", 30)
    for length in (ours.usual, 2 * ours.usual):
        print(f"30 % deleted ({said['allowed']} left): list {length}:", ours.run(length), flush=True)


if __name__ == "__main__":
    main()
