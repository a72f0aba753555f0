"""From a name to an integer model: paths, registered names, fingerprints and hub ids, converted
once and cached.

Nothing here touches the network unless the caller says so, and decoders (`ModelStore.find`) never
can. A cached model loads without torch, transformers, gguf or huggingface_hub.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import platformdirs

from llmzip.errors import IntegrityError, ModelError, ModelMismatchError, ModelNotFoundError
from llmzip.model import hub_models, registry
from llmzip.model.cache import CachedModel, ModelCache
from llmzip.model.download import fetch_registered, fetch_snapshot
from llmzip.model.files import digest_of
from llmzip.model.hub_models import HubModel, Trusted, TrustRecords
from llmzip.model.integer_model import IntegerModel, text_digest
from llmzip.model.registry import RegistryEntry
from llmzip.model.spec import ARITHMETIC_VERSION, ModelSpec
from llmzip.types import DownloadProgress

if TYPE_CHECKING:
    from llmzip.model.adapter import Adapter
    from llmzip.model.sources import FloatModel

Mend = Callable[["FloatModel", IntegerModel], IntegerModel]
"""A float model and its conversion -> the same, or one with features that outliers need."""

CACHE_VARIABLE = "LLMZIP_CACHE"
MODEL_VARIABLE = "LLMZIP_MODEL"

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+(?<!\.gguf)(@[\w./-]+)?")
_HEX_PREFIX = re.compile("[0-9a-fA-F]{8,64}")


@dataclasses.dataclass(frozen=True)
class ModelDetails:
    """What is known about a model: at least one of a registry entry and a cached model."""

    name: str
    registered: RegistryEntry | None
    cached: CachedModel | None
    spec: ModelSpec | None
    """None unless the model is cached for this program's arithmetic."""


@dataclasses.dataclass(frozen=True)
class FloatSource:
    """Float weights on disk, and the adapter that the model of this name merges into them."""

    path: pathlib.Path
    adapter_path: pathlib.Path | None = None

    def read(self) -> FloatModel:
        """The weights, without the adapter."""
        from llmzip.model.sources import read_source

        return read_source(self.path)

    def adapter(self) -> Adapter | None:
        """The adapter, if there is one."""
        from llmzip.model.adapter import Adapter

        return Adapter.load(self.adapter_path) if self.adapter_path else None


@dataclasses.dataclass(frozen=True)
class _Wishes:
    """How a model is to be converted; see `ModelStore.pull`."""

    adapter: pathlib.Path | None = None
    label: str | None = None
    mend: Mend | None = None


_AS_IT_IS = _Wishes()


class ModelStore:
    """The user's models."""

    def __init__(self, cache_dir: pathlib.Path | None = None, offline: bool = False) -> None:
        """Use a cache folder; `offline` forbids the network whatever a method is told.

        `cache_dir` defaults to `models` in the folder that the environment variable LLMZIP_CACHE
        names, or else in the user's cache folder for llmzip.
        """
        self.cache = ModelCache(cache_dir or cache_base() / "models")
        self.offline = offline
        self.trust = TrustRecords(self.cache.root.parent / "trusted")

    def resolve(
        self,
        name: str | None = None,
        *,
        download: bool = False,
        progress: DownloadProgress | None = None,
    ) -> IntegerModel:
        """The model with this name; None means the environment variable LLMZIP_MODEL, or else the
        default model.

        In this order: an existing directory or `.gguf` file (converted on first use), a registered
        name, a cached model by its name or at least 8 hex digits of its fingerprint, a hub model's
        name (`hub_models`), a Hugging Face hub id `owner/name[@revision]`. `download` allows
        downloads; without it the network is never touched.

        Raises ModelNotFoundError when the model is not here (the message names the command that
        gets it), ModelMismatchError when what is here is another model or outdated, IntegrityError
        when it is damaged, and UnsupportedModelError when it is of a kind that the arithmetic does
        not cover.
        """
        name = name or os.environ.get(MODEL_VARIABLE) or registry.DEFAULT_MODEL
        cached = None if _local_path(name) else self._cached(name)
        return self.cache.load(
            cached or self._install(name, download and not self.offline, progress)
        )

    def find(self, fingerprint_prefix: bytes) -> IntegerModel:
        """The cached model whose fingerprint starts with these bytes, for decoding; never touches
        the network.

        Raises ModelNotFoundError when it is not cached (the message names the command that gets it,
        where one is known), ModelError when the prefix fits several models, IntegrityError when the
        model is damaged.
        """
        prefix = fingerprint_prefix.hex()
        found = [entry for entry in self.cache.entries() if entry.fingerprint.startswith(prefix)]
        if found:
            model = _only(found, prefix)
            if model.state == "outdated":
                raise ModelMismatchError(
                    f"this was compressed with arithmetic version {model.arithmetic} "
                    f"of the model {model.name}; this program has version {ARITHMETIC_VERSION}: "
                    "use the llmzip release that compressed it"
                )
            return self.cache.load(model)
        known = registry.by_fingerprint(prefix)
        if known:
            raise ModelNotFoundError(
                f"this was compressed with the model {known.name}, which is not installed; "
                f"run `llmzip models pull {known.name}`"
            )
        raise ModelNotFoundError(
            "this was compressed with a model that is not installed "
            f"and that llmzip knows no name for, fingerprint {prefix}…; "
            "install it with `llmzip models pull PATH|HUB_ID` (with --mend, if it was mended "
            "when it was converted), naming the model that it was made with"
        )

    def pull(
        self,
        name: str,
        progress: DownloadProgress | None = None,
        adapter: pathlib.Path | None = None,
        label: str | None = None,
        mend: Mend | None = None,
    ) -> CachedModel:
        """Install a model: download it where need be, convert and cache it. A damaged one is
        replaced.

        adapter: what is merged into it, the file of an adapter that `llmzip tune` made or a folder
        with a LoRA that the package peft saved. label: what the result is called. mend: what makes
        another model of it where outliers cost much; both are installed then. A registered model is
        what its fingerprint says, and is not mended.

        Raises what `resolve` raises.
        """
        wishes = _Wishes(adapter, label, mend)
        install = functools.partial(self._install, name, not self.offline, progress, wishes)
        installed = install()
        try:
            self.cache.load(installed)
        except IntegrityError:
            self.cache.remove(installed.folder)
            installed = install()
        return installed

    def float_source(
        self, name: str | None, folder: pathlib.Path, progress: DownloadProgress | None = None
    ) -> FloatSource:
        """The float weights behind a name, for tuning. A registered model's file is fetched into
        `folder` and stays there.

        Raises what `resolve` raises.
        """
        name = name or os.environ.get(MODEL_VARIABLE) or registry.DEFAULT_MODEL
        entry = registry.by_name(name)
        path = _local_path(name)
        if path is None and entry:
            path = folder / pathlib.PurePosixPath(entry.member).name
            if not (path.is_file() and digest_of(path).hex() == entry.sha256):
                with self._fetched(entry, not self.offline, progress) as fetched:
                    folder.mkdir(parents=True, exist_ok=True)
                    shutil.move(fetched, path)
            return FloatSource(path, entry.adapter_path)
        hub_model = hub_models.by_name(name)
        if path is None and hub_model:
            trusted = self.trust.get(name)
            name = hub_model.repository + (f"@{trusted.commit}" if trusted else "")
        if path is None:
            if not _HUB_ID.fullmatch(name):
                raise _unknown(name)
            path = fetch_snapshot(name, not self.offline)
        if path is None:
            raise self._missing(name)
        return FloatSource(path)

    def list(self) -> Sequence[CachedModel]:
        """The cached models, the newest first; the outdated ones too."""
        return self.cache.entries()

    def show(self, name: str) -> ModelDetails:
        """What is known about a registered or cached model; a cached one is loaded and so verified.

        Raises ModelNotFoundError for an unknown name, IntegrityError for a damaged model.
        """
        cached = self._cached(name)
        registered = (
            registry.by_fingerprint(cached.fingerprint) if cached else registry.by_name(name)
        )
        if cached:
            spec = self.cache.load(cached).spec if cached.state != "outdated" else None
            return ModelDetails(cached.name, registered, cached, spec)
        if registered:
            return ModelDetails(registered.name, registered, None, None)
        if hub_models.by_name(name):
            raise self._missing(name)
        raise _unknown(name)

    def tokenizer_rules(self, fingerprint: bytes) -> Sequence[str]:
        """The rules of all cached models with this fingerprint: decoding needs none, but a
        dictionary is split by them.
        """
        found = [entry for entry in self.cache.entries() if entry.fingerprint == fingerprint.hex()]
        return [rules for rules in map(self.cache.rules_of, found) if rules is not None]

    def remove(self, name: str) -> CachedModel:
        """Delete a cached model, named as `list` shows it or by its fingerprint, and return what it
        was.

        Raises ModelNotFoundError when there is none, ModelError when the name fits several.
        """
        found = self._matches(name)
        if not found:
            raise ModelNotFoundError(
                f"no cached model {name!r}; `llmzip models list` shows what there is"
            )
        removed = _only(found, name)
        self.cache.remove(removed.folder)
        return removed

    def _matches(self, name: str) -> Sequence[CachedModel]:
        """The cached models that answer to a name, a source or a fingerprint, the newest first."""
        entries = self.cache.entries()
        registered = registry.by_name(name)
        names = {name, registered.name if registered else name, str(pathlib.Path(name).absolute())}
        found = [entry for entry in entries if entry.name in names or entry.source in names]
        if not found and _HEX_PREFIX.fullmatch(name):
            found = [entry for entry in entries if entry.fingerprint.startswith(name.lower())]
            found = [_only(found, name)] if found else []
        return found

    def _cached(self, name: str) -> CachedModel | None:
        """The cached model to use for a name; an outdated one only where there is no other, for its
        error.
        """
        registered = registry.by_name(name)
        found = self._matches(name)
        ready = [
            model
            for model in found
            if model.state == "ready"
            and (not registered or model.fingerprint == registered.fingerprint)
        ]
        return next(iter([*ready, *(model for model in found if model.state != "ready")]), None)

    def _install(
        self,
        name: str,
        network: bool,
        progress: DownloadProgress | None,
        wishes: _Wishes = _AS_IT_IS,
    ) -> CachedModel:
        """The cached model for a name, made if it is not there."""
        path, called = _local_path(name), wishes.label or name
        if path:
            return self._convert(path, wishes.label or path.name, str(path), progress, wishes)
        registered = registry.by_name(name)
        if registered and wishes.adapter is None and wishes.label is None:
            return self._install_registered(registered, network, progress)
        if registered:
            with self._fetched(registered, network, progress) as path:
                return self._convert(path, called, registered.requirement, progress, wishes)
        hub_model = hub_models.by_name(name)
        if hub_model:
            return self._install_hub_model(hub_model, network, progress, wishes)
        if not _HUB_ID.fullmatch(name):
            raise _unknown(name)
        snapshot = fetch_snapshot(name, network)
        if not snapshot:
            raise self._missing(name)
        source = f"{name.partition('@')[0]}@{snapshot.name}"
        return self._convert(snapshot, called, source, progress, wishes, commit=snapshot.name)

    def _install_hub_model(
        self, model: HubModel, network: bool, progress: DownloadProgress | None, wishes: _Wishes
    ) -> CachedModel:
        """What the name's first download has brought, or now brings."""
        from llmzip.model.sources import source_digest

        trusted = self.trust.get(model.name)
        revision = f"@{trusted.commit}" if trusted else ""
        snapshot = fetch_snapshot(model.repository + revision, network)
        if not snapshot:
            raise self._missing(model.name)
        found = Trusted(snapshot.name, source_digest(snapshot))
        if trusted and found != trusted:
            raise ModelMismatchError(
                f"{model.repository} at commit {trusted.commit} has SHA-256 {found.sha256}, "
                f"the first download had {trusted.sha256}; "
                f"delete {self.trust.path(model.name)} to trust the new one"
            )
        source = f"{model.repository}@{snapshot.name}"
        called = wishes.label or model.name
        installed = self._convert(snapshot, called, source, progress, wishes, commit=snapshot.name)
        if not trusted:
            with self.cache.scratch() as folder:
                self.trust.put(model.name, found, folder)
        return installed

    def _install_registered(
        self, entry: RegistryEntry, network: bool, progress: DownloadProgress | None
    ) -> CachedModel:
        for cached in self.cache.entries():
            if cached.fingerprint == entry.fingerprint and cached.state == "ready":
                rules = self.cache.rules_of(cached)
                if rules is not None and entry.has_rules(text_digest(rules)):
                    return cached
        adapter = entry.adapter_path
        if adapter and digest_of(adapter).hex() != entry.adapter_sha256:
            raise IntegrityError(
                f"{adapter}: not the file that the registry names; install llmzip again"
            )
        with self._fetched(entry, network, progress) as path:
            return self._convert(
                path,
                entry.name,
                entry.requirement,
                progress,
                _Wishes(adapter),
                expected=entry.fingerprint,
            )

    @contextlib.contextmanager
    def _fetched(
        self, entry: RegistryEntry, network: bool, progress: DownloadProgress | None
    ) -> Iterator[pathlib.Path]:
        """A registered model's file, for a while."""
        if not network:
            raise self._missing(entry.name)
        with self.cache.scratch() as folder:
            yield fetch_registered(entry, folder, progress)

    def _convert(
        self,
        path: pathlib.Path,
        name: str,
        source: str,
        progress: DownloadProgress | None,
        wishes: _Wishes,
        commit: str | None = None,
        expected: str | None = None,
    ) -> CachedModel:
        """Convert a float model, an adapter merged into it, unless their digests say that this was
        done before.
        """
        adapter = wishes.adapter
        from llmzip.model.adapter import Adapter
        from llmzip.model.convert import convert
        from llmzip.model.peft_folder import is_peft_folder, peft_digest, read_peft
        from llmzip.model.sources import read_source, source_digest

        base = sha256 = source_digest(path)
        is_peft = adapter is not None and is_peft_folder(adapter)
        if adapter:
            added = peft_digest(adapter) if is_peft else digest_of(adapter).hex()
            sha256 = hashlib.sha256(f"{base} {added}".encode("ascii")).hexdigest()
        cached = self.cache.of_source(sha256)
        if cached and expected in (None, cached.fingerprint) and not wishes.mend:
            return cached
        floats = read_source(path, read_peft(adapter) if adapter and is_peft else None)
        if adapter:
            if not is_peft:
                floats = Adapter.load(adapter).merged(floats, base)
            source = f"{source} + {adapter.name}"
        model = convert(floats, functools.partial(progress, "convert") if progress else None)
        fingerprint = model.fingerprint.hex()
        if expected and fingerprint != expected:
            raise ModelMismatchError(
                f"{name} converts to fingerprint {fingerprint}, the registry says {expected}; "
                "this program and its registry do not fit together, "
                "or this machine computes wrongly"
            )
        known = registry.by_fingerprint(fingerprint)
        if known and known.has_rules(text_digest(model.vocabulary.rules)):
            name = known.name
        installed = self.cache.add(model, name, source, sha256, commit)
        mended = wishes.mend(floats, model) if wishes.mend else model
        if mended is model:
            return installed
        return self.cache.add(mended, name, source, sha256, commit)

    def _missing(self, name: str) -> ModelNotFoundError:
        offline = ", and downloads are forbidden (offline)" if self.offline else ""
        command = f"`llmzip models pull {name}`{' with network access' if self.offline else ''}"
        return ModelNotFoundError(f"the model {name} is not installed{offline}; run {command}")


def cache_base() -> pathlib.Path:
    """The folder for everything that can be had again: LLMZIP_CACHE, or the user's cache folder for
    llmzip.
    """
    return pathlib.Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("llmzip"))


def _local_path(name: str) -> pathlib.Path | None:
    """The directory or `.gguf` file that a name means, absolute; None when there is none."""
    path = pathlib.Path(name).absolute()
    return path if path.is_dir() or (path.suffix.lower() == ".gguf" and path.is_file()) else None


def _only(found: Sequence[CachedModel], name: str) -> CachedModel:
    """The one model; of one fingerprint with several tokenizer rules the one that was installed
    first.
    """
    if len({entry.fingerprint for entry in found}) > 1:
        fits = ", ".join(f"{entry.name} ({entry.fingerprint[:16]})" for entry in found)
        raise ModelError(f"{name} fits several cached models: {fits}; use the fingerprint")
    return min(found, key=lambda entry: len(entry.folder))


def _unknown(name: str) -> ModelNotFoundError:
    if name.startswith((".", "/", "~")) or name.lower().endswith(".gguf"):
        return ModelNotFoundError(f"{name}: no model directory or .gguf file there")
    known = ", ".join(entry.name for entry in (*registry.REGISTRY, *hub_models.HUB_MODELS))
    return ModelNotFoundError(
        f"no model {name!r}: not a directory or .gguf file, not a registered name ({known}), "
        "not a cached model, and not a hub id owner/name; "
        "`llmzip models list` shows what is installed"
    )
