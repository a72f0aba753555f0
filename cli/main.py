"""The command line: `llmzip -d FILE` in the manner of gzip, and `llmzip decompress FILE` in the
manner of git.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from llmzip import drafts
from llmzip.cli import options, signals, standard
from llmzip.cli.arguments import Action
from llmzip.cli.command import Command, GzipStyleGroup
from llmzip.cli.execute import execute

_SUBCOMMANDS = {
    "models": "llmzip.cli.models:models",
    "grep": "llmzip.cli.grep:grep",
    "diff": "llmzip.cli.diff:diff",
    "less": "llmzip.cli.less:less",
    "corpora": "llmzip.cli.corpora:corpora",
    "eval": "llmzip.cli.eval.evaluate:evaluate",
    "tokens": "llmzip.cli.tokens:tokens",
    "generate": "llmzip.cli.generate:generate",
    "tune": "llmzip.cli.tune:tune",
    "records": "llmzip.cli.records:records",
    "dictionary": "llmzip.cli.dictionary:dictionary",
    "view": "llmzip.cli.view:view",
    "bench": "llmzip.cli.bench:bench",
}
"""Name -> module and command: the module is imported when the command is used."""


def _loader(location: str) -> Callable[[], click.Command]:
    module, _, attribute = location.partition(":")

    def load() -> click.Command:
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    return load


def _subcommand(
    action: Action,
    help: str,
    sections: Mapping[str, options.Section],
    name: str | None = None,
    **given: Any,
) -> Callable[[], click.Command]:
    sections = {**sections, "Messages": options.MESSAGES}
    callback = functools.partial(execute, action, **given)
    command = Command(name or action.value, sections, callback=callback, help=help)
    return lambda: command


_COMPRESSION = {
    "Input": options.INPUTS,
    "Output": options.TARGETS,
    "Compression": [
        *options.LEVEL_DIGITS,
        *options.LEVEL_TARGETS,
        *options.COMPRESSION,
        options.RESUME,
        options.OFFLINE,
    ],
    "Model": [options.DICTIONARY, *options.ENGINE, options.JOBS, options.RAY],
}
_DECODING = {
    "Input": options.INPUTS,
    "Limits": [*options.LIMITS, options.KEEP_GOING],
    "Model": [options.DICTIONARY, *options.ENGINE, options.JOBS, options.RAY],
}
_REPAIR = {
    "Input": options.INPUTS,
    "Output": [
        *(option for option in options.TARGETS if option.name != "remove"),
        options.SPARSE,
        options.JOIN,
    ],
    "Limits": options.LIMITS,
    "Model": [options.DICTIONARY, *options.ENGINE, options.JOBS],
}

llmzip = GzipStyleGroup(
    "llmzip",
    sections={
        "Action": [*options.ACTIONS, *options.LIST],
        **_COMPRESSION,
        "Decompression": [options.SPARSE, *options.LIMITS, options.KEEP_GOING],
        "Messages": options.MESSAGES,
    },
    commands={
        "cat": _subcommand(
            Action.DECOMPRESS,
            "Decompress files to standard output.",
            {"Output": [*options.SPANS, options.PASS], **_DECODING},
            name="cat",
            stdout=True,
        ),
        "compress": _subcommand(Action.COMPRESS, "Compress files.", _COMPRESSION),
        "decompress": _subcommand(
            Action.DECOMPRESS,
            "Decompress files.",
            {"Output": [*options.TARGETS, options.SPARSE], **_DECODING},
        ),
        "test": _subcommand(Action.TEST, "Test files.", _DECODING),
        "repair": _subcommand(
            Action.DECOMPRESS,
            "Get what is sound of damaged files.",
            _REPAIR,
            name="repair",
            keep_going=True,
        ),
        "list": _subcommand(
            Action.LIST, "List files.", {"Input": options.INPUTS, "Output": options.LIST}
        ),
        **{name: _loader(location) for name, location in _SUBCOMMANDS.items()},
    },
    callback=execute,
    help=(
        "Compress text with a language model, without loss. FILEs stay, and nothing is overwritten "
        "without -f; without FILE, or for -, it is standard input to standard output. "
        "A file with the name of a command is ./NAME."
    ),
)


BY_PROGRAM = {
    "unllmzip": "-d",
    "llmzcat": "cat",
    "llmzgrep": "grep",
    "llmzdiff": "diff",
    "llmzless": "less",
}
"""Name of the program -> what it begins its arguments with."""


def main() -> None:
    """Run the command line of this process, which the name of the program, or of a link to it,
    begins.
    """
    standard.prepare()
    signals.install(drafts.remove_all)
    begin = BY_PROGRAM.get(Path(sys.argv[0]).name)
    try:
        llmzip.main(args=[*([begin] if begin else []), *sys.argv[1:]], prog_name="llmzip")
    except signals.Stopped as stopped:
        signals.die(stopped.number)
