"""Who benches/graph.py asks: our own process, and libraries from PyPI.

Each engine has efforts to be asked with, from hasty to thorough, and answers for one of them its recall
and its rate, in queries per second of processor time on one thread. Recall counts what is as near as the
true tenth. Libraries are asked with their own batch calls.
"""

import json
import math
import os
import subprocess
import time

import numpy

K = 10


HALVES = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}


class Data:
    """Points, questions, and the score of each question's true tenth."""

    def __init__(self, base, queries):
        self.base, self.queries = base, queries
        self.halves = {half: numpy.ascontiguousarray(queries[part]) for half, part in HALVES.items()}
        self.tenth = numpy.empty(len(queries), numpy.float32)
        for start in range(0, len(queries), 100):
            scores = queries[start : start + 100] @ base.T
            self.tenth[start : start + 100] = numpy.partition(scores, -K, axis=1)[:, -K]

    def save(self, folder):
        for name, numbers in (("base", self.base), ("queries", self.queries), ("tenth", self.tenth)):
            numbers.astype(numpy.float32).tofile(os.path.join(folder, name + ".f32"))

    def recall(self, labels, half):
        scores = numpy.einsum("qkd,qd->qk", self.base[labels], self.halves[half])
        return float((scores >= self.tenth[HALVES[half], None] - 1e-6).mean())


class Ours:
    """Our process: a command a line, an answer a line."""

    LISTS = (10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320)

    def __init__(self, program, data, folder, dimensions):
        self.process = subprocess.Popen(
            [program, data, folder, str(dimensions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.kernels = json.loads(self.process.stdout.readline())["kernels"]
        self.usual, self.efforts = 100, self.LISTS

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, length, **options):
        said = self.asked(length, **options)
        return said["recall"], said["qps"]

    def asked(self, length, half="all", way="one", threads=1, repeats=5):
        return self.ask("run", math.ceil(length * 100 / self.usual), half, way, threads, repeats)


class Library:
    """An index of a library, built by two threads or loaded where it was kept."""

    efforts = (10, 14, 20, 28, 40, 48, 56, 80, 112, 160, 200, 256, 320, 448, 640, 900)

    def __init__(self, data, folder):
        self.data = data
        path = os.path.join(folder, self.name)
        if os.path.exists(path):
            self.load(path)
        else:
            cpu, wall = time.process_time(), time.time()
            self.build()
            cpu, wall = time.process_time() - cpu, time.time() - wall
            print(f"{self.name}: build by 2 threads {wall:.1f} s, {cpu:.1f} CPU-s", flush=True)
            self.save(path)

    def run(self, effort, half="all", threads=1, repeats=5):
        """Only hnswlib is asked by more threads than one; the rate is that of all of them."""
        # As ours: one pass that does not count, then the best of some.
        queries = self.data.halves[half]
        labels, best = self.search(queries, effort, threads), math.inf
        for _ in range(repeats):
            started = time.process_time()
            labels = self.search(queries, effort, threads)
            best = min(best, (time.process_time() - started) / threads)
        return self.data.recall(labels, half), len(queries) / best


class Hnswlib(Library):
    """M=16, efC=200, asked by one thread or two."""

    name = "hnswlib"

    def empty(self):
        import hnswlib

        return hnswlib.Index("ip", self.data.base.shape[1])

    def build(self):
        self.index = self.empty()
        self.index.init_index(len(self.data.base), M=16, ef_construction=200)
        self.index.set_num_threads(2)
        self.index.add_items(self.data.base)

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index = self.empty()
        self.index.load_index(path)

    def search(self, queries, effort, threads):
        self.index.set_num_threads(threads)
        self.index.set_ef(effort)
        return self.index.knn_query(queries, K)[0]


class Faiss(Library):
    """HNSWFlat, M=16, efConstruction=200."""

    name = "faiss"

    def build(self):
        import faiss

        faiss.omp_set_num_threads(2)
        self.index = faiss.IndexHNSWFlat(self.data.base.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 200
        self.index.add(self.data.base)

    def save(self, path):
        import faiss

        faiss.write_index(self.index, path)

    def load(self, path):
        import faiss

        self.index = faiss.read_index(path)

    def search(self, queries, effort, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index.hnsw.efSearch = effort
        return self.index.search(queries, K)[1]


class Usearch(Library):
    """connectivity=16, expansion_add=200, f32."""

    name = "usearch"

    def empty(self):
        from usearch.index import Index

        dimensions = self.data.base.shape[1]
        return Index(ndim=dimensions, metric="ip", dtype="f32", connectivity=16, expansion_add=200)

    def build(self):
        self.index = self.empty()
        self.index.add(numpy.arange(len(self.data.base)), self.data.base, threads=2)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index = self.empty()
        self.index.load(path)

    def search(self, queries, effort, threads):
        self.index.expansion_search = effort
        return self.index.search(queries, K, threads=threads).keys.astype(numpy.int64)


LIBRARIES = {library.name: library for library in (Hnswlib, Faiss, Usearch)}
