"""Published models of four kinds with features to integers (docs/arithmetic.md, sections 2.6 and
3.9): Qwen 3, also with experts, Gemma 3 and GPT-NeoX, which between them have most features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.reference_decoder.conversion import (
    LOG2_E,
    Matrix,
    Tensors,
    block_size,
    butterflies,
    quantize_rows,
    rotary_table,
    rotate,
)
from tests.reference_decoder.model import Spec

Load = Callable[[str], Matrix]
"""Reads a tensor by its published name."""

KINDS = ("qwen3", "qwen3_moe", "gemma3_text", "gpt_neox")


def features_of(config: dict[str, Any]) -> dict[str, Any]:
    """The features of a kind, but for what is as in Llama."""
    if config["model_type"] == "qwen3":
        return {"head_norm": "head"}
    if config["model_type"] == "qwen3_moe":
        layers, without = range(config["num_hidden_layers"]), config["mlp_only_layers"]
        return {
            "head_norm": "head",
            "experts": config["num_experts"],
            "experts_used": config["num_experts_per_tok"],
            "expert_ff": config["moe_intermediate_size"],
            "experts_normalized": config["norm_topk_prob"],
            "layer_experts": [int(layer not in without) for layer in layers],
        }
    if config["model_type"] == "gpt_neox":
        return {
            "activation": "gelu_erf",
            "gated": False,
            "parallel": True,
            "biases": ["down", "gate", "head", "k", "o", "q"],
        }
    windows = [
        config["sliding_window"] if kind == "sliding_attention" else 0
        for kind in config["layer_types"]
    ]
    caps = {
        name: float(np.float32(config[key] * LOG2_E))
        for name, key in (
            ("attention_cap", "attn_logit_softcapping"),
            ("logit_cap", "final_logit_softcapping"),
        )
        if config.get(key)
    }
    return {
        "activation": "gelu_tanh",
        "post_norm": True,
        "head_norm": "head",
        "rope_tables": 2,
        "layer_rope": [int(window > 0) for window in windows],
        "layer_window": windows,
        **caps,
    }


def convert_featured(spec: Spec, load: Load, config: dict[str, Any]) -> Tensors:
    """All tensors of the integer model."""
    kinds = {
        "qwen3": Conversion,
        "qwen3_moe": Qwen3MoE,
        "gemma3_text": Gemma3,
        "gpt_neox": GPTNeoX,
    }
    return kinds[config["model_type"]](spec, load, config).convert()


class Conversion:
    """Qwen 3; the others change what they have otherwise."""

    activation = -LOG2_E
    """c of the gate."""

    def __init__(self, spec: Spec, load: Load, config: dict[str, Any]) -> None:
        self.spec, self.load, self.config = spec, load, config
        self.model, self.head = block_size(spec.d_model), block_size(spec.head_dim)
        self.mlp = block_size(spec.d_ff, 512)
        self.tensors: Tensors = {}

    def convert(self) -> Tensors:
        """All tensors, once."""
        self.put_ends()
        for layer in range(self.spec.layers):
            self.put_layer(f"model.layers.{layer}.", f"layers.{layer}.")
        self.put_ropes()
        return self.tensors

    def put(self, name: str, rows: Matrix, factor: float = 1.0) -> None:
        """A matrix as integers with scales."""
        weight, scale = quantize_rows(rows, factor)
        self.tensors[name + ".weight"], self.tensors[name + ".scale"] = weight, scale

    def put_vector(self, name: str, entries: Matrix) -> None:
        """A bias or gain."""
        small = np.abs(entries) < 2.0**-50
        self.tensors[name] = np.where(small, 0.0, entries).astype(np.float32)

    def gain(self, name: str) -> Matrix:
        """The gain of a norm."""
        return self.load(name + ".weight")

    def head_weight(self) -> Matrix:
        """The head as it is published."""
        tied = self.config.get("tie_word_embeddings")
        return self.load("model.embed_tokens.weight" if tied else "lm_head.weight")

    def put_ends(self) -> None:
        """Embedding and head."""
        self.put("embedding", rotate(self.load("model.embed_tokens.weight"), self.model))
        self.put("head", rotate(self.head_weight() * self.gain("model.norm"), self.model), LOG2_E)

    def put_layer(self, of: str, to: str) -> None:
        """One layer."""
        gain = self.gain(of + "input_layernorm")
        q, k, v = (self.load(f"{of}self_attn.{part}_proj.weight") * gain for part in "qkv")
        self.put(to + "q", rotate(q, self.model))
        self.put(to + "k", rotate(k, self.model))
        self.put(to + "v", rotate(rotate(v.T, self.head).T, self.model))
        self.put_vector(to + "q.norm", self.gain(of + "self_attn.q_norm") * self.query_factor())
        self.put_vector(to + "k.norm", self.gain(of + "self_attn.k_norm"))
        o = rotate(self.load(of + "self_attn.o_proj.weight"), self.head)
        self.put_output(of + self.post_norms()[0], to + "o", o, 1.0)
        self.put_mlp(of, to)

    def put_mlp(self, of: str, to: str) -> None:
        """The MLP of a layer."""
        gain = self.gain(of + self.mlp_norm())
        gate = self.load(of + "mlp.gate_proj.weight") * gain
        self.put(to + "gate", rotate(gate, self.model), self.activation)
        self.put(to + "up", rotate(self.load(of + "mlp.up_proj.weight") * gain, self.model))
        down = butterflies(self.load(of + "mlp.down_proj.weight"), self.mlp)
        self.put_output(
            of + self.post_norms()[1], to + "down", down, 1.0 / (self.down() * self.mlp)
        )

    def query_factor(self) -> float:
        """By what scores are multiplied."""
        return LOG2_E / math.sqrt(self.spec.head_dim)

    def mlp_norm(self) -> str:
        """The norm before the MLP."""
        return "post_attention_layernorm"

    def post_norms(self) -> tuple[str, str]:
        """The norms behind attention and the MLP."""
        return "", ""

    def down(self) -> float:
        """What the activation leaves for the matrix behind it to undo."""
        return self.activation

    def put_output(self, norm: str, name: str, rows: Matrix, factor: float) -> None:
        """A matrix whose outputs are added."""
        self.put(name, rotate(rows.T, self.model).T, factor)

    def put_ropes(self) -> None:
        """The rotary tables."""
        theta = float(self.config["rope_parameters"]["rope_theta"])
        self.tensors["rope"] = rotary_table(theta, self.spec.head_dim, self.spec.max_positions)


class Qwen3MoE(Conversion):
    """Experts in some layers."""

    def put_mlp(self, of: str, to: str) -> None:
        """The MLP, or the router and its experts."""
        if int(of.split(".")[2]) in self.config["mlp_only_layers"]:
            super().put_mlp(of, to)
            return
        gain = self.gain(of + self.mlp_norm())
        block = block_size(self.config["moe_intermediate_size"], 512)
        self.put(
            to + "router", rotate(self.load(of + "mlp.gate.weight") * gain, self.model), LOG2_E
        )
        experts = [f"{of}mlp.experts.{e}." for e in range(self.config["num_experts"])]
        for part, factor in (("gate", self.activation), ("up", 1.0)):
            rows = [self.load(f"{expert}{part}_proj.weight") * gain for expert in experts]
            self.put(f"{to}experts_{part}", rotate(np.concatenate(rows), self.model), factor)
        downs = [butterflies(self.load(f"{one}down_proj.weight"), block) for one in experts]
        turned = [rotate(down.T, self.model).T for down in downs]
        self.put(to + "experts_down", np.concatenate(turned), 1.0 / (self.down() * block))


class Gemma3(Conversion):
    """Gains of 1 + w, norms behind, a scaled embedding, two tables."""

    activation = 1.0

    def gain(self, name: str) -> Matrix:
        """1 + w, as float32 has it."""
        return (self.load(name + ".weight").astype(np.float32) + np.float32(1)).astype(np.float64)

    def query_factor(self) -> float:
        """As the configuration says it."""
        return LOG2_E * (1.0 / math.sqrt(self.config["query_pre_attn_scalar"]))

    def mlp_norm(self) -> str:
        """The norm before the MLP."""
        return "pre_feedforward_layernorm"

    def post_norms(self) -> tuple[str, str]:
        """The norms behind attention and the MLP."""
        return "post_attention_layernorm", "post_feedforward_layernorm"

    def put_ends(self) -> None:
        """The embedding is multiplied by the root of the width."""
        super().put_ends()
        rows = rotate(self.load("model.embed_tokens.weight"), self.model)
        self.put("embedding", rows, math.sqrt(self.spec.d_model))

    def put_output(self, norm: str, name: str, rows: Matrix, factor: float) -> None:
        """Outputs are rotated behind their norm."""
        self.put(name, rows, factor)
        self.put_vector(name + ".norm", self.gain(norm) * (1.0 / math.sqrt(self.model)))

    def put_ropes(self) -> None:
        """One for layers that see all, one for those with a window."""
        for name, kind in (("rope", "full_attention"), ("rope.1", "sliding_attention")):
            theta = float(self.config["rope_parameters"][kind]["rope_theta"])
            self.tensors[name] = rotary_table(theta, self.spec.head_dim, self.spec.max_positions)


class GPTNeoX(Conversion):
    """LayerNorm and biases everywhere, queries, keys and values stacked within each head."""

    def put_ends(self) -> None:
        """Embedding and head."""
        self.put(
            "embedding", rotate(without_mean(self.load("gpt_neox.embed_in.weight")), self.model)
        )
        weight, norm = self.load("embed_out.weight"), "gpt_neox.final_layer_norm"
        self.put("head", rotate(weight * self.gain(norm), self.model), LOG2_E)
        self.put_vector("head.bias", sums(weight * self.load(norm + ".bias")) * LOG2_E)

    def put_layer(self, of: str, to: str) -> None:
        """One layer."""
        of, spec = of.replace("model.", "gpt_neox."), self.spec
        norm = of + "input_layernorm"
        stack = of + "attention.query_key_value"
        by_head = (spec.heads, 3, spec.head_dim)
        weights = self.load(stack + ".weight").reshape(*by_head, spec.d_model).swapaxes(0, 1)
        biases = self.load(stack + ".bias").reshape(by_head).swapaxes(0, 1)
        q, k, v = weights.reshape(3, -1, spec.d_model)
        b_q, b_k, b_v = (
            bias + sums(weight * self.load(norm + ".bias"))
            for weight, bias in zip((q, k, v), biases.reshape(3, -1), strict=True)
        )
        gain, factor, order = self.gain(norm), self.query_factor(), self.rotary_order()
        q, k = ((weight * gain)[order] for weight in (q, k))
        self.put(to + "q", rotate(q, self.model), factor)
        self.put_vector(to + "q.bias", b_q[order] * factor)
        self.put(to + "k", rotate(k, self.model))
        self.put_vector(to + "k.bias", b_k[order])
        self.put(to + "v", rotate(rotate((v * gain).T, self.head).T, self.model))
        o = self.load(of + "attention.dense.weight")
        bias = self.load(of + "attention.dense.bias") + sums(o * b_v)
        self.put_centered(to + "o", rotate(o, self.head), bias, 1.0)
        self.put_mlp(of, to)

    def put_mlp(self, of: str, to: str) -> None:
        """The MLP, which has no gate: `gate` is what is activated."""
        norm, name = of + "post_attention_layernorm", of + "mlp.dense_h_to_4h"
        weight = self.load(name + ".weight")
        bias = self.load(name + ".bias") + sums(weight * self.load(norm + ".bias"))
        self.put(to + "gate", rotate(weight * self.gain(norm), self.model))
        self.put_vector(to + "gate.bias", bias)
        name = of + "mlp.dense_4h_to_h"
        down = butterflies(self.load(name + ".weight"), self.mlp)
        self.put_centered(to + "down", down, self.load(name + ".bias"), 1.0 / self.mlp)

    def put_centered(self, name: str, rows: Matrix, bias: Matrix, factor: float) -> None:
        """Outputs that are added have the mean 0."""
        self.put(name, rotate(without_mean(rows.T), self.model).T, factor)
        self.put_vector(name + ".bias", rotate(without_mean(bias[None]), self.model)[0])

    def turning(self) -> int:
        """How many dimensions of a head turn."""
        return int(self.spec.head_dim * self.config["rope_parameters"]["partial_rotary_factor"])

    def rotary_order(self) -> list[int]:
        """The rows of all heads, such that what turns together lies half a head apart."""
        size, turning = self.spec.head_dim, self.turning()
        half, rest = turning // 2, (size - turning) // 2
        order = [*range(half), *range(turning, turning + rest)]
        order += [*range(half, turning), *range(turning + rest, size)]
        return [head * size + i for head in range(self.spec.heads) for i in order]

    def put_ropes(self) -> None:
        """The dimensions that do not turn have the frequency 0."""
        positions, pairs = self.spec.max_positions, self.spec.head_dim // 2
        theta = float(self.config["rope_parameters"]["rope_theta"])
        table = np.zeros((positions, 2, pairs), np.int16)
        table[:, 0] = 2**14
        table[:, :, : self.turning() // 2] = rotary_table(theta, self.turning(), positions)
        self.tensors["rope"] = table


def sums(rows: Matrix) -> Matrix:
    """The sum of each row, in the order of the document."""
    while rows.shape[1] > 1:
        half = (rows.shape[1] + 1) // 2
        short = rows.shape[1] - half
        rows = np.concatenate((rows[:, :short] + rows[:, half:], rows[:, short:half]), axis=1)
    return rows[:, 0]


def without_mean(rows: Matrix) -> Matrix:
    """Each row with the mean 0."""
    centered: Matrix = rows - (sums(rows) / rows.shape[1])[:, None]
    return centered
