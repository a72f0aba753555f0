"""Speculative steps: drafts change how many steps there are, and no number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from llmzip.accounting import draft_rows
from llmzip.engine.base import Engine, HeadInput
from llmzip.engine.native_engine import NativeEngine, native_is_available, why_not_available
from llmzip.engine.native_session import NativeSession
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.torch_session import TorchSession
from llmzip.errors import LLMZipError
from llmzip.mixing.base import NO_TOKEN
from llmzip.mixing.in_turn import MixersInTurn
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import speculation
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.schedule import Schedule
from llmzip.predictor.speculation import Drafts, StepCosts
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import IdArray
from tests.conftest import tiny
from tests.native_models import random_model, random_tokens

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)

ENGINES: dict[str, Callable[[IntegerModel], Engine]] = {
    "native": lambda model: NativeEngine(model, 1),
    "two threads": lambda model: NativeEngine(model, 2),
    "portable": lambda model: NativeEngine(model, 1, "portable"),
    "torch": lambda model: TorchEngine(model, threads=1),
}
CHUNK = 6


@pytest.fixture(params=ENGINES)
def engine_of(request: pytest.FixtureRequest) -> Callable[[IntegerModel], Engine]:
    return ENGINES[request.param]


# ---- sessions that go back -----------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 5, 20, 100])
def test_what_was_taken_back_was_never_there(
    engine_of: Callable[[IntegerModel], Engine], window: int
) -> None:
    """Random tokens in the place of those that follow, of which the largest values are often."""
    engine = engine_of(random_model())
    vocab, ids = engine.model.spec.vocab, random_tokens(engine.model, 2, 70)
    straight = engine.session(2, window, 1)
    expected = [straight.advance(ids[:, t : t + 1]) for t in range(70)]
    rng = np.random.default_rng(window)
    session, t = engine.session(2, window, CHUNK), 0
    while t < 70:
        fed = rng.integers(1, min(CHUNK, 70 - t) + 1)
        kept = rng.integers(1, fed + 1)
        tokens = rng.integers(0, vocab, (2, fed)).astype(np.int32)
        tokens[:, :kept] = ids[:, t : t + kept]
        head = session.advance(tokens)
        for i in range(kept):
            assert_same(head, i, expected[t + i])
        for count in np.diff(np.unique([0, (fed - kept) // 2, fed - kept])):  # at once, or in two
            session.rewind(int(count))
        t += int(kept)


def assert_same(head: HeadInput, step: int, expected: HeadInput) -> None:
    np.testing.assert_array_equal(head.vectors[:, step], expected.vectors[:, 0])
    np.testing.assert_array_equal(head.scales[:, step], expected.scales[:, 0])


def test_forks_of_a_session_that_went_back(engine_of: Callable[[IntegerModel], Engine]) -> None:
    """Which lends its blocks, and goes back into one that it has lent."""
    engine = engine_of(random_model())
    ids = random_tokens(engine.model, 1, 50)
    session = engine.session(1, 80, 40)
    session.advance(ids[:, :32])
    session.rewind(2)
    forks = [session.fork([0, 0], 80, 8)]
    session.advance(ids[:, 30:33])
    forks.append(session.fork([0], 80, 8))
    session.rewind(2)
    wrong = (ids[:, 31:34] + 1) % engine.model.spec.vocab
    session.advance(wrong)
    for fork, fed in zip(forks, (30, 33), strict=True):
        streams = 2 if fed == 30 else 1
        head = fork.advance(ids[:, fed : fed + 8].repeat(streams, axis=0))
        straight = engine.session(1, 80, 50).advance(ids[:, : fed + 8])
        np.testing.assert_array_equal(head.vectors[-1], straight.vectors[0, fed:])


def test_no_further_back_than_the_last_call(engine_of: Callable[[IntegerModel], Engine]) -> None:
    engine = engine_of(random_model("smallest"))
    session = engine.session(1, 20, 4)
    session.rewind(0)
    for fed, wrong in ((None, (1, -1)), (4, (4, -1)), (1, (1,))):
        if fed:
            session.advance(np.zeros((1, fed), np.int32))
        for count in wrong:
            with pytest.raises(ValueError, match="take back"):
                session.rewind(count)
    session.advance(np.zeros((1, 3), np.int32))
    session.rewind(1)
    session.rewind(1)
    with pytest.raises(ValueError, match="take back"):
        session.rewind(1)


# ---- decoding ------------------------------------------------------------------------------------


class _Source:
    """A mixer with drafts of another source: from the tokens of all streams [S, steps] and the step
    to what is drafted, [A, most].
    """

    def __init__(self, mixer: object, drafts: Callable[[int, int, int], IdArray]) -> None:
        self._mixer, self._drafts, self._step = mixer, drafts, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._mixer, name)

    def beside(self, others: list[Any]) -> MixersInTurn:
        mixers: list[Any] = [self, *others]
        return MixersInTurn(mixers)

    def learn(self, tokens: IdArray, weights: IdArray) -> None:
        self._step += 1
        self._mixer.learn(tokens, weights)  # type: ignore[attr-defined]

    def draft(self, streams: int, most: int) -> tuple[IdArray, npt.NDArray[np.float32]]:
        tokens = self._drafts(self._step, streams, most)
        return tokens, (tokens != NO_TOKEN).astype(np.float32)


TOKENS = 230


@pytest.fixture
def steps_fed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all that sessions are fed; what steps cost stays as it is taken to be."""
    shapes: list[tuple[int, ...]] = []
    for kind in (NativeSession, TorchSession):
        advance = kind.advance

        def noted(
            self: object, tokens: IdArray, advance: Callable[..., HeadInput] = advance
        ) -> HeadInput:
            shapes.append(tokens.shape)
            return advance(self, tokens)

        monkeypatch.setattr(kind, "advance", noted)
    monkeypatch.setattr(StepCosts, "note", lambda *_: None)
    return shapes


def repetitive(vocab: int, escape: int) -> Tokens:
    rng = np.random.default_rng(3)
    ids = np.tile(rng.integers(0, vocab, 23), TOKENS // 23).astype(np.int32)
    ids[rng.integers(0, TOKENS, 20)] = rng.integers(0, vocab, 20)
    ids[::41] = escape
    return Tokens(ids, rng.bytes(int((ids == escape).sum())))


@pytest.mark.parametrize("kind", ["native", "torch"])
@pytest.mark.parametrize("streams", [1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("source", ["mixer", "right", "wrong", "sometimes", "in some streams"])
def test_decoded_tokens_are_the_same(
    kind: str, streams: int, source: str, steps_fed: list[tuple[int, ...]]
) -> None:
    """With a window that is shorter than streams are, in streams of unequal length."""
    model = tiny()
    engine = ENGINES[kind](model)
    engine.batches = dataclasses.replace(engine.batches, draft_rows=8)
    tokens = repetitive(model.spec.vocab, model.spec.escape_token)
    schedule = Schedule(TOKENS, streams)
    ids, rng = schedule.split(tokens.ids), np.random.default_rng(1)

    def drafts(step: int, active: int, most: int) -> IdArray:
        found = np.ascontiguousarray(ids[:active, step : step + most])
        assert found.shape == (active, most)  # none beyond the end
        wrong = (found + 1) % model.spec.vocab
        if source == "sometimes":
            return np.where(rng.random(most) < 0.7, found, wrong)
        if source == "in some streams":
            return np.where(rng.random(found.shape) < 0.7, found, wrong)
        return found if source == "right" else wrong

    layout = StreamLayout(TOKENS, streams, 64)
    coded = encode_tokens(engine, tokens, layout, engine.mixer(8))
    steps_fed.clear()
    mixer = engine.mixer(8)
    decoded = decode_tokens(
        engine,
        coded,
        layout,
        mixer if source == "mixer" else _Source(mixer, drafts),  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(decoded.ids, tokens.ids)
    assert decoded.literals == tokens.literals
    most = max(0, 8 // streams - 1)
    longest = max(count for _, count in steps_fed)
    assert longest <= 1 + most
    if source == "mixer":  # what it expects seldom comes in all of several streams
        assert streams > 2 or (longest > 1 and len(steps_fed) < schedule.steps)
        return
    assert longest == 1 + most
    if source == "right":
        assert len(steps_fed) == -(-schedule.steps // (1 + most))
    elif source == "wrong" or not most:
        assert len(steps_fed) == schedule.steps
    else:
        assert len(steps_fed) < schedule.steps


def test_a_damaged_block_with_drafts(steps_fed: list[tuple[int, ...]]) -> None:
    """Whatever is decoded from it is decoded without drafts, too."""
    engine = NativeEngine(tiny(), 1)
    spec = engine.model.spec
    layout = StreamLayout(TOKENS, 1, 64)
    tokens = repetitive(spec.vocab, spec.escape_token)
    coded = bytearray(encode_tokens(engine, tokens, layout, engine.mixer(8)))
    coded[len(coded) // 2] ^= 0x55

    def outcome() -> str:
        try:
            return str(decode_tokens(engine, bytes(coded), layout, engine.mixer(8)).ids.tolist())
        except LLMZipError as error:
            return str(error)

    with_drafts = outcome()
    assert max(count for _, count in steps_fed) > 1
    engine.batches = dataclasses.replace(engine.batches, draft_rows=0)
    assert outcome() == with_drafts


# ---- how many drafts -----------------------------------------------------------------------------


def play(costs: StepCosts, chance: float, of: Callable[[int], float], steps: int) -> list[int]:
    """The numbers of drafts of so many steps that take of(drafts) seconds."""
    chosen = []
    for _ in range(steps):
        chosen.append(costs.best([chance] * 7))
        costs.note(chosen[-1], of(chosen[-1]))
    return chosen


def test_drafts_are_as_many_as_pay() -> None:
    costs = StepCosts()
    assert costs.best([0.0] * 7) == 0
    costs.note(0, 1.0)
    assert play(costs, 0.99, lambda n: 1 + 0.1 * n, 50)[-1] == 7
    assert 0 < play(costs, 0.6, lambda n: 1 + 0.1 * n, 50)[-1] < 7
    assert play(costs, 0.05, lambda n: 1 + 0.1 * n, 50)[-1] == 0


def test_where_rows_are_dear_nothing_is_drafted_for_long() -> None:
    """As on a processor that computes more slowly than it reads."""
    costs = StepCosts()
    costs.note(0, 1.0)
    chosen = play(costs, 0.7, lambda n: 1 + 0.9 * n, 2000)
    assert chosen[0] > 0
    assert np.mean(np.array(chosen[100:]) > 0) < 0.02


def test_interruptions_are_forgotten() -> None:
    costs, rng = StepCosts(), np.random.default_rng(1)
    costs.note(0, 1.0)
    play(costs, 0.7, lambda n: 100.0 if n else 1.0, 20)  # a busy time
    assert play(costs, 0.7, lambda n: 1 + 0.1 * n, 1500)[-1] > 0
    noisy = play(costs, 0.7, lambda n: (1 + 0.1 * n) * rng.choice([1, 1, 1, 9]), 1500)
    assert np.mean(np.array(noisy) > 0) > 0.5


def test_drafts_fit_what_every_block_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = NativeEngine(tiny(), 1)
    mixer = engine.mixer(8)
    assert Drafts.of(engine, 5, mixer).most == 0
    assert Drafts.of(engine, 1, None).most == 0
    assert Drafts.of(TorchEngine(tiny()), 1, mixer).most == 0
    large = dataclasses.replace(engine.model.spec, vocab=1 << 18)
    assert draft_rows(large) == 2  # of a MiB each, and the cache
    for rows, expected in ((9, [7, 3, 1, 1]), (2, [2, 1, 0, 0])):
        monkeypatch.setattr(speculation, "draft_rows", lambda _, rows=rows: rows)
        assert [Drafts.of(engine, n, mixer).most for n in (1, 2, 3, 4)] == expected
