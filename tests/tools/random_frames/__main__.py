"""Write random valid frames and their text: see the package."""

from __future__ import annotations

import argparse
import pathlib

from tests.golden import DATA
from tests.reference_decoder.published_model import read_model
from tests.tools.random_frames.frames import DICTIONARY, random_files


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.tools.random_frames", description="Write random valid frames and their text."
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folder", type=pathlib.Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "dictionary.txt").write_bytes(DICTIONARY)
    model = read_model(DATA / "tiny")
    for number, (data, text) in enumerate(random_files(given.count, given.seed, model)):
        (given.folder / f"{number}.llmz").write_bytes(data)
        (given.folder / f"{number}.txt").write_bytes(text)


if __name__ == "__main__":
    main()
