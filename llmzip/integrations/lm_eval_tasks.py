"""Tasks of lm-evaluation-harness, run on a model of ours: what can go wrong is one clear error."""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import datasets.config
import huggingface_hub.constants
from datasets.exceptions import DatasetsError
from lm_eval import evaluator, simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table

from llmzip.errors import LLMZipError
from llmzip.integrations.lm_eval import LLMZipLM


def evaluate(
    model: LLMZipLM,
    tasks: Sequence[str],
    *,
    include_path: pathlib.Path | None = None,
    limit: float | None = None,
    num_fewshot: int | None = None,
    apply_chat_template: bool = False,
    use_cache: str | None = None,
    online: bool = False,
    log_samples: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """The harness's results of tasks: its own format, with our `llmzip` in `config`.

    tasks: names, groups and patterns, of the harness or of YAML files in include_path, or paths of
    such files. limit: so many examples of each task, below 1 that share of them. use_cache:
    the beginning of the name of a file that keeps answers. online: whether data may be downloaded.
    quiet: without the harness's progress and warnings.

    Raises LLMZipError for tasks that are unknown or whose data are not there, and whatever the
    model raises.
    """
    with _said_to(io.StringIO() if quiet else sys.stderr), _network(online), _without_git():
        manager, names = _found(include_path, tasks)
        try:
            found = simple_evaluate(
                model=model,
                tasks=names,
                task_manager=manager,
                limit=limit,
                num_fewshot=num_fewshot,
                apply_chat_template=apply_chat_template,
                use_cache=use_cache,
                log_samples=log_samples,
            )
        except (DatasetsError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            hint = "" if online else "; --online allows downloads"
            raise LLMZipError(
                f"{', '.join(tasks)}: the data of a task cannot be had: {_brief(error)}{hint}"
            ) from error
    assert found is not None  # this is the only process
    results: dict[str, Any] = found
    return results


def table(results: dict[str, Any]) -> str:
    """Results of tasks, and of groups where there are any, as Markdown."""
    parts = ["results", *(["groups"] if results.get("groups") else [])]
    return "\n".join(make_table(results, part) for part in parts)


def _found(
    include_path: pathlib.Path | None, tasks: Sequence[str]
) -> tuple[TaskManager, list[str]]:
    """The tasks that names and patterns stand for, and what knows them.

    To read the thousands of the harness's own takes seconds: only where others do not suffice.
    """
    own = _manager(include_path, False)
    if all(name in own.all_tasks or pathlib.Path(name).is_file() for name in tasks):
        return own, list(dict.fromkeys(tasks))
    every = _manager(include_path, True)
    names = {
        name: [name] if pathlib.Path(name).is_file() else every.match_tasks([name])
        for name in tasks
    }
    for name, found in names.items():
        if not found:
            similar = difflib.get_close_matches(name, every.all_tasks, 3)
            hint = f"; there are {', '.join(similar)}" if similar else ""
            raise LLMZipError(
                f"no task {name!r}{hint} (--include-path names a folder with tasks of your own)"
            )
    return every, list(dict.fromkeys(itertools.chain.from_iterable(names.values())))


def _manager(include_path: pathlib.Path | None, include_defaults: bool) -> TaskManager:
    path = None if include_path is None else str(include_path)
    try:
        return TaskManager(include_path=path, include_defaults=include_defaults)
    except Exception as error:  # of any type: tasks are YAML that names functions
        raise LLMZipError(f"{include_path}: {_brief(error)}") from error


@contextlib.contextmanager
def _said_to(file: TextIO) -> Iterator[None]:
    """What the harness prints is for people who watch: standard output is for results."""
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


@contextlib.contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """Without the hub, unless it is allowed: what is not there is said at once."""
    modules: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = module.HF_HUB_OFFLINE or not allowed
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


@contextlib.contextmanager
def _without_git() -> Iterator[None]:
    """The harness asks git which commit the current folder is at, which says nothing of the model
    (`config.llmzip` has the commit of ours); outside of a repository, git says `fatal` on stderr.
    """
    before = evaluator.get_git_commit_hash
    evaluator.get_git_commit_hash = lambda: None
    try:
        yield
    finally:
        evaluator.get_git_commit_hash = before


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
