"""`llmzip corpora`: list, fetch and find texts to measure with."""

from __future__ import annotations

import json
import os

import click

from llmzip.cli.messages import say
from llmzip.cli.names import NAME
from llmzip.cli.progress import CorpusProgress
from llmzip.corpora import library, registry
from llmzip.corpora.builtin import BUILTIN
from llmzip.errors import LLMZipError


@click.group()
def corpora() -> None:
    """List, fetch and find texts to measure with."""


@corpora.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_corpora(as_json: bool) -> None:
    """List the built-in corpora and those that `fetch` knows."""
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "state": "built in",
            "license": "generated",
            "description": (make.__doc__ or "").strip(),
        }
        for name, make in BUILTIN.items()
    ]
    for row in rows[:2]:
        row["license"] = "PSF-2.0"
    for corpus in registry.CORPORA:
        state = "fetched" if library.folder_of(corpus).is_dir() else "not fetched"
        rows.append(
            {
                "name": corpus.name,
                "state": state,
                "license": corpus.license,
                "description": corpus.description,
                "url": corpus.url,
                "download_bytes": corpus.download_bytes,
                "sha256": corpus.sha256 or "trust on first use",
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:<15} {row['state']:<12} {row['description']}  [{row['license']}]")


@corpora.command()
@click.argument("names", type=NAME, nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Download, verify and unpack corpora; an interrupted download goes on where it stopped."""
    for name in names:
        click.echo(os.fsencode(library.fetch(_known(name), CorpusProgress(name).show, say)))


@corpora.command()
@click.argument("name", type=NAME)
def path(name: str) -> None:
    """Print the folder of a fetched corpus."""
    folder = library.folder_of(_known(name))
    if not folder.is_dir():
        raise LLMZipError(f"the corpus {name} is not here; run `llmzip corpora fetch {name}`")
    click.echo(os.fsencode(folder))  # for a shell: the bytes, whatever the locale


def _known(name: str) -> registry.Corpus:
    corpus = registry.by_name(name)
    if corpus is None:
        kind = (
            "is built in: it needs no fetching"
            if name in BUILTIN
            else "is no corpus that can be fetched"
        )
        raise LLMZipError(f"{name} {kind}; known are {', '.join(c.name for c in registry.CORPORA)}")
    return corpus
