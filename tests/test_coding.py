"""The range coder: golden code words, the ideal length, and a decoder written from the document."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.arithmetic.frequencies import frequencies
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import IntegrityError
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import Schedule, decode_tokens, encode_tokens
from tests import naive


def test_golden_code_words() -> None:
    tables = frequencies(np.array([[1, 2, 3], [1000, 1, 0], [0, 0, 0], [5, 5, 90]]))
    coder = RangeEncoder()
    coder.encode(np.array([2, 0, 1, 1]), tables)
    assert coder.finish().hex() == "ad"


@given(st.data())
def test_symbols_come_back_and_cost_what_they_should(data: st.DataObject) -> None:
    count, size = data.draw(st.integers(0, 200)), data.draw(st.integers(1, 300))
    generator = np.random.Generator(np.random.PCG64(data.draw(st.integers(0, 999))))
    tables = frequencies(generator.integers(0, 1 << data.draw(st.integers(1, 31)), (count, size)))
    symbols = generator.integers(0, size, count)
    coder = RangeEncoder()
    coder.encode(symbols, tables)
    coded = coder.finish()
    ideal_bits = 24 * count - np.log2(tables[np.arange(count), symbols]).sum()
    assert len(coded) <= ideal_bits * 1.0001 / 8 + 2
    assert RangeDecoder(coded).decode(tables).tolist() == symbols.tolist()
    decoder = naive.RangeDecoder(coded)
    if size > 1:
        assert [decoder.decode([0, *np.cumsum(table).tolist()]) for table in tables[:20]] == symbols[:20].tolist()


def test_impossible_code_words_are_an_integrity_error() -> None:
    tables = np.full((50, 4), 1 << 22)
    with pytest.raises(IntegrityError, match="damaged"):
        for _ in range(100):
            RangeDecoder(b"\xff" * 60).decode(np.tile(frequencies(np.array([[1 << 30, 1, 1]])), (5000, 1)))
            RangeDecoder(b"\xff" * 60).decode(tables)


@given(tokens=st.integers(1, 60), streams=st.integers(1, 60))
def test_schedules_cover_every_token_once(tokens: int, streams: int) -> None:
    schedule = Schedule(tokens, min(streams, tokens))
    ids = np.arange(1, tokens + 1, dtype=np.int32)
    rows = schedule.split(ids)
    assert schedule.join(rows).tolist() == ids.tolist()
    assert sum(schedule.active(t) for t in range(schedule.steps)) == tokens
    for t in range(schedule.steps):
        assert (rows[: schedule.active(t), t] > 0).all()
        assert (rows[schedule.active(t) :, t] == 0).all()


@pytest.mark.parametrize("streams", [1, 2, 7, 33])
def test_lockstep_round_trip_with_escapes(tiny_engine: TorchEngine, streams: int) -> None:
    generator = np.random.Generator(np.random.PCG64(5))
    ids = generator.integers(0, tiny_engine.model.spec.vocab, 100).astype(np.int32)
    ids[[0, 13, 14, 99]] = tiny_engine.model.spec.escape_token
    escapes = int((ids == tiny_engine.model.spec.escape_token).sum())
    tokens = Tokens(ids, generator.bytes(escapes))
    done: list[int] = []
    coded = encode_tokens(tiny_engine, tokens, streams, 64, progress=done.append)
    assert done[-1] == 100
    back = decode_tokens(tiny_engine, coded, 100, streams, 64)
    assert back.ids.tolist() == ids.tolist()
    assert back.literals == tokens.literals
