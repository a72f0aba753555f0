"""`llmzip eval verify`: claimed bits/byte, checked for what cannot be faked."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmzip.cli.eval.measurement import DATA_HELP, Measurement, measuring
from llmzip.cli.messages import say
from llmzip.cli.names import NAME, FilePath
from llmzip.cli.numbers import FiniteNumber, WholeNumber
from llmzip.errors import LLMZipError

if TYPE_CHECKING:
    from llmzip.evaluation.checks import Check
    from llmzip.evaluation.subjects import Subject
    from llmzip.evaluation.verify import Verification


@dataclasses.dataclass(frozen=True)
class _Verified:
    """What `llmzip eval verify` prints."""

    scorer: str
    holds: bool
    proven: bool
    texts: list[Verification]


@click.command()
@click.option(
    "--scorer", metavar="MODULE:ATTRIBUTE", help="A scorer in Python, in place of a model."
)
@click.option("--command", help="A command that prints its code lengths, in place of a model.")
@click.option(
    "-d",
    "--data",
    type=NAME,
    default="corpus:python-topics:8192",
    show_default=True,
    help=DATA_HELP,
)
@click.option(
    "--claimed",
    type=FiniteNumber(min=0),
    metavar="BITS",
    help="The published bits/byte, if it prints none.",
)
@click.option("--context", type=WholeNumber(2), default=1024, help="Tokens per segment of a model.")
@click.option(
    "--steps",
    type=WholeNumber(1),
    default=16,
    show_default=True,
    help="So many steps show their whole distribution.",
)
@click.option(
    "--cuts",
    type=WholeNumber(1),
    default=4,
    show_default=True,
    help="So many places at which the future is changed.",
)
@click.option(
    "--tolerance",
    type=FiniteNumber(min=0),
    default=0.01,
    show_default=True,
    help="How far two scores of a step may differ [bits].",
)
@click.option("--seed", type=WholeNumber(0), help="Chooses steps and places; default: at random.")
@click.option(
    "--coded", type=FilePath(dir_okay=False), help="Code the text into that file, and decode it."
)
@click.option(
    "--decode", type=FilePath(exists=True, dir_okay=False), help="Only decode such a file."
)
@click.option(
    "--allow-unproven", is_flag=True, help="Exit code 0 as well where a claim was not shown."
)
@measuring
@click.pass_context
def verify(
    click_context: click.Context,
    work: Measurement,
    scorer: str | None,
    command: str | None,
    data: str,
    claimed: float | None,
    context: int,
    steps: int,
    cuts: int,
    tolerance: float,
    seed: int | None,
    coded: Path | None,
    decode: Path | None,
    allow_unproven: bool,
) -> None:
    """Check claimed bits/byte for what cannot be faked.

    Each byte scored once, the rate on the bytes of the original, distributions that sum to one and
    give what is claimed, no look at what follows, on request a file that another process decodes.
    Exit code 0: every claim holds; 1: one fails or was not shown, and stderr says which.
    """
    from llmzip.evaluation import claim_coding
    from llmzip.evaluation.subjects import foreign
    from llmzip.evaluation.verify import Sampling
    from llmzip.evaluation.verify import verify as examine

    if (scorer is not None) + (command is not None) + (work.model is not None) > 1:
        raise click.UsageError("--model, --scorer, --command: one of them")
    subject = _subject(work, scorer, command, context)
    if decode:
        if subject.predictor is None:
            raise LLMZipError(f"{subject.name}: cannot decode")
        with foreign(subject.name, "decoding"):
            content = claim_coding.decode(subject.predictor, decode.read_bytes())
        sys.stdout.buffer.write(content)
        return
    texts = work.texts(data)
    if coded and len(texts) > 1:
        raise click.UsageError(f"--coded is for one text; {data} has {len(texts)}")
    found = []
    for text in texts:
        progress = work.progress.begin(f"{subject.name}: {text.name}")

        def decoding(file: bytes) -> bytes:
            assert coded
            coded.write_bytes(file)
            return _decoded(coded, work, scorer, context)

        found.append(
            examine(
                subject,
                text.name,
                text.data,
                Sampling(steps, cuts, tolerance, seed),
                published=claimed,
                decoding=decoding if coded else None,
                progress=progress,
            )
        )
    result = _Verified(
        subject.name, all(v.holds for v in found), all(v.proven for v in found), found
    )
    work.finish(result)
    for verification in found:
        for check in verification.checks:
            if not check.holds:
                say(f"{verification.text}: {_sentence(check)}")
    if not (result.holds if allow_unproven else result.proven):
        click_context.exit(1)


def _subject(work: Measurement, scorer: str | None, command: str | None, context: int) -> Subject:
    from llmzip.evaluation.subjects import CommandSubject, PythonSubject, load_subject
    from llmzip.scoring.claims import ModelClaims

    if scorer is not None:
        return load_subject(scorer)
    if command is not None:
        return CommandSubject(command)
    model = work.scorer()
    return PythonSubject(ModelClaims(model, context), model.model_card.name)


def _sentence(check: Check) -> str:
    """Which claim fails, and by how much."""
    if check.holds is None:
        return f"{check.claim} is not proven: {check.detail}"
    off = "" if check.off_by is None else f" by {check.off_by:g} {check.unit}"
    return f"{check.claim} fails{off}: {check.detail}"


def _decoded(file: Path, work: Measurement, scorer: str | None, context: int) -> bytes:
    """The text of a file, by a process that has nothing else; raises LLMZipError where it fails."""
    loader = work.loader
    words = ["--scorer", scorer] if scorer else ["--model", work.model] if work.model else []
    words += ["--context", str(context), "--dtype", loader.dtype, "--device", loader.device]
    words += ["--engine", loader.engine, "--offline" if loader.offline else "--online"]
    words += [] if loader.threads is None else ["--threads", str(loader.threads)]
    with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
        alone = Path(folder, "coded")
        alone.write_bytes(file.read_bytes())
        ran = subprocess.run(
            [sys.executable, "-m", "llmzip", "eval", "verify", *words, "--decode", str(alone)],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    if ran.returncode:
        raise LLMZipError(f"{file}: not decoded: {ran.stderr.decode(errors='replace').strip()}")
    return ran.stdout
