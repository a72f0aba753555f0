"""`llmzip tune` as a function: texts and a base model in, an adapter and its training curve out.

The output folder holds all of a run: `tokens.npz` (the text, tokenized once), `checkpoint.pt`,
`curve.json`, and `adapter.safetensors`, the best so far. A run that was interrupted goes on from
there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence

import torch

from llmzip.errors import LLMZipError
from llmzip.model.adapter import Adapter
from llmzip.model.float_model import FloatModel
from llmzip.model.sources import read_source, source_digest
from llmzip.model.tokenizer import Tokenizer
from llmzip.tuning import data
from llmzip.tuning.network import Network
from llmzip.tuning.training import State, Trainer, TrainingOptions, TrainingProgress, compiled

LOW_RANK_RATE, FULL_RATE = 5e-4, 3e-5
TOKENS_FILE, ADAPTER_FILE = "tokens.npz", "adapter.safetensors"
_TRAINED = "train"
_log = logging.getLogger("llmzip")


def prepare(
    folder: pathlib.Path,
    source: FloatModel,
    texts: Sequence[pathlib.Path],
    held_out: Sequence[pathlib.Path] = (),
    share: float = 0.05,
    seed: int = 0,
) -> None:
    """Split texts into tokens and write them into the run's folder.

    held_out: files that are only measured, each a kind of its own; without any, a share of the
    documents is held out.
    """
    tokenizer = Tokenizer(source.vocabulary)

    def corpus(documents: Sequence[bytes]) -> data.Corpus:
        return data.Corpus.of(
            documents, lambda text: tokenizer.encode(text).ids, source.spec.start_token
        )

    trained = [document for path in texts for document in data.documents(path)]
    if not trained:
        raise LLMZipError("no text to train on: every file is empty")
    corpora = {path.stem: corpus(data.documents(path)) for path in held_out}
    if not held_out:
        trained, kept = data.split(trained, share, seed)
        corpora = {"held out": corpus(kept)}
    folder.mkdir(parents=True, exist_ok=True)
    data.save(folder / TOKENS_FILE, {_TRAINED: corpus(trained), **corpora})


def train(
    folder: pathlib.Path,
    base: pathlib.Path,
    options: TrainingOptions,
    device: str = "cpu",
    initial: Adapter | None = None,
    progress: TrainingProgress | None = None,
) -> State:
    """Train in a prepared folder, from its checkpoint where there is one.

    base: a `.gguf` file or a Hugging Face directory. initial: where to begin, an adapter of the
    same base.
    """
    source = read_source(base)
    corpora = data.load(folder / TOKENS_FILE)
    corpus = corpora.pop(_TRAINED)
    torch.manual_seed(options.seed)
    kind = torch.device(device).type
    length = min(options.length, source.spec.max_positions)
    options = dataclasses.replace(options, length=length)
    dtype = torch.bfloat16 if has_bfloat16(kind) else torch.float32
    with _quick_products():
        network = Network(source, options.rank, length, dtype)
        if initial:
            network.start_from(initial)
        network.to(device)
        if kind == "cuda":
            compiled(network)
        sizes = data.token_bytes(source.vocabulary)
        trainer = Trainer(network, corpus, corpora, sizes, folder, options, source_digest(base))
        if trainer.resume():
            _log.info("goes on at step %d", trainer.state.step)
        return trainer.run(progress)


def has_bfloat16(device: str) -> bool:
    """Whether products of bfloat16 are quicker there than of float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextlib.contextmanager
def _quick_products() -> Iterator[None]:
    """TF32 for what stays in float32 on a GPU: rotations and merging, whose results are rounded to
    8 bits.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
