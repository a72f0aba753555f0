"""Converted models on disk: one folder a model, named by its fingerprint, that appears and disappears in one step.

    <root>/<fingerprint>/model.safetensors     the integer model
    <root>/<fingerprint>/entry.json            where it came from
    <root>/sources/<SHA-256 of the source>     the fingerprint that this source converts to
    <root>/.tmp-*                              work in progress

A folder is complete or absent: it is written under `.tmp-*` and renamed. Its content follows from its name, so that
of two processes that install the same model either may win.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator

import safetensors

from llmzip.errors import IntegrityError, LLMZipError, ModelError, ModelMismatchError, UnsupportedModelError
from llmzip.model import registry
from llmzip.model.integer_model import MODEL_FILE, IntegerModel
from llmzip.model.spec import ARITHMETIC_VERSION

_ENTRY_FILE = "entry.json"
_SOURCES = "sources"
_TEMPORARY = ".tmp-"
_ABANDONED_SECONDS = 86_400
_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class CachedModel:
    """One converted model in the cache."""

    fingerprint: str
    """In hex."""
    name: str
    source: str
    """A pip requirement, a hub id with its commit, or a path."""
    sha256: str
    """Of the source's file or files, in hex."""
    commit: str | None
    """The hub's commit that the weights are from."""
    arithmetic: int | None
    """The arithmetic version that the weights were converted for; None where entry.json cannot be read."""
    created: str
    """ISO 8601, UTC."""
    size_bytes: int

    @property
    def state(self) -> str:
        """`ready`, `outdated` (converted for another arithmetic version) or `damaged`; only ready models are used."""
        if self.arithmetic is None:
            return "damaged"
        return "ready" if self.arithmetic == ARITHMETIC_VERSION else "outdated"

    @property
    def pull_name(self) -> str:
        """What `llmzip models pull` takes to install the same model again."""
        return self.name if registry.by_name(self.name) else self.source or "PATH|HUB_ID"


class ModelCache:
    """The folder that holds converted models."""

    def __init__(self, root: pathlib.Path) -> None:
        """Use the folder `root`, which is made when the first model is added."""
        self.root = root

    def entries(self) -> list[CachedModel]:
        """All models, the newest first."""
        folders = self.root.iterdir() if self.root.is_dir() else ()
        found = [_read_entry(folder) for folder in folders if _FINGERPRINT.fullmatch(folder.name)]
        return sorted(found, key=lambda entry: (entry.created, entry.fingerprint), reverse=True)

    def get(self, fingerprint: str) -> CachedModel | None:
        """The model with this fingerprint (all 64 hex digits), if it is here and ready."""
        folder = self.root / fingerprint
        entry = _read_entry(folder) if folder.is_dir() else None
        return entry if entry and entry.state == "ready" else None

    def of_source(self, sha256: str) -> CachedModel | None:
        """The model that a source with this digest was converted to, if it is here and ready."""
        try:
            return self.get((self.root / _SOURCES / sha256).read_text("ascii"))
        except (OSError, ValueError):
            return None

    def load(self, entry: CachedModel) -> IntegerModel:
        """Read a model and verify it.

        Raises ModelMismatchError for a model of another arithmetic version, IntegrityError for a damaged one.
        """
        if entry.state == "outdated":
            raise ModelMismatchError(
                f"the cached model {entry.name} was converted for arithmetic version {entry.arithmetic}, this program "
                f"has {ARITHMETIC_VERSION}; run `llmzip models pull {entry.pull_name}`"
            )
        path = self.root / entry.fingerprint
        try:
            model = IntegerModel.load(path / MODEL_FILE)
        except UnsupportedModelError:
            raise
        except (LLMZipError, OSError) as error:
            raise _damaged(entry, path) from error
        if entry.state == "damaged" or model.fingerprint.hex() != entry.fingerprint:
            raise _damaged(entry, path)
        return model

    def add(self, model: IntegerModel, name: str, source: str, sha256: str, commit: str | None = None) -> CachedModel:
        """Store a model, or leave the one with the same fingerprint that is here already.

        Raises ModelError or OSError when it cannot be written; nothing is left behind then.
        """
        fingerprint = model.fingerprint.hex()
        target = self.root / fingerprint
        if target.is_dir() and not self.get(fingerprint):
            self.remove(fingerprint)
        with self.scratch() as folder:
            staged = folder / fingerprint
            staged.mkdir()
            try:
                model.save(staged / MODEL_FILE)
            except safetensors.SafetensorError as error:
                raise ModelError(f"{self.root}: cannot write the model: {error}") from error
            described = {
                "name": name,
                "source": source,
                "sha256": sha256,
                "commit": commit,
                "arithmetic": ARITHMETIC_VERSION,
                "created": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                "size_bytes": (staged / MODEL_FILE).stat().st_size,
            }
            (staged / _ENTRY_FILE).write_text(json.dumps(described, indent=2) + "\n", "utf-8")
            try:
                staged.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
            index = folder / "index"
            index.write_text(fingerprint, "ascii")
            (self.root / _SOURCES).mkdir(exist_ok=True)
            index.replace(self.root / _SOURCES / sha256)
        return _read_entry(target)

    def remove(self, fingerprint: str) -> None:
        """Delete a model and what points to it."""
        for index in self.root.glob(f"{_SOURCES}/*"):
            with contextlib.suppress(FileNotFoundError):
                if index.read_bytes() == fingerprint.encode("ascii"):
                    index.unlink()
        with self.scratch() as folder, contextlib.suppress(FileNotFoundError):
            (self.root / fingerprint).rename(folder / fingerprint)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[pathlib.Path]:
        """An empty folder on the cache's disk that is deleted afterwards, also when a previous program was killed."""
        self.root.mkdir(parents=True, exist_ok=True)
        for abandoned in self.root.glob(f"{_TEMPORARY}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - abandoned.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(abandoned, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self.root) as name:
            yield pathlib.Path(name)


def _read_entry(folder: pathlib.Path) -> CachedModel:
    """The description in a model's folder, or what the folder's name tells where that cannot be read."""
    try:
        return CachedModel(fingerprint=folder.name, **json.loads((folder / _ENTRY_FILE).read_text("utf-8")))
    except (OSError, TypeError, ValueError):
        known = registry.by_fingerprint(folder.name)
        return CachedModel(folder.name, known.name if known else "unknown", "", "", None, None, "", 0)


def _damaged(entry: CachedModel, path: pathlib.Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: the cached model is damaged; run `llmzip models pull {entry.pull_name}` to install it again"
    )
