"""How long steps take at each position of the streams: what `codecs/pace.py` goes by.

    python -m benchmarks.pace TEXT [--streams 8] [--positions 2400] [--window 2048]

CPU time of one thread, so that other programs disturb it little. Some minutes.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import time
from collections.abc import Callable

import numpy as np

from llmzip.engine_loader import EngineLoader
from llmzip.mixing.base import capacity_bits_for
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.runtime import Runtime
from llmzip.types import TokenProgress

_PARTS = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--positions", type=int, default=2400)
    parser.add_argument("--window", type=int, default=2048)
    options = parser.parse_args()
    engine = EngineLoader.of(runtime=Runtime(threads=1)).for_compression()
    count = options.streams * options.positions
    found = engine.model.tokenizer.encode(options.text.read_bytes())
    if len(found.ids) < count:
        parser.error(f"the text has {len(found.ids)} tokens, and {count} are needed")
    ids = found.ids[:count]
    escapes = int(np.count_nonzero(ids == engine.model.spec.escape_token))
    tokens = Tokens(ids, found.literals[:escapes])
    layout = StreamLayout(count, options.streams, options.window)
    bits = capacity_bits_for(count)
    coded = b""

    def encode(progress: TokenProgress) -> None:
        nonlocal coded
        coded = encode_tokens(engine, tokens, layout, engine.mixer(bits), progress=progress)

    def decode(progress: TokenProgress) -> None:
        decode_tokens(engine, coded, layout, engine.mixer(bits), progress=progress)

    for name, work in (("encoding", encode), ("decoding", decode)):
        for position, seconds in _steps(work, options.streams, options.positions):
            print(f"{name}, position {position:.0f}: {1000 * seconds:.1f} ms a step", flush=True)


def _steps(
    work: Callable[[TokenProgress], None], streams: int, positions: int
) -> list[tuple[float, float]]:
    """The middle of each part of the positions, and the seconds of a step there."""
    times: list[tuple[float, float]] = []
    work(lambda done: times.append((done / streams, time.process_time())))
    steps, seconds = np.array(times).T
    edges = np.interp(np.linspace(steps[0], positions, _PARTS + 1), steps, seconds)
    places = np.linspace(steps[0], positions, _PARTS + 1)
    return [
        ((a + b) / 2, (end - begin) / (b - a))
        for (a, b), (begin, end) in zip(
            itertools.pairwise(places), itertools.pairwise(edges), strict=True
        )
    ]


if __name__ == "__main__":
    main()
