"""The reference engine: docs/arithmetic.md in torch, on any device, readable before fast.

`torch_layers`, `torch_attention` and `torch_cache` hold the parts of a model, `torch_blocks` builds
layers of them, `torch_transformer` runs these one after the other, `torch_session` feeds streams of
tokens to it, and `torch_graph` makes steps quick on CUDA.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.gemm import Int8Kernel
from llmzip.engine.base import Batches
from llmzip.engine.native_core import native_is_available
from llmzip.engine.native_handle import MixingHandle
from llmzip.engine.native_machine import chosen_kernels, processors
from llmzip.engine.native_mixer import MAX_VOCAB, NativeContextMixer
from llmzip.engine.torch_distributions import TorchDistributions
from llmzip.engine.torch_graph import Replay
from llmzip.engine.torch_session import TorchSession
from llmzip.engine.torch_settings import on_stream
from llmzip.engine.torch_transformer import TorchTransformer
from llmzip.exclusive import new_lock
from llmzip.mixing.base import MIXING_VERSION, ContextMixer
from llmzip.mixing.reference import ReferenceContextMixer
from llmzip.mixing.token_classes import token_classes
from llmzip.model.integer_model import IntegerModel

_CUDA_BATCHES = Batches(encode=2048, tables=128, rows=512, idle=0.25)


def indexed(device: str) -> torch.device:
    """The device by name, with its index; without one, the current CUDA device."""
    found = torch.device(device)
    if found.type == "cuda" and found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return found


class TorchEngine:
    """A model on a torch device."""

    def __init__(
        self,
        model: IntegerModel,
        device: str = "cpu",
        kernel: Int8Kernel | None = None,
        replays: bool | None = None,
        threads: int | None = None,
    ) -> None:
        """Load the weights.

        kernel: instead of the one that the self-test would select (tests use it).
        replays: whether a decoder's steps have fixed shapes and are replayed (`torch_graph`); by
        default on CUDA.
        threads: how many compute on a CPU; by default as many as torch is told to. So many mix, by
        default one for each processor that this process may use.
        """
        self._compute_with(
            model, TorchTransformer(model, indexed(device), kernel, threads), replays, threads
        )

    def _compute_with(
        self,
        model: IntegerModel,
        transformer: TorchTransformer,
        replays: bool | None,
        threads: int | None,
    ) -> None:
        on_cuda = transformer.device.type == "cuda"
        self.model = model
        self.transformer = transformer
        self.device = transformer.device
        self._threads = threads
        self.batches = self._with_threads(_CUDA_BATCHES if on_cuda else Batches())
        # which experts compute is decided while they do: there is nothing to record
        records = not self.model.spec.features.experts
        self.replays = records and (on_cuda if replays is None else replays)
        self._head_replay = Replay(self.device)
        self._mixing_handle: MixingHandle | None = None
        self._streams: dict[int, torch.cuda.Stream] = {}  # of lanes
        self._lock = new_lock()

    def _with_threads(self, batches: Batches) -> Batches:
        return dataclasses.replace(batches, threads=self._threads or processors())

    def working(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the host program's settings of torch have no effect."""
        return self.transformer.working()

    def session(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Engine.session`."""
        return TorchSession(self.transformer, streams, window, chunk, self.replays)

    def token_weights(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int32]:
        """See `Engine.token_weights`."""
        with self.working():
            weights: npt.NDArray[np.int32] = (
                self._predict(vectors, scales)[0].flatten(1).cpu().numpy()
            )
        return weights[:, : self.model.spec.vocab]

    def distributions(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> TorchDistributions:
        """See `Engine.distributions`."""
        with self.working():
            return TorchDistributions(self.working, *self._predict(vectors, scales))

    def lane(self, number: int, count: int) -> contextlib.AbstractContextManager[None]:
        """See `Engine.lane`: on CUDA all but the first have streams of their own."""
        if self.device.type != "cuda" or not number:
            return contextlib.nullcontext()
        with self._lock:  # kept: the memory that is free on a stream is free for its next work
            if number not in self._streams:
                self._streams[number] = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        return on_stream(self.device, self._streams[number])

    def free_bytes(self) -> int | None:
        """See `Engine.free_bytes`."""
        if self.device.type != "cuda":
            return None
        free = torch.cuda.mem_get_info(self.device)[0]
        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return free + held

    def mixer(self, capacity_bits: int, version: int = MIXING_VERSION) -> ContextMixer:
        """See `Engine.mixer`. In C where the C core is built: it is some fifty times as quick."""
        spec = self.model.spec
        if native_is_available() and spec.vocab <= MAX_VOCAB:
            return NativeContextMixer(self._mixing(), capacity_bits, self._classes, version)
        return ReferenceContextMixer(
            capacity_bits, spec.d_model, spec.vocab, spec.start_token, self._classes, version
        )

    @functools.cached_property
    def _classes(self) -> npt.NDArray[np.uint8]:
        return token_classes(self.model.vocabulary.token_bytes)

    def _mixing(self) -> MixingHandle:
        """The threads of all mixers of this engine."""
        with self._lock:
            if self._mixing_handle is None:
                kernels = chosen_kernels(None)
                self._mixing_handle = MixingHandle(self.model.spec, self.batches.threads, kernels)
            return self._mixing_handle

    def _predict(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The token weights, sums and most likely tokens of head inputs; called in `working`."""
        x, s = self.transformer.put(vectors, scales)
        predict, s = self.transformer.predict, s[:, None]
        weights, sums, top = (
            self._head_replay("head", predict, x, s) if self.replays else predict(x, s)
        )
        return weights, sums, top
