"""The range coder: golden code words, the ideal length, and a decoder written from the document."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.arithmetic.frequencies import frequencies
from llmzip.coding import constriction_coder, in_turn, native_coder, plain_coder, range_coder
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder
from llmzip.engine.native_core import native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import IntegrityError
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.schedule import Schedule
from llmzip.predictor.stream_layout import StreamLayout
from tests import golden
from tests.reference_decoder import range_decoder

CODERS = {"constriction": constriction_coder, "plain": plain_coder}
if native_is_available():
    CODERS["native"] = native_coder


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
    decoder = range_decoder.RangeDecoder(coded)
    if size > 1:
        assert [
            decoder.decode([0, *np.cumsum(table).tolist()]) for table in tables[:20]
        ] == symbols[:20].tolist()


@given(st.integers(0, 300), st.integers(2, 60), st.integers(0, 999), st.booleans())
def test_all_coders_write_and_read_the_same(
    count: int, size: int, seed: int, carries: bool
) -> None:
    generator = np.random.Generator(np.random.PCG64(seed))
    tables = frequencies(2 ** generator.integers(0, 31, (count, size)))
    symbols = generator.integers(0, size, count)
    if carries:
        # What lies just above a number that ends in zero words: its interval reaches over that
        # number for long.
        words = generator.integers(0, 1 << 32, 2 * count + 2) * (
            generator.random(2 * count + 2) < 0.3
        )
        decoded = constriction_coder.Decoder(words.astype(np.uint32)).decode(tables)
        symbols = symbols if decoded is None else decoded
    parts = slice(0, 100), slice(100, None)
    intervals = {}
    for name, coder in CODERS.items():
        encoder = coder.Encoder()
        for part in parts:
            encoder.encode(symbols[part], tables[part])
        intervals[name] = encoder.interval()
    assert len(set(intervals.values())) == 1
    lower, _, length = intervals["plain"]
    words = np.frombuffer(lower.to_bytes(length, "big"), ">u4").astype(np.uint32)
    for coder in CODERS.values():
        decoder = coder.Decoder(words)
        for part in parts:
            decoded = decoder.decode(tables[part])
            assert decoded is not None
            assert decoded.tolist() == symbols[part].tolist()


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32])
def test_tables_of_any_kind_and_layout(kind: type[np.integer]) -> None:
    """Those of a device are int32, the torch engine's int64, the C core's uint32."""
    tables = frequencies(np.random.default_rng(0).integers(0, 1000, (90, 300)))
    symbols = np.random.default_rng(1).integers(0, 300, 90)
    expected = RangeEncoder()
    expected.encode(symbols, tables)
    wide = np.zeros((90, 600), kind)
    wide[:, ::2] = tables
    coder = RangeEncoder()
    coder.encode(symbols.astype(np.int16), wide[:, ::2])
    assert coder.finish() == expected.finish()
    decoder = RangeDecoder(coder.finish())
    found = [decoder.decode(wide[rows : rows + 30, ::2]) for rows in (0, 30, 60)]
    assert np.concatenate(found).tolist() == symbols.tolist()


@pytest.mark.parametrize("name", CODERS)
def test_several_blocks_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its part of a step; one whose bytes do not fit harms no other."""
    monkeypatch.setattr(range_coder, "Decoder", CODERS[name].Decoder)
    monkeypatch.setattr(
        range_coder, "Decoders", getattr(CODERS[name], "Decoders", in_turn.Decoders)
    )
    generator = np.random.default_rng(0)
    parts = [slice(0, 7), slice(9, 9), slice(10, 30), slice(30, 31)]
    tables = [frequencies(generator.integers(0, 1 << 20, (33, size))) for size in (2, 300)]
    symbols = [generator.integers(0, table.shape[1], 33) for table in tables]
    encoders = [RangeEncoder() for _ in parts]
    for table, values in zip(tables, symbols, strict=True):
        for encoder, part in zip(encoders, parts, strict=True):
            encoder.encode(values[part], table[part])
    coded = [encoder.finish() for encoder in encoders]
    kept = np.zeros(33, bool)
    for part in parts:
        kept[part] = True
    decoders = range_coder.RangeDecoders(coded)
    for table, values in zip(tables, symbols, strict=True):
        found, failed = decoders.decode(parts, table)
        assert failed == []
        assert found.tolist() == np.where(kept, values, 0).tolist()
    decoders = range_coder.RangeDecoders([coded[0], coded[1], b"\xff" * 60, coded[3]])
    kept[parts[2]] = False
    for table, values in zip(tables, symbols, strict=True):
        found, failed = decoders.decode(parts, table)
        assert failed == [2]
        assert found.tolist() == np.where(kept, values, 0).tolist()


@pytest.mark.skipif(not native_is_available(), reason="the C core was not built")
@pytest.mark.parametrize("symbols", [[-1], [4], [0, 0], [[0]]], ids=str)
def test_symbols_outside_their_table_are_an_error(symbols: list[int]) -> None:
    with pytest.raises(ValueError, match=r"outside|shape"):
        RangeEncoder().encode(np.array(symbols), np.full((1, 4), 1 << 22))


@pytest.mark.skipif(not native_is_available(), reason="the C core was not built")
def test_threads_that_share_a_coder_wait_for_each_other() -> None:
    """It leaves Python to the others meanwhile, and writes into memory that one call has made."""
    rows = 500_000
    tables, symbols = np.full((rows, 4), 1 << 22, np.uint32), np.full(rows, 3, np.int32)
    alone, shared = RangeEncoder(), RangeEncoder()
    for _ in range(16):
        alone.encode(symbols, tables)
    decoder = RangeDecoder(alone.finish())
    ready = threading.Barrier(4)
    found: list[int] = []

    def work(count: int) -> None:
        ready.wait()
        for _ in range(4):
            shared.encode(symbols, tables)
        ready.wait()
        for _ in range(4):
            found.append(int((decoder.decode(tables[:count]) == 3).sum()))

    counts = rows, 7, rows - 1, 1000
    threads = [threading.Thread(target=work, args=[count]) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.finish() == alone.finish()
    assert sorted(found) == sorted(4 * counts)


@pytest.mark.parametrize("name", CODERS)
def test_with_each_coder_the_files_are_the_same(
    tiny_model: IntegerModel, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, frame = golden.TEXT, golden.frame_path("text").read_bytes()
    monkeypatch.setattr(range_coder, "Encoder", CODERS[name].Encoder)
    monkeypatch.setattr(range_coder, "Decoder", CODERS[name].Decoder)
    monkeypatch.setattr(
        range_coder, "Decoders", getattr(CODERS[name], "Decoders", in_turn.Decoders)
    )
    assert llmzip.compress(data, model=tiny_model) == frame
    assert llmzip.decompress(frame, model=tiny_model) == data
    with pytest.raises(IntegrityError, match="damaged"):
        RangeDecoder(b"\xff" * 60).decode(
            np.tile(frequencies(np.array([[1 << 30, 1, 1]])), (5000, 1))
        )


def test_impossible_code_words_are_an_integrity_error() -> None:
    tables = np.full((50, 4), 1 << 22)
    with pytest.raises(IntegrityError, match="damaged"):
        for _ in range(100):
            RangeDecoder(b"\xff" * 60).decode(
                np.tile(frequencies(np.array([[1 << 30, 1, 1]])), (5000, 1))
            )
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
    coded = encode_tokens(tiny_engine, tokens, StreamLayout(100, streams, 64), progress=done.append)
    assert done[-1] == 100
    back = decode_tokens(tiny_engine, coded, StreamLayout(100, streams, 64))
    assert back.ids.tolist() == ids.tolist()
    assert back.literals == tokens.literals
