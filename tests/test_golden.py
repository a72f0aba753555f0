"""Files that were made once must decode for ever, and be made again byte for byte."""

from __future__ import annotations

import io
import pathlib

import pytest

import llmzip
from llmzip.model.integer_model import IntegerModel
from tests import golden
from tests.as_reference import reference_model
from tests.reference_decoder.decoder import decode_file


@pytest.mark.parametrize("name", golden.CASES)
def test_golden_frames_decode_and_are_reproduced(tiny_model: IntegerModel, name: str) -> None:
    data, options = golden.CASES[name]
    frame = golden.frame_path(name).read_bytes()
    assert llmzip.decompress(frame, model=tiny_model, **golden.needs(name)) == data
    assert llmzip.compress(data, model=tiny_model, **options) == frame


@pytest.mark.parametrize("name", golden.CASES)
@pytest.mark.parametrize("version", golden.OF_VERSIONS)
def test_frames_of_earlier_versions_decode(
    tiny_model: IntegerModel, name: str, version: int
) -> None:
    frame = golden.frame_path(name, golden.OF_VERSIONS[version]).read_bytes()
    assert llmzip.get_frame_info(frame).version == version
    assert llmzip.decompress(frame, model=tiny_model, **golden.needs(name)) == golden.CASES[name][0]


def test_the_golden_frames_use_every_codec_and_several_streams() -> None:
    infos = {
        name: llmzip.list_frames(io.BytesIO(golden.frame_path(name).read_bytes()))[0]
        for name in golden.CASES
    }
    assert {c for info in infos.values() for c in info.codecs} == {
        *("raw", "zstd", "llm", "xz", "meta-token", "ldm", "ldm(llm)", "ldm(raw)")
    }
    assert infos["blocks"].blocks > 2
    assert infos["short"].compressed_size < len(golden.CASES["short"][0])


OLD = ("empty", "short", "matches-dictionary", "xz", "meta-token", "solid")
"""Cases of earlier versions that the educational decoder reads in the quick tests; it is slow."""


@pytest.mark.parametrize(
    "path",
    [
        *(golden.frame_path(name) for name in golden.CASES),
        *(golden.frame_path(name, of) for of in golden.OF_VERSIONS.values() for name in OLD),
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_the_educational_decoder_reads_them(tiny_model: IntegerModel, path: pathlib.Path) -> None:
    data, options = golden.CASES[path.stem]
    model = reference_model(tiny_model)
    assert decode_file(path.read_bytes(), model, options.get("dictionary")) == data
