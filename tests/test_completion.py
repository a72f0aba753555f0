"""Completion in the shells themselves: what a user types, with the tabulator at the end."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from tests.conftest import TESTS

pytest.importorskip("pty")

SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'eval "$(_LLMZIP_COMPLETE=bash_source llmzip)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$(_LLMZIP_COMPLETE=zsh_source llmzip)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "_LLMZIP_COMPLETE=fish_source llmzip | source"),
}
"""Shell -> how it starts, and the line of docs/cli.md (zsh's needs compinit, as in every
~/.zshrc that completes).
"""
TYPED = {
    "llmzip decompr": "decompress ",
    "llmzip decompress --max-ou": "--max-output ",
    "llmzip not": "notes.txt ",
}
PATIENCE = 120  # seconds, for a machine that does much else


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> dict[str, str]:
    """With the program `llmzip`, and nobody's settings."""
    program = tmp_path / "bin" / "llmzip"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llmzip "$@"\n')
    program.chmod(0o755)
    return os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(TESTS.parent),
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
        "TERM": "dumb",
    }


def wait_for(terminal: int, expected: bytes) -> None:
    """Read what a terminal shows until that is there; a shell may write a line anew."""
    shown, end = b"", time.monotonic() + PATIENCE
    os.set_blocking(terminal, False)
    while expected not in shown:
        assert time.monotonic() < end, shown.decode(errors="replace")
        try:
            shown += os.read(terminal, 1 << 16)
        except BlockingIOError:
            time.sleep(0.02)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(shell: str, environment: dict[str, str], tmp_path: pathlib.Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "notes.txt").touch()
    start, line = SHELLS[shell]
    documented = (TESTS.parent / "docs" / "cli.md").read_text("utf-8")
    assert line.rpartition("; ")[2] in documented
    with subprocess.Popen(
        [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=tmp_path,
        bufsize=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(f"{line}; echo rea''dy\n".encode())
            wait_for(process.stdout.fileno(), b"ready")
            for typed, completed in TYPED.items():
                process.stdin.write(typed.encode() + b"\t")
                wait_for(process.stdout.fileno(), f" {completed}".encode())
                process.stdin.write(b"\x15")  # clear the line
        finally:
            process.kill()
