"""The training loop: steps, held-out bits per byte, checkpoints, and a curve.

Rates rise over the first steps, then fall linearly to nothing, by the share of the steps done or of
the time used, whichever is further. A checkpoint is everything that the next step depends on; the
file of the adapter so far lies beside it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmzip.tuning.data import Batch, Corpus, batches, held_out_batches
from llmzip.tuning.network import Network

_log = logging.getLogger("llmzip")
_MIN_EMBEDDING_EPS = 1e-6
"""Adam's epsilon where rows belong to tokens: a row whose gradient is noise must not move as fast
as one that matters.
"""


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """What decides a run's result, beside data and base."""

    rank: int | None = 36
    """Of the low-rank products; None: all numbers are trained."""
    steps: int = 1000
    minutes: float | None = None
    """At most; the schedule ends with the time."""
    batch: int = 16
    """Sequences of a step."""
    micro_batch: int = 8
    """Sequences that go through the network at once."""
    length: int = 2048
    rate: float = 5e-4
    """The highest rate of AdamW."""
    warm_up: float = 0.02
    """The share of the run in which the rate rises."""
    from_start: float = 0.3
    """The share of sequences that begin where a document does."""
    seed: int = 0
    evaluate_seconds: float = 60.0
    """At least, between two measurements of held-out text, each with a checkpoint; more where they
    would take over a tenth of the time. 0: after every step.
    """
    patience: int | None = None
    """After so many measurements without a new best the run ends."""


@dataclasses.dataclass
class State:
    """Where a run is."""

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    worse: int = 0
    """Measurements since the best one."""
    curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)


TrainingProgress = Callable[[State, float, float], None]
"""Called after each step with the state, the share of the run that is done, and the step's bits per
token.
"""


class Trainer:
    """Trains a network on a corpus."""

    def __init__(
        self,
        network: Network,
        corpus: Corpus,
        held_out: Mapping[str, Corpus],
        token_sizes: np.ndarray[Any, np.dtype[np.int64]],
        folder: pathlib.Path,
        options: TrainingOptions,
        base: str = "",
    ) -> None:
        """held_out: kind -> text that is only measured. folder: where checkpoints, adapters and the
        curve go.
        """
        self.network, self.corpus, self.held_out, self.options = network, corpus, held_out, options
        self.folder, self.base = folder, base
        self.device = network.cosine.device
        self.sizes = torch.from_numpy(token_sizes).to(self.device)
        self.state = State()
        tokens = [
            *network.matrices["embedding"].parameters(),
            *network.matrices["head"].parameters(),
        ]
        others = [p for p in network.parameters() if all(p is not q for q in tokens)]
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": tokens, "eps": _MIN_EMBEDDING_EPS},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.0
        )

    def run(self, progress: TrainingProgress | None = None) -> State:
        """Train to the end, or to where an earlier run's end is."""
        options, state = self.options, self.state
        begun = time.monotonic() - state.seconds
        last = begun + state.seconds
        measuring = 0.0
        if not state.curve:
            self.evaluate()
            measuring = time.monotonic() - last
        draws = batches(
            self.corpus,
            options.batch,
            options.length,
            self._start_token,
            options.from_start,
            options.seed,
            state.step,
        )
        for batch in draws:
            done = self.share_done()
            if done >= 1 or (options.patience and state.worse >= options.patience):
                break
            for group in self.optimizer.param_groups:
                group["lr"] = options.rate * min(1.0, done / options.warm_up + 1e-2) * (1.0 - done)
            loss = self.step(batch)
            state.step += 1
            state.seconds = time.monotonic() - begun
            if progress:
                progress(state, self.share_done(), loss)
            now = time.monotonic()
            pause = options.evaluate_seconds and max(options.evaluate_seconds, 10 * measuring)
            if now - last >= pause:
                self.evaluate()
                self.checkpoint()
                last = time.monotonic()
                measuring = last - now
                state.seconds = last - begun
        self.evaluate()
        self.checkpoint()
        return state

    @property
    def _start_token(self) -> int:
        return self.network.spec.start_token

    def share_done(self) -> float:
        """By steps or by time, whichever is further."""
        by_steps = self.state.step / self.options.steps
        minutes = self.options.minutes
        return min(
            1.0, by_steps if minutes is None else max(by_steps, self.state.seconds / (60 * minutes))
        )

    def step(self, batch: Batch) -> float:
        """One update; the mean bits per token."""
        count = int((batch.targets >= 0).sum())
        total = torch.zeros((), device=self.device)
        for first in range(0, len(batch.inputs), self.options.micro_batch):
            losses, scored = self._losses(batch, slice(first, first + self.options.micro_batch))
            loss = (losses * scored).sum() / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(total)

    def _losses(self, batch: Batch, part: slice) -> tuple[Tensor, Tensor]:
        inputs, targets = (
            torch.from_numpy(x[part]).to(self.device) for x in (batch.inputs, batch.targets)
        )
        scored = targets >= 0
        return self.network(inputs, targets.clamp(min=0)), scored

    @torch.no_grad()
    def bits_per_byte(self, corpus: Corpus) -> float:
        """Of held-out text."""
        bits, size = 0.0, 0
        options = self.options
        for batch in held_out_batches(
            corpus, options.micro_batch, options.length, self._start_token
        ):
            losses, scored = self._losses(batch, slice(None))
            bits += float((losses * scored).sum(dtype=torch.float64))
            targets = torch.from_numpy(batch.targets).to(self.device)
            size += int((self.sizes[targets.clamp(min=0)] * scored).sum())
        return bits / max(size, 1)

    def evaluate(self) -> None:
        """Add a point to the curve; a new best adapter is kept."""
        kinds = {
            name: round(self.bits_per_byte(corpus), 5) for name, corpus in self.held_out.items()
        }
        mean = sum(kinds.values()) / max(len(kinds), 1)
        point = {
            "step": self.state.step,
            "seconds": round(self.state.seconds, 1),
            "mean": round(mean, 5),
            **kinds,
        }
        self.state.curve.append(point)
        self.state.worse += 1
        if mean < self.state.best or not kinds:
            self.state.best, self.state.worse = mean, 0
            self.network.adapter(self.base).save(self.folder / "adapter.safetensors")
        (self.folder / "curve.json").write_text(
            json.dumps(self.state.curve, indent=1) + "\n", "utf-8"
        )

    def checkpoint(self) -> None:
        """Write all that the next step depends on, and then give it its name."""
        draft = self.folder / "checkpoint.tmp"
        content = {
            "parameters": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "state": dataclasses.asdict(self.state),
            "options": dataclasses.asdict(self.options),
        }
        torch.save(content, draft)
        draft.replace(self.folder / "checkpoint.pt")

    def resume(self) -> bool:
        """Continue where the last checkpoint is, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        content = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(content["parameters"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.state = State(**content["state"])
        return True


def compiled(network: Network) -> None:
    """Compile what a layer and the head do once for all layers; quicker on GPUs after half a
    minute.
    """
    network.run_layer = torch.compile(network.layer, dynamic=False)
    network.run_loss = torch.compile(network.token_losses, dynamic=False)
