"""The time left that progress tells, by a simulated clock that goes as measured steps did."""

from __future__ import annotations

import dataclasses
import io
import pathlib
import random
import re

import numpy as np
import pytest

from llmzip.cli import bar, progress
from llmzip.cli.pieces import sampled_work
from llmzip.codecs.pace import Pace
from llmzip.model.spec import ModelSpec
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.progress import ProgressCounter

SPEC = ModelSpec(
    layers=30,
    d_model=576,
    heads=9,
    kv_heads=3,
    head_dim=64,
    d_ff=1536,
    vocab=49152,
    max_positions=8192,
    norm_eps=1e-5,
    start_token=0,
    escape_token=1,
)
"""Of the default model's shape."""

MEASURED = {
    # Position in the stream -> milliseconds of CPU time for a step, window 2048, one thread.
    ("encoding", 8): {156: 7.1, 452: 9.4, 756: 11.2, 1052: 9.9, 1356: 13.3, 1652: 14.7, 2252: 14.5},
    ("decoding", 8): {150: 13.0, 750: 17.8, 1350: 23.9, 1950: 30.3, 2250: 31.5},
}


@pytest.mark.parametrize("case", MEASURED, ids=str)
@pytest.mark.parametrize("blocks", [1, 10])
@pytest.mark.parametrize("speed", [0.1, 0.02])
def test_the_time_left_is_right_from_the_first_minute_on(
    case: tuple[str, int],
    blocks: int,
    speed: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind, streams = case
    positions, costs = zip(*MEASURED[case].items(), strict=True)
    seconds = np.interp(range(5000), positions, costs) / 1000 / speed
    layout = StreamLayout(5000 * streams, streams, 2048)
    size = 4 * layout.tokens
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(bar, "_columns", lambda: 80)
    shown = progress._Bars("text", blocks * size)
    counter = ProgressCounter(shown.advance)
    pace = Pace([layout], SPEC, decoding=kind == "decoding")
    whole = blocks * seconds.sum()
    checked = 0
    for _ in range(blocks):
        counter.begin_block()
        for step in range(5000):
            now[0] += seconds[step]
            done = streams * (step + 1)
            if step % 50 == 49:
                counter.report(int(size * pace.share(done)), done)
                told = re.search(r"(\d+) (s|min) left", capsys.readouterr().err)
                left = whole - now[0]
                if told and now[0] > 60 and left > 300:
                    guess = int(told[1]) * (60 if told[2] == "min" else 1)
                    assert guess == pytest.approx(left, rel=0.2, abs=31)
                    checked += 1
        counter.end_block(size)
    assert checked > 20


SMALL_MODEL = (48.6, 49.1, 61.0, 58.0, 69.3, 60.9, 63.0, 77.7)
"""Microseconds of CPU time for a token, in parts of 32768 tokens of a block of 128 streams, encoded
with a model of one layer of 32 dimensions and 4096 tokens, where mixing takes most of the time.
"""


def test_small_models_are_slowed_by_what_mixing_has_seen() -> None:
    spec = dataclasses.replace(
        SPEC, layers=1, d_model=32, heads=2, kv_heads=1, head_dim=16, d_ff=64, vocab=4096
    )
    times = np.cumsum(SMALL_MODEL) * 32768 / 1e6
    for blocks in (1, 2):
        layouts = [StreamLayout(32768 * len(times), 128, 256)] * blocks
        pace = Pace(layouts, spec, decoding=False)
        for part, gone in enumerate(times[:-1], 1):
            share = pace.share(blocks * 32768 * part)
            assert gone * (1 - share) / share == pytest.approx(times[-1] - gone, rel=0.12)


def test_the_share_of_the_time_grows_from_nothing_to_all() -> None:
    for decoding in (False, True):
        for layout in (
            StreamLayout(1, 1, 64),
            StreamLayout(100, 3, 64, context=50),
            StreamLayout(250_000, 48, 2048),
        ):
            pace = Pace([layout, layout], SPEC, decoding)
            places = np.unique(np.linspace(0, layout.tokens, 500).astype(int))
            shares = [pace.share(2 * int(tokens)) for tokens in places]
            assert shares[0] == 0
            assert shares[-1] == 1
            assert all(np.diff(shares) > 0)


def test_the_time_left_counts_how_many_tokens_are_to_come(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Words of five bytes, digits, and zeros, which no model is asked about: what each byte takes.
    parts = {b" word": 0.2, b"17": 1.0, bytes(2): 0.0}
    path = tmp_path / "text"
    path.write_bytes(b"skipped" + b"".join(300_000 // len(part) * part for part in parts))
    seconds = np.repeat([cost / 500 for cost in parts.values()], 300_000).cumsum()
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(bar, "_columns", lambda: 80)
    with path.open("rb") as file:
        file.seek(7)
        work = sampled_work(file, len(seconds))
        assert file.tell() == 7
    shown = progress._Bars("text", len(seconds), work)
    checked = 0
    for done in range(0, len(seconds), 1000):
        now[0] = seconds[done]
        shown.advance(done, 0)
        told = re.search(r"(\d+) (s|min) left", capsys.readouterr().err)
        left = seconds[-1] - now[0]
        if told and now[0] > 60 and left > 60:
            guess = int(told[1]) * (60 if told[2] == "min" else 1)
            assert abs(guess - left) < 0.1 * left + 31
            checked += 1
    assert checked > 100


def test_all_of_the_work_is_all_of_the_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(random.Random(3).randbytes(70_001))
    with path.open("rb") as file:
        work = sampled_work(file, 70_001)
        assert sampled_work(file, 10_000) is None  # too short
        assert sampled_work(file, None) is None
        assert sampled_work(io.BytesIO(path.read_bytes()), 70_001) is None  # no file
    assert work
    assert work.done(0) == 0
    assert work.done(70_001) == work.done(80_000) == work.total
    steps = np.diff([work.done(count) for count in range(0, 70_001, 7)])
    assert min(steps) > 0
