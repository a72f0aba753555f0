"""Try broken model files: random changes to what the files of a sound model say.

    python -m tests.tools.model_mutants 20000 [first seed]

It tries so many and prints each fault with its seed.

Some 70 mutants a second.

A mutant is refused with an LLMZipError, or it is converted; then its splitting loses nothing and it
computes.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from llmzip.engine.native_engine import NativeEngine, native_is_available
from llmzip.errors import LLMZipError
from llmzip.model.convert import convert
from llmzip.model.integer_model import IntegerModel
from llmzip.model.sources import read_source, source_digest
from tests import tiny

SECONDS = 20
"""What a mutant may take; a sound one takes some 0.01."""
TEXT = "The cat and the hat, na\u00efve \U0001f600 in 42\n".encode() + b"\xff\x00"

NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 1000, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**30,
    -(10**30), 0.5, -0.5, 1e-300, 1e300, float("inf"), float("nan"), "", "x", "llama", "\ud800",
    "x" * 5000, "1", [], {}, [[]], {"a": 1}, [None], [0, 1], [1, 0], [-1, 5], [0, 2**62],
    ["a", "b"], {"type": "BPE"}, {"type": "Sequence"}, {"type": "Split"},
    {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}, {"id": 5},
    {"id": -5, "content": "x"}, "default", "BF16", "F64", "I8", "F8_E4M3",
)  # fmt: skip
_SMALL = {
    "layers": 1, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 12,
}  # fmt: skip


class TooSlowError(Exception):
    """A mutant took longer than `SECONDS`."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Changes to JSON


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with a key of it."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            found.append((value, key))
            found += places(value[key])
    return found


def nasty(rng: random.Random) -> Any:
    """One of the values, a copy: a later change must not reach into the others that have it, nor
    into the next mutants."""
    return copy.deepcopy(rng.choice(NASTY))


def change_json(rng: random.Random, value: Any) -> Any:
    """One change somewhere, more often high up than deep down."""
    found = places(value)
    if not found or rng.random() < 0.02:
        return nasty(rng)
    high = [place for place in found if isinstance(place[0], dict) and len(place[0]) < 40] or found
    container, key = rng.choice(high if rng.random() < 0.7 else found)
    kind = rng.random()
    if kind < 0.6:
        container[key] = nasty(rng)
    elif kind < 0.75:
        del container[key]
    elif kind < 0.9:
        other, place = rng.choice(found)
        container[key] = json.loads(json.dumps(other[place]))
    elif isinstance(container, list):
        container.insert(key, nasty(rng))
    else:
        container[rng.choice(["type", "vocab", "merges", "rope_scaling", "head_dim", "x"])] = nasty(
            rng
        )
    return value


def written_json(rng: random.Random, value: Any) -> bytes:
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    if rng.random() < 0.02:
        data = (
            b"[" * 100_000
            if rng.random() < 0.5
            else data.replace(b"{", b'{"a":' + b"[" * 3000 + b"]" * 3000 + b",", 1)
        )
    return change_bytes(rng, data) if rng.random() < 0.05 else data


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Some bytes flipped, cut out, or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        place = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + rng.choice([1, 4, 8, 1000])]
        elif kind == 2:
            changed[place:place] = rng.choice([b"\0", b"\xff" * 8, b"\0" * 100])
        else:
            changed[place : place + 8] = struct.pack(
                "<Q", rng.choice([0, 1, 2**31, 2**40, 2**62, 2**64 - 1])
            )
    return bytes(changed)


def times(rng: random.Random, change: Callable[[random.Random, Any], Any], value: Any) -> Any:
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        value = change(rng, value)
    return value


# Directories


def change_config(rng: random.Random, path: pathlib.Path) -> None:
    file = path / "config.json"
    file.write_bytes(written_json(rng, times(rng, change_json, json.loads(file.read_bytes()))))


def change_tokenizer(rng: random.Random, path: pathlib.Path) -> None:
    file = path / "tokenizer.json"
    file.write_bytes(written_json(rng, times(rng, change_json, json.loads(file.read_bytes()))))


def change_header(rng: random.Random, path: pathlib.Path) -> None:
    file = path / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = written_json(rng, times(rng, change_json, json.loads(data[8 : 8 + length])))
    stated = (
        len(header) if rng.random() < 0.9 else rng.choice([0, 1, length, 2**31, 2**62, 2**64 - 1])
    )
    file.write_bytes(struct.pack("<Q", stated) + header + data[8 + length :])


def change_weights(rng: random.Random, path: pathlib.Path) -> None:
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.choice([1, 20])):
        place = start + 4 * rng.randrange((len(data) - start) // 4)
        data[place : place + 4] = struct.pack(
            "<f", rng.choice([np.nan, np.inf, -np.inf, 1e30, 3e38, 1e-40, 8000, -1e5])
        )
    file.write_bytes(data[: rng.choice([len(data), len(data), start, start - 1, len(data) - 1])])


def change_kind(rng: random.Random, path: pathlib.Path) -> None:
    """Something else in the place of a file."""
    file = path / rng.choice(
        ["config.json", "tokenizer.json", "model.safetensors", "more.safetensors"]
    )
    file.unlink(missing_ok=True)
    kind = rng.randrange(6)
    if kind == 0:
        os.mkfifo(file)
    elif kind == 1:
        file.mkdir()
    elif kind == 2:
        file.symlink_to(rng.choice(["/dev/zero", "/dev/null", str(file), "/proc/self/mem"]))
    elif kind == 3:
        file.write_bytes(
            rng.choice(
                [b"", b"\0" * 8, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"]
            )
        )
    elif kind == 4:
        file.write_bytes(rng.randbytes(200))


# GGUF


_LAYOUTS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


class GGUFDraft:
    """The header of a GGUF file as changeable lists, and the rest of it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4
        self.version, tensors, fields = self.take("I"), self.take("Q"), self.take("Q")
        self.fields = [[self.text(), *self.typed()] for _ in range(fields)]
        self.tensors = [
            [self.text(), self.shape(), self.take("I"), self.take("Q")] for _ in range(tensors)
        ]
        self.rest = data[-(-self.at // 32) * 32 :]

    def take(self, layout: str) -> Any:
        (value,) = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return value

    def text(self) -> str:
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def shape(self) -> list[int]:
        return [self.take("Q") for _ in range(self.take("I"))]

    def typed(self) -> tuple[int, Any]:
        kind = self.take("I")
        return kind, self.value(kind)

    def value(self, kind: int) -> Any:
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.take("I"), self.take("Q")
            return [inner, [self.value(inner) for _ in range(count)]]
        return self.take(_LAYOUTS[kind])

    def written(self, rng: random.Random) -> bytes:
        """The file; now and then a count or a length is a lie."""

        def count(size: int) -> bytes:
            lie = rng.random() < 0.0005
            return struct.pack(
                "<Q",
                rng.choice([0, size + 1, 2**30, 10**9, 2**40, 2**63, 2**64 - 1]) if lie else size,
            )

        def text(value: Any) -> bytes:
            data = str(value).encode("utf-8", "surrogatepass")
            return count(len(data)) + data

        def value(kind: int, it: Any) -> bytes:
            if kind == 8:
                return text(it)
            if kind == 9:
                inner, items = it if is_array(it) else (4, [])
                return (
                    number("I", inner)
                    + count(len(items))
                    + b"".join(value(inner, item) for item in items)
                )
            return number(_LAYOUTS.get(kind, "I"), it)

        def number(layout: str, it: Any) -> bytes:
            try:
                return struct.pack("<" + layout, it)
            except (struct.error, OverflowError, TypeError):
                return bytes(struct.calcsize("<" + layout))

        head = (
            b"GGUF" + number("I", self.version) + count(len(self.tensors)) + count(len(self.fields))
        )
        for key, kind, it in self.fields:
            head += text(key) + number("I", kind) + value(kind, it)
        for name, shape, kind, offset in self.tensors:
            head += (
                text(name) + number("I", len(shape)) + b"".join(number("Q", size) for size in shape)
            )
            head += number("I", kind) + number("Q", offset)
        return head + bytes(-len(head) % 32) + self.rest


def is_array(value: Any) -> bool:
    """Whether this is the kind of an array's items and the items, still."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], list)


_KINDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2**31)
_SIZES = (0, 1, 2, 16, 32, 33, 256, 2**31, 10**9, 2**62, 2**63)


def change_gguf(rng: random.Random, draft: GGUFDraft) -> GGUFDraft:
    if rng.random() < 0.6:
        field = rng.choice(draft.fields)
        change = rng.randrange(6)
        if change == 0:
            field[1] = rng.choice(_KINDS)
        elif change == 1:
            draft.fields.remove(field)
        elif change == 2:
            draft.fields.append(list(field))
        elif change == 3 and is_array(field[2]):
            items = field[2][1]
            if rng.random() < 0.3:
                field[2] = [rng.choice(_KINDS), items]
            elif items:
                items[rng.randrange(len(items))] = copy.deepcopy(
                    rng.choice([*NASTY, "a b", " ", "a b c", "th e"])
                )
                del items[rng.choice([0, len(items) // 2, len(items)]) :]
        else:
            field[2] = copy.deepcopy(rng.choice([*NASTY, *_SIZES]))
    else:
        tensor = rng.choice(draft.tensors)
        change = rng.randrange(5)
        if change == 0:
            tensor[0] = rng.choice(
                ["rope_freqs.weight", "a.bias", "", rng.choice(draft.tensors)[0]]
            )
        elif change == 1:
            tensor[1] = [rng.choice(_SIZES) for _ in range(rng.choice([0, 1, 2, 3, 4, 5, 9]))]
        elif change == 2:
            tensor[2] = rng.choice([*range(40), 2**31])
        elif change == 3:
            tensor[3] = rng.choice(_SIZES)
        else:
            draft.tensors.remove(tensor)
            draft.tensors = draft.tensors or [tensor]
    return draft


def write_gguf_mutant(rng: random.Random, sound: bytes, path: pathlib.Path) -> None:
    if rng.random() < 0.1:
        path.write_bytes(change_bytes(rng, sound))
        return
    draft = times(rng, change_gguf, GGUFDraft(sound))
    if rng.random() < 0.05:
        draft.version = rng.choice([0, 1, 2, 4, 3 << 24])
    data = draft.written(rng)
    path.write_bytes(
        data[: rng.choice([len(data), len(data), len(data), len(data) - 1, len(data) // 2])]
    )


# Trying


class Mutants:
    """Mutants by number, made in a folder of their own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        small = tiny.make(**_SMALL)
        self.directory = tiny.write_directory(folder / "sound", small)
        self.gguf = tiny.write_gguf(folder / "sound.gguf", small).read_bytes()

    def write(self, seed: int) -> pathlib.Path:
        """The mutant with this number."""
        rng = random.Random(seed)
        if rng.random() < 0.4:
            path = self.folder / "mutant.gguf"
            write_gguf_mutant(rng, self.gguf, path)
            return path
        path = self.folder / "mutant"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.directory, path)
        changes = [change_config, change_tokenizer, change_header, change_weights, change_kind]
        rng.choices(changes, [4, 4, 4, 1, 1])[0](rng, path)
        return path

    def attempt(self, seed: int) -> str:
        """`refused` or `converted`; anything else is raised: an exception that is no LLMZipError,
        or TooSlowError."""
        path = self.write(seed)
        with time_limit():
            try:
                source_digest(path)
                model = convert(read_source(path))
            except LLMZipError as error:
                assert len(str(error)) < 1000, "a message that nobody reads"
                return "refused"
            use(model)
        return "converted"


def use(model: IntegerModel) -> None:
    """Whether a model keeps its promises."""
    assert model.tokenizer.decode(model.tokenizer.encode(TEXT)) == TEXT
    if not native_is_available():
        return
    engine = NativeEngine(model, 1)
    count = min(4, model.spec.max_positions)
    tokens = np.arange(count, dtype=np.int32)[None] % model.spec.vocab
    head = engine.session(1, 8, count).advance(tokens)
    weights = engine.token_weights(head.vectors[0], head.scales[0])
    assert np.isfinite(head.scales).all()
    assert (weights.max(axis=1) == 1 << 23).all()


def main() -> None:
    count = int(sys.argv[1])
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        mutants = Mutants(pathlib.Path(folder))
        for seed in range(first, first + count):
            try:
                counts[mutants.attempt(seed)] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                counts[type(error).__name__] += 1
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}", flush=True)
                print("   ", traceback.extract_tb(error.__traceback__)[-1], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(dict(counts), f"in {time.monotonic() - start:.0f} s, peak memory {peak} MiB")


if __name__ == "__main__":
    main()
