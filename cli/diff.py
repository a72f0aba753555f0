"""`llmzip diff`: the system's diff on decompressed text."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import click

from llmzip.cli.arguments import Arguments
from llmzip.cli.files import RefusalError, Sink, has_suffix
from llmzip.cli.inputs import check, sources
from llmzip.cli.messages import say_error
from llmzip.cli.paths import shown
from llmzip.cli.restore import pour
from llmzip.cli.wrapping import WrappingCommand, program, split
from llmzip.errors import LLMZipError

_LETTERS = "CDFILSUWXx"
_NAMES = (
    "--label",
    "--show-function-line",
    "--ignore-matching-lines",
    "--width",
    "--tabsize",
    "--exclude",
    "--exclude-from",
    "--starting-file",
    "--horizon-lines",
)
_TROUBLE = 2
"""diff's exit code for what it could not compare."""


def _run(words: list[str]) -> None:
    line = split(words, _LETTERS, _NAMES)
    names = line.operands
    arguments = line.arguments(names)
    if len(names) == 1 and (suffix := has_suffix(names[0], arguments.suffixes)):
        names = [names[0], names[0].removesuffix(suffix)]
    if len(names) != 2 or names.count("-") > 1:
        raise click.UsageError("which files? llmzip diff [OPTION]... FILE.llmz [FILE]")
    context = click.get_current_context()
    with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
        try:
            paths: list[str] = []
            for name in names:
                label = "stdin" if name == "-" else shown(name)
                target = Path(folder, str(len(paths)))
                paths.append(str(_content(name, target, line.arguments([name]))))
        except (LLMZipError, RefusalError, OSError, MemoryError) as error:
            say_error(label, error)
            context.exit(_TROUBLE)
        command = [program("diff")]
        if not any(option.means("L", "--label") for option in line.options):
            command += [f"--label={name}" for name in names]
        command += [word for option in line.options for word in option.words]
        context.exit(subprocess.call([*command, "--", *paths]))


def _content(name: str, target: Path, arguments: Arguments) -> Path:
    """A file with the content of the file of this name."""

    def complain(label: str, error: Exception) -> None:
        raise error

    (source,) = sources(arguments, complain)
    check(source, arguments, "one file is compared with one")
    with target.open("xb", buffering=0) as file:
        pour(source, Sink(file.fileno(), str(target), closefd=False), arguments)
    return target


diff = WrappingCommand(
    "diff",
    _run,
    help="Compare the text of two files, compressed or not, or of FILE.llmz and FILE.",
    options_metavar="[OPTION OF DIFF]... FILE.llmz [FILE]",
)
