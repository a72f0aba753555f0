"""Files that were made once must decode for ever, and be made again byte for byte."""

from __future__ import annotations

import io
import json

import pytest

import llmzip
from llmzip.codecs.llm import LLMCodec
from llmzip.container.varint import ByteReader
from llmzip.frames import FrameParser
from llmzip.model.integer_model import IntegerModel
from tests import golden, naive


@pytest.mark.parametrize("name", golden.CASES)
def test_golden_frames_decode_and_are_reproduced(tiny_model: IntegerModel, name: str) -> None:
    data, options = golden.CASES[name]
    frame = golden.frame_path(name).read_bytes()
    assert llmzip.decompress(frame, model=tiny_model, **golden.needs(name)) == data
    assert llmzip.compress(data, model=tiny_model, **options) == frame


def test_the_golden_frames_use_every_codec_and_several_streams() -> None:
    infos = {name: llmzip.get_frame_info(golden.frame_path(name).read_bytes()) for name in golden.CASES}
    assert {c for info in infos.values() for c in info.codecs} == {"raw", "zstd", "llm", "xz", "meta-token"}
    assert infos["blocks"].blocks > 2
    assert infos["short"].compressed_size < len(golden.CASES["short"][0])


@pytest.mark.parametrize("name", ["short", "escapes", "streams"])
def test_a_decoder_written_from_the_documents_reads_them(tiny_model: IntegerModel, name: str) -> None:
    data, _ = golden.CASES[name]
    parser = FrameParser()
    reader = ByteReader(io.BytesIO(golden.frame_path(name).read_bytes()))
    parser.read_header(reader)
    block = parser.read_block(reader)
    assert block is not None
    assert block.codec == LLMCodec.id
    spec = json.loads(tiny_model.spec.to_json())
    tokens = tiny_model.vocabulary.token_bytes
    assert naive.decode_llm_payload(block.payload, spec, dict(tiny_model.tensors), tokens)[0] == data
