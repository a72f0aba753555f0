"""How much shorter meta-tokens make token sequences: llmzip's two modes, and the package delta-ltsc
(pip install delta-ltsc).

    python -m benchmarks.ltsc [FILE...] [--lengths 1024,2048,4096,8192] [--segments 0]
        [--model NAME]

Without FILE: the modules of Python's library. The text is split into tokens by the model's
tokenizer, the tokens into consecutive segments of each length; the reduction is 1 − tokens after /
tokens before, dictionary and markers included, averaged over segments. Every sequence is restored
and compared. delta-ltsc runs as it comes, and with two other settings.
"""

from __future__ import annotations

import importlib
import pathlib
import time
from collections.abc import Callable

import click
import numpy as np

from llmzip.corpora.builtin import python_sources
from llmzip.ltsc.transform import MetaTokens, attention_saving, compress, reduction
from llmzip.model.store import ModelStore


def ours(ids: np.ndarray, vocabulary: int, hierarchical: bool) -> int:
    """Tokens after the transform."""
    wire = compress(ids, vocabulary, hierarchical=hierarchical).to_ids()
    if MetaTokens.from_ids(wire, vocabulary).expand().tolist() != ids.tolist():
        raise SystemExit("the round trip failed")
    return len(wire)


def delta(ids: np.ndarray, **options: object) -> int:
    """Tokens after the transform of the package delta-ltsc."""
    package = importlib.import_module("delta")
    config = package.CompressionConfig(meta_token_pool_size=1_000_000, **options)
    tokens = ids.tolist()
    wire = package.compress(tokens, config).serialized_tokens
    if list(package.decompress(wire, config)) != tokens:
        raise SystemExit("delta-ltsc: the round trip failed")
    return len(wire)


@click.command()
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)
)
@click.option(
    "--lengths", default="1024,2048,4096,8192", help="Tokens per segment, separated by commas."
)
@click.option(
    "--segments", default=0, help="So many segments, evenly spread, of each length; 0: all."
)
@click.option(
    "--alone", is_flag=True, help="Without delta-ltsc, which takes some thousand times longer."
)
@click.option("--model", default=None, help="The model whose tokenizer splits.")
def main(
    files: tuple[pathlib.Path, ...], lengths: str, segments: int, alone: bool, model: str | None
) -> None:
    """Measure the reduction by meta-tokens."""
    data = b"".join(file.read_bytes() for file in files) or python_sources()
    chosen = ModelStore().resolve(model)
    ids, vocabulary = chosen.tokenizer.encode(data).ids, chosen.spec.vocab
    print(f"{len(data):,} bytes, {len(ids):,} tokens\n")
    methods: dict[str, Callable[[np.ndarray], int]] = {
        "llmzip, flat": lambda part: ours(part, vocabulary, False),
        "llmzip, hierarchical": lambda part: ours(part, vocabulary, True),
    }
    if not alone:
        methods |= {
            "delta-ltsc": delta,
            "delta-ltsc, flat, length 16": lambda part: delta(
                part,
                max_subsequence_length=16,
                hierarchical_enabled=False,
                dict_length_enabled=False,
            ),
            "delta-ltsc, length 16": lambda part: delta(part, max_subsequence_length=16),
        }
    print("| tokens | segments | method | reduction % | attention saved % | tokens/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for length in map(int, lengths.split(",")):
        parts = [ids[i : i + length] for i in range(0, len(ids) - length + 1, length)]
        parts = parts[:: max(1, len(parts) // segments)] if segments else parts
        for name, method in methods.items():
            begun = time.perf_counter()
            shares = [reduction(length, method(part)) for part in parts]
            speed = length * len(parts) / (time.perf_counter() - begun)
            saved = float(np.mean([attention_saving(share) for share in shares]))
            print(
                f"| {length} | {len(parts)} | {name} | {100 * np.mean(shares):.1f} | "
                f"{100 * saved:.1f} | {speed:,.0f} |"
            )


if __name__ == "__main__":
    main()
