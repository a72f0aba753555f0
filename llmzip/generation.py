"""Text from a model or any codec, in integers: the same seed is the same text on every machine."""

from __future__ import annotations

import functools
import hashlib
import itertools
import operator
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from llmzip.buffers import Buffer, flat
from llmzip.codecs.base import PayloadCodec
from llmzip.engine.base import Engine, HeadInput, Session
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import LimitError
from llmzip.runtime import Runtime

MAX_TEMPERATURE = 5

_CHUNK = 256  # tokens of the prompt that are fed at once
_TEMPERATURE_UNITS = 10
_ROOT_BITS = 16  # what a weight keeps behind the point when a root is taken of it


class Randomness:
    """Uniform integers from SHA-256 in counter mode.

    Number i is ⌊u · n / 2^64⌋, u being the first 8 bytes, little-endian, of the digest of `llmzip
    generate`, the seed and i (8 bytes each, little-endian).
    """

    def __init__(self, seed: int) -> None:
        """seed: 0 to 2^64 − 1. Raises ValueError for others."""
        if not 0 <= operator.index(seed) < 1 << 64:
            raise ValueError(f"seed {seed}: seeds are 0 to 2^64 - 1")
        self._seed = seed
        self._counter = itertools.count()

    def below(self, bound: int) -> int:
        """The next number, 0 to bound − 1."""
        message = (
            b"llmzip generate"
            + self._seed.to_bytes(8, "little")
            + next(self._counter).to_bytes(8, "little")
        )
        return int.from_bytes(hashlib.sha256(message).digest()[:8], "little") * bound >> 64

    def choose(self, weights: Sequence[int]) -> int:
        """An index, each with a probability in proportion to its weight (non-negative integers, not
        all 0).
        """
        sums = list(itertools.accumulate(weights))
        drawn = self.below(sums[-1]) if sums[-1] < 1 << 64 else self._long(sums[-1])
        return next(i for i, total in enumerate(sums) if drawn < total)

    def _long(self, bound: int) -> int:
        """The same for bounds of more than 64 bits: as many numbers as it takes, the first one on
        top.
        """
        words = -(-bound.bit_length() // 64) + 1
        value = 0
        for _ in range(words):
            value = value << 64 | self.below(1 << 64)
        return value * bound >> (64 * words)


def generate(
    prompt: Buffer,
    count: int = 100,
    *,
    seed: int = 0,
    temperature: float | str = 1,
    top_k: int | None = None,
    stop: Sequence[Buffer] = (),
    model: ModelLike | None = None,
    runtime: Runtime | None = None,
) -> Iterator[bytes]:
    """Text that a model takes for likely: `count` tokens that follow a prompt, each as its bytes.

    The same seed is the same text on every machine. seed, temperature, top_k, stop: as for
    `generate_by_engine`; model, runtime: as for `LLMZipCompressor`.

    Raises TypeError for a str, ValueError for parameters out of range, LimitError where prompt and
    text exceed the model's positions, ModelNotFoundError where the model is not installed.

    >>> b"".join(llmzip.generate(b"Once upon a time", 20, temperature=0.7))
    """
    given = bytes(flat(prompt, "generate"))
    engine = EngineLoader.of(model, runtime=runtime).for_compression()
    return generate_by_engine(
        engine, given, count, seed=seed, temperature=temperature, top_k=top_k, stop=stop
    )


def generate_by_engine(
    engine: Engine,
    prompt: bytes,
    count: int,
    *,
    seed: int = 0,
    temperature: float | str = 1,
    top_k: int | None = None,
    stop: Sequence[Buffer] = (),
) -> Iterator[bytes]:
    """`count` tokens that follow a prompt, each as its bytes, drawn from the weights of
    docs/arithmetic.md, section 4.8.

    temperature: a multiple of 0.1 from 0, always the likeliest token, to 5; other than 1, weights w
    become ⌊2^16 · w^(1/T)⌋. top_k: only so many tokens of the greatest weights (of equal ones the
    lower ids) may be drawn. Tokens that stand for no text are never drawn. stop: texts; what is
    drawn ends before the first one that appears in it, and bytes that may begin one wait.

    Raises ValueError for parameters out of range, LimitError where prompt and text exceed the
    model's positions.
    """
    power = _power(temperature)
    if operator.index(count) < 0:
        raise ValueError(f"count {count}: at least 0 tokens")
    if top_k is not None and operator.index(top_k) < 1:
        raise ValueError(f"top_k {top_k}: at least 1 token to draw from")
    stops = [bytes(flat(text, "stop")) for text in stop]
    if not all(stops):
        raise ValueError("an empty text to stop at: it would appear at once")
    random = Randomness(seed)
    spec = engine.model.spec
    ids = [spec.start_token, *engine.model.tokenizer.encode(prompt).ids.tolist()]
    if len(ids) + count > spec.max_positions:
        raise LimitError(
            f"{len(ids)} + {count} tokens are more than the model's {spec.max_positions} positions"
        )
    return _until(stops, _generate(engine, ids, count, random, power, top_k))


def _power(temperature: float | str) -> Fraction | None:
    """1/T, exactly; None for temperature 0."""
    try:
        exact = Fraction(str(temperature))
    except (ValueError, ZeroDivisionError):
        exact = Fraction(-1)
    if not 0 <= exact <= MAX_TEMPERATURE or (exact * _TEMPERATURE_UNITS).denominator != 1:
        raise ValueError(f"temperature {temperature}: multiples of 0.1 from 0 to {MAX_TEMPERATURE}")
    return 1 / exact if exact else None


def _generate(
    engine: Engine,
    ids: list[int],
    count: int,
    random: Randomness,
    power: Fraction | None,
    top_k: int | None,
) -> Iterator[bytes]:
    token_bytes = engine.model.vocabulary.token_bytes
    silent = np.array([not piece for piece in token_bytes])
    session = engine.session(1, len(ids) + count, _CHUNK)
    head = _fed(session, ids)
    for _ in range(count):
        weights = engine.token_weights(head.vectors[:, -1], head.scales[:, -1])[0].astype(np.int64)
        weights[silent] = 0
        token = _drawn(weights, random, power, top_k)
        yield token_bytes[token]
        head = session.advance(np.array([[token]], np.int32))


def _until(stops: Sequence[bytes], pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces up to the first of the texts that appears in them; without texts the same
    pieces.
    """
    waiting = b""
    for piece in pieces:
        waiting += piece
        found = [at for stop in stops if (at := waiting.find(stop)) >= 0]
        if found:
            waiting = waiting[: min(found)]
            break
        kept = max((_begun(waiting, stop) for stop in stops), default=0)
        if kept < len(waiting):
            yield waiting[: len(waiting) - kept]
            waiting = waiting[len(waiting) - kept :]
    if waiting:
        yield waiting


def _begun(text: bytes, stop: bytes) -> int:
    """How many of the text's last bytes may be the beginning of this one."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)


def _fed(session: Session, ids: list[int]) -> HeadInput:
    """Feed the prompt; what is known after it."""
    for start in range(0, len(ids), _CHUNK):
        head = session.advance(np.array([ids[start : start + _CHUNK]], np.int32))
    return head


def _drawn(
    weights: npt.NDArray[np.int64], random: Randomness, power: Fraction | None, top_k: int | None
) -> int:
    """A token by its weight [V]."""
    best = np.argsort(-weights, kind="stable")[: 1 if power is None else top_k]
    best = best[weights[best] > 0]
    if not len(best):  # everything that has weight is silent: the first token with text
        return int(np.argmax(weights == weights.max()))
    chosen = weights[best].tolist()
    if power is not None and power != 1:
        chosen = [_raised(weight, power) for weight in chosen]
    return int(best[random.choose(chosen)])


@functools.lru_cache(maxsize=1 << 16)
def _raised(weight: int, power: Fraction) -> int:
    """⌊2^16 · weight^power⌋, exactly."""
    return _root(weight**power.numerator << _ROOT_BITS * power.denominator, power.denominator)


def _root(number: int, degree: int) -> int:
    """⌊number^(1/degree)⌋ by Newton's method from above."""
    if degree == 1:
        return number
    guess = 1 << -(-number.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + number // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better


def generate_by_codec(
    codec: PayloadCodec, prompt: bytes, count: int, *, seed: int = 0
) -> Iterator[bytes]:
    """`count` bytes that follow a prompt, by the code lengths ℓ of any codec: p(b | x) ∝ 2^(ℓ(x) −
    ℓ(xb)).

    "Language Modeling Is Compression" (arXiv 2309.10668), section 3.4. Lengths are whole bytes, so
    most codecs know little of the next byte. Every byte takes 256 compressions. Raises ValueError
    for parameters out of range.
    """
    if operator.index(count) < 0:
        raise ValueError(f"count {count}: at least 0 bytes")
    return _generate_by_codec(codec, prompt, count, Randomness(seed))


def _generate_by_codec(
    codec: PayloadCodec, text: bytes, count: int, random: Randomness
) -> Iterator[bytes]:
    for _ in range(count):
        sizes = [len(codec.encode(text + bytes([byte]))) for byte in range(256)]
        byte = bytes([random.choose([1 << 8 * (max(sizes) - size) for size in sizes])])
        yield byte
        text += byte
