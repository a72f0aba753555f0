"""Models of the hub that have a name: it stands for what its first download brings."""

from __future__ import annotations

import pathlib
import shutil
import types

import click.testing
import huggingface_hub
import pytest

from llmzip.cli.models import models
from llmzip.errors import ModelError, ModelMismatchError, ModelNotFoundError
from llmzip.model.hub_models import HUB_MODELS, by_name
from llmzip.model.store import ModelStore
from tests import tiny

NAME = "qwen3-0.6b-base"


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    return ModelStore()


@pytest.fixture
def hub(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A hub where a repository has had two commits, of which `main` is the present one."""
    root = tmp_path / "snapshots"
    for seed, commit in enumerate(("a" * 40, "b" * 40)):
        tiny.write_directory(root / commit, tiny.make(seed=seed))
    found = types.SimpleNamespace(main="a" * 40, root=root, asked=[])

    def snapshot_download(
        repository: str, *, revision: str | None, local_files_only: bool, **options: object
    ) -> str:
        found.asked.append((repository, revision))
        if local_files_only:
            raise FileNotFoundError("not in the hub's cache")
        return str(root / (revision or found.main))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return found


def test_names_say_what_they_are() -> None:
    assert all(model.name.endswith("-base") for model in HUB_MODELS)
    assert len({model.name for model in HUB_MODELS}) == len(HUB_MODELS)
    assert by_name(NAME) and by_name("other") is None


def test_a_name_stands_for_its_first_download(
    store: ModelStore, hub: types.SimpleNamespace
) -> None:
    with pytest.raises(ModelNotFoundError, match=f"run `llmzip models pull {NAME}`"):
        store.resolve(NAME)
    first = store.pull(NAME)
    assert (first.name, first.commit) == (NAME, "a" * 40)
    assert first.source == f"Qwen/Qwen3-0.6B-Base@{'a' * 40}"
    assert hub.asked[-1] == ("Qwen/Qwen3-0.6B-Base", None)
    assert store.resolve(NAME).fingerprint.hex() == first.fingerprint
    hub.main = "b" * 40  # the branch goes on; the name does not
    store.remove(NAME)
    assert store.pull(NAME).fingerprint == first.fingerprint
    assert hub.asked[-1] == ("Qwen/Qwen3-0.6B-Base", "a" * 40)


def test_other_files_under_the_same_commit_are_refused(
    store: ModelStore, hub: types.SimpleNamespace
) -> None:
    store.pull(NAME)
    store.remove(NAME)
    shutil.rmtree(hub.root / ("a" * 40))
    tiny.write_directory(hub.root / ("a" * 40), tiny.make(seed=7))
    with pytest.raises(ModelMismatchError, match="to trust the new one"):
        store.pull(NAME)
    store.trust.path(NAME).unlink()
    assert store.pull(NAME).commit == "a" * 40


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"commit": "../x", "sha256": "0"}'])
def test_a_damaged_record(store: ModelStore, content: str) -> None:
    store.trust.path(NAME).parent.mkdir(parents=True)
    store.trust.path(NAME).write_text(content)
    with pytest.raises(ModelError, match="delete it to trust anew"):
        store.pull(NAME)


def test_the_command_says_what_it_trusts(store: ModelStore, hub: types.SimpleNamespace) -> None:
    first = click.testing.CliRunner().invoke(models, ["pull", NAME])
    assert first.exit_code == 0
    assert f"no digest is known; trusted from now on: commit {'a' * 40}, SHA-256 " in first.stderr
    again = click.testing.CliRunner().invoke(models, ["pull", NAME])
    assert again.exit_code == 0 and "trusted" not in again.stderr
