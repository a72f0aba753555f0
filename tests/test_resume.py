"""Compression that was interrupted and goes on: the same file, or a refusal."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmzip.cli import cluster
from llmzip.cli.resume import PartialSink, State
from llmzip.integrations.executors import ExecutorPool
from llmzip.runtime import Runtime
from tests import tiny
from tests.command import LLMZIP, folder, process, run, tree  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")

WORDS = random.Random(7).choices([b"the ", b"and ", b"on a ", b"in the "], k=2200)
TEXT = b"".join(WORDS)
MIXED = random.Random(8).randbytes(2500) + TEXT + bytes(3000) + TEXT[:1000]
"""Begins a frame that names no model, and another one that does."""

PARTIAL = {"text.llmz.partial", "text.llmz.partial.json"}


class StopError(OSError):
    """What ends a run."""


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, *options: str) -> bool:
    """Run until so many times a state was kept; whether it came to that."""
    count = 0
    keep = PartialSink.keep

    def counted(self: PartialSink, state: State) -> None:
        nonlocal count
        keep(self, state)
        count += 1
        if count == after:
            raise StopError(5, "interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(PartialSink, "keep", counted)
        result = run("--resume", *options, "text")
    assert result.exit_code == (count == after)
    return count == after


CASES = {
    "raw": (MIXED, ["--codec", "raw"]),
    "zstd in lines": (b"to be\nor not\n" * 700, ["--codec", "zstd", "--block-lines", "70"]),
    "model": (TEXT, ["-m", "tiny", "--offline", "-j1"]),
    "model, two blocks at a time": (TEXT, ["-m", "tiny", "--offline", "-j2"]),
    "model, of frames": (MIXED, ["-m", "tiny", "--offline", "--level", "1"]),
    "model with a dictionary": (TEXT, ["-m", "tiny", "--offline", "-j1", "-D", "known"]),
    "meta-token": (TEXT, ["-m", "tiny", "--offline", "--codec", "meta-token"]),
}


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_at_each_block(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, options = CASES[case]
    options = [*options, "--block-size", "1K"]
    tiny.write_directory(Path("tiny"), tiny.make())
    Path("known").write_bytes(TEXT[:300])
    Path("text").write_bytes(text)
    os.utime("text", ns=(10**18, 10**18))
    assert run(*options, "-o", "whole", "text").exit_code == 0
    before = tree()
    for after in (1, 2) if "-j2" in options else (1, 2, 3, 5):
        assert interrupted(monkeypatch, after, *options)
        assert tree() == before | PARTIAL
        assert interrupted(monkeypatch, 1, *options)  # and once more
        with Path("text.llmz.partial").open("ab") as file:
            file.write(Path("whole").read_bytes()[file.tell() :])  # was written and not kept
        assert run("--resume", *options, "text").exit_code == 0
        assert Path("text.llmz").read_bytes() == Path("whole").read_bytes()
        assert Path("text.llmz").stat().st_mtime_ns == 10**18
        assert tree() == before | {"text.llmz"}
        Path("text.llmz").unlink()


@pytest.mark.parametrize("pieces", [4, 99])
def test_it_goes_on_with_a_pool(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the pool has room for all blocks of the file, so that they wait for its end."""
    tiny.write_directory(Path("tiny"), tiny.make())
    options = ["-m", "tiny", "--offline", "--block-size", "1K", "--ray", "somewhere"]
    Path("text").write_bytes(MIXED)
    assert run(*options[:-2], "-o", "whole", "text").exit_code == 0
    with ThreadPoolExecutor(2) as executor:
        pool = ExecutorPool(executor, pieces, Runtime(threads=1))

        @contextlib.contextmanager
        def connected(address: str, runtime: Runtime) -> Iterator[Runtime]:
            yield dataclasses.replace(runtime, pool=pool)

        monkeypatch.setattr(cluster, "connected", connected)
        before = tree()
        kept = 0
        while interrupted(monkeypatch, 2, *options):
            assert tree() == before | PARTIAL
            state = json.loads(Path("text.llmz.partial.json").read_text())
            assert state["input_bytes"] > kept
            kept = state["input_bytes"]
        assert kept > len(MIXED) - 3 * 1024
    assert Path("text.llmz").read_bytes() == Path("whole").read_bytes()
    assert tree() == before | {"text.llmz"}


def test_without_an_interruption_it_is_compression() -> None:
    for name, content in (("empty", b""), ("short", b"x"), ("long", MIXED)):
        Path(name).write_bytes(content)
        assert run("--codec", "zstd", name).exit_code == 0
        usual = Path(name + ".llmz").read_bytes()
        assert run("--resume", "--codec", "zstd", name).exit_code == 1  # already exists
        assert run("-f", "--resume", "--codec", "zstd", name).exit_code == 0
        assert Path(name + ".llmz").read_bytes() == usual
        assert run("--rm", "--resume", "--codec", "zstd", "-o", "other", name).exit_code == 0
        assert Path("other").read_bytes() == usual
        Path("other").unlink()
        assert not Path(name).exists()
    assert not any("partial" in name for name in tree())


@pytest.fixture
def partial(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A compression that was interrupted; its options."""
    tiny.write_directory(Path("tiny"), tiny.make())
    tiny.write_directory(Path("other"), tiny.make(seed=2))
    Path("text").write_bytes(TEXT)
    Path("known").write_bytes(TEXT[:300])
    options = ["--offline", "--block-size", "1K", "-m", "tiny"]
    assert interrupted(monkeypatch, 2, *options)
    return options


def refused(*arguments: str) -> str:
    before = {name: Path(name).read_bytes() for name in tree() if Path(name).is_file()}
    result = run("--resume", *arguments)
    assert result.exit_code == 1, result.output
    assert {name: Path(name).read_bytes() for name in tree() if Path(name).is_file()} == before
    return result.stderr


def test_what_is_left_beside_a_whole_file_is_told(partial: list[str]) -> None:
    whole = run("--codec", "raw", "text")
    assert whole.exit_code == 0
    assert "text.llmz.partial: is of a run with --resume" in whole.stderr
    assert whole.stderr.count("\n") == 1
    assert tree() >= PARTIAL
    assert run("-f", "--codec", "raw", "-q", "text").stderr == ""


def test_what_was_made_otherwise_does_not_go_on(partial: list[str]) -> None:
    anew = "repeat what was asked for then, or remove it and text.llmz.partial.json to begin anew"
    for options, said in (
        (["-7"], "was made with other options (level 6)"),
        (["--block-size", "2K"], "was made with other options (block_size 1024)"),
        (["--no-mixing"], "was made with other options (mixing True)"),
        (["-D", "known"], "was made with another dictionary, or one of the two without"),
        (["-m", "other"], "was made with another model"),
    ):
        assert f"{said}: {anew}\n" in refused(*partial, *options, "text")
    Path("text").write_bytes(b"X" + TEXT[1:])
    assert "when it had another content" in refused(*partial, "text")
    Path("text").write_bytes(TEXT[:1500])
    assert "when it had another content" in refused(*partial, "text")
    # What is behind the blocks so far may have changed: logs grow.
    Path("text").write_bytes(TEXT + b"and on")
    assert run("--resume", *partial, "text").exit_code == 0
    assert run(*partial, "-o", "whole", "text").exit_code == 0
    assert Path("whole").read_bytes() == Path("text.llmz").read_bytes()


def test_what_is_damaged_does_not_go_on(partial: list[str]) -> None:
    state = json.loads(Path("text.llmz.partial.json").read_text())
    packed = Path("text.llmz.partial").read_bytes()
    assert len(packed) == state["output_bytes"]
    for content in (packed[:-1], packed[:-1] + b"?", b""):
        Path("text.llmz.partial").write_bytes(content)
        assert "text.llmz.partial is damaged" in refused(*partial, "text")
    Path("text.llmz.partial").write_bytes(packed)
    for content in (b"", b"{", b"[]", b'{"options": 1}', b"\xff"):
        Path("text.llmz.partial.json").write_bytes(content)
        assert "text.llmz.partial.json is damaged" in refused(*partial, "text")
    Path("text.llmz.partial.json").write_text(json.dumps(state | {"made_by": "0.0.9"}))
    assert "was made by llmzip 0.0.9" in refused(*partial, "text")
    # Without a state nothing counts: it begins anew.
    Path("text.llmz.partial.json").unlink()
    assert run("--resume", *partial, "text").exit_code == 0


def test_one_process_at_a_time_and_no_strangers_files(partial: list[str]) -> None:
    with Path("text.llmz.partial").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process is writing text.llmz.partial" in refused(*partial, "text")
    Path("text.llmz.partial").rename("elsewhere")
    Path("text.llmz.partial").symlink_to("elsewhere")
    assert "text.llmz.partial: " in refused(*partial, "text")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("--resume -c a", 2, "--resume needs an output file"),
        ("--resume --solid a", 2, "exclude each other"),
        ("--resume -", 1, "--resume needs an output file"),
        ("--resume -o out -", 1, "needs a regular file to read"),
        ("--resume -o /dev/null a", 1, "needs an output that is a new file"),
    ],
)
def test_where_nothing_can_be_resumed(arguments: str, code: int, said: str) -> None:
    before = tree()
    result = run(*arguments.split())
    assert (result.exit_code, tree()) == (code, before)
    assert said in result.stderr


def test_partial_files_are_no_inputs_of_folders(partial: list[str]) -> None:
    before = tree()
    run("-r", "--codec", "raw", ".")
    assert not any(name.startswith("text.llmz.partial.") for name in tree() - before - PARTIAL)


def test_a_killed_process(tmp_path: Path) -> None:
    Path("text").write_bytes(random.Random(3).randbytes(70_000) * 3)
    options = ["--codec", "xz", "--block-size", "1K"]
    running = subprocess.Popen([*LLMZIP, "--resume", *options, "text"], stderr=subprocess.PIPE)
    with running:
        deadline = time.monotonic() + 60
        while not Path("text.llmz.partial.json").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert tree() >= PARTIAL
    done = json.loads(Path("text.llmz.partial.json").read_text())["input_bytes"]
    assert 0 < done < 210_000
    assert process("--resume", *options, "text").returncode == 0
    assert run(*options, "-o", "whole", "text").exit_code == 0
    assert Path("text.llmz").read_bytes() == Path("whole").read_bytes()
    assert not tree() & PARTIAL


@pytest.mark.parametrize(
    "field", [{"output_bytes": "x"}, {"options": []}, {"input_bytes": -5}, {"input_bytes": None}]
)
def test_a_state_of_other_types_is_damaged(partial: list[str], field: dict[str, object]) -> None:
    path = Path("text.llmz.partial.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **field}))
    assert "text.llmz.partial.json is damaged" in refused(*partial, "text")
