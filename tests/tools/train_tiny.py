"""Train the tiny model of the tests again; a few minutes on two cores.

    python -m tests.tools.train_tiny

It writes config.json, model.safetensors and tokenizer.json to tests/data/tiny. They are committed,
so that everyone has a model that predicts English a little, and nobody need run this. Training
again gives another model, with which no golden frame decodes: tests.tools.golden_frames must write
them anew (but see what that says of versions). Needs torch and transformers.
"""

from __future__ import annotations

import pathlib
import pydoc_data.topics

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

DIRECTORY = pathlib.Path(__file__).parents[1] / "data" / "tiny"
MISSING_BYTES = bytes.fromhex("04 06 13 14 16 1d")  # the default model's vocabulary lacks the same
STEPS, BATCH, LENGTH = 1500, 16, 96


def train_tokenizer(text: str) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    stand_ins = set(pre_tokenizers.ByteLevel.alphabet())
    # Byte-level BPE writes control byte b as U+0100 + b.
    missing = {chr(256 + b) for b in MISSING_BYTES}
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(stand_ins - missing),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def main() -> None:
    text = "\n".join(pydoc_data.topics.topics.values())
    tokenizer = train_tokenizer(text)
    ids = torch.tensor(tokenizer.encode(text).ids)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, STEPS)
    for step in range(STEPS):
        starts = torch.randint(0, len(ids) - LENGTH, (BATCH,))
        batch = torch.stack([ids[s : s + LENGTH] for s in starts.tolist()])
        batch[:, 0] = 0
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            print(step, f"{loss.item():.3f} nats per token")
    model.to(torch.bfloat16).save_pretrained(DIRECTORY)
    tokenizer.save(str(DIRECTORY / "tokenizer.json"), pretty=False)


if __name__ == "__main__":
    main()
