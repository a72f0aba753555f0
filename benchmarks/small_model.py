"""A model so small that what is around it takes the time: random weights, and a tokenizer trained
on the text. What such a model does not predict, mixing has to.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import safetensors.numpy
import tokenizers

from llmzip.model.vocabulary import byte_level_alphabet

START = "<|endoftext|>"
_TRAINING_BYTES = 1_000_000


def write_small_model(folder: pathlib.Path, text: bytes, vocab: int = 4096) -> pathlib.Path:
    """Write a Llama of one layer of 32 dimensions as transformers does; returns `folder`.

    vocab: tokens at most, which byte-pair encoding merges from the first megabyte of `text`.
    """
    folder.mkdir(parents=True)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[START],
        initial_alphabet=list(byte_level_alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text[:_TRAINING_BYTES].decode("utf-8", "replace")], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    width, inner, heads, kv_heads, vocab = 32, 64, 2, 1, tokenizer.get_vocab_size()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": 1,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": vocab,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    kv_width = width // heads * kv_heads
    shapes = {
        "model.embed_tokens": (vocab, width),
        "model.layers.0.self_attn.q_proj": (width, width),
        "model.layers.0.self_attn.k_proj": (kv_width, width),
        "model.layers.0.self_attn.v_proj": (kv_width, width),
        "model.layers.0.self_attn.o_proj": (width, width),
        "model.layers.0.mlp.gate_proj": (inner, width),
        "model.layers.0.mlp.up_proj": (inner, width),
        "model.layers.0.mlp.down_proj": (width, inner),
        "model.layers.0.input_layernorm": (width,),
        "model.layers.0.post_attention_layernorm": (width,),
        "model.norm": (width,),
    }
    rng = np.random.default_rng(0)
    tensors = {
        f"{name}.weight": np.ones(shape, np.float32)
        if len(shape) == 1
        else (0.1 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder
