"""The self-test of the kernels: each against torch, with extreme operands, before any is trusted on
a device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from llmzip.engine.torch_layers import Linear
from llmzip.engine.torch_transformer import TorchTransformer
from llmzip.engine.triton.operations import Operations, TritonLayerCache, Weights
from llmzip.engine.triton.reference import TorchOperations
from llmzip.mixing.base import TOP_TOKENS

_log = logging.getLogger("llmzip")

ROWS = (3, 20, 40, 65)
"""Products have programs of 16, 32, 64 and 128 rows."""

SLOTS = 1040

Run = Callable[[Operations], tuple[Tensor, ...]]
"""Runs one operation and returns all that it has written."""


class Cases:
    """Operands for each operation, the same every time: [M] rows of a model's shapes."""

    def __init__(self, transformer: TorchTransformer, rows: int, slots: int = SLOTS) -> None:
        self.transformer = transformer
        self.spec = transformer.spec
        self.rows = rows
        self.slots = slots
        self.used = slots - 16 if slots > 16 else slots
        generator = torch.Generator(transformer.device).manual_seed(rows)
        self.random: dict[str, Any] = {"generator": generator, "device": transformer.device}

    def integers(self, *shape: int, limit: int = 127) -> Tensor:
        """int8 of the whole range, with rows of extremes only, and rows of zeros."""
        x = torch.randint(-limit, limit + 1, shape, **self.random)
        flat = x.view(-1, shape[-1])
        flat[1::5] = torch.where(flat[1::5] < 0, -limit, limit)
        flat[2::7] = limit
        flat[4::9] = 0
        return x.to(torch.int8)

    def positive(self, *shape: int, low: float = 1e-4, high: float = 1e-2) -> Tensor:
        """Scales over some orders of magnitude."""
        x = torch.rand(shape, dtype=torch.float32, **self.random)
        return low * (high / low) ** x

    def reals(self, *shape: int, size: float = 1.0) -> Tensor:
        """float32 rows of very different sizes, one of zeros and one with values half way between
        integers.
        """
        x = torch.randn(shape, dtype=torch.float32, **self.random) * size
        flat = x.view(-1, shape[-1])
        flat *= 2.0 ** torch.randint(-12, 6, (len(flat), 1), **self.random)
        if len(flat) > 2:
            flat[1] = 0
            indices = torch.arange(shape[-1], device=x.device)
            flat[2] = (indices % 127 + 0.5) * (1 - 2 * (indices % 2))
            flat[2, 0] = 127
        return x

    def weights(self, outputs: int, depth: int) -> Weights:
        """A product's weights."""
        kernel, weight, scale = (
            self.transformer.kernel,
            self.integers(outputs, depth),
            self.positive(outputs),
        )
        return Weights(weight.contiguous(), scale, Linear(kernel, kernel.prepare(weight), scale))

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Memory for results, filled so that nothing is right by chance."""
        return torch.full(shape, 77, dtype=dtype, device=self.transformer.device)

    def cache(self) -> TritonLayerCache:
        """A cache full of random entries."""
        groups, dim, rows = self.spec.kv_heads, self.spec.head_dim, self.rows
        return TritonLayerCache(
            self.integers(rows, groups, self.slots, dim),
            self.integers(rows, groups, dim, self.slots),
            self.positive(rows, groups, self.slots),
            self.positive(rows, groups, self.slots, low=1e-5, high=1.0),
            self.positive(rows, groups, low=1.0, high=2.0),
        )

    def tile_maxima(self, scores: Tensor) -> Tensor:
        """As `Operations.scores` gives them."""
        run = Operations(self.spec)
        tiles = run.score_tiles(self.used)
        seen = torch.nn.functional.pad(
            scores[..., : self.used], (0, tiles * run.score_tile - self.used), value=-torch.inf
        )
        return seen.view(*scores.shape[:2], tiles, -1).amax(dim=-1)

    def head(self) -> tuple[Tensor, Tensor, Tensor]:
        """Products of the head, the rows' scales, and the maxima of tiles, with many equal
        products.
        """
        spec, run = self.spec, Operations(self.spec)
        found = torch.round(
            torch.randn(self.rows, spec.vocab, dtype=torch.float32, **self.random) * 300
        )
        found[1::4] = found[1::4].sign()
        found[2::4] *= 2.0**-10
        missing = (run.tiles * 128) - spec.vocab
        padded = torch.nn.functional.pad(found, (0, missing), value=-torch.inf)
        return (
            found,
            self.positive(self.rows, low=1e-3, high=0.1),
            padded.view(self.rows, run.tiles, -1).amax(dim=-1),
        )


def all_cases(
    transformer: TorchTransformer, rows: int, slots: int = SLOTS
) -> Iterator[tuple[str, Run]]:
    """The test cases: each operation's name, and the function that runs it."""
    case = Cases(transformer, rows, slots)
    spec, d, f = case.spec, case.spec.d_model, case.spec.d_ff
    device = transformer.device
    int8, int32, int64 = torch.int8, torch.int32, torch.int64

    def after(
        name: str, outputs: tuple[Tensor, ...], *arguments: object, **more: object
    ) -> tuple[str, Run]:
        """The operation, on copies of its outputs, which are its last arguments."""

        def run(operations: Operations) -> tuple[Tensor, ...]:
            written = tuple(x.clone() for x in outputs)
            getattr(operations, name)(*arguments, *written, **more)
            return written

        return name, run

    ids = torch.randint(0, spec.vocab, (rows,), **case.random)
    yield after("embed", (case.empty(rows, d),), ids, *transformer.embedding)

    last = spec.max_positions - 1
    for position in {0, 3, 4, min(5, last), last}:
        held = torch.full((slots,), spec.max_positions, device=device)
        known = torch.arange(min(position, slots - 16), device=device)
        held[: len(known)] = known
        now = torch.full((1,), position, device=device)
        outputs = (held, case.empty(slots, dtype=int8))
        yield after(
            "assign_slot", outputs, now, min(9, slots - 20) if slots > 24 else 1, max(1, slots - 20)
        )

    x, scale = case.reals(rows, d), case.positive(rows)
    yield after("rms_norm", (case.empty(rows, d, dtype=int8), case.empty(rows)), x)
    yield after("rms_norm", (case.empty(rows, d, dtype=int8), case.empty(rows)), x * 2.0**-60)

    heads, groups, dim = spec.heads, spec.kv_heads, spec.head_dim
    q, weights = case.integers(rows, d), case.weights((heads + 2 * groups) * dim, d)
    for position in (0, min(7, last), last):
        cache = case.cache()
        now = torch.full((1,), position, device=device)
        ring = max(1, slots - 24)

        def qkv(
            operations: Operations,
            cache: TritonLayerCache = cache,
            now: Tensor = now,
            ring: int = ring,
        ) -> tuple[Tensor, ...]:
            copies = TritonLayerCache(*(x.clone() for x in vars(cache).values()))
            queries, query_scales = (
                case.empty(rows, heads, dim, dtype=int8),
                case.empty(rows, heads),
            )
            operations.qkv(
                q, scale, weights, transformer.rope.table, now, ring, queries, query_scales, copies
            )
            return queries, query_scales, *vars(copies).values()

        yield "qkv", qkv

    cache, queries, query_scales = (
        case.cache(),
        case.integers(rows, heads, dim),
        case.positive(rows, heads),
    )
    for sharpness in (1.0, 30.0):
        visible = (torch.rand(slots, dtype=torch.float32, **case.random) < 0.9).to(int8)
        visible[0] = 1
        scales = query_scales * sharpness
        tiles = Operations(spec).score_tiles(slots)
        yield after(
            "scores",
            (case.empty(rows, heads, slots), case.empty(rows, heads, tiles)),
            queries,
            scales,
            cache,
            visible,
            case.used,
        )
        scores = case.reals(rows, heads, slots, size=sharpness * 10).masked_fill_(
            visible == 0, -torch.inf
        )
        maxima = case.tile_maxima(scores)

        def values(
            operations: Operations, scores: Tensor = scores, maxima: Tensor = maxima
        ) -> tuple[Tensor, ...]:
            splits = case.empty(operations.splits(rows, case.used), rows, heads * dim, dtype=int32)
            operations.values(scores, maxima, cache, case.used, splits)
            return (splits.sum(dim=0),)

        yield "values", values
    splits = torch.randint(-(2**22), 2**22, (2, rows, heads * dim), **case.random).to(int32)
    yield after(
        "merge",
        (case.empty(rows, heads * dim, dtype=int8), case.empty(rows)),
        splits,
        cache.largest,
    )

    yield after(
        "residual", (x,), case.integers(rows, heads * dim), scale, case.weights(d, heads * dim)
    )
    yield after("residual", (x,), case.integers(rows, f), scale, case.weights(d, f))
    for size in (0.1, 30.0):
        yield after("gate_up", (case.empty(rows, f),), q, scale * size, case.weights(2 * f, d))
    outputs = (case.empty(rows, f, dtype=int8), case.empty(rows))
    yield after("rotate", outputs, case.reals(rows, f), scale)
    yield after("rotate", outputs, case.reals(rows, f).sign(), scale)

    run = Operations(spec)
    yield after(
        "head",
        (case.empty(rows, spec.vocab), case.empty(rows, run.tiles)),
        q,
        case.weights(spec.vocab, d),
    )
    found, scale, maxima = case.head()
    yield after("bucket_sums", (case.empty(rows, run.buckets, dtype=int64),), found, scale, maxima)
    yield after("top", (case.empty(rows, min(TOP_TOKENS, spec.vocab), dtype=int32),), found, maxima)
    for bits in (1, 31, 51):
        sums = torch.randint(0, 2**bits, (rows, run.buckets), **case.random)
        sums[1::3] = 0
        outputs = (case.empty(rows, run.buckets, dtype=int32), case.empty(rows, dtype=int64))
        yield after("bucket_table", outputs, sums)
    count = min(9, spec.vocab)
    tokens = torch.stack([torch.randperm(spec.vocab, **case.random)[:count] for _ in range(rows)])
    tokens[:, 1:2] = -1
    tokens = tokens.to(int32)
    replaced = torch.randint(0, 2**43, (rows, count), **case.random)
    chosen = (tokens[:, 0] // 256).contiguous()
    table = (case.empty(rows, 256, dtype=int32),)
    yield after("token_table", table, found, scale, maxima, chosen, tokens, replaced)
    yield after(
        "token_table",
        table,
        found,
        scale,
        maxima,
        chosen,
        tokens[:, :0].contiguous(),
        replaced[:, :0].contiguous(),
    )
    yield after("weights_of", (case.empty(rows, count, dtype=int32),), found, scale, maxima, tokens)
    sums = torch.randint(2**32, 2**33, (rows, run.buckets), **case.random)
    yield after("replace", (sums,), found, scale, maxima, tokens, replaced)


def differences(operations: Operations, reference: Operations, run: Run) -> str:
    """The differences of an operation's results, as text; empty where there are none."""
    found: list[str] = []
    for i, (a, b) in enumerate(zip(run(operations), run(reference), strict=True)):
        unequal = torch.nonzero((a != b).flatten())
        if len(unequal):
            first = int(unequal[0, 0])
            values = a.flatten()[first].item(), b.flatten()[first].item()
            found.append(
                f"output {i} {list(a.shape)}: {len(unequal)} differ, "
                f"first at {first}: {values[0]}, not {values[1]}"
            )
    return "; ".join(found)


def checked_operations(transformer: TorchTransformer) -> Operations:
    """The kernels; those that give other results than torch are replaced by it, with a warning."""
    operations, reference = Operations(transformer.spec), TorchOperations(transformer)
    wrong: dict[str, str] = {}
    for rows in ROWS:
        for name, run in all_cases(transformer, rows):
            if name in wrong:
                continue
            try:
                if problem := differences(operations, reference, run):
                    wrong[name] = problem
            except Exception as error:  # a compiler's error may be of any kind
                wrong[name] = f"{type(error).__name__}: {error}"
    for name, problem in wrong.items():
        setattr(operations, name, getattr(reference, name))
        _log.warning(
            "the kernel %r gives wrong results on this device (%s): the slower torch path serves",
            name,
            problem,
        )
    return operations
