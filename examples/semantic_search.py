#!/usr/bin/env python3
"""Semantic search with the official qdrant-client, unchanged, against a VectorSphere gateway.

It makes a collection, uploads embeddings of 5,000 Debian packages that the repository carries, asks
questions with and without a filter, and prints what is nearest. A collection of that name is replaced,
unless --keep is given. With --ask it answers a question of your own, with --index it adds texts of your
own (a text per line); both need requirements-embed.txt.
"""

import argparse
import json
import sys
import uuid
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

HERE = Path(__file__).resolve().parent
# Ids of texts of one's own follow from the texts: none is that of an uploaded point, and the same text
# twice is one point.
IDS = uuid.uuid5(uuid.NAMESPACE_URL, "vectorsphere/examples/semantic_search")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:6333", help="the gateway")
    parser.add_argument("--api-key", default=None, help="a key, if the gateway wants one")
    parser.add_argument(
        "--collection", default="packages", help="is replaced if it exists, unless --keep is given"
    )
    parser.add_argument(
        "--data", type=Path, default=HERE / "data" / "demo", help="folder of points and questions"
    )
    parser.add_argument("--points", type=int, default=None, help="upload only so many")
    parser.add_argument("--questions", type=int, default=5, help="ask so many of the folder's")
    parser.add_argument("--keep", action="store_true", help="use the collection as it is, if it exists")
    parser.add_argument("--ask", metavar="TEXT", help="ask this instead")
    parser.add_argument("--index", metavar="FILE", type=Path, help="add the lines of this file")
    parser.add_argument("--section", default="utils", help="the filter of the second round")
    return parser.parse_args()


def read(file, how):
    """What `how` makes of a file; a file that it cannot read ends the program."""
    try:
        return how(file)
    except OSError as error:
        sys.exit(f"cannot read {file}: {error.strerror or error}")
    except (ValueError, EOFError) as error:
        sys.exit(f"cannot read {file}: {error}")


def demonstration(folder):
    """The vectors, payloads and questions of a folder."""
    vectors = read(folder / "vectors_f16.npy", np.load).astype(np.float32)
    payloads = read(folder / "points.jsonl", json_lines)
    questions = read(folder / "questions.json", lambda file: json.loads(text_of(file)))
    if len(vectors) != len(payloads):
        sys.exit(f"{folder}: {len(vectors)} vectors, but {len(payloads)} points")
    return vectors, payloads, questions


def text_of(file):
    return file.read_text(encoding="utf-8")


def json_lines(file):
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def texts_of(file):
    """The lines of a file that are not empty."""
    texts = [line.strip() for line in read(file, text_of).splitlines() if line.strip()]
    if not texts:
        sys.exit(f"{file} has no text: a text per line is expected")
    return texts


def upload(client, options, vectors, payloads):
    """Makes the collection anew and uploads the folder's points."""
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


def index(client, options, texts):
    """Adds texts of one's own, with their vectors, to the points that are there."""
    before = client.count(options.collection).count
    points = [
        models.PointStruct(
            id=str(uuid.uuid5(IDS, text)), vector=vector, payload={"name": text, "section": "mine"}
        )
        for text, vector in texts
    ]
    client.upsert(options.collection, points, wait=True)
    print(f"{client.count(options.collection).count - before} texts added")


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


def embedded(texts):
    """Texts with their vectors."""
    from embed import embed

    return [(text, embed(text).tolist()) for text in texts]


def run(options):
    """Reads what is asked for, then does it: what cannot be read changes nothing."""
    vectors, payloads, questions = demonstration(options.data)
    asked = [(of["question"], of["vector"]) for of in questions[: options.questions]]
    texts = embedded(texts_of(options.index)) if options.index is not None else []
    if options.ask is not None:
        asked = embedded([options.ask])
    client = QdrantClient(url=options.url, api_key=options.api_key, timeout=60)
    if not (options.keep and client.collection_exists(options.collection)):
        upload(client, options, vectors, payloads)
    if texts:
        index(client, options, texts)
    for question, vector in asked:
        if not ask(client, options, question, vector):
            sys.exit("nothing was found")
        ask(client, options, question, vector, options.section)


def main():
    options = arguments()
    try:
        run(options)
    except ResponseHandlingException as error:
        sys.exit(f"no answer from {options.url}: {error} (make dev starts a cluster)")
    except UnexpectedResponse as error:
        sys.exit(f"{options.url} refused with {error.status_code}: {said(error)}")


def said(error):
    """What the server said of a request that it refused."""
    try:
        return error.structured()["status"]["error"]
    except (ValueError, KeyError, TypeError):
        return error.content.decode("utf-8", "replace")[:200]


if __name__ == "__main__":
    main()
