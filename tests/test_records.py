"""Records: each comes back alone and side by side, from whatever engine; archives name what they
need, and damage stays where it is."""

from __future__ import annotations

import copy
import errno
import functools
import io
import os
import pathlib
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import llmzip
from llmzip.container.header import MAGIC
from llmzip.container.index import index_bytes
from llmzip.container.varint import ByteReader
from llmzip.engine.native_engine import NativeEngine, native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import (
    DictionaryError,
    FormatError,
    IntegrityError,
    LimitError,
    LLMZipError,
    ModelMismatchError,
    TruncatedError,
    UnsupportedModelError,
)
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import records as side_by_side
from llmzip.predictor.record_dictionary import MAX_DICTIONARY_BYTES, _end_byte
from llmzip.records import (
    RecordCodec,
    RecordDictionary,
    RecordReader,
    RecordWriter,
    appending,
    join,
    split,
)
from llmzip.records.group import Group
from llmzip.records.header import RecordsHeader
from llmzip.records.training import train
from tests import golden, golden_records
from tests.as_reference import reference_model
from tests.conftest import tiny
from tests.golden_records import SAMPLES, event
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.records import decode_archive

EVENTS = [event(number) for number in range(20)]


@functools.cache
def codec_of(
    check: int = 0, engine: str = "auto", samples: tuple[bytes, ...] = tuple(SAMPLES)
) -> RecordCodec:
    """A codec of the tiny model, kept with what it has read."""
    runtime = llmzip.Runtime(engine=engine, threads=1)  # type: ignore[arg-type]
    return RecordCodec(samples, model=tiny(), check=check, runtime=runtime)


def archive_of(records: list[bytes], **options: object) -> bytes:
    sink = io.BytesIO()
    options = {"dictionary": SAMPLES, "model": tiny(), **options}
    with RecordWriter(sink, **options) as writer:  # type: ignore[arg-type]
        writer.write_many(records)
    return sink.getvalue()


def reader_of(data: bytes, **options: object) -> RecordReader:
    return RecordReader(io.BytesIO(data), **{"model": tiny(), **options})  # type: ignore[arg-type]


# ---- messages ------------------------------------------------------------------------------------

texts = st.one_of(
    st.integers(0, 10**6).map(event),
    st.integers(0, 600).flatmap(lambda i: st.integers(0, 90).map(lambda n: golden.TEXT[i : i + n])),
    st.binary(max_size=40),
    st.text(max_size=30).map(str.encode),
)


@settings(max_examples=25)
@given(st.lists(texts, max_size=12), st.sampled_from([0, 1, 2, 4]))
@example([b"", b"\n", b"\n\n", b"a\nb", b"\0", MAGIC, b"<|endoftext|>"], 0)
def test_any_records_come_back(records: list[bytes], check: int) -> None:
    codec = codec_of(check)
    messages = codec.compress_many(records)
    assert codec.decompress_many(messages) == records
    assert all(len(m) <= len(r) + 32 for m, r in zip(messages, records, strict=True))


def test_a_message_is_the_same_alone_and_among_others() -> None:
    codec = codec_of()
    messages = codec.compress_many(EVENTS)
    assert [codec.compress(record) for record in EVENTS[:5]] == messages[:5]
    assert [codec.decompress(message) for message in messages[:5]] == EVENTS[:5]
    backwards = codec.decompress_many(messages[::-1])
    assert backwards == EVENTS[::-1]


def test_engines_make_the_same_messages() -> None:
    if not native_is_available():
        pytest.skip("no native engine to compare with")
    records = [*EVENTS[:6], golden.TEXT[:300]]
    messages = codec_of(engine="native").compress_many(records)
    assert codec_of(engine="torch").compress_many(records) == messages
    assert codec_of(engine="torch").decompress_many(messages) == records
    assert codec_of(engine="torch").digest == codec_of(engine="native").digest


def test_a_dictionary_saves_and_overhead_is_small() -> None:
    with_samples = sum(map(len, codec_of().compress_many(EVENTS)))
    without = sum(map(len, codec_of(samples=()).compress_many(EVENTS)))
    frames = sum(len(llmzip.compress(record, model=tiny())) for record in EVENTS)
    assert with_samples < 0.7 * without
    assert without < frames - 15 * len(EVENTS)


def test_records_with_nothing_to_predict_hardly_grow() -> None:
    noise = [random.Random(i).randbytes(i) for i in (0, 1, 5, 100, 3000)]
    messages = codec_of().compress_many(noise)
    assert codec_of().decompress_many(messages) == noise
    assert all(len(m) <= len(n) + 16 for m, n in zip(messages, noise, strict=True))


def test_longer_records_than_the_model_has_positions_are_frames() -> None:
    long = golden.TEXT * 3
    message = codec_of().compress(long)
    assert message.startswith(MAGIC)
    assert codec_of().decompress(message) == long


def test_samples_may_hold_the_bytes_that_end_records() -> None:
    every = bytes(range(256))
    for samples in ([b"two\nlines"] * 3, [b"\n", b"\0"], [every], [b""], [b"", b""]):
        codec = RecordCodec(samples, model=tiny())
        records = [b"two\nlines\n", b"\0", every, b"", *samples]
        assert codec.decompress_many(codec.compress_many(records)) == records


def test_what_ends_records_is_what_no_sample_has() -> None:
    engine = TorchEngine(tiny())
    pieces = tiny().vocabulary.token_bytes

    def end(*samples: bytes) -> bytes:
        return pieces[RecordDictionary(samples).on(engine).words.end]

    assert end() == end(b"a", b"b") == b"\n"
    known = [bytes([b]) for b in (0, *range(1, 10), *range(11, 256)) if bytes([b]) in pieces]
    assert end(b"a\nb") == known[0]
    assert end(bytes(range(256))) == b"\n"


def test_a_model_without_bytes_is_refused() -> None:
    class Words:
        token_bytes = (b"", b"two", b"words")
        escape_token = 0

    with pytest.raises(UnsupportedModelError, match="another model"):
        _end_byte(Words(), [])  # type: ignore[arg-type]


@pytest.mark.parametrize("check", [1, 2, 4])
def test_a_changed_message_is_noticed(check: int) -> None:
    codec = codec_of(check)
    messages = codec.compress_many(EVENTS[:4])
    messages[2] = bytes([messages[2][0] ^ 1]) + messages[2][1:]
    found = codec.decompress_each(messages)
    assert [found[i] for i in (0, 1, 3)] == [EVENTS[i] for i in (0, 1, 3)]
    assert isinstance(found[2], IntegrityError)
    with pytest.raises(IntegrityError, match="message 2"):
        codec.decompress_many(messages)
    assert isinstance(codec.decompress_each([b""])[0], IntegrityError)


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=24), min_size=1, max_size=6), st.sampled_from([0, 2]))
@example([b"\xff" * 24, b"", MAGIC, MAGIC + b"r\1", b"\0" * 24], 0)
def test_any_bytes_are_a_message_or_an_error(messages: list[bytes], check: int) -> None:
    for record in codec_of(check).decompress_each(messages):
        assert isinstance(record, (bytes, LLMZipError))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="check 3"):
        RecordCodec(model=tiny(), check=3)
    with pytest.raises(TypeError, match="makes samples of a text"):
        RecordCodec(b"one text", model=tiny())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="context"):
        RecordDictionary(context=-1)
    with pytest.raises(LimitError, match="dictionary train"):
        RecordDictionary([b"x" * MAX_DICTIONARY_BYTES])
    with pytest.raises(LimitError, match="max_memory"):
        RecordCodec(SAMPLES, model=tiny(), max_memory=1 << 20)
    with pytest.raises(TypeError, match="bytes"):
        codec_of().compress_many(["text"])  # type: ignore[list-item]


def test_what_is_of_a_wrong_kind_is_named() -> None:
    archive = io.BytesIO(archive_of(EVENTS[:2]))
    wrong: dict[str, list[Callable[[], object]]] = {
        "max_memory": [
            lambda: RecordCodec(model=tiny(), max_memory="1G"),
            lambda: RecordReader(archive, model=tiny(), max_memory=1e9),
            lambda: llmzip.decompress(b"", max_memory="1G"),
        ],
        "max_output": [lambda: llmzip.decompress(b"", max_output=1.5)],
        "check": [lambda: RecordCodec(model=tiny(), check="2")],
        "context": [lambda: RecordDictionary(context="512")],
        "group_records": [
            lambda: RecordWriter(io.BytesIO(), model=tiny(), group_records=2.0),
            lambda: RecordWriter.behind(
                reader_of(archive.getvalue()), io.BytesIO(), group_records=""
            ),
        ],
        "size": [lambda: train(EVENTS, "32K", model=tiny())],
        "dictionary": [
            lambda: RecordCodec(5, model=tiny()),
            lambda: RecordReader(archive, dictionary="x"),
        ],
    }
    for name, calls in wrong.items():
        for call in calls:
            with pytest.raises(TypeError, match=name):
                call()
    with pytest.raises(ValueError, match="framing"):
        RecordWriter(io.BytesIO(), model=tiny(), framing=["lines"])


def test_dictionaries_are_copied_as_their_samples() -> None:
    dictionary = RecordDictionary(SAMPLES, context=64)
    for other in (copy.deepcopy(dictionary), pickle.loads(pickle.dumps(dictionary))):
        assert (other.samples, other.context) == (dictionary.samples, 64)


# ---- side by side --------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [1, 1 << 24, 1 << 30])
def test_however_little_memory_there_is(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are left behind, put off and forked to longer ones: nobody's result changes."""
    monkeypatch.setattr(side_by_side, "_ROOM", 16)
    engine = NativeEngine(tiny(), 1) if native_is_available() else TorchEngine(tiny())
    known = RecordDictionary(SAMPLES).on(engine)
    records = [
        known.words.split(golden.TEXT[i : i + n]) for i, n in enumerate((0, 3, 150, 90, 400))
    ]
    records += [known.words.split(record) for record in EVENTS]
    expected = side_by_side.encode_records(engine, known, records)
    assert side_by_side.encode_records(engine, known, records, memory) == expected
    found = side_by_side.decode_records(engine, known, expected, memory)
    for record, wanted in zip(found, records, strict=True):
        assert isinstance(record, Tokens)
        assert record.ids.tolist() == wanted.ids.tolist()
        assert record.literals == wanted.literals


def test_a_frozen_mixer_learns_nothing() -> None:
    engine = TorchEngine(tiny())
    known = RecordDictionary(SAMPLES).on(engine)
    mixers = [known.frozen_mixer(), known.frozen_mixer()]
    draw = np.random.default_rng(0)
    spec = engine.model.spec
    vectors = draw.integers(-127, 128, (3, spec.d_model), np.int8)
    top = draw.permuted(np.tile(np.arange(600, dtype=np.int32), (3, 1)), axis=1)[:, :8]
    histories = draw.integers(0, 600, (9, 3), np.int32)
    recalled = []
    for mixer, rounds in zip(mixers, (1, 2), strict=True):
        assert mixer is not None
        for _ in range(rounds):  # whoever has followed other tokens before begins with the same
            mixer.start(3, known.context)
            for tokens in histories:
                mixer.recall(vectors, top)
                mixer.follow(tokens)
        mixer.select(np.array([0, 2], np.int32))
        found = mixer.recall(vectors[[0, 2]], top[[0, 2]])
        mixed = mixer.mix(np.full(found.shape, 1 << 20, np.int32), np.full(2, 1 << 30, np.int64))
        recalled.append((found.tolist(), mixed.tolist()))
    assert recalled[0] == recalled[1]


# ---- archives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [0, 2])
@pytest.mark.parametrize("group_records", [1, 7, 512])
def test_an_archive_gives_its_records_by_number(check: int, group_records: int) -> None:
    data = archive_of(EVENTS, check=check, group_records=group_records)
    with reader_of(data) as reader:
        assert len(reader) == len(EVENTS)
        assert list(reader) == EVENTS
        assert reader[3] == EVENTS[3]
        assert reader[-1] == EVENTS[-1]
        assert reader[2:15:4] == EVENTS[2:15:4]
        assert reader.get_many([9, 0, 9]) == [EVENTS[9], EVENTS[0], EVENTS[9]]
        for number in (len(EVENTS), -len(EVENTS) - 1):
            with pytest.raises(IndexError):
                reader[number]
        assert reader.damage is None


def test_an_archive_of_nothing() -> None:
    for samples in ([], SAMPLES):
        with reader_of(archive_of([], dictionary=samples)) as reader:
            assert len(reader) == 0
            assert list(reader) == []
            assert reader[:] == []


def test_lengths_of_all_sizes() -> None:
    noise = [random.Random(i).randbytes(i) for i in (0, 1, 240, 254, 255, 256, 700, 70_000)]
    assert list(reader_of(archive_of(noise))) == noise


def test_groups_end_with_bytes_and_with_flush() -> None:
    sink = io.BytesIO()
    writer = RecordWriter(sink, dictionary=SAMPLES, model=tiny())
    writer.write(b"one")
    writer.flush()
    writer.flush()
    noise = random.Random(0).randbytes(1 << 20)
    writer.write(noise)
    writer.write(b"two")
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"three")
    reader = reader_of(sink.getvalue())
    assert reader.groups == 3
    assert list(reader) == [b"one", noise, b"two"]


def test_paths(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.llmr"
    with RecordWriter(path, dictionary=SAMPLES, model=tiny()) as writer:
        writer.write_many(EVENTS)
    with RecordReader(path, model=tiny()) as reader:
        assert reader[5] == EVENTS[5]
    with pytest.raises(FileExistsError):
        RecordWriter(path, model=tiny())
    with (
        pytest.raises(RuntimeError, match="stop"),
        RecordWriter(tmp_path / "cut", model=tiny()) as writer,
    ):
        writer.write_many(EVENTS[:3])
        raise RuntimeError("stop")
    with RecordReader(tmp_path / "cut", model=tiny()) as reader:
        assert len(reader) == 0
        assert isinstance(reader.damage, FormatError)


# ---- appending -----------------------------------------------------------------------------------


def appended(path: pathlib.Path, records: list[bytes], **options: Any) -> None:
    with appending(path, **{"model": tiny(), **options}) as writer:
        writer.write_many(records)


@pytest.mark.parametrize("options", [{}, {"check": 2, "embed": False}, {"framing": "lines"}])
def test_an_archive_that_was_appended_to_is_as_one_written_at_once(
    options: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "log.llmr"
    path.write_bytes(archive_of(EVENTS[:5], **options))
    path.chmod(0o640)
    given = {} if options.get("embed", True) else {"dictionary": SAMPLES}
    appended(path, EVENTS[5:9], **given)
    (tmp_path / "link").symlink_to(path)
    appended(tmp_path / "link", EVENTS[9:], **given, group_records=8)
    sink = io.BytesIO()
    with RecordWriter(sink, **{"dictionary": SAMPLES, "model": tiny(), **options}) as writer:
        for begin, end in ((0, 5), (5, 9), (9, 17), (17, 20)):
            writer.write_many(EVENTS[begin:end])
            writer.flush()
    assert path.read_bytes() == sink.getvalue()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "log.llmr"]
    with reader_of(sink.getvalue(), **given) as reader:
        assert list(reader) == EVENTS


def test_nothing_is_appended_to_what_cannot_be_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.llmr"
    whole = archive_of(EVENTS[:5], embed=False)
    for data, error in (
        (whole, DictionaryError),
        (whole[:-3], FormatError),
        (b"x", FormatError),
        (b"", FormatError),
    ):
        path.write_bytes(data)
        with pytest.raises(error):
            appended(path, EVENTS[5:], **({} if data is whole else {"dictionary": SAMPLES}))
        assert path.read_bytes() == data
        assert [*tmp_path.iterdir()] == [path]


def test_an_archive_is_what_it_was_until_all_is_appended(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.llmr"
    before = archive_of(EVENTS[:5])
    path.write_bytes(before)
    with appending(path, model=tiny()) as writer:
        writer.write_many(EVENTS[5:8])
        writer.flush()
        assert path.read_bytes() == before
        with pytest.raises(LLMZipError, match="another process"):
            appended(path, EVENTS[8:])
    assert list(reader_of(path.read_bytes())) == EVENTS[:8]


@pytest.mark.parametrize("at", ["records", "fsync", "replace"])
def test_whatever_fails_an_archive_is_what_it_was(
    at: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.llmr"
    before = archive_of(EVENTS[:5])
    path.write_bytes(before)

    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "no")

    owner = {"fsync": os, "replace": pathlib.Path}.get(at)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="no"):
        if owner:
            patched.setattr(owner, at, fail)
        appended(path, EVENTS[5:8], progress=None if owner else fail)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
    appended(path, EVENTS[5:8])
    assert list(reader_of(path.read_bytes())) == EVENTS[:8]


def test_appending_keeps_and_gives_the_last_records_end() -> None:
    for was_open, new, is_open, expected in (
        (True, [], False, b"one\ntwo"),
        (True, [b"three"], False, b"one\ntwo\nthree\n"),
        (True, [b"three"], True, b"one\ntwo\nthree"),
        (False, [b"three"], True, b"one\ntwo\nthree"),
        (False, [], False, b"one\ntwo\n"),
    ):
        sink, again = io.BytesIO(), io.BytesIO()
        with RecordWriter(sink, model=tiny(), framing="lines") as writer:
            writer.write_many([b"one", b"two"])
            writer.is_open_ended = was_open
        with RecordWriter.behind(reader_of(sink.getvalue()), again) as writer:
            writer.write_many(new)
            writer.is_open_ended = is_open
        reader = reader_of(again.getvalue())
        text = join(list(reader))
        assert (text[:-1] if reader.is_open_ended else text) == expected


def test_the_dictionary_travels_or_is_found_by_its_digest() -> None:
    inside, outside = archive_of(EVENTS), archive_of(EVENTS, embed=False)
    assert len(outside) < len(inside)
    for known in (None, SAMPLES, [b"another"]):
        assert reader_of(inside, dictionary=known)[0] == EVENTS[0]
    assert reader_of(outside, dictionary=SAMPLES)[0] == EVENTS[0]
    for wrong in (None, SAMPLES[::-1], SAMPLES[1:], []):
        with pytest.raises(DictionaryError, match="digest"):
            reader_of(outside, dictionary=wrong)[0]
    context = archive_of(EVENTS, dictionary=RecordDictionary(SAMPLES, context=40), embed=False)
    assert reader_of(context, dictionary=SAMPLES)[0] == EVENTS[0]


def test_another_model_is_refused() -> None:
    data = bytearray(archive_of(EVENTS))
    header = RecordsHeader.read(ByteReader(io.BytesIO(data)))
    other = RecordsHeader(**{**vars(header), "fingerprint": bytes(8)}).to_bytes()
    with pytest.raises(ModelMismatchError):
        reader_of(other + data[len(other) :])[0]


def test_every_cut_leaves_the_groups_before_it() -> None:
    data = archive_of(EVENTS[:6], group_records=2, dictionary=SAMPLES[:2])
    start = len(RecordsHeader.read(ByteReader(io.BytesIO(data))).to_bytes())
    counts = []
    for end in range(len(data)):
        if end < start:
            with pytest.raises((TruncatedError, FormatError)):
                reader_of(data[:end])
            continue
        reader = reader_of(data[:end])
        assert isinstance(reader.damage, LLMZipError)
        counts.append(len(reader))
    assert sorted(counts) == counts
    assert {*counts} == {0, 2, 4, 6}
    reader = reader_of(data[:-1])
    assert reader[:] == EVENTS[:6]
    with pytest.raises(LLMZipError):
        list(reader)


@pytest.mark.parametrize("check", [0, 2])
def test_no_changed_byte_goes_unnoticed(check: int) -> None:
    records = EVENTS[:6]
    data = archive_of(records, group_records=3, check=check, dictionary=SAMPLES[:3], embed=False)
    draw = random.Random(check)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        with pytest.raises(LLMZipError):
            list(reader_of(bytes(changed), dictionary=SAMPLES[:3]))


def test_damage_stays_where_it_is() -> None:
    for check, lost in ((2, {9}), (0, {7, 8, 9, 10, 11, 12, 13})):
        data = bytearray(archive_of(EVENTS, group_records=7, check=check))
        payload = codec_of(check).compress(EVENTS[9])
        place = data.index(payload)
        data[place + 1] ^= 0x10
        reader = reader_of(bytes(data))
        found = reader.get_each(range(len(EVENTS)))
        assert {n for n, record in enumerate(found) if record != EVENTS[n]} == lost
        assert all(isinstance(found[n], IntegrityError) for n in lost)
        assert reader[10 if check else 14] == EVENTS[10 if check else 14]
        with pytest.raises(IntegrityError, match=f"record {min(lost)}"):
            list(reader)


def test_impossible_indexes_are_refused_or_looked_past() -> None:
    data = archive_of(EVENTS[:4], group_records=2)
    entries = reader_of(data)
    sizes = [b - a for a, b in zip(entries._starts, entries._starts[1:], strict=False)]
    index = len(index_bytes([(size, 2) for size in sizes]))
    for wrong in (
        [(size, 1 << 62) for size in sizes],
        [(size, 0) for size in sizes],
        [(sum(sizes), 4)],
        [(1, 2), (sum(sizes) - 1, 2)],
    ):
        reader = reader_of(data[: len(data) - index] + index_bytes(wrong))
        with pytest.raises(LLMZipError):
            list(reader)
        assert len(reader) <= 1 << 32


@settings(max_examples=15)
@given(st.lists(st.lists(st.binary(max_size=12), min_size=1, max_size=4), max_size=3), st.randoms())
def test_archives_whose_checks_hold_end_in_records_or_errors(
    groups: list[list[bytes]], draw: random.Random
) -> None:
    """What a stranger can write: payloads of any bytes, and any numbers of records."""
    data = archive_of([], check=1)
    written = [Group(tuple(payloads), bytes(4)).to_bytes() for payloads in groups]
    entries = [
        (len(group), len(payloads) + draw.choice([0, 0, 0, 1, -1, 1 << 40]))
        for group, payloads in zip(written, groups, strict=True)
    ]
    tail = bytes([0, draw.choice([0, 1, 2])])
    start = data[: len(data) - len(index_bytes([])) - 2]
    try:
        reader = reader_of(start + b"".join(written) + tail + index_bytes(entries))
        for found in reader.iter_groups():
            assert all(isinstance(record, (bytes, LLMZipError)) for record in found[1])
        list(reader)
    except LLMZipError:
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"check": 4},
        {"framing": "null"},
        {"context": 1},
        {"context": 1 << 16},
        {"digest": bytes(8)},
        {"dictionary": b"\x8cLZ"},
        {"dictionary": llmzip.compress(b"\xff" * 50, codec="raw")},
        {"dictionary": llmzip.compress(bytes(1 << 21), codec="xz")},
        {"dictionary": llmzip.compress(b"\1a" * (1 + (1 << 19)), codec="xz")},
    ],
)
def test_headers_whose_check_holds_but_say_something_else(changes: dict[str, object]) -> None:
    data = archive_of(EVENTS[:3])
    header = RecordsHeader.read(ByteReader(io.BytesIO(data)))
    other = RecordsHeader(**{**vars(header), **changes}).to_bytes() + data[len(header.to_bytes()) :]
    if "framing" in changes:
        assert list(reader_of(other)) == EVENTS[:3]
    else:
        with pytest.raises(LLMZipError):
            list(reader_of(other))


@pytest.mark.parametrize("framing", ["lines", "null", "lengths"])
def test_files_are_split_and_joined(framing: str) -> None:
    records = [b"one", b"", b"three"]
    assert split(join(records, framing), framing) == records
    assert split(b"", framing) == []
    if framing != "lengths":
        end = join([b""], framing)
        assert split(b"a" + end + b"b", framing) == [b"a", b"b"]
        with pytest.raises(FormatError, match="by lengths"):
            join([b"a" + end], framing)
    else:
        with pytest.raises(TruncatedError):
            split(b"\5one", framing)
        with pytest.raises(LimitError):
            split(b"\xff\xff\xff\xff\x7f", framing)
    with pytest.raises(ValueError, match="framing"):
        split(b"", "records")


# ---- others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [0, 2])
def test_the_document_decodes_archives(check: int) -> None:
    reference = reference_model(tiny())
    records = [EVENTS[0], b"", b"two\nlines", b"caf\xe9\x04", random.Random(1).randbytes(60)]
    samples = [SAMPLES[0], b"\x04\xe9"]
    for inside in (True, False):
        data = archive_of(
            records, dictionary=samples, check=check, embed=inside, group_records=4, framing="null"
        )
        assert decode_archive(data, reference, samples) == (records, join(records, "null"))
    with pytest.raises(DecodeError):
        decode_archive(data[:-1], reference, samples)
    with pytest.raises(DecodeError, match="another dictionary"):
        decode_archive(archive_of(records, dictionary=samples, embed=False), reference)


@pytest.mark.parametrize("name", golden_records.CASES)
def test_golden_archives_decode_and_are_reproduced(name: str) -> None:
    data = golden_records.path(name).read_bytes()
    assert list(reader_of(data)) == golden_records.RECORDS
    assert golden_records.make(name, tiny()) == data


@pytest.mark.parametrize("name", golden_records.CASES)
def test_archives_of_version_1_decode_and_grow(name: str, tmp_path: pathlib.Path) -> None:
    data = golden_records.path(name, golden_records.OF_VERSION_1).read_bytes()
    reader = reader_of(data)
    assert reader.header.version == 1
    assert list(reader) == golden_records.RECORDS
    reference, samples = reference_model(tiny()), golden_records.CASES[name].get("dictionary", [])
    path = tmp_path / "archive.llmr"
    path.write_bytes(data)
    with appending(path, model=tiny(), dictionary=samples) as writer:
        writer.write(EVENTS[0])
    grown = path.read_bytes()
    assert reader_of(grown).header.version == 1
    assert list(reader_of(grown)) == [*golden_records.RECORDS, EVENTS[0]]
    assert decode_archive(grown, reference, samples)[0] == [*golden_records.RECORDS, EVENTS[0]]


def test_codecs_of_two_versions_differ_in_their_digests() -> None:
    dictionary = RecordDictionary(SAMPLES)
    codecs = [RecordCodec(dictionary, model=tiny(), version=version) for version in (1, 2)]
    messages = [codec.compress(EVENTS[0]) for codec in codecs]
    assert messages[0] != messages[1]
    assert codecs[0].digest != codecs[1].digest
    assert [c.decompress(m) for c, m in zip(codecs, messages, strict=True)] == [EVENTS[0]] * 2
    with pytest.raises(ValueError, match="version 3 of records: there are 1, 2"):
        RecordCodec(dictionary, model=tiny(), version=3)
