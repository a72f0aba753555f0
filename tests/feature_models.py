"""Decoders with features for tests: what each adds to the plain one, alone and as families combine
them.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmzip.model.features import BIASES, NO_ROPE, Features

FEATURES: Mapping[str, Features] = {
    "a window": Features(layer_window=(7, 0)),
    "a window of one": Features(layer_window=(1, 2)),
    "no rotary positions in a layer": Features(layer_rope=(0, NO_ROPE)),
    "two rotary tables": Features(rope_tables=2, layer_rope=(0, 1), layer_window=(5, 0)),
    "learned positions": Features(
        rope_tables=0, layer_rope=(NO_ROPE, NO_ROPE), learned_positions=True
    ),
    "all biases": Features(biases=BIASES),
    "a bias of the head": Features(biases=("head",)),
    "biases of queries and keys": Features(biases=("k", "o", "q")),
    "norms of heads": Features(head_norm="head"),
    "norms of all heads": Features(head_norm="all"),
    "norms behind": Features(post_norm=True),
    "caps": Features(attention_cap=9.0, logit_cap=4.5),
    "no gate": Features(gated=False),
    "GELU": Features(activation="gelu_erf"),
    "GELU by tanh": Features(activation="gelu_tanh"),
    "in parallel": Features(parallel=True),
    "Gemma 3": Features(
        activation="gelu_tanh",
        post_norm=True,
        head_norm="head",
        attention_cap=72.0,
        logit_cap=43.0,
        rope_tables=2,
        layer_rope=(1, 0),
        layer_window=(6, 0),
    ),
    "NeoX": Features(
        activation="gelu_erf",
        gated=False,
        parallel=True,
        biases=("down", "gate", "head", "k", "o", "q"),
    ),
    "wide inputs": Features(
        wide_inputs=("layers.0.q", "layers.0.down", "layers.1.o", "layers.1.gate")
    ),
    "wide inputs in parallel, no gate": Features(
        parallel=True,
        gated=False,
        activation="gelu_erf",
        biases=("gate", "k", "q"),
        wide_inputs=("layers.0.q", "layers.1.o", "layers.1.down"),
    ),
    "wide inputs without norms before": Features(
        pre_norm=False,
        post_norm=True,
        biases=("down", "o"),
        wide_inputs=("layers.0.q", "layers.0.o", "layers.1.gate", "layers.1.down"),
    ),
    "rotated keys": Features(rotated_keys=True),
    "rotated keys with norms and a cap": Features(
        rotated_keys=True, head_norm="head", attention_cap=9.0, biases=("k", "o", "q")
    ),
    "another rotation": Features(post_norm=True, model_rotation=1),
    "experts": Features(experts=5, experts_used=2, expert_ff=30),
    "one expert of many": Features(
        experts=40, experts_used=1, expert_ff=8, experts_normalized=True, layer_experts=(0, 1)
    ),
    "all experts": Features(experts=4, experts_used=4, expert_ff=66, experts_normalized=True),
    "a shared expert": Features(
        experts=3, experts_used=2, expert_ff=12, shared_ff=100, layer_experts=(1, 0)
    ),
    "experts without a gate": Features(
        gated=False, activation="gelu_erf", experts=6, experts_used=3, expert_ff=96, shared_ff=7
    ),
    "Qwen 2 MoE": Features(
        biases=("k", "o", "q"),
        experts=33,
        experts_used=4,
        expert_ff=20,
        shared_ff=40,
        shared_weighted=True,
    ),
    "FlexOlmo": Features(
        pre_norm=False,
        post_norm=True,
        head_norm="all",
        experts=7,
        experts_used=3,
        expert_ff=34,
    ),
    "experts with wide inputs of attention": Features(
        experts=6,
        experts_used=2,
        expert_ff=16,
        layer_experts=(1, 0),
        rotated_keys=True,
        wide_inputs=("layers.0.q", "layers.0.o", "layers.1.gate", "layers.1.down"),
    ),
    "OLMo 2": Features(pre_norm=False, post_norm=True, head_norm="all", biases=("down", "o")),
}
