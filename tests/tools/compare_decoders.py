"""Let llmzip and the educational decoder read the same mutants, whose checks hold, and compare what
they say.

    python -m tests.tools.compare_decoders --count 1000 --seed 1

Both must refuse a file, or both give the same bytes: where they differ, one of them or
docs/format.md is wrong. Some three mutants a second; exit code 1 where there is a difference.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import llmzip
from llmzip.errors import LimitError, LLMZipError
from tests.as_reference import reference_model
from tests.conftest import tiny
from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.errors import DecodeError
from tests.tools.mutation.kinds import Kind, native
from tests.tools.mutation.worker import make

MAX_OUTPUT = 1 << 16
"""The educational decoder has no limit, so what exceeds this one is left out."""


def compare(data: bytes, kind: Kind) -> str:
    """What the two say of a file: "same bytes", "both refuse", "left out", or how they differ."""
    dictionary = kind.needs.get("dictionary")
    ours: bytes | LLMZipError
    try:
        ours = llmzip.decompress(data, max_output=MAX_OUTPUT, **native(), **kind.needs)
    except LLMZipError as error:
        ours = error
    if isinstance(ours, LimitError) and "limit" in str(ours):
        return "left out"
    theirs: bytes | DecodeError
    try:
        theirs = decode_file(
            data, reference_model(tiny()), dictionary.content if dictionary else None
        )
    except DecodeError as error:
        theirs = error
    if isinstance(ours, bytes) and isinstance(theirs, bytes):
        return "same bytes" if ours == theirs else "different bytes"
    if isinstance(ours, LLMZipError) and isinstance(theirs, DecodeError):
        return "both refuse"
    if isinstance(ours, LLMZipError):
        return f"only llmzip refuses: {ours}"
    return f"only the educational decoder refuses: {theirs!r}"


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.tools.compare_decoders", description="Compare the two decoders on mutants."
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    said: Counter[str] = Counter()
    for number in range(given.count):
        data, kind, _ = make(given.seed, number)
        if kind.codec is None:  # codecs by themselves are no files
            verdict = compare(data, kind)
            said[verdict.split(":")[0]] += 1
            if verdict not in ("same bytes", "both refuse", "left out"):
                print(
                    f"DIFFERENCE seed {given.seed}, mutant {number}, {kind.name}: {verdict}",
                    flush=True,
                )
    print(dict(said))
    return int(not said.keys() <= {"same bytes", "both refuse", "left out"})


if __name__ == "__main__":
    sys.exit(main())
