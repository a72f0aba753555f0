"""Equal-Info Windows and ranks: what they do beyond the conformance kit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.codecs import equal_info
from llmzip.codecs.equal_info import EqualInfoCodec
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.rank import RankCodec
from llmzip.codecs.registry import get_codec
from llmzip.coding.windows import Interval
from llmzip.engine.base import Engine
from llmzip.engine_loader import EngineLoader
from llmzip.errors import IntegrityError
from llmzip.levels import level_parameters
from llmzip.model.integer_model import IntegerModel
from tests.conformance import check_codec
from tests.conftest import tiny


@pytest.fixture(scope="module")
def engine(tiny_model: IntegerModel) -> Engine:
    return EngineLoader(tiny_model).for_compression()


@pytest.mark.parametrize("bits", [32, 256])
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_equal_info_conforms(bits: int) -> None:
    check_codec(get_codec("equal-info", bits=bits), size=400, sweep=60)


@settings(max_examples=15)
@given(data=st.binary(min_size=1, max_size=300) | st.text(min_size=1, max_size=200).map(str.encode))
def test_any_bytes_come_back(data: bytes) -> None:
    engine = EngineLoader(tiny()).for_compression()
    for codec in (EqualInfoCodec(engine, 32), EqualInfoCodec(engine, 72), RankCodec(engine)):
        assert codec.decode(codec.encode(data), len(data)) == data


@pytest.mark.parametrize("bits", [32, 64, 128])
def test_each_window_is_read_alone(engine: Engine, english: bytes, bits: int) -> None:
    data = english[:900]  # one part
    codec = EqualInfoCodec(engine, bits)
    payload = codec.encode(data)
    windows = codec.statistics(data).windows
    pieces = [codec.decode_window(payload, i) for i in range(windows)]
    assert b"".join(pieces)[: len(data)] == data
    with pytest.raises(IndexError):
        codec.decode_window(payload, windows)


def test_an_error_stays_in_its_window(engine: Engine, english: bytes) -> None:
    codec = EqualInfoCodec(engine, 64)
    payload = bytearray(codec.encode(english[:900]))
    windows = codec.statistics(english[:900]).windows
    before = [codec.decode_window(bytes(payload), i) for i in range(windows)]
    payload[len(payload) - 8 * (windows - 3)] ^= 1  # the fourth window
    after = [codec.decode_window(bytes(payload), i) for i in range(windows)]
    assert [i for i in range(windows) if before[i] != after[i]] == [3]


def test_wider_windows_hold_more_and_are_filled_better(engine: Engine, english: bytes) -> None:
    counted = [EqualInfoCodec(engine, bits).statistics(english[:3000]) for bits in (32, 64, 128)]
    assert counted[0].ratio < counted[1].ratio < counted[2].ratio
    assert (
        counted[0].tokens_per_window < counted[1].tokens_per_window < counted[2].tokens_per_window
    )
    assert 1 > counted[0].padding > counted[2].padding > 0
    codec = EqualInfoCodec(engine, 64)
    windows, parts = counted[1].windows, 5
    assert 8 * windows < len(codec.encode(english[:3000])) < 8 * windows + 6 + 2 * parts + 9


def test_tokens_that_no_window_holds_take_two(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model is never as sure as to deny a token 32 bits: so windows of 16, too few for
    escapes with literals.
    """
    monkeypatch.setattr(equal_info, "MIN_BITS", 16)
    codec = EqualInfoCodec(engine, 16)
    for data in (b"\x04\x06\x13\xff" * 5, b"the value \x04 of \x06 an expression"):
        assert codec.statistics(data).escaped
        payload = codec.encode(data)
        assert codec.decode(payload, len(data)) == data
        pieces = [codec.decode_window(payload, i) for i in range(codec.statistics(data).windows)]
        assert b"".join(pieces)[: len(data)] == data


@pytest.mark.parametrize("bits", [24, 31, 33, 264])
def test_other_window_sizes_are_refused(engine: Engine, bits: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8 from 32 to 256"):
        EqualInfoCodec(engine, bits)


@given(
    st.lists(st.tuples(st.integers(0, 2**24 - 1), st.integers(1, 2**24)), max_size=6),
    st.integers(1, 32),
)
def test_numbers_lie_inside_intervals(steps: list[tuple[int, int]], octets: int) -> None:
    interval = Interval.whole(8 * octets)
    for start, frequency in steps:
        frequency = min(frequency, 2**24 - start)
        inside = interval.narrowed(start, frequency)
        if not inside.fits:
            break
        assert start <= interval.quantile(inside.first_number()) < start + frequency
        interval = inside
    numbers = list(interval.numbers())
    assert numbers[0] == interval.first_number()
    assert numbers == sorted(set(numbers))
    assert all(interval.low <= number << 96 < interval.low + interval.width for number in numbers)


def test_ranks(engine: Engine, english: bytes) -> None:
    codec = RankCodec(engine, level_parameters(9))
    data = english[:500]
    ranks = codec.ranks(data)
    ids = engine.model.tokenizer.encode(data).ids
    fed = np.concatenate([[engine.model.spec.start_token], ids[:-1]]).astype(np.int32)
    head = engine.session(1, 512, len(ids)).advance(fed[None])
    weights = engine.token_weights(head.vectors[0], head.scales[0])
    for row, token, rank in zip(weights.tolist(), ids.tolist(), ranks.tolist(), strict=True):
        assert sorted(range(len(row)), key=lambda i: (-row[i], i))[rank] == token
    assert np.count_nonzero(ranks == 0) > 0.15 * len(ranks)


def test_ranks_cost_more_than_probabilities(engine: Engine, english: bytes) -> None:
    data = english[:6000]
    assert len(LLMCodec(engine).encode(data)) < len(RankCodec(engine).encode(data)) < len(data)


def test_damaged_ranks(engine: Engine, english: bytes) -> None:
    codec = RankCodec(engine)
    payload = codec.encode(english[:300])
    with pytest.raises(IntegrityError):
        codec.decode(payload + b"\0", 300)
    with pytest.raises(IntegrityError, match="instead of 301"):
        codec.decode(payload, 301)
