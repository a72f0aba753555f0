"""Detects text, binary data and noise, in a thousandth of the time that a model takes."""

from __future__ import annotations

import enum
import lzma
import re

import numpy as np
import numpy.typing as npt
import zstandard


class Kind(enum.Enum):
    """A kind of data."""

    TEXT = "text"
    """Text: a language model is likely to win."""
    BINARY = "binary"
    """Programs, tables, encoded text: dictionary coders win."""
    NOISE = "noise"
    """Random, encrypted or compressed data: nothing shrinks it."""


SEGMENT = 1 << 15
"""The granularity, in bytes, at which text and binary are told apart."""

_MIN_RUN = 2
"""Segments of the other sort in a row that make a block end before them."""

_MAX_STRANGE_SHARE = 0.1
# Control characters that text does not hold, and what is left of bytes that are not UTF-8.
_STRANGE = re.compile("[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_PADDING = re.compile("\x00+")
_MAX_PADDING = 0.5

_ENCODED = re.compile(rb"[A-Za-z0-9+/_=-]{60,}")
_ENCODED_SHARE = 0.9

_MIN_PROBED = 1 << 12  # below this trying costs less than probing, and statistics say nothing
_SAMPLES, _SAMPLE_BYTES = 4, 1 << 14
_INCOMPRESSIBLE = 0.99
_MEMORYLESS = 0.95


def leading_run(data: bytes) -> tuple[Kind, int]:
    """The kind of data at the beginning, and how many bytes of it there are."""
    size = _uniform_prefix(data)
    return _kind(data[:size]), size


def _uniform_prefix(data: bytes) -> int:
    """The length of the prefix in which text does not become binary, or binary text, for two
    segments and more.
    """
    other = 0
    first = looks_like_text(data[:SEGMENT])
    for start in range(SEGMENT, len(data), SEGMENT):
        other = other + 1 if looks_like_text(data[start : start + SEGMENT]) is not first else 0
        if other == _MIN_RUN:
            return start - (_MIN_RUN - 1) * SEGMENT
    return len(data)


def looks_like_text(data: bytes) -> bool:
    """Whether these bytes are mostly printable UTF-8, or a little Latin-1 among it, or an archive
    of such.
    """
    text = data.decode("utf-8", "replace")
    zeros, runs = text.count("\0"), len(_PADDING.findall(text))
    strange = len(_STRANGE.findall(text)) + runs
    return zeros <= _MAX_PADDING * len(text) and strange <= _MAX_STRANGE_SHARE * (
        len(text) - zeros + runs
    )


def _kind(data: bytes) -> Kind:
    if len(data) < _MIN_PROBED:
        return Kind.TEXT if looks_like_text(data) else Kind.BINARY
    sample = _sample(data)
    if _is_noise(data, sample):
        return Kind.NOISE
    text = looks_like_text(data) and not _is_memoryless(sample) and not _is_encoded(sample)
    return Kind.TEXT if text else Kind.BINARY


def _sample(data: bytes) -> bytes:
    """Pieces of the data at equal distances."""
    if len(data) <= _SAMPLES * _SAMPLE_BYTES:
        return data
    gap = (len(data) - _SAMPLE_BYTES) // (_SAMPLES - 1)
    return b"".join(data[i * gap : i * gap + _SAMPLE_BYTES] for i in range(_SAMPLES))


def _is_noise(data: bytes, sample: bytes) -> bool:
    """Whether neither a fast coder finds repeats in the whole nor a strong one anything in a
    sample.
    """
    if len(zstandard.ZstdCompressor(level=3).compress(data)) < _INCOMPRESSIBLE * len(data):
        return False
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
    return len(lzma.compress(sample, lzma.FORMAT_RAW, filters=filters)) >= _INCOMPRESSIBLE * len(
        sample
    )


def _is_memoryless(sample: bytes) -> bool:
    """Whether a letter says nothing about the next, as in hexadecimal digits, base64 of noise,
    genomes.

    Compares the entropy of letters with that of letters given the one before, both corrected for
    the size of the sample (Miller and Madow 1955: half a nat per cell and observation).
    """
    letters = np.frombuffer(sample, np.uint8)
    pairs = letters[:-1].astype(np.uint16) << np.uint16(8) | letters[1:]
    alone = _entropy_bits(np.bincount(letters))
    given = _entropy_bits(np.bincount(pairs)) - alone
    return given >= _MEMORYLESS * alone


def _is_encoded(sample: bytes) -> bool:
    """Whether nearly all is in words as no language has, as in base64 of something that is no
    noise.
    """
    return sum(map(len, _ENCODED.findall(sample))) >= _ENCODED_SHARE * len(sample)


def _entropy_bits(counts: npt.NDArray[np.integer]) -> float:
    """Bits per observation."""
    seen = counts[counts > 0]
    shares = seen / seen.sum()
    return float(-(shares * np.log2(shares)).sum() + (len(seen) - 1) / (2 * seen.sum() * np.log(2)))
