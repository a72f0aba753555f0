"""Files that nobody closes: all that was written is there, and nothing waits for anything."""

from __future__ import annotations

import gc
import io
import pathlib
import subprocess
import sys
import weakref
from collections.abc import Generator
from typing import Any

import pytest

import llmzip
from llmzip import Runtime
from llmzip.model.integer_model import IntegerModel
from llmzip.records import RecordReader, RecordWriter
from tests.conftest import FORKS, blocks_of

BLOCK = 200
SIDE_BY_SIDE = Runtime(threads=2, jobs=2)


small_blocks = blocks_of(BLOCK)


@pytest.fixture(scope="module")
def text(english: bytes) -> bytes:
    return english[: 5 * BLOCK + BLOCK // 2]


def unclosed() -> Any:
    return pytest.warns(ResourceWarning, match="without the model")


class Circle:
    """Keeps itself and what it has until Python looks for cycles."""

    def __init__(self, *content: object) -> None:
        self.content, self.itself = content, self


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solid": True},
        {"codec": "llm"},
        {"codec": "meta-token"},
        {"block_lines": 2},
        {"dictionary": b"A text that what follows may refer to. " * 20},
        {"level": 2, "runtime": SIDE_BY_SIDE},
    ],
    ids=["plain", "solid", "llm", "meta-token", "lines", "dictionary", "side by side"],
)
def test_a_file_that_is_collected_is_complete(
    options: dict[str, Any], tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    pieces = range(0, len(text), 70)
    for size in (0, 1, BLOCK, 3 * BLOCK, len(text)):  # before a frame, between blocks and in them
        content = text[:size]
        path = tmp_path / f"{size}.llmz"
        file = llmzip.open(path, "wb", model=tiny_model, block_size=BLOCK, **options)
        for begin in pieces:
            file.write(content[begin : begin + 70])
        circle = Circle(file)
        del file, circle
        with unclosed():
            gc.collect()
        reading = {name: options[name] for name in options if name == "dictionary"}
        assert llmzip.decompress(path.read_bytes(), model=tiny_model, **reading) == content


def test_the_file_below_is_finished_after_it(tiny_model: IntegerModel, text: bytes) -> None:
    packed: list[bytes] = []

    class Below(io.BytesIO):
        def close(self) -> None:
            packed.append(self.getvalue())
            super().close()

    below = Below()  # older than what writes into it: collected first
    file = llmzip.LLMZipFile(below, "w", model=tiny_model, block_size=BLOCK)
    file.write(text)
    circle = Circle(below, file)
    del file, below, circle
    with unclosed():
        gc.collect()
    assert llmzip.decompress(packed[0], model=tiny_model) == text


def test_nothing_stays_in_a_text_that_is_collected(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    file = llmzip.open(path, "wt", model=tiny_model)
    file.write(text.decode())
    circle = Circle(file)
    del file, circle
    with unclosed():
        gc.collect()
    assert llmzip.decompress(path.read_bytes(), model=tiny_model) == text


def test_where_the_last_reference_goes_the_file_is_closed(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    llmzip.LLMZipFile(path, "w", model=tiny_model).write(text)
    assert path.read_bytes() == llmzip.compress(text, model=tiny_model)


def test_after_an_exception_it_stays_incomplete(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    file = llmzip.open(path, "wb", model=tiny_model, block_size=BLOCK, progress=failing)
    with pytest.raises(ZeroDivisionError):
        file.write(text)
    circle = Circle(file)
    del file, circle
    with pytest.warns(ResourceWarning, match="incomplete, since a call"):
        gc.collect()
    with pytest.raises(llmzip.LLMZipError):
        llmzip.decompress(path.read_bytes(), model=tiny_model)


@pytest.mark.parametrize("mode", ["wb", "wt"])
@pytest.mark.parametrize("code", [None, 0, 1, "something went wrong"])
def test_only_a_failure_leaves_it_incomplete(
    mode: str, code: Any, tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    with (
        pytest.raises(SystemExit),
        llmzip.open(path, mode, model=tiny_model, block_size=BLOCK) as file,
    ):
        file.write(text if mode == "wb" else text.decode())
        sys.exit(code)
    if code in (None, 0):
        assert llmzip.decompress(path.read_bytes(), model=tiny_model) == text
    else:
        with pytest.raises(llmzip.LLMZipError):
            llmzip.decompress(path.read_bytes(), model=tiny_model)


def test_what_a_generator_writes_is_complete_when_that_is_closed(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path, archive = tmp_path / "text.llmz", tmp_path / "text.llmr"

    def writing() -> Generator[None, bytes, None]:
        with (
            llmzip.open(path, "wb", model=tiny_model) as file,
            RecordWriter(archive, model=tiny_model) as writer,
        ):
            while True:
                data = yield
                file.write(data)
                writer.write(data)

    target = writing()
    next(target)
    target.send(text)
    target.close()
    assert llmzip.decompress(path.read_bytes(), model=tiny_model) == text
    with RecordReader(archive, model=tiny_model) as reader:
        assert list(reader) == [text]


def failing(*_: int) -> None:
    raise ZeroDivisionError


def test_it_may_be_collected_within_a_step_of_the_model(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    how: dict[str, Any] = {"level": 2, "model": tiny_model, "runtime": SIDE_BY_SIDE}
    expected = llmzip.compress(text, block_size=BLOCK, **how)
    paths = [tmp_path / f"{i}.llmz" for i in range(5)]
    alive: list[weakref.ref[object]] = []

    def leave_one(*_: int) -> None:
        if len(alive) < len(paths):
            file = llmzip.open(paths[len(alive)], "wb", block_size=BLOCK, **how)
            file.write(text)
            alive.append(weakref.ref(Circle(file)))
            del file
            gc.collect()

    with unclosed():
        assert llmzip.compress(text, block_size=BLOCK, progress=leave_one, **how) == expected
    assert len(alive) == len(paths) and not any(circle() for circle in alive)
    for path in paths:
        assert llmzip.decompress(path.read_bytes(), model=tiny_model) == text


def test_an_archive_says_what_it_lacks(tiny_model: IntegerModel, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.llmr"
    writer = RecordWriter(path, model=tiny_model, group_records=4)
    writer.write_many([b"event"] * 7)
    with pytest.warns(ResourceWarning, match=r"3 records did not get into it: .*events\.llmr"):
        del writer
    with RecordReader(path, model=tiny_model) as reader:
        assert [record for _, group in reader.iter_groups() for record in group] == [b"event"] * 4


_SCRIPT = """
import atexit, gc, io, os, sys
import llmzip
from llmzip import Runtime, levels
from tests.conftest import tiny
levels.MIN_BLOCK_SIZE = 200
path, text = sys.argv[1], sys.argv[2].encode()
how = dict(model=tiny(), block_size=200, level=2, runtime=Runtime(threads=2, jobs=2))
def opened(mode="wb", file=path):
    return llmzip.open(file, mode, **how)
"""


@pytest.mark.parametrize(
    "script",
    [
        "file = opened(); file.write(text)",
        "file = opened(); file.write(text); file.itself = file",
        "below = open(path, 'wb'); file = opened(file=below); file.write(text); below.x = file",
        "file = opened('wt'); file.write(text.decode())",
        "def keep(file=opened()): return file\nkeep().write(text)",
        "file = opened(); file.write(text); atexit.register(file.close)",
        "atexit.register(lambda: file.close()); file = opened(); file.write(text)",
        # What writes through it comes to its own end later.
        "file = io.TextIOWrapper(opened()); file.write(text.decode())",
        "file = io.BufferedWriter(opened()); file.write(text)",
        "file = io.TextIOWrapper(opened()); file.write(text.decode()); file.itself = file\n"
        "del file; gc.collect()",
        # Opened when files that were left have been finished.
        "def open_late():\n    global file\n    file = opened(); file.write(text)\n"
        "atexit.register(open_late); opened(file=io.BytesIO())",
        # What runs at the end may still compute.
        "def save():\n    with opened() as file:\n        file.write(text)\n"
        "atexit.register(save); llmzip.compress(text, **how)",
    ],
)
def test_a_file_left_at_the_end_of_the_program_is_complete(
    script: str, tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    ran = run(_SCRIPT + script, path, text)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert llmzip.decompress(path.read_bytes(), model=tiny_model) == text


_AND_A_CHILD = """
child = os.fork()
if child: os.waitpid(child, 0); file.close()
"""


@FORKS
def test_a_forked_process_leaves_it_to_its_parent(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    run(f"{_SCRIPT}file = opened(); file.write(text)\n{_AND_A_CHILD}", path, text)
    how: dict[str, Any] = {"level": 2, "model": tiny_model, "block_size": BLOCK}
    assert path.read_bytes() == llmzip.compress(text, **how)


@FORKS
def test_what_stands_above_it_leaves_it_in_a_forked_process_too(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    opening = "file = io.TextIOWrapper(opened()); file.write(text.decode())"
    run(f"{_SCRIPT}{opening}\n{_AND_A_CHILD}", path, text)
    assert llmzip.decompress(path.read_bytes(), model=tiny_model) == text


_UNWOUND = """
def main(writer, data):
    writer.write(data)
    child = os.fork()
    if not child:
        sys.exit(0)  # lets go of what the function has, and of what else there is
    os.waitpid(child, 0)
    writer.write(data)
    writer.close()
"""


@FORKS
@pytest.mark.parametrize("opened", ["opened(), text", "opened('wt'), text.decode()"])
def test_a_forked_process_that_lets_go_of_it_leaves_it(
    opened: str, tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    ran = run(f"{_SCRIPT}{_UNWOUND}main({opened})", path, text)
    assert "Error" not in ran.stderr and "ignored" not in ran.stderr, ran.stderr
    assert llmzip.decompress(path.read_bytes(), model=tiny_model) == 2 * text


@FORKS
@pytest.mark.parametrize("opened", ["RecordWriter(path, model=tiny(), group_records=1)", "added"])
def test_a_forked_process_leaves_archives(
    opened: str, tiny_model: IntegerModel, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "events.llmr"
    if opened == "added":
        RecordWriter(path, model=tiny_model).close()
        begin = "with appending(path, model=tiny(), group_records=1) as added: "
    else:
        begin = ""
    imports = "from llmzip.records import RecordWriter, appending\n"
    ran = run(f"{_SCRIPT}{imports}{_UNWOUND}{begin}main({opened}, text)", path, b"event")
    assert "Error" not in ran.stderr and "ignored" not in ran.stderr, ran.stderr
    with RecordReader(path, model=tiny_model) as reader:
        assert [record for _, group in reader.iter_groups() for record in group] == [b"event"] * 2


@FORKS
@pytest.mark.parametrize("mode", ["wb", "wt"])
def test_a_forked_process_that_writes_takes_it_over(
    mode: str, tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    data = "text" if mode == "wb" else "text.decode()"
    run(
        f"{_SCRIPT}file = opened({mode!r}); file.write({data})\n"
        f"if os.fork(): os._exit(0)\n"  # as programs do that go on in the background
        f"file.write({data})",
        path,
        text,
    )
    assert llmzip.decompress(path.read_bytes(), model=tiny_model) == 2 * text


def run(script: str, path: pathlib.Path, text: bytes) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(path), text.decode()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
