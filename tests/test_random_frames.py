"""Frames that no encoder of ours would write, but the format allows: llmzip and the educational
decoder read them."""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
from collections.abc import Iterable

import pytest

import llmzip
from llmzip.container.header import VERSIONS
from llmzip.model.integer_model import IntegerModel
from tests import golden
from tests.reference_decoder import llm
from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.model import Model
from tests.reference_decoder.published_model import read_model
from tests.tools.random_frames.frames import DICTIONARY, random_files
from tests.tools.random_frames.payloads import kept_mixing

SEED = 12


@pytest.fixture(scope="module")
def model() -> Model:
    return read_model(golden.DATA / "tiny")


@pytest.fixture(autouse=True)
def learned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The educational decoder learns the dictionary once, not for each block: a quarter of its
    time.
    """
    monkeypatch.setattr(llm, "mixing_that_read", kept_mixing)


@pytest.fixture(scope="module")
def files(model: Model) -> list[tuple[bytes, bytes]]:
    return list(random_files(60, SEED, model))


def check(
    files: Iterable[tuple[bytes, bytes]], seed: int, model: Model, tiny_model: IntegerModel
) -> None:
    for number, (data, text) in enumerate(files):
        where = f"python -m tests.tools.random_frames --seed {seed}, file {number}"
        assert llmzip.decompress(data, model=tiny_model, dictionary=DICTIONARY) == text, where
        assert decode_file(data, model, DICTIONARY) == text, where


def test_both_decoders_read_random_frames(
    files: list[tuple[bytes, bytes]], model: Model, tiny_model: IntegerModel
) -> None:
    check(files, SEED, model, tiny_model)


@pytest.mark.slow
def test_both_decoders_read_many_random_frames(model: Model, tiny_model: IntegerModel) -> None:
    check(random_files(150, SEED + 1, model), SEED + 1, model, tiny_model)


def test_random_frames_have_all_features(files: list[tuple[bytes, bytes]]) -> None:
    frames = [info for data, _ in files for info in llmzip.list_frames(io.BytesIO(data))]
    codecs = {codec for info in frames for codec in info.codecs}
    assert {"raw", "zstd", "llm", "xz", "meta-token"} <= codecs
    assert sum("(" in codec for codec in codecs) >= 4  # matches around other codecs
    assert {info.version for info in frames} == set(VERSIONS)
    assert {info.blocks for info in frames} >= {0, 1, 2, 3, 4}
    for feature in ("solid", "dictionary_id", "model"):
        assert {bool(getattr(info, feature)) for info in frames} == {False, True}, feature


def test_the_command_writes_them(tmp_path: pathlib.Path, model: Model) -> None:
    command = [sys.executable, "-m", "tests.tools.random_frames", "--count", "3", "--seed", "5"]
    subprocess.run([*command, str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["dictionary.txt", *(f"{i}.{kind}" for i in range(3) for kind in ("llmz", "txt"))]
    )
    made = [
        ((tmp_path / f"{i}.llmz").read_bytes(), (tmp_path / f"{i}.txt").read_bytes())
        for i in range(3)
    ]
    assert made == list(random_files(3, 5, model))
