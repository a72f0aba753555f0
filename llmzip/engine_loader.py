"""Which model and which engine serve a job; the one loaded last is kept for the next job."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import logging
import os

from llmzip.cache_folder import CACHE_VARIABLE
from llmzip.engine import native_engine
from llmzip.engine.base import Engine
from llmzip.errors import DictionaryError, LLMZipError, ModelMismatchError
from llmzip.exclusive import new_lock
from llmzip.extras import needing
from llmzip.model.integer_model import IntegerModel
from llmzip.model.store import MODEL_VARIABLE, ModelStore
from llmzip.predictor.dictionary import Dictionary, PreparedDictionary
from llmzip.runtime import DEFAULT_RUNTIME, EngineName, Runtime

ModelLike = str | os.PathLike[str] | IntegerModel
"""A model, or what names one: a name, path, fingerprint or hub id (see `ModelStore.resolve`)."""

DictionaryLike = Dictionary | bytes | bytearray | memoryview
"""What both sides know beforehand. A `Dictionary` that is kept is read only once."""

_MOST_TORCH_THREADS = 1024  # more help nobody, and torch fails at what no C int holds

_TO_COMPILE = (
    "install a C compiler (gcc or clang), then `pip install --force-reinstall --no-deps "
    "--no-cache-dir llmzip` again"
)

_log = logging.getLogger("llmzip")
_lock = new_lock()
_loaded: tuple[tuple[bytes, str, str, str, int | None, int | None], Engine] | None = None
"""The engine loaded last, and what it was asked for by: replaced as a whole, so that threads may
look without the lock.
"""

_resolved: dict[tuple[str | None, str | None, str | None], tuple[bytes, str]] = {}
"""Name, LLMZIP_MODEL and LLMZIP_CACHE -> fingerprint and rules: looked up once, so that short
messages are quick.
"""


@dataclasses.dataclass(frozen=True)
class EngineLoader:
    """Finds the model of a job, loads the engine that evaluates it, and reads the dictionary."""

    model: ModelLike | None = None
    """None: the default model for compression, the file's own for decompression."""
    dictionary: DictionaryLike | None = None
    runtime: Runtime = DEFAULT_RUNTIME

    def __post_init__(self) -> None:
        if not isinstance(self.runtime, Runtime):
            raise TypeError(f"runtime must be a Runtime, not {self.runtime!r}")
        if self.dictionary is not None and not isinstance(self.dictionary, Dictionary):
            # It is kept, so that it is read only once.
            object.__setattr__(self, "dictionary", Dictionary(self.dictionary))

    @classmethod
    def of(
        cls,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        runtime: Runtime | None = None,
    ) -> EngineLoader:
        """From what public functions are given, where no runtime is the default one."""
        return cls(model, dictionary, runtime or DEFAULT_RUNTIME)

    @property
    def dictionary_content(self) -> bytes:
        """The dictionary, or nothing."""
        return self.dictionary.content if isinstance(self.dictionary, Dictionary) else b""

    def prepared_dictionary(self, engine: Engine) -> PreparedDictionary | None:
        """The dictionary as this engine knows it."""
        return self.dictionary.on(engine) if isinstance(self.dictionary, Dictionary) else None

    def dictionary_for(self, engine: Engine, digest: bytes) -> PreparedDictionary | None:
        """The one that a frame names by this digest; it may name none. Raises DictionaryError where
        it is missing or another.
        """
        if not digest:
            return None
        prepared = self.prepared_dictionary(engine)
        if prepared is None:
            raise DictionaryError(
                f"the file needs a dictionary (digest {digest.hex()}) that was not given: "
                "give the same text with --dictionary FILE, or dictionary= in Python"
            )
        if prepared.digest != digest:
            assert isinstance(self.dictionary, Dictionary)
            otherwise = self.dictionary.split_otherwise(
                engine, digest, ModelStore().tokenizer_rules
            )
            if otherwise:
                return otherwise
            raise DictionaryError(
                f"the file was made with another dictionary: digest {digest.hex()}, the given "
                f"one has {prepared.digest.hex()}; give the text that the file was made with"
            )
        return prepared

    def for_compression(self) -> Engine:
        """The engine of the chosen model."""
        return self._engine(self.chosen_model())

    def for_fingerprint(self, prefix: bytes) -> Engine:
        """The engine of the model that a frame names. Raises ModelNotFoundError or
        ModelMismatchError.
        """
        return self._engine(self.model_for_fingerprint(prefix))

    def model_for_fingerprint(self, prefix: bytes) -> IntegerModel:
        """The model itself, for codecs that do not evaluate it. Raises ModelNotFoundError or
        ModelMismatchError.
        """
        if self.model is None:
            return _kept_model(prefix) or ModelStore().find(prefix)
        model = self.chosen_model()
        if not model.fingerprint.startswith(prefix):
            raise ModelMismatchError(
                f"the file was made with model {prefix.hex()}, the chosen one is "
                f"{model.fingerprint.hex()[:16]}; "
                "leave the choice out, or name the right one"
            )
        return model

    def chosen_model(self) -> IntegerModel:
        """The model for compression."""
        if isinstance(self.model, IntegerModel):
            return self.model
        name = None if self.model is None else os.fspath(self.model)
        key = (name, os.environ.get(MODEL_VARIABLE), os.environ.get(CACHE_VARIABLE))
        kept = _kept_model(*_resolved[key]) if key in _resolved else None
        if kept is None:
            how = self.runtime
            kept = ModelStore(offline=how.offline).resolve(
                name, download=how.download, progress=how.download_progress
            )
            _resolved[key] = kept.fingerprint, kept.vocabulary.rules
        return kept

    def _engine(self, model: IntegerModel) -> Engine:
        global _loaded
        how = self.runtime
        computing = how.engine, how.device, how.threads, how.jobs
        key = (model.fingerprint, model.vocabulary.rules, *computing)
        with _lock:
            if _loaded is None or _loaded[0] != key:
                _loaded = None  # makes room
                _loaded = key, _build(model, *computing)
            return _loaded[1]


@functools.lru_cache(maxsize=1)
def kept_dictionary(content: bytes) -> Dictionary | None:
    """The dictionary with this content, if it is any: the one used last is kept, as what engines
    have read of it.
    """
    return Dictionary(content) if content else None


def _kept_model(prefix: bytes, rules: str | None = None) -> IntegerModel | None:
    """The model of the loaded engine, if it has this fingerprint and, where that matters, these
    tokenizer rules.
    """
    loaded = _loaded
    if loaded is None:
        return None
    model = loaded[1].model
    return (
        model
        if model.fingerprint.startswith(prefix) and rules in (None, model.vocabulary.rules)
        else None
    )


def _build(
    model: IntegerModel, engine: EngineName, device: str, threads: int | None, jobs: int | None
) -> Engine:
    if engine == "native" or (engine == "auto" and device == "cpu"):
        reason = native_engine.why_not_available()
        if not reason:
            return native_engine.NativeEngine(model, threads, jobs=jobs)
        if engine == "native":
            raise LLMZipError(f"no native engine: {reason}. To build it, {_TO_COMPILE}")
        if importlib.util.find_spec("torch") is None:
            raise LLMZipError(
                f"no engine: the C core is not there ({reason}), nor is PyTorch. "
                f"Either {_TO_COMPILE}; "
                "or pip install 'llmzip[torch]', whose engine is slower and makes the same files"
            )
        _log.warning("the slower torch engine serves (%s); the files are the same", reason)
    try:
        built = _torch_engine(model, device, threads and min(threads, _MOST_TORCH_THREADS))
    except (RuntimeError, AssertionError) as error:  # torch's own: no such device, no driver
        raise LLMZipError(f"device {device!r} cannot be used: {error}") from error
    if jobs:
        built.batches = dataclasses.replace(built.batches, blocks=jobs)
    return built


def _torch_engine(model: IntegerModel, device: str, threads: int | None) -> Engine:
    """On CUDA with Triton's kernels, where there is Triton; else torch alone."""
    with needing("torch", "the engine in torch" if device == "cpu" else f"the device {device!r}"):
        import torch

        from llmzip.engine.torch_engine import TorchEngine

    if torch.device(device).type != "cuda":
        return TorchEngine(model, device, threads=threads)
    try:
        from llmzip.engine.triton.engine import MIN_CAPABILITY, TritonEngine
    except ImportError as error:
        reason = f"no Triton: {error}; pip install 'llmzip[gpu]'"
    else:
        capability = torch.cuda.get_device_capability(device)
        if not model.spec.is_plain:
            return TorchEngine(model, device, threads=threads)  # the kernels know no features
        if capability >= MIN_CAPABILITY:
            return TritonEngine(model, device, threads=threads)
        reason = f"the device has the capability {capability}, the kernels need {MIN_CAPABILITY}"
    _log.warning("the slower torch path serves (%s); the files are the same", reason)
    return TorchEngine(model, device, threads=threads)
