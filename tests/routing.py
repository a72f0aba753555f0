"""Which experts are chosen: by the reference engine, and what transformers computes with the same
choice. A choice is not continuous: where two experts are nearly alike to the router, roundings
decide, and what follows has little to do with how exact the rest is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.torch_experts import Experts
from llmzip.engine.torch_features import FeaturedBlock


def recorded(engine: TorchEngine) -> list[tuple[Tensor, Tensor]]:
    """From now on, what each router gives: experts [M, K] and weights [M, K]."""
    found: list[tuple[Tensor, Tensor]] = []

    def watched(router: Any) -> Any:
        def call(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            found.append(router(x, scale))
            return found[-1]

        return call

    blocks: list[Any] = engine.transformer.blocks
    for i, block in enumerate(blocks):
        if isinstance(block, FeaturedBlock) and isinstance(block.mlp, Experts):
            mlp = dataclasses.replace(block.mlp, router=watched(block.mlp.router))
            blocks[i] = dataclasses.replace(block, mlp=mlp)
    return found


@dataclasses.dataclass
class Followed:
    """A model of transformers whose routers choose what others have chosen."""

    same: list[float] = dataclasses.field(default_factory=list)
    """Of each layer, how often it would have chosen the same experts."""

    def follow(self, model: Any, choices: list[Tensor]) -> None:
        """From now on; choices: of each layer with experts, [M, K]."""
        routers = [one for one in model.modules() if type(one).__name__.endswith("TopKRouter")]
        for router, chosen in zip(routers, choices, strict=True):
            router.register_forward_hook(self._hook(chosen))

    def _hook(self, chosen: Tensor) -> Any:
        def hook(router: Any, inputs: Any, given: tuple[Tensor, Tensor, Tensor]) -> Any:
            logits, weights, own = given
            ours = torch.softmax(logits, -1).gather(1, chosen)
            if getattr(router, "norm_topk_prob", True):
                ours = ours / ours.sum(-1, keepdim=True)
            same = (own.sort(-1).values == chosen.sort(-1).values).all(-1)
            self.same.append(same.double().mean().item())
            return logits, ours.to(weights.dtype), chosen

        return hook
