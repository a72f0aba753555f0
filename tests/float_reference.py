"""The float32 model of transformers with the same weights as a `FloatModel`: what the integers
approximate.
"""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmzip.model.float_model import FloatModel
from llmzip.model.published_names import LLAMA


def load(source: FloatModel) -> LlamaForCausalLM:
    spec = source.spec
    config = LlamaConfig(
        vocab_size=spec.vocab,
        hidden_size=spec.d_model,
        intermediate_size=spec.d_ff,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        max_position_embeddings=spec.max_positions,
        rms_norm_eps=spec.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": source.rope_theta},
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    names = {"model.embed_tokens": "embedding", "model.norm": "norm", "lm_head": "head"}
    for i in range(spec.layers):
        names |= {
            f"model.layers.{i}.{LLAMA[part].name}": f"layers.{i}.{part}"
            for part in LLAMA.keys() - {"embedding", "norm", "q_norm", "k_norm"}
        }
    weights = {
        f"{published}.weight": torch.tensor(source.tensor(name))
        for published, name in names.items()
    }
    model.load_state_dict(weights)
    return model
