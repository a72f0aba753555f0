"""Language models that have more than Llama's decoder (docs/arithmetic.md, 2.6 and 4.9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.reference_decoder.float32 import F, Flags, Integers, Vector, exp2, hadamard, quantize
from tests.reference_decoder.model import Model
from tests.reference_decoder.transformer import ONE, Prediction, Transformer, rounded

PLAIN: dict[str, Any] = {
    "activation": "silu",
    "gated": True,
    "parallel": False,
    "pre_norm": True,
    "post_norm": False,
    "head_norm": "none",
    "biases": [],
    "attention_cap": 0.0,
    "logit_cap": 0.0,
    "learned_positions": False,
    "rope_tables": 1,
    "layer_rope": [],
    "layer_window": [],
    "model_rotation": 0,
    "rotated_keys": False,
    "wide_inputs": [],
    "experts": 0,
    "experts_used": 0,
    "expert_ff": 0,
    "experts_normalized": False,
    "shared_ff": 0,
    "shared_weighted": False,
    "layer_experts": [],
}
"""What holds where a specification does not say it (2.6)."""

_GELU = {
    "gelu_tanh": (F(float.fromhex("-0x1.26aec2p+1")), F(float.fromhex("-0x1.a5a7d0p-4")), F(0)),
    "gelu_erf": tuple(
        F(float.fromhex(c)) for c in ("-0x1.268b1ep+1", "-0x1.b55b84p-4", "0x1.09f0c2p-10")
    ),
}
"""A, B and C of each form."""


def rotated(y: Vector, block: int, limit: int = 32767) -> tuple[Vector, np.float32]:
    """A vector in integers up to a limit, rotated by blocks, and their scale."""
    h, maximum = quantize(y, limit)
    r = (h.reshape(-1, block) @ hadamard(block)).flatten()
    return r.astype(F), maximum * F(1 / limit)


def total(vectors: Iterable[Vector]) -> Vector:
    """The sum of vectors, in their order."""
    first, *others = vectors
    for other in others:
        first = first + other
    return first


def new_stream(model: Model, window: int) -> Transformer:
    """A stream of tokens through a model of any kind."""
    return FeaturedTransformer(model, window) if model.spec.features else Transformer(model, window)


class FeaturedTransformer(Transformer):
    """One stream of tokens through a model with features."""

    def __init__(self, model: Model, window: int) -> None:
        super().__init__(model, window)
        self.features = {**PLAIN, **(model.spec.features or {})}
        self.layer = 0
        """The layer that is computed."""
        self.scale = F(1)
        """Of what it reads."""
        self.reads_wide = False
        """Whether that has 16 bits."""

    def predict(self, token: int) -> Prediction:
        """Read a token; what may follow it."""
        if "head" not in self.features["biases"] and not self.features["logit_cap"]:
            return super().predict(token)
        q, s = self.feed(token)
        logits = self.capped(self.product("head", q, s), self.features["logit_cap"])
        weights = np.floor(exp2(np.maximum(logits - logits.max(), F(-30))) * F(2**23))
        return Prediction(q, logits, weights.astype(np.int64).tolist())

    def feed(self, token: int) -> tuple[Integers, np.float32]:
        """Read a token; the normalized head input, as integers and their scale."""
        x = self.row("embedding", token)
        if self.features["learned_positions"]:
            x = x + self.row("positions", self.position)
        for layer in range(self.spec.layers):
            self.layer = layer
            read = self.read(x, "q")
            x = self.added(x, "o", self.attention(layer, *read))
            if not self.features["parallel"]:
                read = self.read(x, "gate")
            x = self.added(x, "down", self.mlp(layer, *read))
        self.position += 1
        return self.rms_norm(x)

    def row(self, name: str, index: int) -> Vector:
        """A row of integers times its scale."""
        tensors = self.model.tensors
        row: Vector = tensors[name + ".weight"][index].astype(F) * tensors[name + ".scale"][index]
        return row

    def is_wide(self, part: str) -> bool:
        """Whether the input of the layer's product has 16 bits."""
        return f"layers.{self.layer}.{part}" in self.features["wide_inputs"]

    def read(self, x: Vector, part: str) -> tuple[Integers, np.float32]:
        """What attention or the MLP reads of the residual vector."""
        self.reads_wide = self.is_wide(part)
        limit = 32512 if self.reads_wide else 127
        q, maximum = quantize(x, limit)
        if not self.features["pre_norm"]:
            return q, min(maximum * F(1 / limit), F(32 / 256 if self.reads_wide else 32))
        inverse = F(limit) / maximum
        mean = F(int((q * q).sum())) * F(1 / self.spec.d_model)
        return q, F(1) / np.sqrt(mean + inverse * inverse * F(self.spec.norm_eps))

    def addends(self, name: str, q: Integers, s: np.float32, wide: bool) -> list[Vector]:
        """A matrix times integers with their scale: of 16 bits the low ones, then the high ones."""
        if not wide:
            return [self.linear(name, q) * s]
        high = (q + 128) // 256
        return [self.linear(name, q - 256 * high) * s, self.linear(name, high) * (s * F(256))]

    def product(self, name: str, q: Integers, s: np.float32) -> Vector:
        """A matrix times what has been read, with its bias."""
        y = total(self.addends(name, q, s, self.reads_wide))
        bias = self.model.tensors.get(name + ".bias")
        return y if bias is None else y + bias

    def added(self, x: Vector, part: str, given: Vector) -> Vector:
        """The residual vector with what attention or the MLP gives, in one part or two."""
        name = f"layers.{self.layer}.{part}"
        bias = self.model.tensors.get(name + ".bias")
        to = total(given if self.features["post_norm"] else [x, *given])
        to = to if bias is None else to + bias
        if not self.features["post_norm"]:
            return to
        z = self.norm(to, self.model.tensors[name + ".norm"])
        r, scale = rotated(z, self.features["model_rotation"] or min(len(x) & -len(x), 64))
        return x + r * scale

    def output(self, name: str, y: Vector, scale: np.float32 = ONE) -> Vector:
        """A matrix times a vector that is not rounded yet: what is to be added, a row for each of
        one part or two."""
        wide = self.is_wide(name.rpartition(".")[2])
        limit = 32512 if wide else 127
        q, maximum = quantize(y, limit)
        return np.array(self.addends(name, q, scale * (maximum * F(1 / limit)), wide))

    def rounded_key(self, y: Vector) -> tuple[Integers, np.float32]:
        """A query or key as integers, rotated or not, and their scale."""
        if not self.features["rotated_keys"]:
            return super().rounded_key(y)
        r, scale = rotated(y, min(len(y) & -len(y), 512))
        q, own = rounded(r)
        return q, scale * own

    def norm(self, y: Vector, gain: Vector) -> Vector:
        """RMSNorm of numbers that are not rounded, times a gain."""
        q, maximum = quantize(y, 1023)
        inverse = F(1023) / maximum
        mean = F(int((q * q).sum())) * F(1 / len(y))
        root = np.sqrt(mean + inverse * inverse * F(self.spec.norm_eps))
        normed: Vector = y * (inverse / root) * gain
        return normed

    def capped(self, t: Vector, cap: float) -> Vector:
        """Numbers kept within ±cap by a tanh; 0 keeps nothing."""
        if not cap:
            return t
        steepness = F(2 * float.fromhex("0x1.71547652b82fep+0") / cap)
        e = exp2(np.clip(t * steepness, F(-30), F(30))) + F(1)
        kept: Vector = (F(1) - F(2) / e) * F(cap)
        return kept

    def rope(self, y: Vector) -> Vector:
        """Rotary positions by the layer's table, if it has one."""
        tables = self.features["layer_rope"]
        table = tables[self.layer] if tables else 0
        return y if table < 0 else self.turned(y, f"rope.{table}" if table else "rope")

    def heads(self, layer: int, part: str, q: Integers) -> Vector:
        """The queries, keys or values with their scale, bias and norm: [heads, head_dim]."""
        name, kind = f"layers.{layer}.{part}", self.features["head_norm"]
        y, size = self.product(name, q, self.scale), self.spec.head_dim
        if kind == "none" or part == "v":
            return y.reshape(-1, size)
        gain = self.model.tensors[name + ".norm"]
        if kind == "all":
            return self.norm(y, gain).reshape(-1, size)
        return np.array([self.norm(head, gain) for head in y.reshape(-1, size)])

    def attention(self, layer: int, q: Integers, s: np.float32) -> Vector:
        """Grouped-query attention; the scale is in the heads already."""
        self.scale = s
        return super().attention(layer, q, F(1))

    def scores(self, products: Vector) -> Vector:
        """The scores of the visible positions."""
        return self.capped(products, self.features["attention_cap"])

    def visible(self) -> Flags:
        """Whether the present position sees each in this layer."""
        windows = self.features["layer_window"]
        window = (windows[self.layer] if windows else 0) or self.position + 1
        seen: Flags = super().visible() & (np.arange(self.position + 1) > self.position - window)
        return seen

    def mlp(self, layer: int, q: Integers, s: np.float32) -> Vector:
        """The MLP, or the experts."""
        kinds = self.features["layer_experts"]
        name = f"layers.{layer}."
        if kinds[layer] if kinds else self.features["experts"]:
            return np.array([self.experts(name, q, s)])
        limit = 2**20 if self.is_wide("down") else 32767
        return self.output(name + "down", *self.inner(name, self.spec.d_ff, q, s, limit))

    def experts(self, name: str, q: Integers, s: np.float32) -> Vector:
        """What the chosen experts give, each times its weight, and the one that all share."""
        features = self.features
        y = self.linear(name + "router", q)
        order = sorted(range(len(y)), key=lambda e: (-y[e], e))
        chosen = sorted(order[: features["experts_used"]])
        parts = shares(y * s)
        counted = [parts[e] for e in chosen] if features["experts_normalized"] else parts
        z, width = np.zeros(self.spec.d_model, F), features["expert_ff"]
        for e in chosen:
            share = rounded_share(parts[e], sum(counted))
            z = z + self.expert(name + "experts_", width, q, s, share, e)
        if features["shared_ff"]:
            of_shared = F(1)
            if features["shared_weighted"]:
                t = self.linear(name + "shared_router", q)[0] * s
                both = shares(np.array([t, F(0)]))
                of_shared = rounded_share(both[0], sum(both))
            z = z + self.expert(name + "shared_", features["shared_ff"], q, s, of_shared)
        return z

    def expert(
        self,
        name: str,
        width: int,
        q: Integers,
        s: np.float32,
        weight: np.float32,
        number: int | None = None,
    ) -> Vector:
        """What one expert gives, times its weight."""
        r, scale = self.inner(name, width, q, s, 32767, number)
        q2, own = rounded(r)
        return self.part(name + "down", q2, number) * (scale * own * weight)

    def part(self, name: str, q: Integers, number: int | None) -> Vector:
        """A matrix times a vector; number: of the expert whose rows of it are meant."""
        if number is None:
            return self.linear(name, q)
        scales = self.model.tensors[name + ".scale"]
        rows = len(scales) // self.features["experts"]
        own = slice(number * rows, (number + 1) * rows)
        sums: Vector = (self.model.matrix(name)[own] @ q).astype(F) * scales[own]
        return sums

    def inner(
        self,
        name: str,
        width: int,
        q: Integers,
        s: np.float32,
        limit: int,
        number: int | None = None,
    ) -> tuple[Vector, np.float32]:
        """The inner vector of an MLP of any activation, with or without a gate, rotated, and its
        scale."""

        def read(part: str) -> Vector:
            if number is None:
                return self.product(name + part, q, s)
            return self.part(name + part, q, number) * s

        g = read("gate")
        if self.features["activation"] == "silu":
            v = g
        else:
            a, b, c = _GELU[self.features["activation"]]
            u = np.minimum(g * g, F(36))
            v = g * ((c * u + b) * u + a)
        e = exp2(np.clip(v, F(-30), F(30))) + F(1)
        inner = (g * read("up") if self.features["gated"] else g) / e
        return rotated(inner, min(width & -width, 512), limit)


def shares(t: Vector) -> list[int]:
    """Integers in the proportion of the powers of two."""
    powers = np.floor(exp2(np.maximum(t - t.max(), F(-30))) * F(2**23))
    return [int(power) for power in powers]


def rounded_share(part: int, total: int) -> np.float32:
    """A share of a total, as experts have it."""
    found: np.float32 = np.rint(F(part) / F(total) * F(2**14)) * F(2**-14)
    return found
