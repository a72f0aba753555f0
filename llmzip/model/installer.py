"""Installs models: finds what a name means, downloads and converts it where need be, caches it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from llmzip.errors import IntegrityError, ModelMismatchError, ModelNotFoundError
from llmzip.model import hub_models, registry
from llmzip.model.cache import CachedModel, ModelCache
from llmzip.model.download import fetch_registered, fetch_snapshot
from llmzip.model.files import digest_of
from llmzip.model.hub_models import HubModel, Trusted, TrustRecords
from llmzip.model.integer_model import IntegerModel, text_digest
from llmzip.model.registry import RegistryEntry
from llmzip.types import DownloadProgress

if TYPE_CHECKING:
    from llmzip.model.float_model import FloatModel

Mend = Callable[["FloatModel", IntegerModel], IntegerModel]
"""A float model and its conversion -> the same, or one with features that outliers need."""

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+(?<!\.gguf)(@[\w./-]+)?")
"""`owner/name`, perhaps with `@revision`."""


@dataclasses.dataclass(frozen=True)
class InstallOptions:
    """What is made of a published model before it is cached; see `ModelStore.pull`."""

    adapter: pathlib.Path | None = None
    label: str | None = None
    mend: Mend | None = None


AS_PUBLISHED = InstallOptions()


class ModelInstaller:
    """Puts models into a cache."""

    def __init__(self, cache: ModelCache, trust: TrustRecords, offline: bool) -> None:
        """trust: what the first download of each hub model has brought. offline: whether errors say
        that downloads are forbidden.
        """
        self._cache = cache
        self._trust = trust
        self._offline = offline

    def install(
        self,
        name: str,
        network: bool,
        progress: DownloadProgress | None,
        options: InstallOptions = AS_PUBLISHED,
    ) -> CachedModel:
        """The cached model for a name, made if it is not there. network: whether it may be
        downloaded.

        Raises what `ModelStore.resolve` raises.
        """
        path, called = local_path(name), options.label or name
        if path:
            return self._convert(path, options.label or path.name, str(path), progress, options)
        registered = registry.by_name(name)
        if registered and options.adapter is None and options.label is None:
            return self._install_registered(registered, network, progress)
        if registered:
            with self.fetched(registered, network, progress) as path:
                return self._convert(path, called, registered.requirement, progress, options)
        hub_model = hub_models.by_name(name)
        if hub_model:
            return self._install_hub_model(hub_model, network, progress, options)
        if not HUB_ID.fullmatch(name):
            raise unknown(name)
        snapshot = fetch_snapshot(name, network)
        if not snapshot:
            raise self.missing(name)
        source = f"{name.partition('@')[0]}@{snapshot.name}"
        return self._convert(snapshot, called, source, progress, options, commit=snapshot.name)

    def _install_hub_model(
        self,
        model: HubModel,
        network: bool,
        progress: DownloadProgress | None,
        options: InstallOptions,
    ) -> CachedModel:
        """What the name's first download has brought, or now brings."""
        from llmzip.model.sources import source_digest

        trusted = self._trust.get(model.name)
        revision = f"@{trusted.commit}" if trusted else ""
        snapshot = fetch_snapshot(model.repository + revision, network)
        if not snapshot:
            raise self.missing(model.name)
        found = Trusted(snapshot.name, source_digest(snapshot))
        if trusted and found != trusted:
            raise ModelMismatchError(
                f"{model.repository} at commit {trusted.commit} has SHA-256 {found.sha256}, "
                f"the first download had {trusted.sha256}; "
                f"delete {self._trust.path(model.name)} to trust the new one"
            )
        source = f"{model.repository}@{snapshot.name}"
        called = options.label or model.name
        installed = self._convert(snapshot, called, source, progress, options, commit=snapshot.name)
        if not trusted:
            with self._cache.scratch() as folder:
                self._trust.put(model.name, found, folder)
        return installed

    def _install_registered(
        self, entry: RegistryEntry, network: bool, progress: DownloadProgress | None
    ) -> CachedModel:
        for cached in self._cache.entries():
            if cached.fingerprint == entry.fingerprint and cached.state == "ready":
                rules = self._cache.rules_of(cached)
                if rules is not None and entry.has_rules(text_digest(rules)):
                    return cached
        adapter = entry.adapter_path
        if adapter and digest_of(adapter).hex() != entry.adapter_sha256:
            raise IntegrityError(
                f"{adapter}: not the file that the registry names; install llmzip again"
            )
        with self.fetched(entry, network, progress) as path:
            return self._convert(
                path,
                entry.name,
                entry.requirement,
                progress,
                InstallOptions(adapter),
                expected=entry.fingerprint,
            )

    @contextlib.contextmanager
    def fetched(
        self, entry: RegistryEntry, network: bool, progress: DownloadProgress | None
    ) -> Iterator[pathlib.Path]:
        """A registered model's file, until the block ends. Raises ModelNotFoundError where it may
        not be downloaded, and what a download raises.
        """
        if not network:
            raise self.missing(entry.name)
        with self._cache.scratch() as folder:
            yield fetch_registered(entry, folder, progress)

    def _convert(
        self,
        path: pathlib.Path,
        name: str,
        source: str,
        progress: DownloadProgress | None,
        options: InstallOptions,
        commit: str | None = None,
        expected: str | None = None,
    ) -> CachedModel:
        """Convert a float model, an adapter merged into it, unless their digests say that this was
        done before.
        """
        adapter = options.adapter
        from llmzip.model.adapter import Adapter
        from llmzip.model.convert import convert
        from llmzip.model.peft_folder import is_peft_folder, peft_digest, read_peft
        from llmzip.model.sources import read_source, source_digest

        base = sha256 = source_digest(path)
        is_peft = adapter is not None and is_peft_folder(adapter)
        if adapter:
            added = peft_digest(adapter) if is_peft else digest_of(adapter).hex()
            sha256 = hashlib.sha256(f"{base} {added}".encode("ascii")).hexdigest()
        cached = self._cache.of_source(sha256)
        if cached and expected in (None, cached.fingerprint) and not options.mend:
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
        installed = self._cache.add(model, name, source, sha256, commit)
        mended = options.mend(floats, model) if options.mend else model
        if mended is model:
            return installed
        return self._cache.add(mended, name, source, sha256, commit)

    def missing(self, name: str) -> ModelNotFoundError:
        """The error for a known model that is not here: it names the command that gets it."""
        offline = ", and downloads are forbidden (offline)" if self._offline else ""
        command = f"`llmzip models pull {name}`{' with network access' if self._offline else ''}"
        return ModelNotFoundError(f"the model {name} is not installed{offline}; run {command}")


def local_path(name: str) -> pathlib.Path | None:
    """The directory or `.gguf` file that a name means, absolute; None when there is none."""
    path = pathlib.Path(name).absolute()
    return path if path.is_dir() or (path.suffix.lower() == ".gguf" and path.is_file()) else None


def unknown(name: str) -> ModelNotFoundError:
    """The error for a name that means nothing."""
    if name.startswith((".", "/", "~")) or name.lower().endswith(".gguf"):
        return ModelNotFoundError(f"{name}: no model directory or .gguf file there")
    known = ", ".join(entry.name for entry in (*registry.REGISTRY, *hub_models.HUB_MODELS))
    return ModelNotFoundError(
        f"no model {name!r}: not a directory or .gguf file, not a registered name ({known}), "
        "not a cached model, and not a hub id owner/name; "
        "`llmzip models list` shows what is installed"
    )
