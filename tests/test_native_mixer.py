"""The mixer in C returns the reference's integers, whatever comes, on any kernels and threads."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.engine import native_handle, torch_engine
from llmzip.engine.base import Engine
from llmzip.engine.native_engine import (
    NativeEngine,
    kernel_names,
    native_is_available,
    why_not_available,
)
from llmzip.engine.native_mixer import NativeContextMixer
from llmzip.engine.torch_engine import TorchEngine
from llmzip.mixing.base import (
    EXPERTS,
    MAX_CAPACITY_BITS,
    MIN_CAPACITY_BITS,
    MIXING_VERSION,
    NO_TOKEN,
    TOP_TOKENS,
    ContextMixer,
)
from llmzip.mixing.in_turn import MixersInTurn
from llmzip.mixing.reference import ReferenceContextMixer
from llmzip.mixing.token_classes import CLASSES
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import IdArray
from tests.native_models import SHAPES, random_model

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)

KERNELS = kernel_names()
VERSIONS = range(1, 1 + MIXING_VERSION)
NO_CONTEXT = np.empty(0, np.int32)


@functools.cache
def engine_of(shape: str, cpu: str | None = None, threads: int = 1) -> NativeEngine:
    """An engine with as many threads as asked for, however small the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_handle, "_WEIGHTS_PER_THREAD", 1)
        return NativeEngine(random_model(shape, layers=1), threads, cpu)


def both(
    engine: NativeEngine, capacity_bits: int, version: int = MIXING_VERSION
) -> tuple[ContextMixer, ContextMixer]:
    """Mixers in C and in numpy whose tokens have classes at random."""
    spec = engine.model.spec
    classes = np.random.default_rng(spec.vocab).integers(0, CLASSES, spec.vocab, np.uint8)
    return NativeContextMixer(
        engine._handle, capacity_bits, classes, version
    ), ReferenceContextMixer(
        capacity_bits, spec.d_model, spec.vocab, spec.start_token, classes, version
    )


@dataclasses.dataclass
class Text:
    """Where the steps of a test come from: few different tokens, head inputs near few prototypes,
    all kinds of weights.
    """

    rng: np.random.Generator
    width: int
    vocab: int
    kinds: int = 5
    noise: float = 0.1
    surplus: int = 0  # in the sums of weights

    def __post_init__(self) -> None:
        self.tokens = self.rng.integers(0, self.vocab, self.kinds)
        self.prototypes = self.rng.integers(-127, 128, (self.kinds, self.width)).astype(np.int8)

    def some_tokens(self, rows: int) -> IdArray:
        return self.rng.choice(self.tokens, rows).astype(np.int32)

    def vectors(self, rows: int) -> npt.NDArray[np.int8]:
        chosen = self.prototypes[self.rng.integers(0, self.kinds, rows)]
        other = self.rng.integers(-127, 128, chosen.shape)
        return np.where(self.rng.random(chosen.shape) < self.noise, other, chosen).astype(np.int8)

    def weights(self, rows: int) -> IdArray:
        """Weights of all tokens, many of them 0, the largest 2**23: [rows, vocab]."""
        weights = (2.0 ** self.rng.uniform(-8, 23, (rows, self.vocab))).astype(np.int32)
        usual = self.rng.random(rows) < 0.9
        peaks = np.where(usual, self.some_tokens(rows), self.rng.integers(0, self.vocab, rows))
        weights[np.arange(rows), peaks] = 1 << 23
        return weights


def explained(
    mixer: ContextMixer, tokens: IdArray, weights: IdArray, mixed: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The evidence of each row's candidates in ascending order: it is what has raised their
    weights.
    """
    evidence = mixer.evidence()
    assert evidence.dtype == np.float32
    assert evidence.shape == (*tokens.shape, len(EXPERTS))
    assert not evidence[tokens == NO_TOKEN].any()
    bits = np.clip(evidence.sum(axis=2, dtype=np.float64), -20, 20)
    raised = np.maximum(weights, 1) * np.exp2(bits)
    real = tokens != NO_TOKEN
    assert np.allclose(mixed[real], raised[real], rtol=1e-3, atol=0.6)
    order = np.argsort(np.where(real, tokens, np.iinfo(np.int32).max), axis=1)
    count = real.sum(axis=1).max()
    found: npt.NDArray[np.float32] = np.take_along_axis(evidence, order[:, :, None], axis=1)
    return found[:, :count]


def advance(
    mixers: tuple[ContextMixer, ContextMixer],
    text: Text,
    rows: int,
    token: int | None = None,
    learns: bool = True,
) -> None:
    """One step of both mixers, which must agree on everything; token: what comes in all rows."""
    vectors, weights = text.vectors(rows), text.weights(rows)
    totals = weights.sum(axis=1, dtype=np.int64) + text.surplus
    top = np.argsort(-weights, axis=1, kind="stable")[:, :TOP_TOKENS].astype(np.int32)
    came = text.some_tokens(rows) if token is None else np.full(rows, token, np.int32)
    own = weights[np.arange(rows), came]
    corrected, evidence = [], []
    for mixer in mixers:
        tokens = mixer.recall(vectors, top)
        of_them = np.where(
            tokens >= 0, np.take_along_axis(weights, np.maximum(tokens, 0), axis=1), 0
        ).astype(np.int32)
        mixed = mixer.mix(of_them, totals)
        assert tokens.dtype == np.int32
        assert mixed.dtype == np.int64
        real = tokens != NO_TOKEN
        corrected.append(
            [
                dict(zip(t[k].tolist(), m[k].tolist(), strict=True))
                for t, m, k in zip(tokens, mixed, real, strict=True)
            ]
        )
        assert [len(row) for row in corrected[-1]] == real.sum(axis=1).tolist(), (
            "a token is named twice"
        )
        evidence.append(explained(mixer, tokens, of_them, mixed))
        if learns:
            mixer.learn(came, own)
        else:
            mixer.follow(came)
    assert corrected[0] == corrected[1]
    first = min(rows, 5)
    for mine, others in zip(*(mixer.draft(first, 3) for mixer in mixers), strict=True):
        np.testing.assert_array_equal(mine, others, strict=True)
    assert np.allclose(evidence[0], evidence[1], atol=1e-3)


@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from(sorted(SHAPES)),
    cpu=st.sampled_from(KERNELS),
    threads=st.sampled_from([1, 2, 5]),
    kinds=st.sampled_from([1, 2, 5, 40]),
    noise=st.sampled_from([0.0, 0.05, 0.5]),
    surplus=st.sampled_from([0, 1, 2**39 - 2**34]),
    blocks=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=25), min_size=1, max_size=3),
    read=st.sampled_from([0, 1, 5, 31, 32, 33]),
    version=st.sampled_from(VERSIONS),
)
def test_equals_reference(
    seed: int,
    shape: str,
    cpu: str,
    threads: int,
    kinds: int,
    noise: float,
    surplus: int,
    blocks: list[list[int]],
    read: int,
    version: int,
) -> None:
    engine = engine_of(shape, cpu, threads)
    spec = engine.model.spec
    mixers = both(engine, MIN_CAPACITY_BITS, version)
    text = Text(np.random.default_rng(seed), spec.d_model, spec.vocab, kinds, noise, surplus)
    for block in blocks:
        context = np.random.default_rng(seed).integers(0, spec.vocab, read).astype(np.int32)
        for mixer in mixers:
            mixer.start(max(block), context)
        for rows in sorted(block, reverse=True):
            advance(mixers, text, rows)


@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_ring_wraps_and_slots_collide(cpu: str, version: int) -> None:
    engine = engine_of("head size 128", cpu, 2)
    mixers = both(engine, MIN_CAPACITY_BITS, version)
    text = Text(
        np.random.default_rng(1), engine.model.spec.d_model, engine.model.spec.vocab, kinds=60
    )
    for mixer in mixers:
        mixer.start(30, NO_CONTEXT)
    for _ in range(60):
        advance(mixers, text, 30)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_more_positions_than_are_looked_at(threads: int) -> None:
    engine = engine_of("smallest", None, threads)
    mixers = both(engine, 13)
    text = Text(
        np.random.default_rng(2),
        engine.model.spec.d_model,
        engine.model.spec.vocab,
        kinds=2,
        noise=0.3,
    )
    for mixer in mixers:
        mixer.start(97, NO_CONTEXT)
    # 4500 positions with two tokens and distances 0 to 5, 2500 with the same top token.
    for rows in range(97, 22, -1):
        advance(mixers, text, rows)


@pytest.mark.parametrize("version", VERSIONS)
def test_counts_reach_their_limits(version: int) -> None:
    """Runs of 255, halved hits and misses, halved trust: one token for ever, which the model hardly
    expects.
    """
    engine = engine_of("smallest")
    mixers = both(engine, MIN_CAPACITY_BITS, version)
    text = Text(
        np.random.default_rng(3),
        engine.model.spec.d_model,
        engine.model.spec.vocab,
        kinds=1,
        noise=0.0,
    )
    for mixer in mixers:
        mixer.start(9, NO_CONTEXT)
    for rows in [9] * 221 + [1] * 60:
        advance(mixers, text, rows)


@pytest.mark.parametrize("version", VERSIONS)
def test_trust_has_a_floor(version: int) -> None:
    """The neighbors agree, and are wrong in every step; few rows, so that the mixer goes on
    believing them a little.
    """
    engine = engine_of("head size 80", None, 2)
    mixers = both(engine, MIN_CAPACITY_BITS, version)
    spec = engine.model.spec
    text = Text(
        np.random.default_rng(8),
        spec.d_model,
        spec.vocab,
        kinds=1,
        noise=0.0,
        surplus=2**39 - 2**34,
    )
    for mixer in mixers:
        mixer.start(40, NO_CONTEXT)
    for step in range(300):
        advance(mixers, text, 40, step)


def test_more_rows_than_trust_has_room_for() -> None:
    engine = engine_of("smallest", None, 2)
    mixers = both(engine, MIN_CAPACITY_BITS)
    text = Text(
        np.random.default_rng(4),
        engine.model.spec.d_model,
        engine.model.spec.vocab,
        kinds=1,
        noise=0.0,
    )
    for mixer in mixers:
        mixer.start(4500, NO_CONTEXT)
    advance(mixers, text, 4500)
    for rows in (4500, 4500, 1, 1, 1):
        advance(mixers, text, rows)


def test_copies_are_independent() -> None:
    engine = engine_of("one key head, head size 64")
    spec = engine.model.spec
    mixers = both(engine, 9)

    def play(
        pair: tuple[ContextMixer, ContextMixer], seed: int, streams: int | None = None
    ) -> None:
        text = Text(np.random.default_rng(seed), spec.d_model, spec.vocab)
        for mixer in pair if streams else ():
            mixer.start(streams or 0, NO_CONTEXT)
        for _ in range(15):
            advance(pair, text, streams or 4)

    play(mixers, 1, 4)
    copies = mixers[0].copy(), mixers[1].copy()
    assert copies[0].capacity_bits == 9
    play(mixers, 2)
    play(copies, 3)  # in the middle of a block
    play(mixers, 4, 7)
    play(copies, 5, 3)


def test_mixers_follow_without_learning_and_streams_are_left_out() -> None:
    engine = engine_of("one key head, head size 64")
    spec = engine.model.spec
    mixers = both(engine, 9)
    text = Text(np.random.default_rng(8), spec.d_model, spec.vocab, kinds=3)
    for mixer in mixers:
        mixer.start(4, np.arange(5, dtype=np.int32))
    for _ in range(20):
        advance(mixers, text, 4)
    for _ in range(2):  # what is followed leaves nothing behind
        again = Text(np.random.default_rng(9), spec.d_model, spec.vocab, kinds=3)
        for mixer in mixers:
            mixer.start(6, np.arange(40, dtype=np.int32))
        for _ in range(10):
            advance(mixers, again, 6, learns=False)
        for mixer in mixers:
            mixer.select(np.array([1, 3, 4], np.int32))
        for _ in range(10):
            advance(mixers, again, 3, learns=False)
    for wrong in ([1, 1], [2, 1], [-1], [6]):
        with pytest.raises(ValueError, match="mixer"):
            mixers[0].select(np.array(wrong, np.int32))
    with pytest.raises(ValueError, match="recalled"):
        mixers[0].follow(np.zeros(2, np.int32))


def test_a_mixer_outlives_its_engine_s_name() -> None:
    engine = NativeEngine(random_model("smallest"), 1)
    mixers = both(engine, 8)
    spec = engine.model.spec
    del engine
    advance(mixers, Text(np.random.default_rng(6), spec.d_model, spec.vocab), 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("streams", [[9, 1, 12, 4], [70, 1, 130, 33]], ids=["few", "many"])
@pytest.mark.parametrize("threads", [1, 3])
def test_several_mixers_are_as_each_alone(threads: int, streams: list[int], version: int) -> None:
    """Rows between the parts are nobody's; mixers come and go from step to step, and one has no
    rows in some. What many rows say is summed by several threads.
    """
    engine, single = engine_of("smallest", threads=threads), engine_of("smallest")
    spec = engine.model.spec
    text = Text(np.random.default_rng(threads), spec.d_model, spec.vocab)
    firsts = np.add([0, 2, 2, 8], [0, *np.cumsum(streams[:3])]).tolist()
    rows = firsts[3] + streams[3]
    together, alone = ([both(which, 8, version)[0] for _ in streams] for which in (engine, single))
    for mixer, other, count in zip(together, alone, streams, strict=True):
        mixer.start(count, NO_CONTEXT)
        other.start(count, NO_CONTEXT)
    for step in range(12):
        live = [i for i in range(4) if (step + i) % 5]
        counts = [streams[i] - step % (streams[i] + 1) for i in live]
        parts = [slice(firsts[i], firsts[i] + n) for i, n in zip(live, counts, strict=True)]
        joined = together[live[0]].beside([together[i] for i in live[1:]])
        in_turn = MixersInTurn([alone[i] for i in live])
        weights = text.weights(rows)
        totals = weights.sum(axis=1, dtype=np.int64)
        top = np.argsort(-weights, axis=1, kind="stable")[:, :TOP_TOKENS].astype(np.int32)
        vectors, came = text.vectors(rows), text.some_tokens(rows)
        top[streams[0] : firsts[1]] = vectors[streams[0] : firsts[1]] = -9  # nobody looks at them
        found = [m.recall(parts, vectors, top) for m in (joined, in_turn)]
        np.testing.assert_array_equal(*found, strict=True)
        of_them = np.take_along_axis(weights, np.maximum(found[0], 0), axis=1)
        mixed = [m.mix(parts, of_them, totals) for m in (joined, in_turn)]
        np.testing.assert_array_equal(*mixed, strict=True)
        outside = np.ones(rows, bool)
        for part in parts:
            outside[part] = False
        assert (found[0][outside] == NO_TOKEN).all()
        assert not mixed[0][outside].any()
        learning = joined, in_turn
        if len(live) > 2:  # one has failed meanwhile
            parts, live = parts[1:], live[1:]
            learning = (
                together[live[0]].beside([together[i] for i in live[1:]]),
                MixersInTurn([alone[i] for i in live]),
            )
        for m in learning:
            m.learn(parts, came, weights[np.arange(rows), came])


def test_several_mixers_refuse_parts_that_do_not_fit() -> None:
    engine = engine_of("smallest")
    mixers = [engine.mixer(8), engine.mixer(8)]
    for mixer in mixers:
        mixer.start(2, NO_CONTEXT)
    vectors = np.ones((4, engine.model.spec.d_model), np.int8)
    top = np.zeros((4, 1), np.int32)
    joined = mixers[0].beside(mixers[1:])
    for wrong in ([(0, 2), (1, 3)], [(2, 4), (0, 2)], [(0, 2), (3, 5)], [(0, 3), (3, 4)]):
        with pytest.raises(ValueError, match="arguments"):
            joined.recall([slice(*part) for part in wrong], vectors, top)
    with pytest.raises(ValueError, match="parts"):
        joined.recall([slice(0, 2)], vectors, top)
    tokens = joined.recall([slice(0, 2), slice(2, 4)], vectors, top)
    with pytest.raises(ValueError, match="recalled"):
        joined.mix(
            [slice(0, 2), slice(2, 3)], np.ones(tokens.shape, np.int32), np.ones(4, np.int64)
        )


def test_bad_arguments() -> None:
    engine = engine_of("smallest")
    width = engine.model.spec.d_model
    for bits in (MIN_CAPACITY_BITS - 1, MAX_CAPACITY_BITS + 1):
        with pytest.raises(ValueError, match="positions"):
            engine.mixer(bits)
    mixer = engine.mixer(8)
    vectors, top = np.ones((1, width), np.int8), np.zeros((1, 1), np.int32)
    with pytest.raises(ValueError, match="arguments"):
        mixer.start(0, NO_CONTEXT)
    for wrong in (vectors[:, 1:], vectors[0], vectors.repeat(2, axis=0)):
        with pytest.raises(ValueError, match="head inputs"):
            mixer.recall(wrong, top)
    with pytest.raises(ValueError, match="arguments"):  # more rows than streams
        mixer.recall(vectors.repeat(2, axis=0), top.repeat(2, axis=0))
    for token in (-1, engine.model.spec.vocab):
        with pytest.raises(ValueError, match="arguments"):
            mixer.recall(vectors, top + token)
    with pytest.raises(ValueError, match="arguments"):  # more streams than there are
        mixer.draft(2, 1)
    tokens = mixer.recall(vectors, top)
    with pytest.raises(ValueError, match="recalled"):
        mixer.mix(np.ones((1, tokens.shape[1] + 1), np.int32), np.ones(1, np.int64))
    mixer.mix(np.ones(tokens.shape, np.int32), np.full(1, 9, np.int64))
    with pytest.raises(ValueError, match="recalled"):
        mixer.learn(np.zeros(2, np.int32), np.ones(2, np.int32))
    for token in (-1, engine.model.spec.vocab):
        with pytest.raises(ValueError, match="arguments"):
            mixer.learn(np.full(1, token, np.int32), np.ones(1, np.int32))


def repetitive(model: IntegerModel, count: int) -> Tokens:
    """Random tokens in which earlier parts come again, escapes among them."""
    rng = np.random.default_rng(7)
    ids = rng.integers(0, model.spec.vocab, count)
    for _ in range(8):
        start, source = rng.integers(0, count - 40, 2)
        ids[start : start + 40] = ids[source : source + 40].copy()
    ids[::29] = model.spec.escape_token
    return Tokens(ids.astype(np.int32), rng.bytes(int((ids == model.spec.escape_token).sum())))


@pytest.mark.parametrize("streams", [1, 3, 16])
def test_coded_bytes_are_the_same(
    streams: int, tiny_model: IntegerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the native engine, of the torch engine with the mixer in C, and of that with numpy's."""
    tokens, native = repetitive(tiny_model, 301), NativeEngine(tiny_model, 2)
    layout = StreamLayout(len(tokens.ids), streams, 64)

    def coded(engine: Engine, kind: type[ContextMixer]) -> bytes:
        mixer = engine.mixer(8)
        assert isinstance(mixer, kind)
        return encode_tokens(engine, tokens, layout, mixer)

    torch_alone = TorchEngine(tiny_model)
    assert coded(torch_alone, NativeContextMixer) == coded(native, NativeContextMixer)
    monkeypatch.setattr(torch_engine, "native_is_available", lambda: False)
    expected = coded(torch_alone, ReferenceContextMixer)
    assert coded(native, NativeContextMixer) == expected
    assert len(expected) < len(encode_tokens(native, tokens, layout))
    decoded = decode_tokens(native, expected, layout, native.mixer(8))
    np.testing.assert_array_equal(decoded.ids, tokens.ids)
    assert decoded.literals == tokens.literals
