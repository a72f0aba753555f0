"""Files that were made once must decode for ever, and be made again byte for byte."""

from __future__ import annotations

import io
import json

import pytest

import llmzip
from llmzip.codecs.copies import CopiesCodec
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.selection import MODEL_FREE
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


@pytest.mark.parametrize("name", golden.CASES)
def test_frames_of_version_3_decode(tiny_model: IntegerModel, name: str) -> None:
    frame = golden.frame_path(name, golden.OF_VERSION_3).read_bytes()
    assert llmzip.get_frame_info(frame).version == 3
    assert llmzip.decompress(frame, model=tiny_model, **golden.needs(name)) == golden.CASES[name][0]


def test_the_golden_frames_use_every_codec_and_several_streams() -> None:
    infos = {name: llmzip.list_frames(io.BytesIO(golden.frame_path(name).read_bytes()))[0] for name in golden.CASES}
    assert {c for info in infos.values() for c in info.codecs} == {
        *("raw", "zstd", "llm", "xz", "meta-token", "copies", "copies(llm)", "copies(raw)")
    }
    assert infos["blocks"].blocks > 2
    assert infos["short"].compressed_size < len(golden.CASES["short"][0])


COPIES = ("copies", "copies-solid", "copies-dictionary", "copies-binary")


@pytest.mark.parametrize("name", [*("short", "escapes", "streams", "no-mixing", "dictionary", "solid"), *COPIES])
def test_a_decoder_written_from_the_documents_reads_them(tiny_model: IntegerModel, name: str) -> None:
    data, options = golden.CASES[name]
    parser = FrameParser()
    reader = ByteReader(io.BytesIO(golden.frame_path(name).read_bytes()))
    header = parser.read_header(reader)
    spec, tensors = json.loads(tiny_model.spec.to_json()), dict(tiny_model.tensors)
    reference = options.get("dictionary", b"")
    dictionary = tiny_model.tokenizer.encode(reference).ids.tolist()
    out, mixer = b"", None

    def decode(codec: int, payload: bytes, size: int) -> bytes:
        nonlocal mixer
        if codec in MODEL_FREE:
            return MODEL_FREE[codec].decode(payload, size)
        if codec == CopiesCodec.id:
            return naive.decode_copies_payload(payload, size, reference + out * header.solid, decode)
        assert codec == LLMCodec.id
        text, mixer = naive.decode_llm_payload(
            payload, spec, tensors, tiny_model.vocabulary.token_bytes, dictionary, mixer if header.solid else None
        )
        return text

    for _ in range(2):  # blocks: it is slow
        block = parser.read_block(reader)
        if block is None:
            break
        out += decode(block.codec, block.payload, block.size)
    assert len(out) >= min(len(data), 2048)
    assert out == data[: len(out)]
