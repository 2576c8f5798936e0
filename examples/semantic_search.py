#!/usr/bin/env python3
"""Semantic search with the official qdrant-client, unchanged, against a VectorSphere gateway.

It makes a collection, uploads embeddings of 5,000 Debian packages that the repository carries, asks
questions with and without a filter, and prints what is nearest. With --ask it answers a question of
your own, with --index it adds texts of your own (a text per line); both need requirements-embed.txt.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:6333", help="the gateway")
    parser.add_argument("--api-key", default=None, help="a key, if the gateway wants one")
    parser.add_argument("--collection", default="packages")
    parser.add_argument(
        "--data", type=Path, default=HERE / "data" / "demo", help="folder of points and questions"
    )
    parser.add_argument("--points", type=int, default=None, help="upload only so many")
    parser.add_argument("--questions", type=int, default=5, help="ask so many of the folder's")
    parser.add_argument("--keep", action="store_true", help="use the collection as it is")
    parser.add_argument("--ask", metavar="TEXT", help="ask this instead")
    parser.add_argument("--index", metavar="FILE", type=Path, help="add the lines of this file")
    parser.add_argument("--section", default="utils", help="the filter of the second round")
    return parser.parse_args()


def upload(client, options):
    """Makes the collection anew and uploads the folder's points."""
    vectors = np.load(options.data / "vectors_f16.npy").astype(np.float32)
    with open(options.data / "points.jsonl", encoding="utf-8") as lines:
        payloads = [json.loads(line) for line in lines]
    if options.points is not None:
        vectors, payloads = vectors[: options.points], payloads[: options.points]
    if client.collection_exists(options.collection):
        client.delete_collection(options.collection)
    client.create_collection(
        options.collection,
        vectors_config=models.VectorParams(
            size=vectors.shape[1], distance=models.Distance.COSINE
        ),
    )
    client.create_payload_index(
        options.collection, "section", models.PayloadSchemaType.KEYWORD, wait=True
    )
    client.upload_collection(
        options.collection, vectors=vectors, payload=payloads, ids=range(len(vectors)), wait=True
    )
    print(f"{client.count(options.collection).count} points in {options.collection!r}")


def index(client, options):
    """Adds texts of one's own after the points that are there."""
    from embed import embed

    lines = options.index.read_text(encoding="utf-8").splitlines()
    texts = [line.strip() for line in lines if line.strip()]
    first = client.count(options.collection).count
    points = [
        models.PointStruct(
            id=first + at, vector=embed(text).tolist(), payload={"name": text, "section": "mine"}
        )
        for at, text in enumerate(texts)
    ]
    client.upsert(options.collection, points, wait=True)
    print(f"{len(points)} texts added")


def ask(client, options, question, vector, section=None):
    """Asks one question and prints the nearest points."""
    only = None
    if section is not None:
        condition = models.FieldCondition(key="section", match=models.MatchValue(value=section))
        only = models.Filter(must=[condition])
    found = client.query_points(
        options.collection, query=vector, query_filter=only, limit=5, with_payload=True
    ).points
    print(f"\n{question}" + (f"   [only section {section}]" if section else ""))
    for point in found:
        print(f"  {point.score:.3f}  {point.payload['name']:<32} {point.payload['section']}")
    return found


def main():
    options = arguments()
    client = QdrantClient(url=options.url, api_key=options.api_key, timeout=60)
    if not (options.keep and client.collection_exists(options.collection)):
        upload(client, options)
    if options.index is not None:
        index(client, options)
    if options.ask is not None:
        from embed import embed

        questions = [{"question": options.ask, "vector": embed(options.ask).tolist()}]
    else:
        with open(options.data / "questions.json", encoding="utf-8") as file:
            questions = json.load(file)[: options.questions]
    for asked in questions:
        if not ask(client, options, asked["question"], asked["vector"]):
            sys.exit("nothing was found")
        ask(client, options, asked["question"], asked["vector"], options.section)


if __name__ == "__main__":
    main()
