"""Two models with the same weights that split text differently: each name has its own rules, and
every file decodes.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import pytest

import llmzip
from llmzip import engine_loader
from llmzip.errors import DictionaryError, IntegrityError
from llmzip.model import registry
from llmzip.model.integer_model import MODEL_FILE, text_digest
from llmzip.model.store import ModelStore
from tests import tiny

TEXT = b"the cat and the hat in the end and the other one on the hand"


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "models"
    engine_loader._loaded = None
    engine_loader._resolved.clear()


@pytest.fixture
def merging(tmp_path: pathlib.Path) -> str:
    return str(tiny.write_directory(tmp_path / "merging", tiny.make()))


@pytest.fixture
def splitting(tmp_path: pathlib.Path) -> str:
    """The same weights and tokens; each character is cut off."""
    path = tiny.write_directory(tmp_path / "splitting", tiny.make())
    described = json.loads((path / "tokenizer.json").read_text())
    described["model"]["merges"] = []
    (path / "tokenizer.json").write_text(json.dumps(described))
    return str(path)


def tokens(name: str) -> int:
    return len(ModelStore().resolve(name).tokenizer.encode(TEXT).ids)


def test_each_name_has_its_own_rules(merging: str, splitting: str, cache: pathlib.Path) -> None:
    store = ModelStore()
    first, second = store.pull(merging), store.pull(splitting)
    assert first.fingerprint == second.fingerprint
    assert (first.name, second.name) == ("merging", "splitting")
    assert (
        second.folder
        == f"{first.folder}-{text_digest(store.resolve(splitting).vocabulary.rules)[:16]}"
    )
    for merging_name, splitting_name in ((merging, splitting), ("merging", "splitting")):
        assert (tokens(merging_name), tokens(splitting_name)) == (
            tokens(first.fingerprint),
            len(TEXT),
        )
    assert tokens("merging") < len(TEXT)
    assert store.pull(splitting) == second
    assert len(store.list()) == 2
    store.remove("splitting")
    assert [entry.name for entry in store.list()] == ["merging"]
    assert tokens(splitting) == len(TEXT)  # converted again


@pytest.mark.parametrize("order", [["merging", "splitting"], ["splitting", "merging"]])
def test_one_process_uses_both(merging: str, splitting: str, order: list[str]) -> None:
    """The engine that is kept from the name before has the other rules."""
    paths = {"merging": merging, "splitting": splitting}
    for path in paths.values():
        ModelStore().pull(path)
    counts = {}
    for name in (*order, *order):
        tokens = (
            engine_loader.EngineLoader(paths[name]).for_compression().model.tokenizer.encode(TEXT)
        )
        assert counts.setdefault(name, len(tokens.ids)) == len(tokens.ids)
    assert counts["merging"] < counts["splitting"] == len(TEXT)
    for name in order:
        packed = llmzip.compress(TEXT, 1, model=paths[name])
        assert llmzip.decompress(packed) == TEXT
        for other in order:
            assert llmzip.decompress(packed, model=paths[other]) == TEXT


def test_a_file_with_a_dictionary_decodes_whichever_rules_cut_the_reference(
    merging: str, splitting: str
) -> None:
    for path in (merging, splitting):
        ModelStore().pull(path)
    dictionary = llmzip.Dictionary(TEXT * 3)
    for path in (merging, splitting):
        packed = llmzip.compress(TEXT, 1, model=path, dictionary=dictionary)
        assert llmzip.decompress(packed, dictionary=dictionary) == TEXT
        for other in (merging, splitting):
            assert llmzip.decompress(packed, dictionary=TEXT * 3, model=other) == TEXT
        with pytest.raises(DictionaryError, match="another dictionary"):
            llmzip.decompress(packed, dictionary=TEXT)


def test_a_registered_name_stands_for_its_rules(
    merging: str, splitting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    model = ModelStore().resolve(merging)
    ModelStore().remove("merging")
    entry = dataclasses.replace(
        registry.REGISTRY[0],
        name="registered",
        fingerprint=model.fingerprint.hex(),
        rules_sha256=text_digest(model.vocabulary.rules),
    )
    monkeypatch.setattr(registry, "REGISTRY", (entry,))
    assert ModelStore().pull(splitting).name == "splitting"
    assert ModelStore().pull(merging).name == "registered"
    assert tokens("registered") == tokens(merging) < len(TEXT)


def test_rules_under_another_folders_name_are_damage(
    merging: str, splitting: str, cache: pathlib.Path
) -> None:
    first, second = (ModelStore().pull(path) for path in (merging, splitting))
    (cache / second.folder / MODEL_FILE).write_bytes(
        (cache / first.folder / MODEL_FILE).read_bytes()
    )
    with pytest.raises(IntegrityError, match="damaged"):
        ModelStore().resolve("splitting")


def test_settings_that_say_nothing_make_no_other_rules(
    merging: str, tmp_path: pathlib.Path
) -> None:
    path = tiny.write_directory(tmp_path / "wordy", tiny.make())
    described = json.loads((path / "tokenizer.json").read_text())
    described["model"] |= {
        "dropout": None,
        "unk_token": None,
        "fuse_unk": False,
        "byte_fallback": False,
    }
    described["model"]["merges"] = [merge.split(" ") for merge in described["model"]["merges"]]
    (path / "tokenizer.json").write_text(json.dumps(described))
    assert ModelStore().pull(str(path)) == ModelStore().pull(merging)
