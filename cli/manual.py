"""The manual page, made from the command line itself: python -m llmzip.cli.manual > docs/llmzip.1
(a test compares the two).
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from llmzip.cli.command import Command
from llmzip.cli.main import BY_PROGRAM, llmzip

_EXIT = (
    ("0", "All was done."),
    ("1", "Something was not: a line for each file says why; the others were worked on."),
    ("2", "The command line, or a variable in the environment, is wrong."),
)
_ENVIRONMENT = (
    ("LLMZIP_LEVEL", "The level, 1 to 9."),
    ("LLMZIP_TARGET_TIME", "How long a file may take in each direction: chooses the level."),
    ("LLMZIP_TARGET_MEMORY", "How much memory decoding may take: chooses the level."),
    ("LLMZIP_MODEL", "The model for compression."),
    ("LLMZIP_NUM_THREADS", "The number of threads; 0 for all processors."),
    ("LLMZIP_CACHE", "The folder of installed models and fetched corpora."),
)
_EXAMPLES = (
    ("llmzip notes.txt", "Make notes.txt.llmz."),
    ("llmzip -d notes.txt.llmz", "Restore notes.txt."),
    ("tar -I llmzip -cf notes.tar.llmz notes", "Archive a folder."),
    ("llmzgrep -n pattern *.llmz", "Search compressed files."),
)


def page() -> str:
    """The page in the language of man(7)."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    context = click.Context(llmzip, info_name="llmzip", **llmzip.context_settings)
    yield '.TH LLMZIP 1 "" llmzip "User Commands"'
    yield ".SH NAME"
    names = ", ".join(["llmzip", *sorted(BY_PROGRAM)])
    yield f"{_text(names)} \\- compress text with a language model"
    yield ".SH SYNOPSIS"
    yield ".B llmzip\n[\\fIOPTION\\fR]... [\\fIFILE\\fR]..."
    yield ".br\n.B llmzip\n\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]..."
    yield ".SH DESCRIPTION"
    yield _text(llmzip.help or "")
    yield ".SH OPTIONS"
    yield from _sections(llmzip, context)
    yield ".SH COMMANDS"
    yield "Each one's options are shown by \\fBllmzip\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR."
    for name, load in llmzip.commands.items():
        yield from _entry(f"\\fB{name}\\fR", load().get_short_help_str(limit=200))
    yield ".SH OTHER NAMES"
    yield "Called by another name, the program is one of its commands."
    for name, first in sorted(BY_PROGRAM.items()):
        yield from _entry(f"\\fB{name}\\fR", f"llmzip {first}")
    for title, entries in (
        ("EXIT STATUS", _EXIT),
        ("ENVIRONMENT", _ENVIRONMENT),
        ("EXAMPLES", _EXAMPLES),
    ):
        yield f".SH {title}"
        for what, meaning in entries:
            yield from _entry(f"\\fB{_text(what)}\\fR", meaning)


def _sections(command: Command, context: click.Context) -> Iterator[str]:
    for title, section in command.sections.items():
        yield f".SS {title}"
        for option in section:
            if not option.hidden:
                yield from _entry(_names(option), option.help or "")
        if title == "Messages" and (help_option := command.get_help_option(context)):
            yield from _entry(_names(help_option), help_option.help or "")


def _names(option: click.Option) -> str:
    names = [f"\\fB{_text(name)}\\fR" for name in (*option.opts, *option.secondary_opts)]
    return ", ".join(names) + ("" if option.is_flag else f" \\fI{_text(_value(option))}\\fR")


def _value(option: click.Option) -> str:
    """What stands for the value."""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return option.type.name.upper()


def _entry(what: str, meaning: str) -> Iterator[str]:
    yield f".TP\n{what}\n{_text(meaning)}"


def _text(text: str) -> str:
    """Text for roff: backslashes and hyphens are themselves, and no line begins with a command."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    click.echo(page(), nl=False)
