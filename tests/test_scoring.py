"""Scorers against direct computation, and against the real file."""

from __future__ import annotations

import dataclasses
import inspect
import io
import itertools
import pathlib
import pydoc_data.topics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st

import llmzip
from llmzip.blocks.options import CompressionOptions
from llmzip.codecs.long_distance import parse_payload
from llmzip.coding.range_coder import RangeEncoder
from llmzip.container.block import Block
from llmzip.container.codec_ids import CodecId
from llmzip.container.frame_reader import read_frames
from llmzip.container.varint import ByteReader
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LimitError, ModelNotFoundError, UnsupportedModelError
from llmzip.metrics.capacity import flops_per_token_paper
from llmzip.metrics.divergence import kl_bits
from llmzip.metrics.windows import Span, segments, sliding
from llmzip.model.integer_model import IntegerModel
from llmzip.scoring.file_length import file_length
from llmzip.scoring.float_loader import load_float
from llmzip.scoring.float_scorer import FloatScorer
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import score
from tests import tiny
from tests.golden import TEXT


def direct_bits(floating: FloatScorer, ids: list[int]) -> np.ndarray:
    """The code length of every token after the first, by one plain forward pass."""
    with torch.inference_mode():
        logits = floating.model(torch.tensor([ids])).logits[0, :-1].double()
    costs = torch.log_softmax(logits, -1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    return -costs.numpy() / np.log(2)


def test_text_is_cut_without_loss(integer: IntegerScorer) -> None:
    data = TEXT[:200] + "caf\u00e9 \U0001f600".encode() + b"\x04\xff"
    text = integer.tokenize(data)
    assert text.sizes.sum() == len(data)
    # The byte ff counts as one.
    assert text.characters.sum() == len(data.decode("utf-8", "ignore")) + 1
    assert text.escaped.any()


def test_a_float_scorer_says_what_transformers_says(floating: FloatScorer) -> None:
    text = floating.tokenize(TEXT)
    spans = [Span(0, 0, 150), Span(150, 150, 180), Span(100, 170, 200)]
    scores = score(floating, text, spans)
    start = floating.vocabulary.start_token
    expected = [
        direct_bits(floating, [start, *text.ids[s.begin : s.end].tolist()])[s.scored - s.begin :]
        for s in spans
    ]
    assert scores.bits == pytest.approx(np.concatenate(expected), abs=1e-4)
    assert scores.spans.tolist() == [0] * 150 + [1] * 30 + [2] * 30
    assert scores.positions.tolist() == [*range(150), *range(30), *range(70, 100)]
    assert scores.span_bits(3) == pytest.approx([e.sum() for e in expected], abs=1e-2)


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_either_name_of_the_cache_serves_and_nothing_deprecated_is_called(
    floating: FloatScorer, name: str
) -> None:
    """transformers renamed the argument; each version takes one of the names without a warning."""
    inner, known = floating.model, floating._cache_argument
    calls: list[set[str]] = []

    def forward(**arguments: object) -> object:
        calls.append(set(arguments))
        arguments[known] = arguments.pop(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return inner(**arguments)

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    model = _WithForward(inner, forward)
    renamed = FloatScorer(model, floating.vocabulary, "renamed", "")
    text = floating.tokenize(TEXT[:100])
    spans = segments(len(text.ids), 16)
    assert score(renamed, text, spans).bits.tolist() == score(floating, text, spans).bits.tolist()
    assert calls
    assert all(name in arguments for arguments in calls)


class _WithForward:
    """A model with another forward pass."""

    def __init__(self, model: torch.nn.Module, forward: Callable[..., object]) -> None:
        self._model, self.forward = model, forward

    def __call__(self, **arguments: object) -> object:
        return self.forward(**arguments)

    def __getattr__(self, name: str) -> Any:
        return (lambda: self) if name == "eval" else getattr(self._model, name)


def test_without_a_start_token_the_first_token_is_not_scored(floating: FloatScorer) -> None:
    text = floating.tokenize(TEXT)
    scores = score(floating, text, [Span(0, 0, 40), Span(40, 40, 41)], start=False)
    assert scores.bits == pytest.approx(direct_bits(floating, text.ids[:40].tolist()), abs=1e-4)
    assert scores.positions.tolist() == list(range(1, 40))


def test_integer_and_float_scorers_agree(
    integer: IntegerScorer, floating: FloatScorer, english: bytes
) -> None:
    data = english[:4000]
    a, b = integer.tokenize(data), floating.tokenize(data)
    assert a.ids.tolist() == b.ids.tolist()
    spans = segments(len(a.ids), 200)
    exact, approximate = score(integer, a, spans), score(floating, b, spans)
    assert exact.total_bits == pytest.approx(approximate.total_bits, rel=0.01)
    assert exact.total_bytes == len(data)
    assert np.mean(exact.ranks == approximate.ranks) > 0.7


def test_measures_and_full_distributions_are_the_same_numbers(
    integer: IntegerScorer, floating: FloatScorer
) -> None:
    ids = integer.tokenize(TEXT).ids[:60].reshape(2, 30)
    wanted = np.zeros((2, 30), np.bool_)
    wanted[0, 7:] = wanted[1, :5] = True
    for scorer in (integer, floating):
        for columns, predictions in scorer.predict(ids, wanted, None):
            targets = ids[:, columns][wanted[:, columns]]
            bits, ranks = predictions.measure(targets)
            log2 = predictions.log2_probabilities()
            assert np.exp2(log2.astype(np.float64)).sum(axis=1) == pytest.approx(
                np.ones(len(targets)), abs=1e-5
            )
            chosen = log2[np.arange(len(targets)), targets]
            assert bits == pytest.approx(-chosen, abs=1e-4)
            assert ranks.tolist() == (log2 > chosen[:, None]).sum(axis=1).tolist()
            assert kl_bits(log2, log2) == pytest.approx(np.zeros(len(targets)))


def test_batches_do_not_change_a_bit_of_the_integers(
    integer: IntegerScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = integer.tokenize(TEXT)
    spans = sliding(len(text.ids), 60, 25)
    whole = score(integer, text, spans)
    monkeypatch.setattr(integer, "batch_positions", 100)
    parts = score(integer, text, spans)
    assert whole.bits.tolist() == parts.bits.tolist()
    assert whole.total_bytes == len(TEXT)


def test_progress_and_the_limit_of_positions(integer: IntegerScorer) -> None:
    text = integer.tokenize(TEXT * 4)
    told: list[int] = []
    score(integer, text, segments(300, 100), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 300
    with pytest.raises(LimitError, match="512 positions"):
        score(integer, text, [Span(0, 0, 513)])
    # Without a start token a span may have one token more: its last one is never fed.
    scores = score(integer, text, [Span(0, 0, 513)], start=False)
    assert scores.positions.tolist() == list(range(1, 513))
    with pytest.raises(LimitError, match=r"513 tokens of context .* 512 positions"):
        score(integer, text, [Span(0, 0, 514)], start=False)


def test_an_escaped_byte_costs_its_eight_bits(integer: IntegerScorer) -> None:
    text = integer.tokenize(b"the \x04 byte")
    place = int(np.flatnonzero(text.escaped)[0])
    scores = score(integer, text, [Span(0, 0, len(text.ids))])
    plain = score(integer, integer.tokenize(b"the "), [Span(0, 0, place)])
    assert scores.bits[:place] == pytest.approx(plain.bits)
    assert scores.bits[place] > 8


@pytest.mark.parametrize(
    ("size", "block_size", "blocks"), [(900, None, 1), (30_000, None, 1), (30_000, 8192, 4)]
)
def test_a_files_bits_come_from_the_model_and_the_reported_overhead(
    integer: IntegerScorer, english: bytes, size: int, block_size: int | None, blocks: int
) -> None:
    data = english[:size]
    length = file_length(integer, data, CompressionOptions(1, block_size))
    assert length.file_bits == 8 * len(
        llmzip.compress(data, 1, model=integer.engine.model, block_size=block_size)
    )
    overhead = length.table_bits + length.mixing_bits + length.tail_bits + length.header_bits
    assert length.bits_per_byte == pytest.approx((length.file_bits - overhead) / size, abs=1e-9)
    # Each part by itself is as small as it must be: nothing is hidden in a remainder.
    # The coder's last word; zeros at its end are not stored, so by luck a byte less than nothing.
    assert -8 * blocks < length.tail_bits < 40 * blocks
    assert abs(length.table_bits) < 1e-3 * size
    assert 8 * 20 * blocks <= length.header_bits <= 8 * 40 * blocks
    assert length.other_bits == 0


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What a walk over a file finds, without an encoder: all in bytes."""

    overhead: int
    """Everything but payloads."""
    parameters: int
    coded: int
    matches: int
    others: int


def parts_of(packed: bytes) -> _Parts:
    """Take a file apart by docs/format.md."""
    payloads = parameters = coded = matches = others = 0
    for frame in read_frames(io.BytesIO(packed)):
        for block in frame:
            payloads += len(block.payload)
            payload = block.payload
            if block.codec == CodecId.LONG_DISTANCE:
                payload = parse_payload(block.payload, block.size).inner_payload
            matches += len(block.payload) - len(payload)
            if block.inner != CodecId.LLM:
                others += len(payload)
                continue
            fields = ByteReader(io.BytesIO(payload))
            fields.varint("tokens")
            if fields.varint("streams"):
                fields.varint("window"), fields.varint("mixing")
            parameters += fields.offset
            coded += len(payload) - fields.offset
    return _Parts(len(packed) - payloads, parameters, coded, matches, others)


SNIPPETS = st.one_of(
    # English: where it begins, and how long it is.
    st.tuples(st.integers(0, 20_000), st.integers(1, 900)),
    st.binary(min_size=1, max_size=200),
    st.sampled_from([bytes(300), b"\x04\xff caf\xc3\xa9 \x00", b"0123456789abcdef" * 20]),
)


@given(
    snippets=st.lists(SNIPPETS, min_size=1, max_size=5),
    again=st.integers(0, 3),
    block_size=st.sampled_from([None, 1024, 2048]),
    solid=st.booleans(),
    codec=st.sampled_from([None, None, "llm", "xz", "meta-token"]),
    known=st.sampled_from(
        [b"", b"The assert statement is a convenient way to insert assertions. " * 3]
    ),
)
@settings(max_examples=25, deadline=None)
@example(
    snippets=[(0, 900), bytes(64)],
    again=3,
    block_size=None,
    solid=False,
    codec=None,
    known=b"x" * 300,
)
@example(snippets=[(0, 900)], again=3, block_size=1024, solid=True, codec=None, known=b"")
def test_every_bit_of_a_file_is_booked_where_it_belongs(
    integer: IntegerScorer,
    snippets: list[tuple[int, int] | bytes],
    again: int,
    block_size: int | None,
    solid: bool,
    codec: str | None,
    known: bytes,
) -> None:
    """Texts with repeats, binary parts, several blocks, solid and not, with a dictionary and
    without.
    """
    english = "\n".join(pydoc_data.topics.topics.values()).encode()
    parts = [s if isinstance(s, bytes) else english[s[0] : s[0] + s[1]] for s in snippets]
    data = b"".join(parts * (1 + again))
    dictionary = llmzip.Dictionary(known) if known else None
    options = CompressionOptions(1, block_size, codec=codec, solid=solid)
    length = file_length(integer, data, options, dictionary=dictionary)
    packed = llmzip.compress(
        data, model=integer.engine.model, dictionary=dictionary, **dataclasses.asdict(options)
    )
    found = parts_of(packed)
    assert length.file_bits == 8 * len(packed)  # who measures changes no byte
    assert length.header_bits == 8 * (found.overhead + found.parameters)
    assert length.match_bits == 8 * found.matches
    assert length.other_bits == 8 * found.others
    of_the_model = length.model_bits + length.table_bits + length.mixing_bits + length.tail_bits
    assert of_the_model == pytest.approx(8 * found.coded, abs=1e-6)
    rest = length.header_bits + length.match_bits + length.other_bits
    assert of_the_model + rest == pytest.approx(length.file_bits, abs=1e-6)


def test_what_matches_leave_for_the_model_is_the_models(
    integer: IntegerScorer, english: bytes
) -> None:
    length = file_length(integer, english[:3000] * 2 + english[5000:6000], CompressionOptions(1))
    assert 0 < length.match_bits < 200
    assert length.other_bits == 0
    alone = file_length(integer, english[:3000] + english[5000:6000], CompressionOptions(1))
    assert length.model_bits == pytest.approx(alone.model_bits, rel=0.01)


@pytest.mark.slow
def test_the_default_models_file_is_its_code_length_and_little_more(
    default_model: IntegerModel, english: bytes
) -> None:
    length = file_length(
        IntegerScorer(EngineLoader(default_model).for_compression(), "default"), english[:8000]
    )
    assert abs(length.table_bits) + length.tail_bits < 1e-3 * length.text_bytes + 64
    overhead = length.table_bits + length.mixing_bits + length.tail_bits + length.header_bits
    assert length.bits_per_byte == pytest.approx((length.file_bits - overhead) / 8000, abs=1e-3)


def test_blocks_of_other_codecs_count_as_they_are(integer: IntegerScorer) -> None:
    data = np.random.default_rng(0).bytes(3000)
    length = file_length(integer, data)
    assert (length.model_bits, length.other_bits) == (0, 8 * 3000)
    assert length.bits_per_byte == 8.0


class _Record:
    """A `BlockObserver` that keeps the order of what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.bits = 0.0
        self.steps = 0

    def begin_payload(self, tokens: int, streams: int, mixes: bool) -> None:
        self.events.append("begin")

    def corrections(self, *step: object) -> None:
        self.steps += 1

    def predictions(self, vectors: np.ndarray, scales: np.ndarray, targets: np.ndarray) -> None:
        assert len(vectors) == len(scales) == len(targets)
        self.events.append("predictions")

    def symbols(self, symbols: np.ndarray, frequencies: np.ndarray) -> None:
        self.bits += float(
            np.log2(frequencies.sum(axis=1) / frequencies[np.arange(len(symbols)), symbols]).sum()
        )
        self.events.append("symbols")

    def end_payload(self, parameters: bytes, coded: bytes) -> None:
        assert self.bits / 8 < len(coded) < self.bits / 8 + 8
        self.events.append("end")

    def block(self, block: Block) -> None:
        self.events.append("block")


def test_an_observer_is_told_what_is_coded(tiny_model: IntegerModel) -> None:
    record = _Record()
    coder = RangeEncoder(record)
    coder.encode(np.array([0, 1]), np.array([[1 << 23, 1 << 23], [3 << 22, 1 << 22]]))
    assert record.bits == 1.0 + 2.0
    record = _Record()
    compressor = llmzip.LLMZipCompressor(1, model=tiny_model, observer=record)
    compressor.compress(TEXT)
    compressor.flush()
    order = [event for event, _ in itertools.groupby(record.events)]
    assert (
        order
        == ["begin", *["predictions", "symbols"] * (len(order) // 2 - 1), "end", "block"][
            : len(order)
        ]
    )
    assert (order[0], order[-2:]) == ("begin", ["end", "block"])


def test_gguf_files_and_folders_are_the_same_model(tmp_path: pathlib.Path) -> None:
    model = tiny.make(vocab_size=268)
    folder = load_float(str(tiny.write_directory(tmp_path / "tiny", model)))
    file = load_float(str(tiny.write_gguf(tmp_path / "tiny.gguf", model)))
    text = folder.tokenize(TEXT[:300])
    assert file.tokenize(TEXT[:300]).ids.tolist() == text.ids.tolist()
    a, b = (score(scorer, text, segments(len(text.ids), 64)) for scorer in (folder, file))
    assert a.bits == pytest.approx(b.bits, abs=1e-4)
    assert flops_per_token_paper(folder.model_card.shape) == flops_per_token_paper(
        file.model_card.shape
    )
    assert folder.model_card.parameters == file.model_card.parameters


def test_shapes_of_other_architectures(tmp_path: pathlib.Path) -> None:
    config = transformers.GPT2Config(
        vocab_size=268,
        n_embd=32,
        n_layer=1,
        n_head=2,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(
        (tiny.write_directory(tmp_path / "words", tiny.make()) / "tokenizer.json").read_bytes()
    )
    scorer = load_float(str(tmp_path))
    shape = scorer.model_card.shape
    assert (
        shape.layers,
        shape.d_model,
        shape.heads,
        shape.kv_heads,
        shape.head_dim,
        shape.d_ff,
    ) == (1, 32, 2, 2, 16, 128)
    assert not shape.gated
    assert score(scorer, scorer.tokenize(b"a text"), [Span(0, 0, 3)]).total_bits > 0


def test_models_that_are_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no float model"):
        load_float("nothing-of-that-name")
    with pytest.raises(ModelNotFoundError, match="not kept"):
        load_float("smollm2-135m-instruct")
    with pytest.raises(UnsupportedModelError, match="cannot load"):
        load_float(str(tmp_path))
