"""Adapters: files, exact merging, and models made with them."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.errors import IntegrityError, LLMZipError, ModelMismatchError, UnsupportedModelError
from llmzip.model import registry
from llmzip.model.adapter import FACTOR_MAX, Adapter, Factors
from llmzip.model.convert import convert
from llmzip.model.sources import read_source, source_digest
from llmzip.model.store import ModelStore
from tests.conftest import TINY_DIRECTORY

MERGED_FINGERPRINT = "912fba54da204ddca4efad04e18474503770d9c85e5804202bd03262e9efd627"
"""Of the tiny model with `adapter()`: it changes with the arithmetic, the tiny model or the
adapter's format only.
"""


def bfloat16(x: np.ndarray) -> np.ndarray:
    return (np.asarray(x, np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


def factors(rng: np.random.Generator, rows: int, columns: int, scale: float = 0.01) -> Factors:
    integers = rng.integers(-FACTOR_MAX, FACTOR_MAX + 1, (rows, columns)).astype(np.int8)
    return Factors(integers, bfloat16(rng.uniform(0.1, 1.0, rows) * scale))


def adapter(seed: int = 0, rank: int = 3) -> Adapter:
    rng = np.random.Generator(np.random.PCG64(seed))
    source = read_source(TINY_DIRECTORY)
    products, gains = {}, {}
    for name in sorted(source.names()):
        shape = source.tensor(name).shape
        if len(shape) == 1:
            gains[name] = bfloat16(rng.uniform(-0.1, 0.1, shape[0]))
        else:
            products[name] = factors(rng, shape[0], rank), factors(rng, rank, shape[1], 0.1)
    return Adapter(products, gains, source_digest(TINY_DIRECTORY))


def equal(a: Adapter, b: Adapter) -> bool:
    def arrays(x: Adapter) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {f"gain {n}": g for n, g in x.gains.items()}
        found |= {f"full {n}": g for n, g in x.replaced.items()}
        for n, sides in x.products.items():
            for i, f in enumerate(sides):
                found |= {f"{n} {i}": f.integers, f"{n} {i} scale": f.scales}
        return found

    mine, theirs = arrays(a), arrays(b)
    return (
        a.base == b.base
        and mine.keys() == theirs.keys()
        and all(np.array_equal(mine[n], theirs[n]) for n in mine)
    )


# An odd number of factors fills the last byte with nothing.
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_a_file_holds_everything(tmp_path: pathlib.Path, rank: int) -> None:
    made = adapter(rank=rank)
    made = dataclasses.replace(made, replaced={"head": bfloat16(np.ones((600, 64)))})
    made.save(tmp_path / "a")
    assert equal(Adapter.load(tmp_path / "a"), made)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_product_is_exact_in_any_order(seed: int, rank: int) -> None:
    """Merging must not depend on how a matrix product is done: sums by rank, backwards, are the
    same bits.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    b, a = factors(rng, 7, rank), factors(rng, rank, 9)
    a = Factors(a.integers, bfloat16(a.scales * np.float32(2) ** rng.integers(-12, 12, rank)))
    change = Adapter({"head": (b, a)}, {}, "").delta("head")
    sums = np.zeros((7, 9))
    for r in reversed(range(rank)):
        sums += b.integers[:, r, None].astype(np.float64) * a.values()[r]
    assert np.array_equal(change, b.scales[:, None].astype(np.float64) * sums)


def test_merging_is_pinned() -> None:
    made = adapter()
    model = convert(made.merged(read_source(TINY_DIRECTORY), made.base))
    assert model.fingerprint.hex() == MERGED_FINGERPRINT


def test_another_base_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match="trained on"):
        adapter().merged(read_source(TINY_DIRECTORY), "0" * 64)


def test_what_does_not_fit_is_refused() -> None:
    made, source = adapter(), read_source(TINY_DIRECTORY)
    other = dataclasses.replace(made, products={"layers.9.q": made.products["layers.0.q"]})
    with pytest.raises(UnsupportedModelError, match=r"layers\.9\.q"):
        other.merged(source, made.base)
    wide = dataclasses.replace(made, products={"layers.0.q": made.products["layers.0.gate"]})
    with pytest.raises(UnsupportedModelError, match="shape"):
        convert(wide.merged(source, made.base))
    gain = dataclasses.replace(made, gains={"norm": made.gains["norm"][:-1]})
    with pytest.raises(UnsupportedModelError, match="norm"):
        convert(gain.merged(source, made.base))


def test_damaged_files_are_refused(tmp_path: pathlib.Path) -> None:
    path, made = tmp_path / "a", adapter()
    made.save(path)
    whole = path.read_bytes()
    for cut in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(LLMZipError):
            Adapter.load(path)
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, path)
    with pytest.raises(IntegrityError, match="adapter"):
        Adapter.load(path)
    with pytest.raises(FileNotFoundError):
        Adapter.load(tmp_path / "missing")


DESCRIPTIONS = [
    "", "[]", "1", "[" * 5000, '{"version": 2}', '{"version": 1}',
    '{"version": 1, "base": "", "shapes": []}',
    '{"version": 1, "base": "", "shapes": {"head": 1}}',
    '{"version": 1, "base": "", "shapes": {"head": [600, "64"]}}',
    '{"version": 1, "base": "", "shapes": {"head": [600.0, 64.5]}}',
    '{"version": 1, "base": "", "shapes": {"head": [600, 1000000000000000]}}',
    '{"version": 1, "base": "", "shapes": {"nothing": [600, 64]}}',
]  # fmt: skip


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_descriptions_that_lie_are_refused(tmp_path: pathlib.Path, description: str) -> None:
    adapter().save(tmp_path / "a")
    arrays = safetensors.numpy.load_file(tmp_path / "a")
    safetensors.numpy.save_file(arrays, tmp_path / "a", {"llmzip-adapter": description})
    with pytest.raises(IntegrityError):
        Adapter.load(tmp_path / "a")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: Factors(np.full_like(f.integers, -8), f.scales),
        lambda f: Factors(f.integers, np.full_like(f.scales, np.nan)),
        lambda f: Factors(f.integers, np.full_like(f.scales, -1.0)),
        lambda f: Factors(f.integers, np.full_like(f.scales, np.float32(2.0**30))),
        lambda f: Factors(
            f.integers, (2.0 ** np.linspace(-50, 10, len(f.scales))).astype(np.float32)
        ),
    ],
    ids=["factor", "nan", "negative", "huge", "spread"],
)
def test_numbers_whose_sums_would_not_be_exact_are_refused(
    tmp_path: pathlib.Path, change: object
) -> None:
    made = adapter()
    b, a = made.products["head"]
    bad = dataclasses.replace(made, products={"head": (b, change(a))})  # type: ignore[operator]
    with pytest.raises((IntegrityError, ValueError)):
        bad.save(tmp_path / "a")
        Adapter.load(tmp_path / "a")


def test_a_store_merges_and_names(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path))
    adapter().save(tmp_path / "mine.safetensors")
    store = ModelStore()
    plain = store.pull(str(TINY_DIRECTORY))
    tuned = store.pull(str(TINY_DIRECTORY), adapter=tmp_path / "mine.safetensors", label="mine")
    assert (
        (tuned.name, tuned.fingerprint)
        == ("mine", MERGED_FINGERPRINT)
        != (plain.name, plain.fingerprint)
    )
    assert "mine.safetensors" in tuned.source
    text = b"the model that is called mine" * 3
    packed = llmzip.compress(text, model="mine")
    assert llmzip.decompress(packed) == text  # found by its fingerprint
    # One source, two models.
    assert store.pull(str(TINY_DIRECTORY)).fingerprint == plain.fingerprint


def test_the_default_models_adapter() -> None:
    entry = registry.by_name(registry.DEFAULT_MODEL)
    assert entry and entry.adapter_path
    data = entry.adapter_path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry.adapter_sha256
    assert len(data) <= 8_000_000
    assert Adapter.load(entry.adapter_path).base == entry.sha256
