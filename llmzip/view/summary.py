"""Where the bits of a file went, in sums."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from llmzip.mixing.base import EXPERTS
from llmzip.mixing.token_classes import token_classes
from llmzip.view.observe import Observed
from llmzip.view.recorder import CodedTokens
from llmzip.view.words import Words

CLASS_NAMES = (
    "no text",
    "digits",
    "spaces and tabs",
    "line ends",
    "letters inside a word",
    "words",
    "capitals inside a word",
    "Words with a capital",
    "beyond ASCII",
    "punctuation",
    "brackets",
    "quotes",
    "other signs",
)
"""Of the mixer's classes of tokens (`mixing.token_classes`)."""

_COSTLIEST = 25


def summary(observed: Observed, words: Words) -> dict[str, Any]:
    """What the page shows in sums; all in bits, `parts` add up to the file."""
    return {
        "parts": _parts(observed),
        "model": _model(observed.payloads),
        "classes": _classes(observed.payloads),
        "costliest": _costliest(observed.payloads, words),
    }


def _parts(observed: Observed) -> list[tuple[str, float]]:
    frames, blocks, payloads = observed.layout.frames, observed.layout.blocks, observed.payloads
    others: dict[str, int] = defaultdict(int)
    for block in blocks:
        if block.payload is None and block.payload_bytes:
            others[block.codec.split(", ")[-1]] += block.payload_bytes
    found = [
        ("tokens", float(sum(tokens.bits.sum() for tokens in payloads))),
        (
            "end of the range coder",
            float(sum(8 * tokens.coded_bytes - tokens.bits.sum() for tokens in payloads)),
        ),
        ("long-distance matches", 8.0 * sum(block.match_bytes for block in blocks)),
        *((f"by {name}", 8.0 * size) for name, size in sorted(others.items())),
        ("frame headers", 8.0 * sum(frame.header_bytes for frame in frames)),
        ("block headers", 8.0 * sum(block.head_bytes for block in blocks)),
        (
            "checks",
            8.0 * sum([*(f.check_bytes for f in frames), *(b.check_bytes for b in blocks)]),
        ),
        ("index and end", 8.0 * sum(frame.index_bytes for frame in frames)),
    ]
    return [(name, bits) for name, bits in found if bits]


def _model(payloads: list[CodedTokens]) -> dict[str, Any]:
    """From what the model alone would take to what was written of its tokens."""
    alone = float(sum(tokens.model_bits.sum() for tokens in payloads))
    coded = float(sum(tokens.bits.sum() for tokens in payloads))
    saved = sum(
        (tokens.saved.sum(axis=0, dtype=np.float64) for tokens in payloads), np.zeros(len(EXPERTS))
    )
    return {
        "tokens": sum(len(tokens.ids) for tokens in payloads),
        "alone": alone,
        "saved": dict(zip(EXPERTS, saved.tolist(), strict=True)),
        "tables": coded - (alone - float(saved.sum())),
        "coded": coded,
    }


def _classes(payloads: list[CodedTokens]) -> list[tuple[str, int, float]]:
    """Name, tokens and bits of each class, the costliest first."""
    counts, bits = np.zeros(len(CLASS_NAMES), np.int64), np.zeros(len(CLASS_NAMES))
    for tokens in payloads:
        classes = token_classes(tokens.vocabulary.token_bytes)[tokens.ids]
        counts += np.bincount(classes, minlength=len(CLASS_NAMES))
        bits += np.bincount(classes, tokens.bits, minlength=len(CLASS_NAMES))
    order = np.argsort(-bits, kind="stable")
    return [(CLASS_NAMES[i], int(counts[i]), float(bits[i])) for i in order.tolist() if counts[i]]


def _costliest(payloads: list[CodedTokens], words: Words) -> list[tuple[int, int, float]]:
    """Word, tokens and bits of the words that cost most."""
    counts, bits = np.zeros(len(words), np.int64), np.zeros(len(words))
    for tokens in payloads:
        numbers = words.numbers(tokens.vocabulary, tokens.ids)
        counts += np.bincount(numbers, minlength=len(words))
        bits += np.bincount(numbers, tokens.bits, minlength=len(words))
    order = np.argsort(-bits, kind="stable")[:_COSTLIEST]
    return [(i, int(counts[i]), float(bits[i])) for i in order.tolist() if counts[i]]
