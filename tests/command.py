"""The command line in a folder of files: run in this process, or as a process where signals, pipes
and streams matter.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import llmzip.streams
from llmzip.cli.main import llmzip as command

ROOT = Path(__file__).parents[1]
LLMZIP = [sys.executable, "-m", "llmzip"]
NOISE = random.Random(0).randbytes(3000)  # no model is needed for what no model could predict
MTIME_NS = 1_000_000_000_123_456_789


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: a file, a link to it, its compressed form in a folder of its own, and
    junk.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path.with_name(tmp_path.name + "-cache")))
    for name in ("LLMZIP_LEVEL", "LLMZIP_MODEL", "LLMZIP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("a", "sub/b", "sub/deep/c"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(NOISE)
    Path("a").chmod(0o640)
    os.utime("a", ns=(MTIME_NS, MTIME_NS))
    Path("link").symlink_to("a")
    Path("junk.llmz").write_bytes(b"junk" * 10)
    os.mkfifo("pipe")
    Path("packed").mkdir()
    with Path("a").open("rb") as source, Path("packed/a.llmz").open("wb") as sink:
        llmzip.streams.compress_stream(source, sink)
    return tmp_path


def run(*args: str) -> Result:
    """Run in this process."""
    return CliRunner().invoke(command, args, prog_name="llmzip")


def run_with_output(*args: str) -> subprocess.CompletedProcess[bytes]:
    """Run in this process, and catch what goes to its descriptors 1 and 2, of other programs
    too.
    """
    saved = [os.dup(fd) for fd in (1, 2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            result = run(*args)
        finally:
            for fd, kept in zip((1, 2), saved, strict=True):
                os.dup2(kept, fd)
                os.close(kept)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            args,
            result.exit_code,
            out.read() + result.stdout_bytes,
            err.read() + result.stderr_bytes,
        )


def process(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run as a process."""
    return subprocess.run(
        [*LLMZIP, *args], capture_output="stdout" not in options, timeout=300, **options
    )


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell, in which `llmzip` is this program."""
    program = f'llmzip() {{ "{sys.executable}" -m llmzip "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", program + line], capture_output=True, stdin=subprocess.DEVNULL, timeout=300
    )


def tree() -> set[str]:
    """All files below the folder."""
    return {str(path) for path in Path().rglob("*") if not path.is_dir()}
