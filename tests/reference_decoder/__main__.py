"""Decode a file: `python -m tests.reference_decoder MODEL FILE.llmz -o OUT`."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.integer_model import read_integer_model
from tests.reference_decoder.published_model import read_model


class Progress:
    """Lines on standard error: the last one is written over, or in a file one appears each few
    seconds."""

    def __init__(self) -> None:
        self._is_terminal, self._next, self._width = sys.stderr.isatty(), 0.0, 0

    def __call__(self, line: str) -> None:
        if self._is_terminal:
            print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(line)
        elif time.monotonic() >= self._next:
            print(line, file=sys.stderr, flush=True)
            self._next = time.monotonic() + 5

    def close(self) -> None:
        if self._is_terminal and self._width:
            print(file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 1 where the file or the model is not sound."""
    parser = argparse.ArgumentParser(
        "python -m tests.reference_decoder",
        description="Decode an .llmz file with the educational decoder, written from docs/ alone.",
    )
    parser.add_argument(
        "model",
        type=pathlib.Path,
        help="folder of a published model, as tests/data/tiny, or a file of an integer model",
    )
    parser.add_argument("file", type=pathlib.Path, help="file to decode")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="where to (standard output)")
    parser.add_argument(
        "-D", "--dictionary", type=pathlib.Path, help="the dictionary that the file was made with"
    )
    given = parser.parse_args(arguments)
    progress = Progress()
    try:
        data = given.file.read_bytes()
        dictionary = given.dictionary.read_bytes() if given.dictionary else None
        progress(f"reading {given.model}")
        read = read_integer_model if given.model.is_file() else read_model
        text = decode_file(data, read(given.model), dictionary, progress)
        progress.close()
        if given.output:
            given.output.write_bytes(text)
        else:
            sys.stdout.buffer.write(text)
    except (DecodeError, OSError) as error:
        progress.close()
        print(f"{given.file}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
