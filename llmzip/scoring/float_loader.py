"""Float models from hub ids, folders and GGUF files: checked first, then loaded by transformers.

Nothing that lies in a folder is run: no code of its own, no pickled weights, no kernels or adapters
from elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from llmzip.errors import LLMZipError, ModelNotFoundError, UnsupportedModelError
from llmzip.model import vocabulary as vocabularies
from llmzip.model.download import fetch_registered, fetch_snapshot
from llmzip.model.files import parse_object, read_whole, readable, refuse_pointers, shown
from llmzip.model.registry import by_name
from llmzip.model.sources import gguf_vocabulary, source_digest
from llmzip.model.vocabulary import Vocabulary
from llmzip.scoring.float_scorer import FloatScorer

_MAX_CONFIG = 1 << 24


def load_float(
    name: str, *, dtype: str = "float32", device: str = "cpu", download: bool = False
) -> FloatScorer:
    """The scorer of a folder, `.gguf` file, registered name or hub id `owner/name[@revision]`.

    Raises ModelNotFoundError, UnsupportedModelError (with the reason), or LLMZipError for a device
    that cannot be used.
    """
    path = pathlib.Path(name)
    if name and (path.is_dir() or (path.suffix.lower() == ".gguf" and path.is_file())):
        return _load(path, path.name, dtype, device)
    entry = by_name(name)
    if entry:
        if not download:
            raise ModelNotFoundError(
                f"the float weights of {entry.name} are not kept; "
                "allow the download, or name a file"
            )
        with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
            return _load(fetch_registered(entry, pathlib.Path(folder)), entry.name, dtype, device)
    snapshot = fetch_snapshot(name, download) if "/" in name else None
    if snapshot is None:
        raise ModelNotFoundError(
            f"no float model {name!r}: not a folder, a .gguf file, "
            "a registered name or a hub id here"
        )
    return _load(snapshot, name, dtype, device)


def _load(path: pathlib.Path, name: str, dtype: str, device: str) -> FloatScorer:
    refuse_pointers(path)
    if path.is_dir():
        _check_folder(path)
    model = _transformers_model(path, dtype)
    try:
        model = torch.nn.Module.to(model, device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Errors of torch's own: no such device, no mixer.
        raise LLMZipError(f"device {device!r} cannot be used: {error}") from error
    vocabulary = _vocabulary(path, model.config)
    try:
        scorer = FloatScorer(model, vocabulary, readable(name), source_digest(path))
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{path}: {error}") from error
    _try(path, scorer)
    return scorer


def _check_folder(path: pathlib.Path) -> None:
    """Refuse, in words, what transformers would ask to run, fetch, or not understand."""
    file = path / "config.json"
    if not file.is_file():
        raise UnsupportedModelError(f"{path}: no config.json: transformers cannot load it")
    config = parse_object(read_whole(file, _MAX_CONFIG), file)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if "auto_map" in config:
            raise UnsupportedModelError(
                f"{path}: model_type {shown(kind)} needs code that lies in the folder or "
                "elsewhere, and llmzip runs none: only architectures that transformers itself has"
            )
        raise UnsupportedModelError(
            f"{file}: model_type {shown(kind)} is no causal language model "
            f"that transformers {transformers.__version__} knows"
        )
    if kernels := _kernels(config):
        raise UnsupportedModelError(
            f"{file}: {kernels[0]} would be fetched and run; take that entry out"
        )
    if (path / "adapter_config.json").exists():
        raise UnsupportedModelError(
            f"{path}: holds an adapter (adapter_config.json): merge it into the weights first"
        )
    if not any(path.glob("*.safetensors")):
        others = sorted(
            p.name
            for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5")
            for p in path.glob(ending)
        )
        raise UnsupportedModelError(
            f"{path}: no *.safetensors file"
            + (
                f"; {others[0]} could run code when it is read: convert it to safetensors"
                if others
                else ""
            )
        )


def _kernels(config: Mapping[str, Any]) -> list[str]:
    """Attention kernels of the hub that a configuration names as its implementation."""
    found = []
    for key, value in config.items():
        inner = value if isinstance(value, dict) else {}
        if key.endswith("attn_implementation"):
            found += [
                f"{key} {shown(v)}"
                for v in (inner.values() or [value])
                if isinstance(v, str) and "/" in v
            ]
        found += _kernels(inner)
    return found


def _transformers_model(path: pathlib.Path, dtype: str) -> Any:
    folder, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    loader: Any = transformers.AutoModelForCausalLM
    try:
        with _quiet():
            model, loading = loader.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # told below, in our words
                output_loading_info=True,
                **options,
            )
    except (MemoryError, torch.cuda.OutOfMemoryError) as error:
        raise LLMZipError(f"{path}: not enough memory to load it") from error
    except Exception as error:
        # Of any type: each architecture reads its configuration and weights in its own way.
        raise UnsupportedModelError(
            f"{path}: transformers cannot load it: {_words(error)}"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise UnsupportedModelError(
            f"{path}: no tensor {missing[0]!r} ({len(missing)} are missing)"
        )
    if others := sorted(
        key if isinstance(key, str) else key[0] for key in loading["mismatched_keys"]
    ):
        raise UnsupportedModelError(
            f"{path}: tensor {others[0]!r} has another shape than config.json says "
            f"({len(others)} have)"
        )
    return model


def _vocabulary(path: pathlib.Path, config: Any) -> Vocabulary:
    """The vocabulary, whose tokens the model has."""
    text_config = config.get_text_config()
    try:
        found = (
            vocabularies.from_directory(path, text_config.to_dict())
            if path.is_dir()
            else gguf_vocabulary(path)
        )
    except LLMZipError:
        raise
    except Exception as error:
        raise UnsupportedModelError(
            f"{path}: its tokenizer is not understood: {_words(error)}"
        ) from error
    size = text_config.vocab_size
    if len(found.token_bytes) > size:
        raise UnsupportedModelError(
            f"{path}: the tokenizer has {len(found.token_bytes)} tokens, the model only {size}"
        )
    if not 0 <= found.start_token < size:
        raise UnsupportedModelError(
            f"{path}: bos_token_id {found.start_token} is none of the model's {size} tokens"
        )
    return found


def _try(path: pathlib.Path, scorer: FloatScorer) -> None:
    """Two tokens at once and one after the other, to learn now whether the model can be run, and
    predicts what follows.
    """
    start = scorer.vocabulary.start_token
    ids = np.array([[start, (start + 1) % len(scorer.vocabulary.token_bytes)]], np.int32)
    try:
        whole, cache = scorer.logits(ids, scorer.new_cache()), scorer.new_cache()
        parts = torch.cat(
            [scorer.logits(ids[:, :1], cache), scorer.logits(ids[:, 1:], cache)], dim=1
        )
    except LLMZipError:
        raise
    except Exception as error:
        raise UnsupportedModelError(
            f"{path}: transformers cannot run it: {_words(error)}"
        ) from error
    tolerance = max(1e-3, 16 * torch.finfo(whole.dtype).eps)
    if (whole - parts).abs().max() > tolerance * whole.abs().max():
        raise UnsupportedModelError(
            f"{path}: {type(scorer.model).__name__} predicts differently when it sees what "
            "follows, or forgets what it has read: no causal language model"
        )


def _words(error: Exception) -> str:
    """What an exception says, or its type where it says nothing."""
    return str(error).strip() or type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, which run through ours, and its reports of what the
    weights lack, which are our errors.
    """
    logging: Any = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        # Reading GGUF files draws a bar that cannot be switched off.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.enable_progress_bar()
        logging.set_verbosity(verbosity)
