"""What the mixer is worth: `python -m benchmarks.mixing FILE... --bytes N`.

Bits per byte of coded tokens, each decoded and compared: the model alone, with each of the mixer's
experts, with all of them. Then whole files: independent blocks against solid ones, and the second
half alone against the same with the first as its dictionary.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence

import click
import numpy as np

import llmzip
from llmzip import levels
from llmzip.engine.base import Engine
from llmzip.engine_loader import EngineLoader
from llmzip.mixing.base import EXPERTS, ContextMixer, capacity_bits_for
from llmzip.mixing.reference import ReferenceContextMixer
from llmzip.mixing.token_classes import token_classes
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.runtime import Runtime

BLOCK = 1 << 16

SUBSETS: dict[str, Sequence[str]] = {"+ " + name: (name,) for name in EXPERTS}


def layout_of(engine: Engine, count: int, segment: int | None) -> StreamLayout:
    """The layout of the default level, or of segments of so many tokens that see all of
    themselves.
    """
    if segment is None:
        return StreamLayout.for_level(
            levels.level_parameters(levels.DEFAULT_LEVEL), count, engine.model.spec
        )
    return StreamLayout(count, -(-count // segment), segment)


def coded_bytes(
    engine: Engine,
    tokens: Tokens,
    layout: StreamLayout,
    mixers: tuple[ContextMixer | None, ContextMixer | None],
) -> tuple[int, float]:
    """The size of a verified encoding, and the seconds that encoding took."""
    begun = time.perf_counter()
    coded = encode_tokens(engine, tokens, layout, mixers[0])
    seconds = time.perf_counter() - begun
    back = decode_tokens(engine, coded, layout, mixers[1])
    assert np.array_equal(back.ids, tokens.ids), "the decoder sees other tokens"
    return len(coded), seconds


def reference(engine: Engine, bits: int, experts: Sequence[str]) -> ContextMixer:
    spec = engine.model.spec
    classes = token_classes(engine.model.vocabulary.token_bytes)
    return ReferenceContextMixer(
        bits, spec.d_model, spec.vocab, spec.start_token, classes, experts=experts
    )


def row(
    engine: Engine, data: bytes, segment: int | None, ablation: bool
) -> dict[str, tuple[float, float]]:
    """Bits per byte and seconds for each choice of experts."""
    tokens = engine.model.tokenizer.encode(data)
    layout = layout_of(engine, len(tokens.ids), segment)
    bits = capacity_bits_for(len(tokens.ids))

    def measure(mixers: tuple[ContextMixer | None, ContextMixer | None]) -> tuple[float, float]:
        size, seconds = coded_bytes(engine, tokens, layout, mixers)
        return 8 * size / len(data), seconds

    out = {"model": measure((None, None))}
    for name, experts in SUBSETS.items() if ablation else ():
        out[name] = measure((reference(engine, bits, experts), reference(engine, bits, experts)))
    out["all"] = measure((engine.mixer(bits), engine.mixer(bits)))
    return out


def file_bits(
    data: bytes,
    loader: EngineLoader,
    *,
    dictionary: bytes | None = None,
    block_size: int | None = None,
    solid: bool = False,
) -> float:
    """Bits per byte of a whole verified file."""
    model, runtime = loader.model, loader.runtime
    known = llmzip.Dictionary(dictionary) if dictionary else None
    packed = llmzip.compress(
        data, model=model, dictionary=known, block_size=block_size, solid=solid, runtime=runtime
    )
    assert llmzip.decompress(packed, model=model, dictionary=known, runtime=runtime) == data
    return 8 * len(packed) / len(data)


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
)
@click.option(
    "--bytes", "limit", type=int, default=300_000, help="Only the first so many bytes of each."
)
@click.option("--segment", type=int, help="Streams of so many tokens; default: level 6.")
@click.option("--no-ablation", is_flag=True, help="Only without and with the mixer.")
@click.option(
    "--files/--no-files", "whole", default=False, help="Also solid and files with a dictionary."
)
@click.option("--model", help="As for llmzip.")
@click.option("--threads", type=int, help="As for llmzip.")
def main(
    files: tuple[pathlib.Path, ...],
    limit: int,
    segment: int | None,
    no_ablation: bool,
    whole: bool,
    model: str | None,
    threads: int | None,
) -> None:
    loader = EngineLoader(model, runtime=Runtime(threads=threads))
    engine = loader.for_compression()
    for path in files:
        data = path.read_bytes()[:limit]
        cells = row(engine, data, segment, not no_ablation)
        alone = cells["model"][0]
        text = ", ".join(
            f"{name} {b:.4f} ({b / alone - 1:+.1%}, {s:.0f} s)" for name, (b, s) in cells.items()
        )
        click.echo(f"{path.name}: {text}")
        if whole:
            half = len(data) // 2
            blocks, solid = (
                file_bits(data, loader, block_size=BLOCK, solid=s) for s in (False, True)
            )
            second, after = (
                file_bits(data[half:], loader, dictionary=d) for d in (None, data[:half])
            )
            click.echo(
                f"    blocks of 64 KiB {blocks:.4f}, "
                f"solid {solid:.4f} ({solid / blocks - 1:+.1%}); second half {second:.4f}, "
                f"with the first as dictionary {after:.4f} ({after / second - 1:+.1%})"
            )


if __name__ == "__main__":
    main()
