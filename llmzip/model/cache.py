"""Converted models on disk: one folder a model, named by its fingerprint, that appears and
disappears in one step.

    <root>/<fingerprint>/model.safetensors     the integer model
    <root>/<fingerprint>/entry.json            where it came from
    <root>/<fingerprint>-<rules>/...           the same weights with other tokenizer rules:
                                               16 digits of their SHA-256
    <root>/sources/<SHA-256 of the source>     the folder of the model that this source converts to
    <root>/.tmp-*                              work in progress

A folder is complete or absent: it is written under `.tmp-*` and renamed. Its content follows from
its name, so that of two processes that install the same model either may win. Links have no place
in a store: they are never followed to write, and what is read is verified.
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

from llmzip.errors import (
    IntegrityError,
    LLMZipError,
    ModelError,
    ModelMismatchError,
    UnsupportedModelError,
)
from llmzip.model import registry
from llmzip.model.files import read_whole
from llmzip.model.integer_model import MODEL_FILE, IntegerModel, text_digest
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.model.source_index import SourceIndex, is_own_folder
from llmzip.model.spec import ARITHMETIC_VERSION

_ENTRY_FILE = "entry.json"
_SOURCES = "sources"
_TEMPORARY = ".tmp-"
_ABANDONED_SECONDS = 86_400
_FOLDER = re.compile("[0-9a-f]{64}(-[0-9a-f]{16})?")
_FINGERPRINT_DIGITS, _RULES_DIGITS = 64, 16
_MAX_ENTRY = 1 << 20


@dataclasses.dataclass(frozen=True)
class CachedModel:
    """One converted model in the cache."""

    folder: str
    """Its name: the fingerprint, and where the same weights are here with other tokenizer rules,
    digits of those.
    """
    name: str
    source: str
    """A pip requirement, a hub id with its commit, or a path."""
    sha256: str
    """Of the source's file or files, in hex."""
    commit: str | None
    """The hub's commit that the weights are from."""
    arithmetic: int | None
    """The arithmetic version that the weights were converted for; None where entry.json cannot be
    read.
    """
    created: str
    """ISO 8601, UTC."""
    size_bytes: int

    @property
    def fingerprint(self) -> str:
        """In hex."""
        return self.folder[:_FINGERPRINT_DIGITS]

    @property
    def state(self) -> str:
        """`ready`, `outdated` (converted for another arithmetic version) or `damaged`; only ready
        models are used.
        """
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
        self._sources = SourceIndex(root / _SOURCES)

    def entries(self) -> list[CachedModel]:
        """All models, the newest first."""
        folders = self.root.iterdir() if self.root.is_dir() else ()
        found = [
            _read_entry(folder)
            for folder in folders
            if _FOLDER.fullmatch(folder.name) and is_own_folder(folder)
        ]
        return sorted(found, key=lambda entry: (entry.created, entry.folder), reverse=True)

    def get(self, folder: str) -> CachedModel | None:
        """The model in this folder, if it is here and ready."""
        known = _FOLDER.fullmatch(folder) and is_own_folder(self.root / folder)
        entry = _read_entry(self.root / folder) if known else None
        return entry if entry and entry.state == "ready" else None

    def of_source(self, sha256: str) -> CachedModel | None:
        """The model that a source with this digest was converted to, if it is here and ready."""
        folder = self._sources.get(sha256)
        return self.get(folder) if folder else None

    def rules_of(self, entry: CachedModel) -> str | None:
        """A model's tokenizer rules, verified; None where they cannot be read."""
        try:
            metadata = SafetensorsFile(self.root / entry.folder / MODEL_FILE).metadata
            return (
                metadata["rules"]
                if text_digest(metadata["rules"]) == metadata["rules_sha256"]
                else None
            )
        except (LLMZipError, OSError, KeyError, ValueError):
            return None

    def load(self, entry: CachedModel) -> IntegerModel:
        """Read a model and verify it.

        Raises ModelMismatchError for a model of another arithmetic version, IntegrityError for a
        damaged one.
        """
        if entry.state == "outdated":
            raise ModelMismatchError(
                f"the cached model {entry.name} was converted for arithmetic version "
                f"{entry.arithmetic}, this program has {ARITHMETIC_VERSION}; "
                f"run `llmzip models pull {entry.pull_name}`"
            )
        path = self.root / entry.folder
        try:
            model = IntegerModel.load(path / MODEL_FILE)
        except UnsupportedModelError:
            raise
        except (LLMZipError, OSError) as error:
            raise _damaged(entry, path) from error
        if entry.state == "damaged" or not _folder_name(model).startswith(entry.folder):
            raise _damaged(entry, path)
        return model

    def add(
        self, model: IntegerModel, name: str, source: str, sha256: str, commit: str | None = None
    ) -> CachedModel:
        """Store a model, or leave the one with the same fingerprint that is here already.

        Raises ModelError or OSError when it cannot be written; nothing is left behind then.
        """
        target = self._place(model)
        with self.scratch() as folder:
            staged = folder / target.name
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
                if not is_own_folder(target):
                    raise
            self._sources.put(sha256, target.name, folder)
        return _read_entry(target)

    def _place(self, model: IntegerModel) -> pathlib.Path:
        """The folder for a model: its fingerprint's, unless other tokenizer rules are there."""
        name = _folder_name(model)
        folder = self.root / name[:_FINGERPRINT_DIGITS]
        if is_own_folder(folder):
            there = self.get(folder.name)
            rules = self.rules_of(there) if there else None
            if rules is None:
                self.remove(folder.name)
            elif rules != model.vocabulary.rules:
                return self.root / name
        return folder

    def remove(self, folder: str) -> None:
        """Delete a model, by its folder's name, and what points to it."""
        self._sources.forget(folder)
        with self.scratch() as scratch, contextlib.suppress(FileNotFoundError):
            (self.root / folder).rename(scratch / folder)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[pathlib.Path]:
        """An empty folder on the cache's disk that is deleted afterwards, also when a previous
        program was killed.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for abandoned in self.root.glob(f"{_TEMPORARY}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - abandoned.lstat().st_mtime <= _ABANDONED_SECONDS:
                    continue
                if is_own_folder(abandoned):
                    shutil.rmtree(abandoned, ignore_errors=True)
                else:  # a link: it goes, what it points to stays
                    abandoned.unlink()
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self.root) as name:
            yield pathlib.Path(name)


def _folder_name(model: IntegerModel) -> str:
    """Of a model whose fingerprint's folder holds other rules."""
    return f"{model.fingerprint.hex()}-{text_digest(model.vocabulary.rules)[:_RULES_DIGITS]}"


def _read_entry(folder: pathlib.Path) -> CachedModel:
    """The description in a model's folder, or what the folder's name tells where that cannot be
    read.
    """
    try:
        described = json.loads(
            read_whole(folder / _ENTRY_FILE, _MAX_ENTRY, follow=False).decode("utf-8")
        )
        entry = CachedModel(folder=folder.name, **described)
        if all(isinstance(described[name], kind) for name, kind in _ENTRY_TYPES.items()):
            return entry
    except (LLMZipError, OSError, TypeError, ValueError, RecursionError):
        pass
    known = registry.by_fingerprint(folder.name[:_FINGERPRINT_DIGITS])
    return CachedModel(folder.name, known.name if known else "unknown", "", "", None, None, "", 0)


_ENTRY_TYPES = {
    "name": str,
    "source": str,
    "sha256": str,
    "commit": str | None,
    "arithmetic": int,
    "created": str,
    "size_bytes": int,
}


def _damaged(entry: CachedModel, path: pathlib.Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: the cached model is damaged; run `llmzip models pull {entry.pull_name}` "
        "to install it again"
    )
