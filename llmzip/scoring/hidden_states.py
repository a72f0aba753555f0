"""What each layer of a model makes of whole sequences: the hidden states of their last tokens, and
the sequences' code lengths from the same pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import LLMZipError
from llmzip.scoring.base import CHUNK_ROWS, Predictions, Scorer
from llmzip.scoring.integer_scorer import IntegerPredictions, IntegerScorer
from llmzip.types import Float64Array, IdArray, TokenProgress

if TYPE_CHECKING:
    from llmzip.scoring.float_scorer import FloatScorer

States = npt.NDArray[np.float32]

_Read = Callable[[IdArray], tuple[States, Predictions]]
"""Inputs [S, T + 1] -> the states [L, S, d] of the last column, and what is predicted behind each
of the first T columns, in row-major order.
"""


@dataclasses.dataclass(frozen=True)
class SequenceStates:
    """N sequences of T tokens, each read by itself behind the start token."""

    states: States  # [L, N, d], after each layer, of the last token
    bits: Float64Array  # [N, T]


def sequence_states(
    scorer: Scorer, sequences: IdArray, progress: TokenProgress | None = None
) -> SequenceStates:
    """Read sequences [N, T] of token ids.

    The last layer's state is the one that the head reads, as in transformers: normed, of an integer
    model without the norm's gain, which is in the head's weights there, and in 8 bits. progress: is
    told how many tokens are read. Raises LLMZipError for a scorer that shows no states, and for
    sequences that are longer than the model's positions.
    """
    count, length = sequences.shape
    if length >= scorer.max_positions:
        raise LLMZipError(
            f"{length} tokens behind a start token are more than the model's "
            f"{scorer.max_positions} positions"
        )
    read = _reader(scorer)
    start = np.full((count, 1), scorer.vocabulary.start_token, np.int32)
    inputs = np.concatenate([start, sequences], axis=1)
    states, bits = [], np.empty((count, length))
    rows = max(1, CHUNK_ROWS // (length + 1))
    for first in range(0, count, rows):
        part = slice(first, first + rows)
        found, predictions = read(inputs[part])
        states.append(found)
        bits[part] = predictions.measure(sequences[part].flatten())[0].reshape(-1, length)
        if progress:
            progress(min(first + rows, count) * length)
    return SequenceStates(np.concatenate(states, axis=1), bits)


def _reader(scorer: Scorer) -> _Read:
    if isinstance(scorer, IntegerScorer):
        return _IntegerReader(scorer)
    if scorer.model_card.kind == "float":
        return _FloatReader(scorer)  # type: ignore[arg-type]
    raise LLMZipError(f"{scorer.model_card.name}: {type(scorer).__name__} shows no hidden states")


class _IntegerReader:
    """On the reference engine: every engine has these integers, and this one shows them."""

    def __init__(self, scorer: IntegerScorer) -> None:
        engine = scorer.engine
        self._head = engine  # the scorer's own makes the token weights: the same integers, sooner
        self._engine = engine if isinstance(engine, TorchEngine) else TorchEngine(engine.model)

    def __call__(self, inputs: IdArray) -> tuple[States, IntegerPredictions]:
        streams, length = inputs.shape
        transformer, layers = self._engine.transformer, []
        cache = self._engine.session(streams, length, length).cache

        def watch(x: torch.Tensor) -> None:
            layers.append(x.view(streams, length, -1)[:, -1].clone())

        with transformer.working():
            ids = torch.from_numpy(inputs.astype(np.int64)).to(transformer.device)
            positions = torch.arange(length, device=transformer.device)
            q, scale = transformer.forward(ids, positions, cache, length, True, watch)
            layers[-1] = (q.float() * scale).view(streams, length, -1)[:, -1]
            states: States = torch.stack(layers).cpu().numpy()
        vectors = q.view(streams, length, -1)[:, :-1].flatten(0, 1).cpu().numpy()
        scales = scale.view(streams, length)[:, :-1].flatten().cpu().numpy()
        return states, IntegerPredictions(self._head, vectors, scales)


class _FloatReader:
    """Through transformers."""

    def __init__(self, scorer: FloatScorer) -> None:
        self._scorer = scorer

    @torch.inference_mode()
    def __call__(self, inputs: IdArray) -> tuple[States, Predictions]:
        from llmzip.scoring.float_scorer import FloatPredictions

        model, vocab = self._scorer.model, len(self._scorer.vocabulary.token_bytes)
        ids = torch.from_numpy(inputs.astype(np.int64)).to(model.device)
        out = model(input_ids=ids, use_cache=False, output_hidden_states=True)
        layers = [layer[:, -1].float() for layer in out.hidden_states[1:]]  # [0]: embeddings
        states: States = torch.stack(layers).cpu().numpy()
        return states, FloatPredictions(out.logits[:, :-1, :vocab].flatten(0, 1))
