"""Files that were made once must decode for ever, and be made again byte for byte."""

from __future__ import annotations

import io
import pathlib

import pytest

import llmzip
from llmzip.model.convert import convert
from llmzip.model.integer_model import IntegerModel
from llmzip.model.sources import read_source
from tests import golden, tiny, tiny_families
from tests.as_reference import reference_model
from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.published_model import read_model


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


FAMILIES = {
    "qwen3": "4ed879e1f0c67a7d3ab5376f89f8aebf04af9f0978fb97401c284854fd0ec82e",
    "qwen3_moe": "59e9af08577bd6b906b16dbe7375aa24efd0a8a24ae1b3e9227458ae54954806",
    "gemma3": "2c1ffeaaa0638fe7939a969da859664a935eb1f631fc3cb8faa5fa6d33be1c8f",
    "gpt_neox": "6393dcffd717a5d409cdcd553b416ce649be01b979ec13415d04c5e176a8be97",
}
"""Decoders with features -> the fingerprint of the tiny model of their golden frame."""


@pytest.mark.parametrize("kind", FAMILIES)
def test_golden_frames_of_families(kind: str, tmp_path: pathlib.Path) -> None:
    """llmzip and the educational decoder convert the model alike, and read the frame."""
    path = tiny.write_directory(tmp_path, tiny_families.make(kind))
    model, educational = convert(read_source(path)), read_model(path)
    assert model.fingerprint.hex() == educational.fingerprint.hex() == FAMILIES[kind]
    frame = golden.frame_path(kind, golden.OF_FAMILIES).read_bytes()
    text, options = golden.FAMILY_TEXT, golden.FAMILY_OPTIONS
    assert llmzip.compress(text, model=model, **options) == frame
    assert llmzip.decompress(frame, model=model) == text
    assert decode_file(frame, educational) == text


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
