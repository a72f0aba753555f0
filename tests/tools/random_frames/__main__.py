"""Write random valid frames and their text, or let llmzip read them: see the package."""

from __future__ import annotations

import argparse
import pathlib
import sys

from tests.golden import DATA
from tests.reference_decoder.published_model import read_model
from tests.tools.random_frames.frames import DICTIONARY, random_files


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.tools.random_frames",
        description="Write random valid frames and their text.",
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="let llmzip read them instead")
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    given = parser.parse_args()
    if given.check:
        return check(given.count, given.seed)
    if given.folder is None:
        parser.error("a folder to write to, or --check, is needed")
    write(given.count, given.seed, given.folder)
    return 0


def write(count: int, seed: int, folder: pathlib.Path) -> None:
    """Files and texts by number, and the dictionary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dictionary.txt").write_bytes(DICTIONARY)
    for number, (data, text) in enumerate(random_files(count, seed, read_model(DATA / "tiny"))):
        (folder / f"{number}.llmz").write_bytes(data)
        (folder / f"{number}.txt").write_bytes(text)


def check(count: int, seed: int) -> int:
    """Print what llmzip does not read as it should; the exit code."""
    import llmzip
    from llmzip.model.convert import convert
    from llmzip.model.sources import read_source

    model, wrong = convert(read_source(DATA / "tiny")), 0
    for number, (data, text) in enumerate(random_files(count, seed, read_model(DATA / "tiny"))):
        try:
            problem = (
                ""
                if llmzip.decompress(data, model=model, dictionary=DICTIONARY) == text
                else "other bytes"
            )
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            print(f"FAULT seed {seed}, file {number}: {problem}", flush=True)
            wrong += 1
    print(f"{count} files, {wrong} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
