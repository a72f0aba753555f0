"""`llmzip tokens`: prompts of fewer tokens, and back."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llmzip.cli.messages import about, reporting, say
from llmzip.cli.names import NAME
from llmzip.cli.outputs import open_output, refuse_same
from llmzip.cli.sizes import counted
from llmzip.ltsc.prompts import ShortPrompt, load_tokenizer, shorten
from llmzip.ltsc.transform import attention_saving, reduction

_FILE = click.argument("file", type=NAME, default="-")
_OUTPUT = click.option(
    "-o", "--output", type=NAME, default="-", metavar="FILE", help="Write to this file."
)
_FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite it.")
_TOKENIZER = click.option(
    "-t",
    "--tokenizer",
    type=NAME,
    metavar="NAME",
    help="A tokenizer.json, a folder with one, or an installed model; the default model's without.",
)


@click.group()
def tokens() -> None:
    """Make prompts of fewer tokens by meta-tokens, and restore them."""


@tokens.command()
@_FILE
@_OUTPUT
@_FORCE
@_TOKENIZER
@click.option(
    "--hierarchical", is_flag=True, help="Let meta-tokens stand for meta-tokens: fewer tokens."
)
@click.option("-q", "--quiet", is_flag=True, help="Do not say what was saved.")
@reporting
def compress(
    file: str, output: str, force: bool, tokenizer: str | None, hierarchical: bool, quiet: bool
) -> None:
    """Split FILE into tokens and replace repeats; JSON with the ids, dictionary first.

    With V the size of the vocabulary, V begins and V + 1 ends the dictionary, and V + 2 + k is
    meta-token k.
    """
    data = _read(file)
    chosen = load_tokenizer(tokenizer)
    tokens = chosen.encode(data)
    prompt = shorten(tokens, tokenizer, chosen.vocabulary, hierarchical)
    _write(prompt.to_json().encode() + b"\n", file, output, force)
    if not quiet:
        share = reduction(len(tokens.ids), len(prompt.ids))
        say(
            f"{len(tokens.ids):,} -> {counted(len(prompt.ids), 'token')}, "
            f"{100 * share:.1f} % fewer, {100 * attention_saving(share):.1f} % less attention"
        )
    if chosen.decode(tokens) != data:
        say(
            "this tokenizer does not keep the text: expand restores its tokens, "
            "and the text as it joins them"
        )


@tokens.command()
@_FILE
@_OUTPUT
@_FORCE
@_TOKENIZER
@click.option("--ids", is_flag=True, help="Write the token ids as JSON, not the text.")
@reporting
def expand(file: str, output: str, force: bool, tokenizer: str | None, ids: bool) -> None:
    """Restore the text, or with --ids the tokens, of what compress has written."""
    with about(file):
        prompt = ShortPrompt.from_json(_read(file))
        restored = prompt.expand()
    if ids:
        _write(f"{restored.ids.tolist()}\n".encode(), file, output, force)
    else:
        _write(load_tokenizer(tokenizer or prompt.tokenizer).decode(restored), file, output, force)


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _write(data: bytes, file: str, output: str, force: bool) -> None:
    refuse_same(file, output)
    with open_output(output, force) as sink:
        sink.write(data)
