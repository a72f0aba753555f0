"""The language model in integers (docs/arithmetic.md, section 4): tokens in, the weight of each
possible next token out."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np

from tests.reference_decoder.float32 import F, Flags, Integers, Vector, exp2, hadamard, quantize
from tests.reference_decoder.model import Model

ONE = F(1)

SINK_TOKENS = 4
"""A stream's first positions are seen however small the window is."""


class Rows:
    """Vectors of integers, a row for each position, each with its scale."""

    def __init__(self, length: int) -> None:
        # As float64, in which all sums of their products are exact.
        self.integers = np.empty((0, length), np.float64)
        self.scales = np.empty(0, F)

    def append(self, integers: Integers, scale: np.float32) -> None:
        """The row of the next position. Arrays are never changed, so that copies may share them."""
        self.integers = np.concatenate([self.integers, integers[None]])
        self.scales = np.append(self.scales, scale)


@dataclasses.dataclass(frozen=True)
class KVCache:
    """The keys and values of one key/value head in one layer."""

    keys: Rows
    values: Rows


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says of the next token."""

    head_input: Integers
    """What the last layer hands to the head."""
    products: Vector
    """The head times that, a number for each token: logits but for a common factor."""
    weights: list[int]
    """Of each token; its probability is its share of their sum."""


def rounded(y: Vector) -> tuple[Integers, np.float32]:
    """A vector as integers of 8 bits, and their scale."""
    integers, maximum = quantize(y)
    return integers, maximum * F(1 / 127)


class Transformer:
    """One stream of tokens through one model."""

    def __init__(self, model: Model, window: int) -> None:
        self.model, self.spec, self.window = model, model.spec, window
        self.position = 0
        size = self.spec.head_dim
        self.caches = [
            [KVCache(Rows(size), Rows(size)) for _ in range(self.spec.kv_heads)]
            for _ in range(self.spec.layers)
        ]

    def copy(self) -> Transformer:
        """Another stream that has read the same."""
        twin = copy.copy(self)
        twin.caches = [
            [KVCache(copy.copy(cache.keys), copy.copy(cache.values)) for cache in of_layer]
            for of_layer in self.caches
        ]
        return twin

    def predict(self, token: int) -> Prediction:
        """Read a token; what may follow it."""
        q, s = self.feed(token)
        products = self.linear("head", q)
        logits = products * s
        weights = np.floor(exp2(np.maximum(logits - logits.max(), F(-30))) * F(2**23))
        return Prediction(q, products, weights.astype(np.int64).tolist())

    def feed(self, token: int) -> tuple[Integers, np.float32]:
        """Read a token; the normalized head input, as integers and their scale."""
        embedding = self.model.tensors["embedding.weight"][token].astype(F)
        x = embedding * self.model.tensors["embedding.scale"][token]
        for layer in range(self.spec.layers):
            x = x + self.attention(layer, *self.rms_norm(x))
            x = x + self.mlp(layer, *self.rms_norm(x))
        self.position += 1
        return self.rms_norm(x)

    def linear(self, name: str, q: Integers) -> Vector:
        """A weight matrix times a vector of integers (1.4)."""
        sums = self.model.matrix(name) @ q
        scales: Vector = self.model.tensors[name + ".scale"]
        return sums.astype(F) * scales

    def rms_norm(self, x: Vector) -> tuple[Integers, np.float32]:
        """RMSNorm: integers q and a scale s, of which q * s is the normalized vector (4.2)."""
        q, maximum = quantize(x)
        inverse = F(127) / maximum
        mean = F(int((q * q).sum())) * F(1 / self.spec.d_model)
        root = np.sqrt(mean + inverse * inverse * F(self.spec.norm_eps))
        return q, F(1) / root

    def rope(self, y: Vector) -> Vector:
        """Rotary position embedding of each head: each pair of entries turned by the position's
        angle (4.3)."""
        return self.turned(y, "rope")

    def turned(self, y: Vector, table: str) -> Vector:
        """The same by a table."""
        half = y.shape[-1] // 2
        cosine, sine = self.model.tensors[table][self.position].astype(F) / F(2**14)
        a, b = y[..., :half], y[..., half:]
        return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)

    def attention(self, layer: int, q: Integers, s: np.float32) -> Vector:
        """Grouped-query attention over the window (4.3 to 4.5)."""
        spec, caches = self.spec, self.caches[layer]
        keys = self.rope(self.heads(layer, "k", q))
        for cache, key, value in zip(caches, keys, self.heads(layer, "v", q), strict=True):
            for (integers, scale), rows in (
                (self.rounded_key(key), cache.keys),
                (rounded(value), cache.values),
            ):
                rows.append(integers, scale * s)
        outputs = []
        for h, y in enumerate(self.rope(self.heads(layer, "q", q))):
            query, scale = self.rounded_key(y)
            cache = caches[h * spec.kv_heads // spec.heads]
            outputs.append(self.attend(query, scale * s, cache))
        return self.output(f"layers.{layer}.o", np.concatenate(outputs))

    def rounded_key(self, y: Vector) -> tuple[Integers, np.float32]:
        """A query or key as integers, and their scale."""
        return rounded(y)

    def output(self, name: str, y: Vector, scale: np.float32 = ONE) -> Vector:
        """A matrix times a vector that is not rounded yet; scale: of that vector."""
        q, own = rounded(y)
        product: Vector = self.linear(name, q) * (scale * own)
        return product

    def heads(self, layer: int, part: str, q: Integers) -> Vector:
        """The queries, keys or values: [heads, head_dim]."""
        return self.linear(f"layers.{layer}.{part}", q).reshape(-1, self.spec.head_dim)

    def attend(self, query: Integers, scale: np.float32, cache: KVCache) -> Vector:
        """What one query finds in a cache (4.5)."""
        visible = self.visible()
        seen = slice(None) if visible.all() else visible  # all, which copies nothing, or some
        keys, values = cache.keys.integers[seen], cache.values.integers[seen]
        key_scales, value_scales = cache.keys.scales[seen], cache.values.scales[seen]
        scores = self.scores((keys @ query).astype(F) * key_scales * scale)
        softmax = np.rint(exp2(np.maximum(scores - scores.max(), F(-30))) * F(2**15))
        total, largest = F(int(softmax.sum(dtype=np.float64))), cache.values.scales.max()
        weights = np.rint(softmax * value_scales * (F(2**16) / (total * largest)))
        sums = weights.astype(np.float64) @ values
        output: Vector = sums.astype(F) * (largest * F(2**-16))
        return output

    def scores(self, products: Vector) -> Vector:
        """The scores of the visible positions; a decoder with features may cap them (4.9)."""
        return products

    def visible(self) -> Flags:
        """Whether the present position sees each (4.4)."""
        j = np.arange(self.position + 1)
        seen: Flags = (j > self.position - self.window) | (j < SINK_TOKENS)
        return seen

    def mlp(self, layer: int, q: Integers, s: np.float32) -> Vector:
        """The MLP with SiLU gates; its inner vector is rotated, to be rounded more finely (4.6)."""
        name, width = f"layers.{layer}.", self.spec.d_ff
        gate = self.linear(name + "gate", q) * s
        inner = gate * self.linear(name + "up", q) / (exp2(np.clip(gate, F(-30), F(30))) + F(1))
        h, maximum = quantize(inner, 32767)
        block = min(width & -width, 512)
        rotated = (h.reshape(-1, block) @ hadamard(block)).flatten()
        q2, maximum2 = quantize(rotated.astype(F))
        scale = maximum * F(1 / 32767) * (maximum2 * F(1 / 127)) * s
        down: Vector = self.linear(name + "down", q2) * scale
        return down
