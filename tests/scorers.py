"""Scorers for the tests of `llmzip eval verify`: honest ones, and one for each classic mistake.

They score bytes, adaptively, so that they need no model and are quick.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Sequence

import numpy as np

from llmzip.scoring import Claim


def learned(history: Sequence[int]) -> np.ndarray:
    """What the bytes so far tell of the next one."""
    counts = np.full(256, 1 / 256)
    np.add.at(counts, np.fromiter(history, np.intp, len(history)), 1)
    return counts / counts.sum()


class Honest:
    """Frequencies of the bytes so far."""

    def symbols(self, data: bytes) -> list[int]:
        return list(data)

    def text(self, symbols: Sequence[int]) -> bytes:
        return bytes(symbols)

    def probabilities(self, history: Sequence[int]) -> np.ndarray:
        return learned(history)

    def bits(self, data: bytes) -> np.ndarray:
        return np.array([-np.log2(self.probabilities(data[:i])[b]) for i, b in enumerate(data)])

    def claim(self, data: bytes) -> Claim:
        bits = self.bits(data)
        spans = [(i, i + 1) for i in range(len(data))]
        return Claim(bits, spans, bits.sum() / len(data))


class Mixture(Honest):
    """Two distributions whose weights sum to 1.6."""

    def probabilities(self, history: Sequence[int]) -> np.ndarray:
        return 0.8 * learned(history) + 0.8 * np.where(np.arange(256) < 128, 1 / 128, 0)


class Characters(Honest):
    """Divides by characters."""

    def claim(self, data: bytes) -> Claim:
        claim = super().claim(data)
        return dataclasses.replace(claim, bits_per_byte=np.sum(claim.bits) / len(data.decode()))


class Spaces(Honest):
    """Divides by the bytes of what a sentencepiece tokenizer prints."""

    def claim(self, data: bytes) -> Claim:
        claim, printed = super().claim(data), data.decode().replace(" ", "\u2581")
        return dataclasses.replace(claim, bits_per_byte=np.sum(claim.bits) / len(printed.encode()))


class Windows(Honest):
    """Windows that overlap by half, each scored whole, so that late bytes count twice."""

    def claim(self, data: bytes) -> Claim:
        size, bits, spans = 64, [], []
        for begin in range(0, max(1, len(data) - size // 2), size // 2):
            window = data[begin : begin + size]
            bits += self.bits(window).tolist()
            spans += [(begin + i, begin + i + 1) for i in range(len(window))]
        return Claim(bits, spans, sum(bits) / len(spans))


class Natural(Honest):
    """Takes natural logarithms for bits."""

    def claim(self, data: bytes) -> Claim:
        claim = super().claim(data)
        bits = np.asarray(claim.bits) * math.log(2)
        return Claim(bits, claim.spans, bits.sum() / len(data))


class WholeText(Honest):
    """Counts the whole text first."""

    def bits(self, data: bytes) -> np.ndarray:
        return np.array([-np.log2(learned(data)[b]) for b in data])


class NextByte(Honest):
    """Sees the byte after the one that it predicts."""

    def bits(self, data: bytes) -> np.ndarray:
        followed = np.array([*data[1:], 0])
        return super().bits(data) * (1 - 0.02 * (followed % 16))


class Remembers(Honest):
    """Knows by heart whatever text it was shown before."""

    _known = b""

    def symbols(self, data: bytes) -> list[int]:
        Remembers._known = data
        return list(data)

    def probabilities(self, history: Sequence[int]) -> np.ndarray:
        mixed = learned(history) / 2
        if bytes(history) == self._known[: len(history)] != self._known:
            mixed[self._known[len(history)]] += 0.5
        else:
            mixed *= 2
        return mixed

    def bits(self, data: bytes) -> np.ndarray:
        self.symbols(data)
        return super().bits(data)


def function(data: bytes) -> Claim:
    """A scorer that shows no distributions."""
    return Honest().claim(data)


class Exits(Honest):
    """Ends the process as if all were well."""

    def claim(self, data: bytes) -> Claim:
        sys.exit(0)


class Prints(Honest):
    """Says what it is doing."""

    def probabilities(self, history: Sequence[int]) -> np.ndarray:
        print("working")
        return super().probabilities(history)


class Fails:
    """Raises."""

    def claim(self, data: bytes) -> Claim:
        raise RuntimeError("out of luck")


def as_command(scorer: Honest) -> None:
    """Print what a scorer claims, as a command does."""
    data = sys.stdin.buffer.read()
    claim = scorer.claim(data)
    steps = {int(step) for step in os.environ["LLMZIP_STEPS"].split(",") if step}
    bits, spans = np.asarray(claim.bits).tolist(), np.asarray(claim.spans).tolist()
    for i, (b, (begin, end)) in enumerate(zip(bits, spans, strict=True)):
        line = {"begin": begin, "end": end, "logprob": -b * math.log(2)}
        if i in steps:
            shown = scorer.probabilities(data[:begin]).tolist()
            line |= {"symbol": data[begin], "probabilities": shown}
        print(json.dumps(line))
    print(json.dumps({"bits_per_byte": claim.bits_per_byte}))


if __name__ == "__main__":
    as_command(globals()[sys.argv[1]]())
