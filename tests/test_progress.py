"""What is done with is freed at once: mixers are large."""

from __future__ import annotations

import gc
import weakref

import pytest

import llmzip
from llmzip.codecs.llm import LLMCodec
from llmzip.model.integer_model import IntegerModel
from llmzip.progress import ProgressCounter
from tests import golden


def test_decoders_and_compressors_leave_no_cycles(
    tiny_model: IntegerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    codecs: list[weakref.ref[LLMCodec]] = []
    init = LLMCodec.__init__

    def noted(self: LLMCodec, *args: object, **options: object) -> None:
        codecs.append(weakref.ref(self))
        init(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LLMCodec, "__init__", noted)
    gc.disable()
    try:
        data = llmzip.compress(golden.TEXT, model=tiny_model, level=1)
        assert llmzip.decompress(data, model=tiny_model) == golden.TEXT
        assert len(codecs) == 2
        assert not any(codec() for codec in codecs)
    finally:
        gc.enable()


def test_progress_never_goes_back() -> None:
    seen: list[tuple[int, int]] = []
    progress_counter = ProgressCounter(lambda *done: seen.append(done))
    progress_counter.report(10, 2)
    progress_counter.report(5, 1)  # the same block, worked on once more
    progress_counter.report(20, 4)
    progress_counter.end_block(20)
    progress_counter.report(7, 1)
    progress_counter.report(9)
    progress_counter.end_block(9)
    assert seen == [(10, 2), (20, 4), (27, 5), (29, 5)]
    assert (progress_counter.bytes, progress_counter.tokens) == (29, 5)


def test_a_dictionary_tells_how_far_the_model_is_in_reading_it(tiny_model: IntegerModel) -> None:
    seen: list[tuple[int, int | None]] = []
    dictionary = llmzip.Dictionary(
        golden.TEXT[::-1], progress=lambda done, total: seen.append((done, total))
    )
    for _ in range(2):  # it is read once
        data = llmzip.compress(golden.TEXT, model=tiny_model, dictionary=dictionary)
        assert llmzip.decompress(data, model=tiny_model, dictionary=dictionary) == golden.TEXT
        assert seen[0] == (0, None)
        tokens = seen[-1][0]
        assert tokens > 0
        assert seen[1:] == sorted(seen[1:])
        assert {total for _, total in seen[1:]} == {tokens}
        assert [done for done, _ in seen].count(tokens) == 1
