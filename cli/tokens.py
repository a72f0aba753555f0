"""`llmzip tokens`: prompts of fewer tokens, and back."""

from __future__ import annotations

from typing import BinaryIO

import click

from llmzip.cli.each import reporting, say
from llmzip.ltsc.prompts import ShortPrompt, load_tokenizer, shorten
from llmzip.ltsc.transform import attention_saving, reduction

_FILE = click.argument("file", type=click.File("rb"), default="-")
_OUTPUT = click.option("-o", "--output", type=click.File("wb", lazy=True), default="-", help="Write to this file.")
_TOKENIZER = click.option(
    "-t",
    "--tokenizer",
    metavar="NAME",
    help="A tokenizer.json, a folder with one, or an installed model; the default model's without.",
)


@click.group()
def tokens() -> None:
    """Make prompts of fewer tokens by meta-tokens, and restore them."""


@tokens.command()
@_FILE
@_OUTPUT
@_TOKENIZER
@click.option("--hierarchical", is_flag=True, help="Let meta-tokens stand for meta-tokens: fewer tokens.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say what was saved.")
@reporting
def compress(file: BinaryIO, output: BinaryIO, tokenizer: str | None, hierarchical: bool, quiet: bool) -> None:
    """Cut FILE into tokens and replace repeats; JSON with the ids, dictionary first.

    With V the size of the vocabulary, V begins and V + 1 ends the dictionary, and V + 2 + k is meta-token k.
    """
    data = file.read()
    cutter = load_tokenizer(tokenizer)
    cut = cutter.encode(data)
    prompt = shorten(cut, tokenizer, cutter.vocabulary, hierarchical)
    output.write(prompt.to_json().encode() + b"\n")
    if not quiet:
        share = reduction(len(cut.ids), len(prompt.ids))
        say(
            f"{len(cut.ids):,} -> {len(prompt.ids):,} tokens, {100 * share:.1f} % fewer, "
            f"{100 * attention_saving(share):.1f} % less attention"
        )
    if cutter.decode(cut) != data:
        say("this tokenizer does not keep the text: expand restores its tokens, and the text as it joins them")


@tokens.command()
@_FILE
@_OUTPUT
@_TOKENIZER
@click.option("--ids", is_flag=True, help="Write the token ids as JSON, not the text.")
@reporting
def expand(file: BinaryIO, output: BinaryIO, tokenizer: str | None, ids: bool) -> None:
    """Restore the text, or with --ids the tokens, of what compress has written."""
    prompt = ShortPrompt.from_json(file.read())
    restored = prompt.expand()
    if ids:
        output.write(f"{restored.ids.tolist()}\n".encode())
    else:
        output.write(load_tokenizer(tokenizer or prompt.tokenizer).decode(restored))
