"""`llmzip tune`: a model of one's own, trained on texts like those that are to be compressed."""

from __future__ import annotations

import pathlib

import click

from llmzip.cli import options
from llmzip.cli.messages import reporting, say
from llmzip.cli.names import NAME
from llmzip.cli.numbers import FiniteNumber, WholeNumber
from llmzip.cli.progress import TrainingProgress, model_progress
from llmzip.cli.sizes import counted
from llmzip.extras import needing
from llmzip.model.store import ModelStore


def _run(
    files: tuple[str, ...],
    data: tuple[str, ...],
    valid: tuple[str, ...],
    model: str | None,
    output: str,
    folder: str | None,
    full: bool,
    rank: int,
    minutes: float | None,
    steps: int,
    batch: int,
    micro_batch: int,
    length: int,
    from_start: float,
    rate: float | None,
    seed: int,
    device: str,
    offline: bool,
) -> None:
    """Train a model on FILES and install it as NAME: `llmzip -m NAME FILE` then compresses with it.

    A folder stands for all files in it; in a file, a line that holds a single form feed separates
    documents. A run that was interrupted goes on where it was when the same command is given again.
    """
    with needing("torch", "tuning"):
        from llmzip.tuning import tune
        from llmzip.tuning.training import TrainingOptions
    texts = _files((*files, *data))
    if not texts:
        raise click.UsageError("no FILES to train on")
    work = pathlib.Path(folder or f"{output}.tuning")
    wanted = TrainingOptions(
        rank=None if full else rank,
        steps=steps,
        minutes=minutes,
        batch=batch,
        micro_batch=min(micro_batch, batch),
        length=length,
        from_start=from_start,
        rate=rate or (tune.FULL_RATE if full else tune.LOW_RANK_RATE),
        seed=seed,
        patience=5,
    )
    store = ModelStore(offline=offline)
    with model_progress() as progress:
        base = store.float_source(model, work, progress)
    if not (work / tune.TOKENS_FILE).exists():
        say(f"tokenizing {counted(len(texts), 'file')}")
        tune.prepare(work, base.read(), texts, _files(valid), seed=seed)
    state = tune.train(
        work, base.path, wanted, device, initial=base.adapter(), progress=TrainingProgress().show
    )
    installed = store.pull(str(base.path), adapter=work / tune.ADAPTER_FILE, label=output)
    first, best = state.curve[0]["mean"], state.best
    say(
        f"held-out text: {first:.4f} bits/byte before, "
        f"{best:.4f} after ({100 * (best / first - 1):+.1f} %)"
    )
    say(
        f"{installed.name} {installed.fingerprint[:16]} is installed; "
        f"the adapter is {work / tune.ADAPTER_FILE}"
    )


def _files(names: tuple[str, ...]) -> list[pathlib.Path]:
    """The files that are named, and those in the folders that are named, in order of names."""
    found: list[pathlib.Path] = []
    for name in names:
        path = pathlib.Path(name)
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


tune = click.Command(
    "tune",
    callback=reporting(_run),
    help=_run.__doc__,
    params=[
        click.Argument(["files"], type=NAME, nargs=-1, metavar="[FILES]..."),
        click.Option(
            ["--data"],
            type=NAME,
            multiple=True,
            metavar="FILE",
            help="The same as FILES; may be repeated.",
        ),
        click.Option(
            ["--valid"],
            type=NAME,
            multiple=True,
            metavar="FILE",
            help="Only measured; without, 5 % of the documents.",
        ),
        click.Option(
            ["-m", "--model"],
            type=NAME,
            help="The base: a registered name, .gguf file, model directory, hub id.",
        ),
        click.Option(
            ["-o", "--output"],
            type=NAME,
            required=True,
            metavar="NAME",
            help="What the new model is called.",
        ),
        click.Option(
            ["--folder"],
            type=NAME,
            metavar="FOLDER",
            help="For checkpoints, curve and adapter; NAME.tuning.",
        ),
        click.Option(
            ["--full"], is_flag=True, help="Train all numbers: a file of two bytes for each."
        ),
        click.Option(
            ["--rank"], type=WholeNumber(1, 512), default=36, help="Of the low-rank products."
        ),
        click.Option(
            ["--minutes"], type=FiniteNumber(min=0, min_open=True), help="At most so long."
        ),
        click.Option(["--steps"], type=WholeNumber(min=1), default=1000, help="At most so many."),
        click.Option(["--batch"], type=WholeNumber(min=1), default=16, help="Sequences of a step."),
        click.Option(
            ["--micro-batch"], type=WholeNumber(min=1), default=4, help="Of them at once: memory."
        ),
        click.Option(
            ["--length"], type=WholeNumber(min=16), default=2048, help="Tokens of a sequence."
        ),
        click.Option(
            ["--from-start"],
            type=FiniteNumber(0, 1),
            default=0.3,
            metavar="SHARE",
            help="Of the sequences, those that begin where a document does.",
        ),
        click.Option(
            ["--rate"],
            type=FiniteNumber(min=0, min_open=True),
            help="The highest learning rate.",
        ),
        click.Option(
            ["--seed"], type=WholeNumber(min=0), default=0, help="The same seed, the same order."
        ),
        click.Option(["--device"], default="cpu", help="cpu or cuda."),
        options.OFFLINE,
    ],
)
