"""Training text for the default model, out of public repositories: drawn, cleaned, checked.

    python -m benchmarks.tuning_texts REPOSITORIES OUTPUT --without FILES... [--known FILES...]

REPOSITORIES holds git repositories named OWNER+NAME (or with a folder `repo` in them) as far as
benchmarks/tuning_sources.csv names them (each at its last commit before June 2025, so that later
texts stay unseen), and wheels from PyPI; OUTPUT gets a text file for each kind, and
`sources.md`, the table of the data card. Documents stand apart by a line that holds a form feed.

Every paragraph that shares thirteen words in a row with one of the files in `--without` is left
out, letters compared without case and punctuation ignored (the check that GPT-3's data had: Brown
et al., arXiv 2005.14165, appendix C), and the document with it where that is more than a
fiftieth of its paragraphs. A document of which more than a fifth is in `--known` is left out too.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import pathlib
import random
import re
import subprocess
import sys
import typing
import zipfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.tuning_readers import READERS
from llmzip.tuning import data

RUN = 13  # words
SHARED_PARAGRAPHS, KNOWN_SHARE = 1 / 50, 1 / 5
SAMPLE = 16  # of known runs of words one in so many is remembered
LEAST_BYTES = 400  # of a document
REPEATED_BYTES = 120  # a paragraph so long comes once
DOCUMENT_END = data.DOCUMENT_END.decode()

Hashes = npt.NDArray[np.uint64]


class Source(typing.NamedTuple):
    """A row of the table."""

    kind: str  # the file that the text goes into
    name: str  # owner/name of a repository on GitHub, or name==version of a wheel on PyPI
    commit: str  # empty for a wheel
    paths: str  # a pattern that is searched for in paths
    reader: str
    bytes: int  # at most so many
    longest: int  # characters of a document
    license: str

    @classmethod
    def table(cls, path: pathlib.Path) -> list[Source]:
        with path.open(newline="", encoding="utf-8") as lines:
            return [
                cls(
                    row["kind"],
                    row["name"],
                    row["commit"],
                    row["paths"],
                    row["reader"],
                    int(row["bytes"]),
                    int(row["longest"]),
                    row["license"],
                )
                for row in csv.DictReader(lines)
            ]


class Runs:
    """Runs of thirteen words as hashes; words are numbered as they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.factors = np.cumprod(np.full(RUN, 0x9E3779B97F4A7C15, np.uint64))

    def words(self, text: str) -> list[int]:
        numbers = self.numbers
        return [numbers.setdefault(w, len(numbers)) for w in re.findall(r"[^\W_]+", text.lower())]

    def hashes(self, words: Sequence[int]) -> Hashes:
        """One for each run: [max(0, words - 12)]."""
        values = np.array(words, np.uint64) + np.uint64(0x5851F42D4C957F2D)
        values = (values ^ (values >> np.uint64(7))) * np.uint64(0xD6E8FEB86659FD93)
        values ^= values >> np.uint64(32)
        count = max(0, len(values) - RUN + 1)
        total = np.zeros(count, np.uint64)
        for k in range(RUN):
            total += values[k : k + count] * self.factors[k]
        return total ^ (total >> np.uint64(29))


def sorted_runs(runs: Runs, files: Iterable[pathlib.Path], one_in: int = 1) -> Hashes:
    parts = [np.empty(0, np.uint64)]
    for path in files:
        hashes = runs.hashes(runs.words(path.read_bytes().decode("utf-8", "ignore")))
        parts.append(hashes[hashes % np.uint64(one_in) == 0])
    return np.unique(np.concatenate(parts))


def contains(known: Hashes, hashes: Hashes) -> npt.NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(hashes), np.bool_)
    found = known[np.searchsorted(known, hashes).clip(max=len(known) - 1)]
    same: npt.NDArray[np.bool_] = found == hashes
    return same


def without_shared(runs: Runs, text: str, forbidden: Hashes) -> str:
    """The text without paragraphs that share a run of words with what is forbidden; nothing where
    they are many.
    """
    words = runs.words(text)
    shared = np.flatnonzero(contains(forbidden, runs.hashes(words)))
    if not len(shared):
        return text
    touched = np.zeros(len(words), np.bool_)
    for first in shared:
        touched[first : first + RUN] = True
    kept, dropped, position = [], 0, 0
    paragraphs = text.split("\n\n")
    for paragraph in paragraphs:
        count = len(runs.words(paragraph))
        if touched[position : position + count].any():
            dropped += 1
        else:
            kept.append(paragraph)
        position += count
    return "\n\n".join(kept) if dropped <= SHARED_PARAGRAPHS * len(paragraphs) else ""


def blobs(folder: pathlib.Path, source: Source) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of a source's files, in a seeded order."""
    pattern = re.compile(source.paths)
    order = random.Random(source.name)
    if source.commit:
        repository = folder / source.name.replace("/", "+")
        if (repository / "repo").is_dir():
            repository /= "repo"
        git = ["git", "-C", str(repository)]
        listed = subprocess.run(
            [*git, "ls-tree", "-r", "-z", source.commit], check=True, capture_output=True
        ).stdout
        entries = [line.split("\t", 1) for line in listed.decode().split("\0") if line]
        files = [(p, e.split()[2]) for e, p in entries if e[:3] == "100" and pattern.search(p)]
        order.shuffle(files)
        with subprocess.Popen(
            [*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin and process.stdout
            for path, digest in files:
                process.stdin.write(digest.encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline().split()
                if answer[-1] != b"missing":
                    yield path, process.stdout.read(int(answer[2]) + 1)[:-1]
            process.stdin.close()
        return
    (wheel,) = folder.glob(source.name.replace("==", "-").replace("-", "?") + "-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if pattern.search(name)]
        order.shuffle(names)
        for name in names:
            yield name, archive.read(name)


def drawn(folder: pathlib.Path, source: Source) -> Iterator[str]:
    """Cleaned documents of a source."""
    chance = random.Random(source.name + source.kind)
    for path, content in blobs(folder, source):
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        for document in READERS[source.reader](path, text.replace("\r\n", "\n"), chance):
            cut = document[: source.longest]
            if len(document) > source.longest:  # at the end of a paragraph
                cut = cut[: cut.rfind("\n\n")] if "\n\n" in cut else ""
            if len(cut) >= LEAST_BYTES:
                yield cut.strip("\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repositories", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--without", type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--known", type=pathlib.Path, nargs="+", default=[])
    parser.add_argument(
        "--sources",
        type=pathlib.Path,
        default=pathlib.Path(__file__).with_name("tuning_sources.csv"),
    )
    parser.add_argument("--share", type=float, default=1.0, help="of each source's bytes")
    options = parser.parse_args(arguments)
    runs = Runs()
    forbidden = sorted_runs(runs, options.without)
    known = sorted_runs(runs, options.known, SAMPLE)
    options.output.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = {}
    used: dict[str, list[str]] = {}
    seen: set[bytes] = set()
    for source in Source.table(options.sources):
        taken = dropped = 0
        texts = files.setdefault(source.kind, [])
        for text in drawn(options.repositories, source):
            if taken >= source.bytes * options.share:
                break
            hashes = runs.hashes(runs.words(text))
            sample = hashes[hashes % np.uint64(SAMPLE) == 0]
            if contains(known, sample).sum() > KNOWN_SHARE * max(1, len(sample)):
                dropped += 1
                continue
            text = without_shared(runs, text, forbidden)
            kept = []
            for paragraph in text.split("\n\n"):
                digest = hashlib.blake2b(paragraph.encode(), digest_size=8).digest()
                if len(paragraph) < REPEATED_BYTES or digest not in seen:
                    kept.append(paragraph)
                seen.add(digest)
            text = "\n\n".join(kept)
            if len(text) < LEAST_BYTES:
                dropped += 1
                continue
            texts.append(text)
            taken += len(text.encode())
        at = f" @ {source.commit[:12]}" if source.commit else ""
        used.setdefault(source.kind, []).append(f"{source.name}{at}: {source.license}")
        print(
            f"{source.kind:24} {source.name:50} {taken:11,} bytes, {dropped} left out", flush=True
        )
    rows = []
    for kind, texts in files.items():
        random.Random(kind).shuffle(texts)
        whole = DOCUMENT_END.join(texts).encode() + b"\n"
        (options.output / kind).write_bytes(whole)
        checksum = hashlib.sha256(whole).hexdigest()[:16]
        sources = "; ".join(used[kind])
        rows.append(f"| {kind} | {len(whole):,} | {sources} | `{checksum}` |")
    (options.output / "sources.md").write_text("\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
