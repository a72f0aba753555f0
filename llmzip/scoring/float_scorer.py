"""Float models as scorers, through transformers, on any device."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from llmzip.errors import LLMZipError, UnsupportedModelError
from llmzip.metrics.capacity import Shape
from llmzip.model.files import shown
from llmzip.model.vocabulary import Vocabulary
from llmzip.scoring.base import ModelCard, Predictions, chunks
from llmzip.scoring.text import TextTokenizer
from llmzip.types import BoolArray, Float64Array, IdArray, Int64Array

_LARGEST_WEIGHT = 2.0**30
"""The weight of the likeliest token, from which those of the others follow."""


class FloatPredictions:
    """Logits, cut to the tokenizer's entries, softmax in float32."""

    def __init__(self, logits: torch.Tensor) -> None:
        self._log2 = torch.log_softmax(logits.float(), dim=-1) / math.log(2)  # [N, V]

    def measure(self, targets: IdArray) -> tuple[Float64Array, IdArray]:
        """See `Predictions.measure`."""
        wanted = torch.from_numpy(targets).long().to(self._log2.device)[:, None]
        chosen = self._log2.gather(1, wanted)
        ranks = (self._log2 > chosen).sum(dim=1)
        return -chosen[:, 0].double().cpu().numpy(), ranks.int().cpu().numpy()

    def log2_probabilities(self) -> npt.NDArray[np.float32]:
        """See `Predictions.log2_probabilities`."""
        array: npt.NDArray[np.float32] = self._log2.cpu().numpy()
        return array


class FloatReader:
    """A reader on a model of transformers: weights are probabilities, rounded down."""

    def __init__(self, scorer: FloatScorer) -> None:
        self._scorer = scorer
        self._cache = scorer.new_cache()

    def advance(self, tokens: IdArray) -> Int64Array:
        """See `Reader.advance`. Raises LLMZipError for a model that breaks down."""
        for columns in chunks(*tokens.shape):
            logits = self._scorer.logits(tokens[:, columns], self._cache, keep=False)
        last = logits[:, -1].double()
        largest = last.max(dim=-1, keepdim=True).values
        if not largest.isfinite().all():
            raise LLMZipError(f"{self._scorer.model_card.name} gives tokens no probability")
        weights: Int64Array = (torch.exp(last - largest) * _LARGEST_WEIGHT).long().cpu().numpy()
        return weights

    def keep(self, rows: Sequence[int]) -> None:
        """See `Reader.keep`."""
        self._cache.batch_select_indices(torch.tensor(rows, device=self._scorer.model.device))


class FloatScorer:
    """A scorer on a causal language model of transformers."""

    batch_positions = 8192

    def __init__(self, model: Any, vocabulary: Vocabulary, name: str, digest: str) -> None:
        """model: as `AutoModelForCausalLM` gives it, on its device; digest: of its files."""
        self.model = model.eval()
        self._cache_argument = _cache_argument(model)
        self.vocabulary = vocabulary
        self.tokenize = TextTokenizer(vocabulary)
        config = model.config.get_text_config()
        self.max_positions = _size(config, "max_position_embeddings", default=1 << 20)
        self.end_token = _end_token(config, len(vocabulary.token_bytes))
        parameters = sum(p.numel() for p in model.parameters())
        self.model_card = ModelCard(
            name=name,
            kind="float",
            digest=digest,
            parameters=parameters,
            model_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            shape=_shape(config, [name for name, _ in model.named_modules()]),
            settings={
                "dtype": str(model.dtype).removeprefix("torch."),
                "device": str(model.device),
            },
        )

    def predict(
        self, inputs: IdArray, wanted: BoolArray, window: int | None
    ) -> Iterator[tuple[slice, Predictions]]:
        """See `Scorer.predict`; there is no window but the model's own."""
        if window is not None and window < inputs.shape[1]:
            raise LLMZipError("float models have no attention window of ours: leave it out")
        cache = self.new_cache()
        for columns in chunks(*inputs.shape):
            here = wanted[:, columns]
            logits = self.logits(inputs[:, columns], cache, keep=bool(here.any()))
            if here.any():
                yield columns, FloatPredictions(logits[torch.from_numpy(here).to(logits.device)])

    def reader(self, texts: int, length: int) -> FloatReader:
        """See `Scorer.reader`."""
        return FloatReader(self)

    def new_cache(self) -> Any:
        """An empty key/value cache."""
        return transformers.DynamicCache(config=self.model.config)

    @torch.inference_mode()
    def logits(
        self, inputs: IdArray, cache: Any, *, keep: bool = True, start: int | None = None
    ) -> torch.Tensor:
        """Feed inputs [S, t] behind what the cache holds: logits [S, t, V], or of the last column
        alone without `keep`.

        start: the position of the first column; None: the length of the cache.
        """
        ids = torch.from_numpy(np.ascontiguousarray(inputs)).long().to(self.model.device)
        positions = None
        if start is not None:
            positions = torch.arange(start, start + ids.shape[1], device=ids.device)[
                None
            ].expand_as(ids)
        try:
            out = self.model(
                input_ids=ids,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=0 if keep else 1,
                **{self._cache_argument: cache},
            )
        except torch.cuda.OutOfMemoryError as error:
            raise LLMZipError(
                f"{self.model.device} has too little memory: shorter --context, or --dtype bfloat16"
            ) from error
        logits: torch.Tensor = out.logits[..., : len(self.vocabulary.token_bytes)]
        return logits


def _cache_argument(model: Any) -> str:
    """What the model's forward pass calls the cache: `cache` since transformers 5.24,
    `past_key_values` before.
    """
    parameters = inspect.signature(model.forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"


def _end_token(config: Any, tokens: int) -> int | None:
    """The configuration's end token, the first where it has several; None: none of the tokens."""
    named = getattr(config, "eos_token_id", None)
    first = named[0] if isinstance(named, list) and named else named
    return first if type(first) is int and 0 <= first < tokens else None


def _size(config: Any, *names: str, default: int | None = None) -> int:
    """The first of the entries that the configuration has. Raises UnsupportedModelError where it is
    no size.
    """
    value = next((value for name in names if (value := getattr(config, name, None))), default)
    if type(value) is not int or value < 1:
        raise UnsupportedModelError(
            f"{type(config).__name__}: {names[0]} is {shown(value)}: "
            "only transformers with attention, all layers alike"
        )
    return value


def _shape(config: Any, modules: list[str]) -> Shape:
    d, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    experts = _size(config, "num_local_experts", "num_experts", "n_routed_experts", default=1)
    inner = ("moe_intermediate_size",) if experts > 1 else ()
    return Shape(
        layers=_size(config, "num_hidden_layers"),
        d_model=d,
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", default=heads),
        head_dim=_size(config, "head_dim", default=d // heads),
        d_ff=_size(config, *inner, "intermediate_size", "n_inner", default=4 * d),
        vocab=_size(config, "vocab_size"),
        gated=any(m.rsplit(".", 1)[-1] in ("gate_proj", "gate_up_proj", "w3") for m in modules),
        experts=experts,
        active_experts=_size(config, "num_experts_per_tok", default=1),
    )
