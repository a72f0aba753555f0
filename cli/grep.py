"""`llmzip grep`: the system's grep on decompressed text, so that patterns, options, colors and
locales are those that users know (zgrep does the same).

grep reads while blocks are decoded, and nothing is decoded any more once it has seen enough (-q,
-l, -m).
"""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from llmzip.cli.arguments import Arguments
from llmzip.cli.files import RefusalError, Sink
from llmzip.cli.inputs import Source, check, sources
from llmzip.cli.messages import say_error
from llmzip.cli.restore import pour
from llmzip.cli.wrapping import CommandLine, Option, WrappingCommand, program, split
from llmzip.errors import LLMZipError

_LETTERS = "ABCDdefm"
_NAMES = (
    "--regexp",
    "--file",
    "--max-count",
    "--after-context",
    "--before-context",
    "--context",
    "--binary-files",
    "--devices",
    "--directories",
    "--group-separator",
    "--label",
)
_FOLDER = "find FOLDER -name '*.llmz' -exec llmzgrep … {} +"
_FOUND, _NOT_FOUND, _TROUBLE = range(3)
"""grep's exit codes."""


def _run(words: list[str]) -> None:
    line = split(words, _LETTERS, _NAMES)
    if any(option.means("r", "--recursive") or option.means("R") for option in line.options):
        raise click.UsageError(f"-r is not there: {_FOLDER}")
    if not any(option.means("e", "--regexp") or _names_patterns(option) for option in line.options):
        if not line.operands:
            raise click.UsageError("which PATTERN? llmzip grep [OPTION]... PATTERN [FILE]...")
        line.options.append(Option("-e", line.operands.pop(0)))
    with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
        line.options = [_kept(option, Path(folder)) for option in line.options]
        click.get_current_context().exit(_search(line))


def _names_patterns(option: Option) -> bool:
    return option.means("f", "--file")


def _kept(option: Option, folder: Path) -> Option:
    """The option; of patterns that can be read only once, one with a copy: each file has a grep of
    its own.
    """
    if option.value is None or not _names_patterns(option):
        return option
    path = Path("/dev/stdin" if option.value == "-" else option.value)
    if stat.S_ISREG(path.stat().st_mode) and option.value != "-":
        return option
    copy = folder / str(len(list(folder.iterdir())))
    copy.write_bytes(sys.stdin.buffer.read() if option.value == "-" else path.read_bytes())
    return Option(option.name, str(copy))


def _search(line: CommandLine) -> int:
    """Search the files; the exit code."""
    silent = any(option.means("s", "--no-messages") for option in line.options)
    quiet = any(option.means("q", "--quiet", "--silent") for option in line.options)
    arguments = line.arguments(line.operands or ["-"])
    command = [program("grep")]
    if len(line.operands) > 1:
        command.append("-H")
    command += [word for option in line.options for word in option.words]
    code, found = _NOT_FOUND, False

    def complain(label: str, error: Exception) -> None:
        nonlocal code
        code = _TROUBLE
        if not silent or isinstance(error, LLMZipError):
            say_error(label, error)

    for source in sources(arguments, complain):
        try:
            check(source, arguments, _FOLDER)
            result = _search_one(source, command, arguments)
        except (LLMZipError, RefusalError, OSError, MemoryError) as error:
            complain(source.label, error)
            continue
        if result == _FOUND:
            found = True
            if quiet:
                return _FOUND
        elif result != _NOT_FOUND:
            return result  # and it has said why
    return code if code == _TROUBLE or not found else _FOUND


def _search_one(source: Source, command: list[str], arguments: Arguments) -> int:
    label = "(standard input)" if source.path is None else str(source.path)
    with subprocess.Popen([*command, f"--label={label}"], stdin=subprocess.PIPE) as grep:
        assert grep.stdin is not None
        try:
            # It may have seen enough before the end.
            with contextlib.suppress(BrokenPipeError), grep.stdin:
                pour(source, Sink(grep.stdin.fileno(), "grep", closefd=False), arguments)
        finally:
            grep.stdin.close()
        return grep.wait()


grep = WrappingCommand(
    "grep",
    _run,
    help="Search PATTERN in the text of files, compressed or not, with the options of grep.",
    options_metavar="[OPTION OF GREP]... PATTERN [FILE]...",
)
