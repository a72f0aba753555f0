"""A second decoder, written from docs/arithmetic.md and docs/format.md alone: slow, short, sharing no code with llmzip.

Integers are Python's, so sums cannot round; floats are numpy float32 scalars and arrays, one operation at a time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.naive_mixing import NaiveContextMixer, Row
from tests.naive_powers import F, exp2


def to_integers(x: np.ndarray, limit: int) -> tuple[np.ndarray, np.float32]:
    maximum = max(np.abs(x).max(), F(2.0**-40))
    return np.rint(x * (F(limit) / maximum)).astype(np.int64), maximum


def hadamard(n: int) -> np.ndarray:
    h = np.ones((1, 1), np.int64)
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h


class NaiveStream:
    """One stream of one model."""

    def __init__(self, spec: dict[str, Any], tensors: dict[str, np.ndarray], window: int) -> None:
        self.spec, self.tensors, self.window = spec, tensors, window
        self.cache: list[list[list[tuple]]] = [[[] for _ in range(spec["kv_heads"])] for _ in range(spec["layers"])]
        self.position = 0

    def linear(self, name: str, q: np.ndarray) -> np.ndarray:
        sums = self.tensors[name + ".weight"].astype(np.int64) @ q
        return sums.astype(np.float64).astype(F) * self.tensors[name + ".scale"]

    def normalize(self, x: np.ndarray) -> tuple[np.ndarray, np.float32]:
        q, maximum = to_integers(x, 127)
        inverse = F(127) / maximum
        mean = F(int((q * q).sum())) * F(1 / self.spec["d_model"])
        root = np.sqrt(mean + inverse * inverse * F(self.spec["norm_eps"]))
        return q, F(1) / root

    def turn(self, y: np.ndarray) -> np.ndarray:
        half = len(y) // 2
        c, n = self.tensors["rope"][self.position].astype(F) / F(2**14)
        a, b = y[:half], y[half:]
        return np.concatenate([a * c - b * n, b * c + a * n])

    def attend(self, layer: int, q: np.ndarray, s: np.float32) -> np.ndarray:
        spec, size = self.spec, self.spec["head_dim"]

        def heads(part: str, turning: bool) -> list[tuple[np.ndarray, np.float32]]:
            out = []
            for y in self.linear(f"layers.{layer}.{part}", q).reshape(-1, size):
                h, maximum = to_integers(self.turn(y) if turning else y, 127)
                out.append((h, maximum * F(1 / 127) * s))
            return out

        for g, kv in enumerate(zip(heads("k", True), heads("v", False), strict=True)):
            self.cache[layer][g].append(kv)
        p, result = self.position, []
        for h, (a, s_a) in enumerate(heads("q", True)):
            entries = self.cache[layer][h * spec["kv_heads"] // spec["heads"]]
            seen = [entries[j] for j in range(p + 1) if j > p - self.window or j < 4]
            t = np.array([F(int(a @ k)) * s_j * s_a for (k, s_j), _ in seen], F)
            weights = np.rint(exp2(np.maximum(t - t.max(), F(-30))) * F(2**15))
            total = F(int(weights.astype(np.int64).sum()))
            bound = max(u for _, (_, u) in entries)
            factor = F(2**16) / (total * bound)
            w = [int(np.rint(weight * u * factor)) for weight, (_, (_, u)) in zip(weights, seen, strict=True)]
            sums = sum(w_j * v for w_j, (_, (v, _)) in zip(w, seen, strict=True))
            result.append(sums.astype(np.float64).astype(F) * (bound * F(2**-16)))
        o, maximum = to_integers(np.concatenate(result), 127)
        return self.linear(f"layers.{layer}.o", o) * (maximum * F(1 / 127))

    def mlp(self, layer: int, q: np.ndarray, s: np.float32) -> np.ndarray:
        name, width = f"layers.{layer}.", self.spec["d_ff"]
        g = self.linear(name + "gate", q) * s
        e = exp2(np.clip(g, F(-30), F(30))) + F(1)
        h, maximum = to_integers(g * self.linear(name + "up", q) / e, 32767)
        block = min(width & -width, 512)
        r = (h.reshape(-1, block) @ hadamard(block)).flatten()
        q2, maximum2 = to_integers(r.astype(F), 127)
        return self.linear(name + "down", q2) * (maximum * F(1 / 32767) * (maximum2 * F(1 / 127)) * s)

    def feed(self, token: int) -> tuple[np.ndarray, np.float32]:
        """Feed a token; the head input."""
        x = self.tensors["embedding.weight"][token].astype(F) * self.tensors["embedding.scale"][token]
        for layer in range(self.spec["layers"]):
            x = x + self.attend(layer, *self.normalize(x))
            x = x + self.mlp(layer, *self.normalize(x))
        self.position += 1
        return self.normalize(x)

    def predict(self, token: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Feed a token; the head input, its product with the head, and the weights of the token that follows."""
        q, s = self.feed(token)
        y = self.linear("head", q)
        z = y * s
        return q, y, np.floor(exp2(np.maximum(z - z.max(), F(-30))) * F(2**23)).astype(np.int64).tolist()

    def weights(self, token: int) -> list[int]:
        return self.predict(token)[2]


class NaiveBlock:
    """The streams of a block in lockstep: docs/format.md, "Payload of the llm codec" and "Dictionaries"."""

    def __init__(
        self,
        spec: dict[str, Any],
        tensors: dict[str, np.ndarray],
        streams: int,
        window: int,
        mixer: NaiveContextMixer | None,
        context: Sequence[int],
    ) -> None:
        self.mixer = mixer
        self.models = [NaiveStream(spec, tensors, window) for _ in range(streams)]
        self.read = [[spec["start_token"], *context] for _ in range(streams)]
        for model, read in zip(self.models, self.read, strict=True):
            for token in read[:-1]:
                model.feed(token)

    def predict(self, active: int) -> list[list[int]]:
        """The weights of the first `active` streams."""
        rows = [Row(*self.models[s].predict(self.read[s][-1]), self.read[s]) for s in range(active)]
        return self.mixer.correct(rows) if self.mixer else [row.w for row in rows]

    def learn(self, tokens: Sequence[int]) -> None:
        """The tokens that the active streams have coded."""
        if self.mixer:
            self.mixer.learn(tokens)
        for read, token in zip(self.read, tokens, strict=False):
            read.append(token)


def lengths(tokens: int, streams: int) -> list[int]:
    return [tokens // streams + (s < tokens % streams) for s in range(streams)]


def dictionary_mixer(
    tokens: Sequence[int], capacity: int, spec: dict[str, Any], tensors: dict[str, np.ndarray]
) -> NaiveContextMixer:
    """docs/format.md, "Dictionaries": a mixer that has learned a reference."""
    mixer, sizes = NaiveContextMixer(capacity, spec), lengths(len(tokens), max(1, len(tokens) // 4096))
    block = NaiveBlock(spec, tensors, len(sizes), 1024, mixer, ())
    for t in range(sizes[0]):
        active = sum(t < size for size in sizes)
        block.predict(active)
        block.learn([tokens[sum(sizes[:s]) + t] for s in range(active)])
    return mixer


def frequencies(weights: Sequence[int]) -> list[int]:
    """Section 5: F_0 ... F_n."""
    n, total = len(weights), sum(weights)
    if total == 0:
        weights, total = [1] * n, n
    if total >= 1 << 39:
        shift = total.bit_length() - 39
        weights = [w >> shift for w in weights]
        total = sum(weights)
    out, before = [0], 0
    for i, w in enumerate(weights):
        before += w
        out.append(i + 1 + before * ((1 << 24) - n) // total)
    return out


class RangeDecoder:
    """docs/format.md, "Range coder"."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)
        self.lower, self.range = 0, (1 << 64) - 1
        self.point = self.word() << 32 | self.word()

    def word(self) -> int:
        return int.from_bytes(self.data.read(4).ljust(4, b"\0"), "big")

    def decode(self, cumulative: Sequence[int]) -> int:
        mask = (1 << 64) - 1
        scale = self.range >> 24
        q = ((self.point - self.lower) & mask) // scale
        assert q < 1 << 24, "invalid data"
        symbol = next(i for i in range(len(cumulative) - 1) if q < cumulative[i + 1])
        self.lower = (self.lower + scale * cumulative[symbol]) & mask
        self.range = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self.range < 1 << 32:
            self.lower = self.lower << 32 & mask
            self.range <<= 32
            self.point = (self.point << 32 | self.word()) & mask
        return symbol


def varint(data: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = data.read(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


def decode_llm_payload(
    payload: bytes,
    spec: dict[str, Any],
    tensors: dict[str, np.ndarray],
    token_bytes: Sequence[bytes],
    dictionary: Sequence[int] = (),
    carried: NaiveContextMixer | None = None,
) -> tuple[bytes, NaiveContextMixer | None]:
    """docs/format.md, "Payload of the llm codec"; the mixer, for the next block of a solid frame, which is `carried`."""
    source = io.BytesIO(payload)
    tokens, streams = varint(source), varint(source)
    if streams:
        window, capacity = varint(source) * 64, varint(source)
    else:
        streams, window = 1, -(-(len(dictionary[-512:]) + tokens) // 64) * 64
        capacity = max(8, min(22, (len(dictionary) + tokens - 1).bit_length()))
    decoder = RangeDecoder(source.read())
    mixer = (carried or dictionary_mixer(dictionary, capacity, spec, tensors)) if capacity else None
    block = NaiveBlock(spec, tensors, streams, window, mixer, dictionary[-512:])
    texts = [b""] * streams
    for t in range(-(-tokens // streams)):
        active = sum(t < length for length in lengths(tokens, streams))
        weights = [np.array(w + [0] * (-len(w) % 256)).reshape(-1, 256).tolist() for w in block.predict(active)]
        buckets = [0] * active
        if spec["vocab"] > 256:
            buckets = [decoder.decode(frequencies([sum(b) for b in w])) for w in weights]
        places = [decoder.decode(frequencies(w[b])) for w, b in zip(weights, buckets, strict=True)]
        last = [b * 256 + place for b, place in zip(buckets, places, strict=True)]
        for s, token in enumerate(last):
            texts[s] += token_bytes[token]
        for s, token in enumerate(last):
            if token == spec["escape_token"]:
                texts[s] += bytes([decoder.decode(range(0, (1 << 24) + 1, 1 << 16))])
        block.learn(last)
    return b"".join(texts), mixer


def decode_copies_payload(
    payload: bytes, size: int, before: bytes, decode: Callable[[int, bytes, int], bytes]
) -> bytes:
    """docs/format.md, "Payload of the copies codec"; `decode` gets the rest's codec, payload and size."""
    source = io.BytesIO(payload)
    inner = source.read(1)[0]
    copies = [(varint(source), varint(source), varint(source)) for _ in range(varint(source))]
    left = size - sum(length for _, length, _ in copies)
    rest = io.BytesIO(decode(inner, source.read(), left) if inner else b"")
    out = bytearray(before)
    distance = 0
    for gap, length, field in copies:
        distance = field or distance
        out += rest.read(gap)
        for _ in range(length):
            out.append(out[-distance])
    return bytes(out[len(before) :] + rest.read())


def decode_meta_token_payload(payload: bytes, spec: dict[str, Any], token_bytes: Sequence[bytes]) -> bytes:
    """docs/format.md, "Payload of the meta-token codec"."""
    source = io.BytesIO(payload)
    _, count, metas = varint(source), varint(source), varint(source)
    decoder, vocab = RangeDecoder(source.read()), spec["vocab"]
    weights = [2**25 // (i + 200) for i in range(vocab)] + [20 << 16] * 2 + [1 << 16] * metas
    weights += [0] * (-len(weights) % 256)
    symbols: list[int] = []
    while len(symbols) < count:
        size = min(max(16, min(256, len(symbols) // 8)), count - len(symbols))
        table = frequencies([sum(weights[b : b + 256]) for b in range(0, len(weights), 256)])
        buckets = [decoder.decode(table) if len(table) > 2 else 0 for _ in range(size)]
        group = [b * 256 + decoder.decode(frequencies(weights[b * 256 : b * 256 + 256])) for b in buckets]
        for symbol in group:
            weights[symbol] += 1 << 16
        symbols += group
    defined: list[list[int]] = []
    open_: list[list[int]] = [[]]
    for symbol in symbols:
        if symbol == vocab:
            open_.append([])
            continue
        if symbol == vocab + 1:
            defined.append(open_.pop())
            symbol = vocab + 1 + len(defined)
        open_[-1] += [symbol] if symbol < vocab else defined[symbol - vocab - 2]
    literal = range(0, (1 << 24) + 1, 1 << 16)
    return b"".join(
        bytes([decoder.decode(literal)]) if token == spec["escape_token"] else token_bytes[token] for token in open_[0]
    )
