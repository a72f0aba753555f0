"""The real default model on real text."""

from __future__ import annotations

import ctypes.macholib
import io
import pathlib
import time

import numpy as np
import pytest

import llmzip
from benchmarks.long_distance import tar_of
from llmzip.container.block import Block
from llmzip.container.header import FrameHeader, memory_code
from llmzip.container.varint import varint
from llmzip.engine_loader import EngineLoader
from llmzip.model.adapter import Adapter
from llmzip.model.download import fetch_registered
from llmzip.model.float_model import FloatModel
from llmzip.model.integer_model import IntegerModel
from llmzip.model.registry import DEFAULT_MODEL, by_name
from llmzip.model.sources import read_source, source_digest
from llmzip.model.tokenizer import Tokenizer
from tests.conftest import corpus
from tests.golden import OF_DEFAULT_MODEL, TEXT
from tests.test_tokenizer import NASTY

pytestmark = pytest.mark.slow

ALONE = llmzip.Runtime(threads=1)
"""Threads that wait for each other take time, too; test_exactness.py and test_native_engine.py have
several.
"""

CORPUS_FILES = [
    "alice29.txt",
    "asyoulik.txt",
    "cp.html",
    "eips2026a.md",
    "fields.c",
    "grammar.lsp",
    "kennedy.xls",
    "lcet10.txt",
    "plrabn12.txt",
    "ptt5",
    "rustblog2026a.md",
    "sum",
    "wikitext2-test.txt",
    "world192.txt",
    "xargs.1",
]


def test_a_golden_file_decodes_and_is_reproduced(default_model: IntegerModel) -> None:
    """Made once, on one machine; docs/format.md says when it may change."""
    frame = OF_DEFAULT_MODEL.read_bytes()
    assert llmzip.decompress(frame, model=default_model) == TEXT
    assert llmzip.compress(TEXT, model=default_model) == frame


@pytest.mark.parametrize("data", NASTY.values(), ids=NASTY.keys())
def test_nasty_strings(default_model: IntegerModel, data: bytes) -> None:
    data = data[:600]
    packed = llmzip.compress(data, model=default_model, runtime=ALONE)
    assert llmzip.decompress(packed, model=default_model, runtime=ALONE) == data
    assert len(packed) <= len(data) * 1.001 + 32


def test_a_folder_that_an_archive_holds_twice(default_model: IntegerModel) -> None:
    folder = pathlib.Path(ctypes.macholib.__file__).parent  # short files
    sizes, seconds = [], []
    for names in (("macholib",), ("macholib", "macholib")):
        data = tar_of(folder, names).rstrip(b"\0")  # zeros to the next 10 KiB, which zstd is for
        start = time.process_time()
        packed = llmzip.compress(data, 1, model=default_model, runtime=ALONE)
        middle = time.process_time()
        assert llmzip.decompress(packed, model=default_model, runtime=ALONE) == data
        assert "llm" in llmzip.list_frames(io.BytesIO(packed))[0].codecs[0]
        sizes.append(len(packed))
        seconds.append((middle - start, time.process_time() - middle))
    assert sizes[1] < sizes[0] + 24
    assert all(pair < 1.3 * single for single, pair in zip(*seconds, strict=True))


@pytest.mark.parametrize("name", CORPUS_FILES)
def test_corpus_files(default_model: IntegerModel, name: str) -> None:
    data = corpus(name, 1_500)
    packed = llmzip.compress(data, 1, model=default_model, runtime=ALONE)
    assert llmzip.decompress(packed, model=default_model, runtime=ALONE) == data


def test_english_is_coded_well_below_what_classical_compressors_reach(
    default_model: IntegerModel, english: bytes
) -> None:
    import lzma

    data = english[:2_500]
    packed = llmzip.compress(data, model=default_model, runtime=ALONE)
    assert llmzip.decompress(packed, model=default_model, runtime=ALONE) == data
    assert len(packed) < 0.5 * len(lzma.compress(data, preset=9))


def test_both_engines_make_the_same_file(default_model: IntegerModel, english: bytes) -> None:
    data = english[5_000:5_800]
    assert llmzip.compress(
        data, 1, model=default_model, runtime=llmzip.Runtime(engine="torch")
    ) == llmzip.compress(data, 1, model=default_model)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_block_too_large_for_the_machine_is_a_limit_error(
    default_model: IntegerModel, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile frame that states the largest cache that there can be: an error, not a crash."""
    monkeypatch.setattr("llmzip.limits.machine_bytes", lambda: 1 << 34)
    tokens = 512 * default_model.spec.max_positions
    header = FrameHeader(True, memory_code(1 << 40), default_model.fingerprint[:4])
    payload = varint(tokens) + varint(512) + varint(128) + varint(0) + bytes(tokens // 1024)
    frame = header.to_bytes() + Block(3, tokens, payload).to_bytes(header) + b"\0\0\0\0"
    with pytest.raises(llmzip.LimitError, match="this machine has"):
        llmzip.decompress(frame, model=default_model, runtime=llmzip.Runtime(engine=engine))


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    """The float weights behind the default model: those that are published, and the adapter."""
    entry = by_name(DEFAULT_MODEL)
    assert entry is not None and entry.adapter_path is not None
    path = fetch_registered(entry, tmp_path_factory.mktemp("download"))
    return Adapter.load(entry.adapter_path).merged(read_source(path), source_digest(path))


def test_integers_cost_less_than_half_a_percent(
    default_model: IntegerModel, float_model: FloatModel, english: bytes, tmp_path: pathlib.Path
) -> None:
    """The code length of two segments of 512 tokens against float32 transformers on the same
    tokens; the engine of this machine, as the reference takes minutes for them on some.
    """
    import torch

    from tests.float_reference import load

    ids = Tokenizer(default_model.vocabulary).encode(english[20_000:]).ids[:1024].reshape(2, 512)
    start = np.full((2, 1), default_model.spec.start_token, np.int32)
    inputs = np.concatenate([start, ids[:, :-1]], axis=1)
    with torch.inference_mode():
        logits = load(float_model)(torch.from_numpy(inputs).long()).logits.double()
        costs = torch.log_softmax(logits, -1).gather(2, torch.from_numpy(ids).long()[..., None])
    float_bits = -costs.sum().item() / np.log(2)

    engine = EngineLoader.of(default_model).for_compression()
    bits = 0.0
    session = engine.session(2, 512, 64)
    for t in range(0, 512, 64):
        head = session.advance(inputs[:, t : t + 64])
        weights = engine.token_weights(
            head.vectors.reshape(128, -1), head.scales.reshape(-1)
        ).astype(np.float64)
        chosen = weights[np.arange(128), ids[:, t : t + 64].flatten()]
        bits -= np.log2(np.maximum(chosen, 1) / weights.sum(axis=1)).sum()
    assert bits < 1.005 * float_bits
