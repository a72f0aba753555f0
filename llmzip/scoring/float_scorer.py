"""Float models through transformers: hub ids, folders and GGUF files, on any device."""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from llmzip.errors import LLMZipError, ModelNotFoundError, UnsupportedModelError
from llmzip.metrics.capacity import Shape
from llmzip.metrics.code_length import FloatArray
from llmzip.model import vocabulary as vocabularies
from llmzip.model.download import fetch_registered, fetch_snapshot
from llmzip.model.registry import by_name
from llmzip.model.sources import gguf_vocabulary, source_digest
from llmzip.model.vocabulary import Vocabulary
from llmzip.scoring.base import BoolArray, IdArray, ModelCard, Predictions, chunks
from llmzip.scoring.text import TextCutter


class FloatPredictions:
    """Logits, cut to the tokenizer's entries, softmax in float32."""

    def __init__(self, logits: torch.Tensor) -> None:
        self._log2 = torch.log_softmax(logits.float(), dim=-1) / math.log(2)  # [N, V]

    def measure(self, targets: IdArray) -> tuple[FloatArray, IdArray]:
        """See `Predictions.measure`."""
        wanted = torch.from_numpy(targets).long().to(self._log2.device)[:, None]
        chosen = self._log2.gather(1, wanted)
        ranks = (self._log2 > chosen).sum(dim=1)
        return -chosen[:, 0].double().cpu().numpy(), ranks.int().cpu().numpy()

    def log2_probabilities(self) -> npt.NDArray[np.float32]:
        """See `Predictions.log2_probabilities`."""
        array: npt.NDArray[np.float32] = self._log2.cpu().numpy()
        return array


class FloatScorer:
    """A scorer on a causal language model of transformers."""

    batch_positions = 8192

    def __init__(self, model: Any, vocabulary: Vocabulary, name: str, digest: str) -> None:
        """model: as `AutoModelForCausalLM` gives it, on its device; digest: of its files."""
        self.model = model.eval()
        self._cache_argument = _cache_argument(model)
        self.vocabulary = vocabulary
        self.tokenize = TextCutter(vocabulary)
        config = model.config.get_text_config()
        self.max_positions = int(getattr(config, "max_position_embeddings", None) or 1 << 20)
        parameters = sum(p.numel() for p in model.parameters())
        self.card = ModelCard(
            name=name,
            kind="float",
            digest=digest,
            parameters=parameters,
            model_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            shape=_shape(config, [name for name, _ in model.named_modules()]),
            settings={"dtype": str(model.dtype).removeprefix("torch."), "device": str(model.device)},
        )

    def predict(self, inputs: IdArray, wanted: BoolArray, window: int | None) -> Iterator[tuple[slice, Predictions]]:
        """See `Scorer.predict`; there is no window but the model's own."""
        if window is not None and window < inputs.shape[1]:
            raise LLMZipError("float models have no attention window of ours: leave it out")
        cache = transformers.DynamicCache(config=self.model.config)
        for columns in chunks(*inputs.shape):
            here = wanted[:, columns]
            logits = self.logits(inputs[:, columns], cache, keep=bool(here.any()))
            if here.any():
                yield columns, FloatPredictions(logits[torch.from_numpy(here).to(logits.device)])

    @torch.inference_mode()
    def logits(self, inputs: IdArray, cache: Any, *, keep: bool = True, start: int | None = None) -> torch.Tensor:
        """Feed inputs [S, t] behind what the cache holds: logits [S, t, V], or of the last column alone without `keep`.

        start: the position of the first column; None: the length of the cache.
        """
        ids = torch.from_numpy(np.ascontiguousarray(inputs)).long().to(self.model.device)
        positions = None
        if start is not None:
            positions = torch.arange(start, start + ids.shape[1], device=ids.device)[None].expand_as(ids)
        try:
            out = self.model(
                input_ids=ids,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=0 if keep else 1,
                **{self._cache_argument: cache},
            )
        except torch.OutOfMemoryError as error:
            raise LLMZipError(
                f"{self.model.device} has too little memory: shorter --context, or --dtype bfloat16"
            ) from error
        logits: torch.Tensor = out.logits[..., : len(self.vocabulary.token_bytes)]
        return logits


def load_float(name: str, *, dtype: str = "float32", device: str = "cpu", fetch: bool = False) -> FloatScorer:
    """The scorer of a folder, `.gguf` file, registered name or hub id `owner/name[@revision]`.

    Raises ModelNotFoundError, UnsupportedModelError (with the reason), or LLMZipError for a device that cannot be used.
    """
    path = pathlib.Path(name)
    if path.is_dir() or (path.suffix.lower() == ".gguf" and path.is_file()):
        return _load(path, path.name, dtype, device)
    entry = by_name(name)
    if entry:
        if not fetch:
            raise ModelNotFoundError(
                f"the float weights of {entry.name} are not kept; allow the download, or name a file"
            )
        with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
            return _load(fetch_registered(entry, pathlib.Path(folder)), entry.name, dtype, device)
    snapshot = fetch_snapshot(name, fetch) if "/" in name else None
    if snapshot is None:
        raise ModelNotFoundError(
            f"no float model {name!r}: not a folder, a .gguf file, a registered name or a hub id here"
        )
    return _load(snapshot, name, dtype, device)


def _load(path: pathlib.Path, name: str, dtype: str, device: str) -> FloatScorer:
    folder, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    try:
        with _quiet():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), local_files_only=True, **options
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise UnsupportedModelError(f"{path}: transformers cannot load it: {error}") from error
    try:
        model = torch.nn.Module.to(model, device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's own: no such device, no memory
        raise LLMZipError(f"device {device!r} cannot be used: {error}") from error
    if path.is_dir():
        words = vocabularies.from_directory(path, model.config.get_text_config().to_dict())
    else:
        words = gguf_vocabulary(path)
    return FloatScorer(model, words, name, source_digest(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, which run through ours."""
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # reading GGUF files draws one that cannot be switched off
            yield
    finally:
        logging.enable_progress_bar()


def _cache_argument(model: Any) -> str:
    """What the model's forward pass calls the cache: `cache` since transformers 5.24, `past_key_values` before."""
    parameters = inspect.signature(model.forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"


def _shape(config: Any, modules: list[str]) -> Shape:
    def first(*names: str, default: int) -> int:
        return next((int(value) for n in names if (value := getattr(config, n, None))), default)

    d, heads = int(config.hidden_size), int(config.num_attention_heads)
    experts = first("num_local_experts", "num_experts", "n_routed_experts", default=1)
    return Shape(
        layers=int(config.num_hidden_layers),
        d_model=d,
        heads=heads,
        kv_heads=first("num_key_value_heads", default=heads),
        head_dim=first("head_dim", default=d // heads),
        d_ff=first(
            "moe_intermediate_size" if experts > 1 else "intermediate_size",
            "intermediate_size",
            "n_inner",
            default=4 * d,
        ),
        vocab=int(config.vocab_size),
        gated=any(m.rsplit(".", 1)[-1] in ("gate_proj", "gate_up_proj", "w3") for m in modules),
        experts=experts,
        active_experts=first("num_experts_per_tok", default=1),
    )
