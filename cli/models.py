"""`llmzip models`: install, convert, list, show, export, import and remove models."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from llmzip.cli.mender import Mender
from llmzip.cli.messages import reporting
from llmzip.cli.names import NAME
from llmzip.cli.paths import shown
from llmzip.cli.progress import model_progress
from llmzip.errors import LLMZipError
from llmzip.extras import needing
from llmzip.model import hub_models, registry
from llmzip.model.cache import CachedModel
from llmzip.model.hub_models import HubModel
from llmzip.model.registry import RegistryEntry
from llmzip.model.store import FloatSource, ModelStore
from llmzip.model.transfer import export_model, import_model

if TYPE_CHECKING:
    from llmzip.scoring.fidelity import Fidelity

_SHOWN_DIGITS = 16

SAMPLE = "corpus:python-topics:16384"
"""What `convert` measures on, unless told otherwise: a text that every machine has."""


@click.group()
def models() -> None:
    """Install, convert, list, show, export, import and remove models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def list_models(as_json: bool) -> None:
    """List the installed models, and those that `pull` knows by name."""
    cached = ModelStore().list()
    installed = {model.fingerprint for model in cached}
    rows = [_cached_row(model) for model in cached]
    rows += [
        _available_row(entry) for entry in registry.REGISTRY if entry.fingerprint not in installed
    ]
    names = {model.name for model in cached}
    rows += [_hub_row(model) for model in hub_models.HUB_MODELS if model.name not in names]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [("NAME", "FINGERPRINT", "SIZE", "STATE", "SOURCE")]
    table += [
        (
            shown(row["name"]),
            (row["fingerprint"] or "-")[:_SHOWN_DIGITS],
            _size(row["size_bytes"]),
            row["state"],
            shown(row["source"] or "-"),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


@models.command()
@click.argument("name", type=NAME)
@click.option(
    "--adapter",
    type=NAME,
    metavar="PATH",
    help="Merge an adapter: the file that `llmzip tune` made, or a folder with a LoRA of peft.",
)
@click.option(
    "--name", "label", type=NAME, help="What the model is called; by default as its source is."
)
@click.option(
    "--mend",
    is_flag=True,
    help="Where outliers make integers lose more than 0.5 %, choose what mends.",
)
@click.option("--offline", is_flag=True, help="Never use the network.")
@reporting
def pull(name: str, adapter: str | None, label: str | None, mend: bool, offline: bool) -> None:
    """Download and convert a model.

    NAME is a registered name, a model directory, a .gguf file, or a Hugging Face hub id
    owner/name[@revision]. Names that `list` shows with a repository stand for what their first
    download brings.
    """
    store = ModelStore(offline=offline)
    known = hub_models.by_name(name) is None or store.trust.get(name) is not None
    with model_progress() as progress:
        mender = Mender(progress) if mend else None
        added = pathlib.Path(adapter) if adapter is not None else None
        model = store.pull(name, progress, added, label, mender)
    trusted = store.trust.get(name) if not known else None
    if trusted:
        click.echo(
            f"{name}: no digest is known; trusted from now on: commit {trusted.commit}, "
            f"SHA-256 {trusted.sha256}",
            err=True,
        )
    _say_installed(model, label)
    if mender and mender.is_other:
        click.echo(f"mended: {mender.described}", err=True)


@models.command("export")
@click.argument("name", type=NAME)
@click.argument("file", type=NAME)
@click.option("-f", "--force", is_flag=True, help="Overwrite FILE.")
@reporting
def export_to_file(name: str, file: str, force: bool) -> None:
    """Write an installed model to FILE, for `import` on another machine.

    A model that `llmzip tune` made can travel as its adapter, too, which is much smaller: `pull
    --adapter`.
    """
    export_model(ModelStore(offline=True), name, pathlib.Path(file), force)


@models.command("import")
@click.argument("file", type=NAME)
@click.option("--name", "label", type=NAME, help="What the model is called; by default as FILE.")
@reporting
def import_from_file(file: str, label: str | None) -> None:
    """Install a model from a FILE that `export` wrote; no network, no conversion."""
    _say_installed(import_model(ModelStore(offline=True), pathlib.Path(file), label), label)


@models.command()
@click.argument("source", type=NAME)
@click.option(
    "-d",
    "--data",
    type=NAME,
    default=SAMPLE,
    show_default=True,
    help="The sample: corpus, file or folder; NAME:BYTES takes the first so many bytes.",
)
@click.option("--adapter", type=NAME, metavar="PATH", help="Merge a folder with a LoRA of peft.")
@click.option(
    "--name", "label", type=NAME, help="What the model is called; by default as its source is."
)
@click.option("--offline", is_flag=True, help="Never use the network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def convert(
    source: str, data: str, adapter: str | None, label: str | None, offline: bool, as_json: bool
) -> None:
    """Install a model, and measure what the integers cost.

    SOURCE is a model directory, a .gguf file, a registered name, or a hub id owner/name[@revision].
    A sample is coded under the published weights in float32 and under the integers. Where outliers
    make these lose more than 0.5 %, what mends it is chosen, as by `pull --mend`. Needs the extra
    eval.
    """
    store = ModelStore(offline=offline)
    lora = pathlib.Path(adapter) if adapter is not None else None
    if lora is not None and lora.is_file():
        raise LLMZipError(
            f"{shown(str(lora))}: not a folder with a LoRA of peft; a model with an adapter of "
            "`llmzip tune` cannot be measured so: use `llmzip models pull`"
        )
    with model_progress() as progress:
        mender = Mender(progress)
        model = store.pull(source, progress, lora, label, mender)
        prints = [mender.before, model.fingerprint] if mender.is_other else [model.fingerprint]
        with store.cache.scratch() as folder:
            published = store.float_source(source, folder, progress)
            *before, measured = _fidelities(published, lora, prints, data)
    found = {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "sample": data,
        "sample_bytes": measured.sample_bytes,
        "float32_bits_per_byte": measured.published,
        "integer_bits_per_byte": measured.integer,
        "cost": measured.cost,
        "cost_before_mending": before[0].cost if before else None,
        "mended_by": mender.changes,
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(
        f"{shown(model.name)} {model.fingerprint[:_SHOWN_DIGITS]} on {data}: "
        f"float32 {measured.published:.4f} bits/byte, integers {measured.integer:.4f} "
        f"({100 * measured.cost:+.2f} %)"
    )
    if before:
        click.echo(f"mended: {before[0].cost:+.2%} before; {mender.described}")


@models.command()
@click.argument("name", type=NAME)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def show(name: str, as_json: bool) -> None:
    """Show what is known about a model, and verify it if it is installed."""
    details = ModelStore().show(name)
    facts: dict[str, Any] = {}
    if details.registered:
        entry = details.registered
        facts |= _available_row(entry)
        facts |= {
            "description": entry.description,
            "license": entry.license,
            "aliases": list(entry.aliases),
        }
    if details.cached:
        facts |= _cached_row(details.cached)
    if details.spec:
        facts["spec"] = dataclasses.asdict(details.spec)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for key, value in (facts | facts.pop("spec", {})).items():
        click.echo(f"{key + ':':<16} {_text(value)}")


@models.command()
@click.argument("name", type=NAME)
@reporting
def remove(name: str) -> None:
    """Delete an installed model, given by its name or at least 8 hex digits of its fingerprint."""
    model = ModelStore().remove(name)
    click.echo(f"{model.name} {model.fingerprint[:_SHOWN_DIGITS]} is removed", err=True)


def _say_installed(model: CachedModel, label: str | None) -> None:
    """Say it; `label` is the name that was asked for."""
    click.echo(
        f"{model.name} {model.fingerprint[:_SHOWN_DIGITS]} is installed "
        f"({_size(model.size_bytes)})",
        err=True,
    )
    if label not in (None, model.name):
        click.echo(
            f"it was installed before and keeps its name, {model.name}: to call it {label}, "
            f"`llmzip models remove {model.name}` first",
            err=True,
        )


def _fidelities(
    source: FloatSource, lora: pathlib.Path | None, fingerprints: Sequence[str], data: str
) -> list[Fidelity]:
    """What the integers of installed models of one source cost on a sample."""
    from llmzip.engine_loader import EngineLoader
    from llmzip.evaluation.options import load_texts
    from llmzip.model.peft_folder import read_peft

    if source.adapter_path:
        raise LLMZipError(
            f"{source.adapter_path.name} is merged into this model: its float weights are nowhere"
        )
    with needing("eval", "measuring published weights"):
        from llmzip.scoring.fidelity import fidelity
    sample = b"".join(text.data for text in load_texts((data,)))
    added = read_peft(lora) if lora is not None else None
    return [
        fidelity(EngineLoader(one).for_compression(), source.path, sample, added)
        for one in fingerprints
    ]


def _cached_row(model: CachedModel) -> dict[str, Any]:
    facts = dataclasses.asdict(model) | {"fingerprint": model.fingerprint, "state": model.state}
    del facts["folder"]
    return facts


def _available_row(entry: RegistryEntry) -> dict[str, Any]:
    """What `list` says about a registered model that is not installed."""
    return {
        "name": entry.name,
        "fingerprint": entry.fingerprint,
        "source": entry.requirement,
        "size_bytes": None,
        "state": "not installed",
    }


def _hub_row(model: HubModel) -> dict[str, Any]:
    """The same of a model of the hub, whose fingerprint its first download decides."""
    return {
        "name": model.name,
        "fingerprint": None,
        "source": model.repository,
        "size_bytes": None,
        "state": "not installed",
    }


def _text(value: Any) -> str:
    return (
        "-" if value is None else shown(", ".join(value) if isinstance(value, list) else str(value))
    )


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 2**20:.1f} MiB"
