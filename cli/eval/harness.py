"""`llmzip eval harness`: tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmzip.cli.eval.measurement import QUIET, Loader, loading
from llmzip.cli.names import NAME, FilePath
from llmzip.cli.numbers import FiniteNumber, WholeNumber
from llmzip.extras import needing
from llmzip.scoring.load import FLOAT_PREFIX

if TYPE_CHECKING:
    from llmzip.integrations.lm_eval import Rolling


@click.command()
@click.option(
    "-m", "--model", type=NAME, help=f"Integer model, or {FLOAT_PREFIX}NAME through transformers."
)
@click.option(
    "--tasks",
    "-t",
    required=True,
    multiple=True,
    help="Tasks, groups, patterns, YAML files: with commas between, or repeated.",
)
@click.option(
    "--include-path",
    type=FilePath(exists=True, file_okay=False),
    help="A folder with tasks of your own.",
)
@click.option(
    "--limit",
    type=FiniteNumber(min=0, min_open=True),
    help="So many examples of each task, below 1 that share of them: testing only.",
)
@click.option("--num-fewshot", type=WholeNumber(0), help="Examples before each question.")
@click.option(
    "--rolling",
    type=click.Choice(["harness", "segments", "sliding"]),
    default="harness",
    show_default=True,
    help="How long texts are cut: as the harness does, as eval does, in windows that overlap.",
)
@click.option(
    "--context",
    type=WholeNumber(1),
    default=1024,
    show_default=True,
    help="Tokens of a segment or window.",
)
@click.option(
    "--stride",
    type=WholeNumber(1),
    default=512,
    show_default=True,
    help="By how many tokens windows move.",
)
@click.option("--tokenizer", type=NAME, help="Folder or hub id with the chat template.")
@click.option("--apply-chat-template", is_flag=True, help="Write prompts with that template.")
@click.option("--seed", type=WholeNumber(0), default=0, help="For tasks that draw tokens.")
@click.option("--use-cache", type=NAME, metavar="FILE", help="Keep answers in FILE_rank0.db.")
@click.option(
    "--output", type=FilePath(dir_okay=False), help="Write the results there, as the harness does."
)
@click.option("--log-samples", is_flag=True, help="With --output: every question and answer, too.")
@QUIET
@loading
def harness(
    model: str | None,
    tasks: tuple[str, ...],
    include_path: Path | None,
    limit: float | None,
    num_fewshot: int | None,
    rolling: Rolling,
    context: int,
    stride: int,
    tokenizer: str | None,
    apply_chat_template: bool,
    seed: int,
    use_cache: str | None,
    output: Path | None,
    log_samples: bool,
    quiet: bool,
    loader: Loader,
) -> None:
    """Run tasks of lm-evaluation-harness on a model; prints its table."""
    with needing("harness", "lm-evaluation-harness"):
        from lm_eval.utils import handle_non_serializable

        from llmzip.integrations.lm_eval import LLMZipLM
        from llmzip.integrations.lm_eval_tasks import evaluate, table

    found = evaluate(
        LLMZipLM(
            model,
            rolling=rolling,
            context=context,
            stride=stride,
            tokenizer=tokenizer,
            seed=seed,
            dtype=loader.dtype,
            device=loader.device,
            engine=loader.engine,
            threads=loader.threads,
            download=not loader.offline,
        ),
        [name for names in tasks for name in names.split(",") if name],
        include_path=include_path,
        limit=limit,
        num_fewshot=num_fewshot,
        apply_chat_template=apply_chat_template,
        use_cache=use_cache,
        online=not loader.offline,
        log_samples=log_samples and output is not None,
        quiet=quiet,
    )
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=2, default=handle_non_serializable, ensure_ascii=False)
        output.write_text(text + "\n", "utf-8")
    click.echo(table(found))
