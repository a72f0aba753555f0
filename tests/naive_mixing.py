"""The mixer of the second decoder (tests/naive.py), written from docs/arithmetic.md, section 6, alone."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.naive_powers import F, exp2, log2

MASK = (1 << 64) - 1
ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MULTIPLIER = 0x9E3779B97F4A7C15


def rne(x: np.float32) -> int:
    return int(np.rint(x))


@dataclasses.dataclass
class Row:
    """A stream at a step: what the model says, and what the mixer makes of it."""

    q: np.ndarray
    y: np.ndarray  # linear(head, q)
    w: list[int]
    read: list[int]  # start token, context, tokens so far
    top: list[int] = dataclasses.field(init=False)
    successor: int | None = None
    match_bin: tuple[int, int] = (0, 0)
    signature: int = 0
    shares: dict[int, np.float32] = dataclasses.field(default_factory=dict)
    z: dict[int, np.float32] = dataclasses.field(default_factory=dict)
    odds: np.float32 = dataclasses.field(init=False)
    trust_bin: tuple[int, int] | None = None
    situations: list[int] = dataclasses.field(default_factory=list)
    features: dict[int, list[np.float32]] = dataclasses.field(default_factory=dict)
    corrected: list[int] = dataclasses.field(default_factory=list)

    def h(self, i: int) -> int:
        return self.read[-i] if i <= len(self.read) else self.read[0]

    def v(self, i: int) -> int:
        return max(self.w[i], 1)

    def p(self, i: int) -> np.float32:
        return F(self.v(i)) / F(sum(self.w))


class NaiveContextMixer:
    def __init__(self, c: int, spec: dict[str, Any]) -> None:
        self.c, self.d = c, spec["d_model"]
        self.slots: dict[int, tuple[int, int, int]] = {}
        self.hits: Counter[tuple[int, int]] = Counter()
        self.misses: Counter[tuple[int, int]] = Counter()
        self.positions: list[tuple[int, int, int, int, int]] = []  # signature, x, h_1, top_1, u
        self.trust: defaultdict[tuple[int, int], int] = defaultdict(lambda: 1 << 16)
        self.distrust: defaultdict[tuple[int, int], int] = defaultdict(lambda: 9 << 16)
        self.came: Counter[Any] = Counter()
        self.expected: Counter[Any] = Counter()
        start = [int(np.rint(2**20 * weight)) for weight in (0.1, 0.9, 0.1, 0.3, 0.3, 0.1)]
        self.mixing: list[dict[int, list[int]]] = [
            defaultdict(lambda: start), defaultdict(lambda: [0] * 6), defaultdict(lambda: [0] * 6)
        ]  # fmt: skip
        self.seen: Counter[tuple[int, int]] = Counter()

    # 6.2
    def contexts(self, row: Row) -> dict[int, tuple[int, int]]:
        """Slot and check of each order n <= fed."""
        key, out = 0, {}
        for i in range(1, min(len(row.read), ORDERS[-1]) + 1):
            y = (key ^ (row.h(i) + 1)) * MULTIPLIER & MASK
            key = y ^ y >> 29
            if i in ORDERS:
                out[i] = (key >> (64 - 3 - self.c), key & 0xFFFFFFFF)
        return out

    def match(self, row: Row) -> None:
        known = {n: s for n, s in self.contexts(row).items() if self.slots.get(s[0], (None,))[0] == s[1]}
        row.situations = [0]
        if known:
            order = max(known)
            _, row.successor, r = self.slots[known[order][0]]
            row.match_bin = (order, r if r < 8 else min(8 + (r - 8) // 8, 15))
            row.situations = [ORDERS.index(order) + 1]

    def f_match(self, row: Row, i: int) -> np.float32:
        if i != row.successor:
            return F(0)
        hits, misses, v = self.hits[row.match_bin], self.misses[row.match_bin], row.v(i)
        return log2(F(5 * hits + 4) / F(5 * misses + 4)) - log2(F(v) / F(sum(row.w) - v + 1))

    def learn_matches(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, x in zip(rows, tokens, strict=True):
            if row.successor is not None:
                (self.hits if row.successor == x else self.misses)[row.match_bin] += 1
        for b in {*self.hits, *self.misses}:
            if self.hits[b] + self.misses[b] > 500:
                self.hits[b], self.misses[b] = self.hits[b] // 2, self.misses[b] // 2
        for row, x in zip(rows, tokens, strict=True):
            for slot, check in self.contexts(row).values():
                held = self.slots.get(slot)
                same = held is not None and held[:2] == (check, x)
                self.slots[slot] = (check, x, min(held[2] + 1, 255) if same else 0)

    # 6.3
    def neighbors(self, row: Row) -> None:
        row.signature = sum(1 << i for i, q in enumerate(row.q) if q > 0)
        held = self.positions[-(1 << self.c) :][::-1]  # the newest first
        near = [p for p in held if p[2] == row.h(1)][:2048]
        near += [p for p in [p for p in held if p[3] == row.top[0]][:2048] if p[2] != row.h(1)]
        age = {id(p): i for i, p in enumerate(held)}
        found = sorted(((p[0] ^ row.signature).bit_count(), age[id(p)], p[1], p[4]) for p in near)[:64]
        if not found:
            row.situations.append(0)
            return
        m = found[0][0]
        beta = F(148) / F(self.d * self.d)
        votes_a, votes_b, surprise = Counter[int](), Counter[int](), Counter[int]()
        for distance, _, token, u in found:
            y = exp2(max(beta * F(m * m - distance * distance), F(-15)))
            a, b = rne(y * F(2**15)), rne(y * y * F(2**15))
            votes_a[token] += a
            votes_b[token] += b
            surprise[token] += a * u
        total_a, total_b, best = votes_a.total(), votes_b.total(), max(votes_a.values())
        row.shares = {i: (F(votes_a[i]) / F(total_a) + F(votes_b[i]) / F(total_b)) * F(0.5) for i in votes_a}
        far = exp2(max(beta * F(-m * m), F(-30)))
        row.z = {i: F(surprise[i]) * F(2.0**-23) * far for i in votes_a}
        row.trust_bin = (min(96 * m // self.d, 31), min(8 * best // total_a, 7))
        row.odds = F(self.trust[row.trust_bin]) / F(self.distrust[row.trust_bin])
        row.situations.append(1 + min(5 * best // total_a, 4))

    def f_neighbors(self, row: Row, i: int) -> list[np.float32]:
        if i not in row.shares:
            return [F(0), F(0)]  # log2(1) = 0
        return [log2(F(1) + row.odds * row.shares[i] / row.p(i)), log2(F(1) + F(16) * row.z[i])]

    def learn_neighbors(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, x in zip(rows, tokens, strict=True):
            if row.trust_bin is not None:
                g = row.odds * row.shares.get(x, F(0))
                right = rne(g / (row.p(x) + g) * F(2**16))
                self.trust[row.trust_bin] += right
                self.distrust[row.trust_bin] += 2**16 - right
        for b in list(self.trust):
            if self.trust[b] + self.distrust[b] > 2000 << 16:
                self.trust[b] = max(self.trust[b] // 2, 2**8)
                self.distrust[b] = max(self.distrust[b] // 2, 2**8)
        for row, x in zip(rows, tokens, strict=True):
            u = rne((F(1) - row.p(x)) * F(2**8))
            self.positions.append((row.signature, x, row.h(1), row.top[0], u))

    # 6.4
    def places(self, row: Row, i: int) -> list[Any]:
        k1 = ((i + 1) * MULTIPLIER + (row.h(1) + 1) * 0xC2B2AE3D27D4EB4F) & MASK
        k2 = (k1 + (row.h(2) + 1) * 0x165667B19E3779F9) & MASK
        hashed = [((k ^ k >> 32) * MULTIPLIER & MASK) >> (64 - 2 - self.c) for k in (k1, k2)]
        return [("token", i), *hashed]

    def f_biases(self, row: Row, i: int) -> list[np.float32]:
        return [log2(F(self.came[k] + 4096) / F(self.expected[k] + 4096)) for k in self.places(row, i)]

    def learn_biases(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, x in zip(rows, tokens, strict=True):
            for i in row.features:
                for k in self.places(row, i):
                    self.expected[k] += rne(row.p(i) * F(4096))
                    self.came[k] += 4096 * (i == x)

    # 6.5
    def correct(self, rows: Sequence[Row]) -> list[list[int]]:
        """The weights of each row's tokens, corrected."""
        self.rows = rows
        for row in rows:
            row.top = sorted(range(len(row.y)), key=lambda i, y=row.y: (-y[i], i))[:8]
            self.match(row)
            self.neighbors(row)
            row.situations.append(0)
            row.corrected = list(row.w)
            weights = [F(sum(w)) * F(2.0**-20) for w in zip(*map(self.weights, range(3), row.situations), strict=True)]
            for i in {*row.top, *row.shares} | {row.successor} - {None}:
                f = [self.f_match(row, i), *self.f_neighbors(row, i), *self.f_biases(row, i)]
                t = F(weights[0] * f[0])
                for omega, value in zip(weights[1:], f[1:], strict=True):
                    t = t + omega * value
                row.corrected[i] = rne(F(row.v(i)) * exp2(min(max(t, F(-20)), F(20))))
                row.features[i] = f
        return [row.corrected for row in rows]

    def weights(self, expert: int, situation: int) -> list[int]:
        return self.mixing[expert][situation]

    def learn(self, tokens: Sequence[int]) -> None:
        """The tokens that came in the rows of the last step."""
        slopes: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 6)
        for row, x in zip(self.rows, tokens, strict=True):
            for i, f in row.features.items():
                e = F(i == x) - F(row.corrected[i]) / F(sum(row.corrected))
                for key in enumerate(row.situations):
                    slopes[key] = [s + rne(e * f_k * F(2**20)) for s, f_k in zip(slopes[key], f, strict=True)]
        for (expert, situation), slope in slopes.items():
            rate = F(0.001) + F(0.2) / (F(20) + F(self.seen[expert, situation]))
            old = self.mixing[expert][situation]
            moved = [weight + rne(rate * F(s)) for weight, s in zip(old, slope, strict=True)]
            self.mixing[expert][situation] = [min(max(weight, -8 << 20), 8 << 20) for weight in moved]
        for row in self.rows:
            self.seen.update(enumerate(row.situations))
        self.learn_matches(self.rows, tokens)
        self.learn_neighbors(self.rows, tokens)
        self.learn_biases(self.rows, tokens)
