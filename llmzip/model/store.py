"""From a name to an integer model: paths, registered names, fingerprints and hub ids, converted
once and cached.

Nothing here touches the network unless the caller says so, and decoders (`ModelStore.find`) never
can. A cached model loads without torch, transformers, gguf or huggingface_hub.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmzip.cache_folder import cache_base
from llmzip.errors import IntegrityError, ModelError, ModelMismatchError, ModelNotFoundError
from llmzip.model import hub_models, registry
from llmzip.model.cache import CachedModel, ModelCache
from llmzip.model.download import fetch_snapshot
from llmzip.model.files import digest_of
from llmzip.model.hub_models import TrustRecords
from llmzip.model.installer import HUB_ID, InstallOptions, Mend, ModelInstaller, local_path, unknown
from llmzip.model.integer_model import IntegerModel
from llmzip.model.registry import RegistryEntry
from llmzip.model.spec import ARITHMETIC_VERSION, ModelSpec
from llmzip.types import DownloadProgress

if TYPE_CHECKING:
    from llmzip.model.adapter import Adapter
    from llmzip.model.float_model import FloatModel

MODEL_VARIABLE = "LLMZIP_MODEL"

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
        self._installer = ModelInstaller(self.cache, self.trust, offline)

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
        cached = None if local_path(name) else self._cached(name)
        return self.cache.load(
            cached or self._installer.install(name, download and not self.offline, progress)
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
        options = InstallOptions(adapter, label, mend)
        install = functools.partial(
            self._installer.install, name, not self.offline, progress, options
        )
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
        path = local_path(name)
        if path is None and entry:
            path = folder / pathlib.PurePosixPath(entry.member).name
            if not (path.is_file() and digest_of(path).hex() == entry.sha256):
                with self._installer.fetched(entry, not self.offline, progress) as fetched:
                    folder.mkdir(parents=True, exist_ok=True)
                    shutil.move(fetched, path)
            return FloatSource(path, entry.adapter_path)
        hub_model = hub_models.by_name(name)
        if path is None and hub_model:
            trusted = self.trust.get(name)
            name = hub_model.repository + (f"@{trusted.commit}" if trusted else "")
        if path is None:
            if not HUB_ID.fullmatch(name):
                raise unknown(name)
            path = fetch_snapshot(name, not self.offline)
        if path is None:
            raise self._installer.missing(name)
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
            raise self._installer.missing(name)
        raise unknown(name)

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


def _only(found: Sequence[CachedModel], name: str) -> CachedModel:
    """The one model; of one fingerprint with several tokenizer rules the one that was installed
    first.
    """
    if len({entry.fingerprint for entry in found}) > 1:
        fits = ", ".join(f"{entry.name} ({entry.fingerprint[:16]})" for entry in found)
        raise ModelError(f"{name} fits several cached models: {fits}; use the fingerprint")
    return min(found, key=lambda entry: len(entry.folder))
