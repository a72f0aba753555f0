"""The results of `llmzip eval`, typed: the fields are the keys of the JSON that docs/evaluation.md
describes.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from llmzip.evaluation.environment import Environment
from llmzip.evaluation.json_values import FLAT
from llmzip.evaluation.options import TASKS, Options
from llmzip.metrics.entropy import Coders
from llmzip.scoring.base import ModelCard

FORMAT = 2
"""Version of the result JSON."""

Kind = Literal["codec", "integer", "float"]


@dataclasses.dataclass(frozen=True)
class CodecMeasures:
    """The payload of a codec, without size and check."""

    config: dict[str, Any]
    file_bytes: int
    bits_per_byte: float
    bits_per_char: float
    raw_rate: float


@dataclasses.dataclass(frozen=True)
class CodeLengthMeasures:
    """A text in independent segments, scored by a model."""

    segment_tokens: int
    tokens: int
    bits_per_byte: float
    bits_per_byte_stderr: float
    bits_per_char: float
    bits_per_char_low: float
    bits_per_char_high: float
    bits_per_token: float
    bytes_per_token: float
    bits_per_token_p99: float
    smoothed_bits_per_byte: float
    coders_bits_per_char: CodersBitsPerChar
    raw_rate: float
    adjusted_rate: float
    adjusted_rate_stored: float
    break_even_bytes_xz: float | None
    flops_per_byte: float
    top1: float
    rank_histogram: list[float]
    position_edges: list[int]
    bits_per_byte_by_position: list[float | None]
    hint_min_k_20: float
    hint_model_to_zlib: float


@dataclasses.dataclass(frozen=True)
class CodersBitsPerChar:
    """LLMZip's three coders, each in bits per character."""

    ranks_deflate: float
    whole_bits: float
    arithmetic: float

    @classmethod
    def of(cls, coders: Coders, characters: int) -> CodersBitsPerChar:
        """The code lengths [bits] of a text with so many characters."""
        return cls(
            coders.ranks_deflate / characters,
            coders.whole_bits / characters,
            coders.arithmetic / characters,
        )


@dataclasses.dataclass(frozen=True)
class FileMeasures:
    """A real file, and where its bits come from (`scoring.file_length.FileLength`)."""

    level: int
    file_bytes: int
    file_bits_per_byte: float
    file_model_bits_per_byte: float
    overhead_table_bits: float
    mixing_bits: float
    overhead_tail_bits: float
    overhead_header_bits: int
    match_bits: int
    other_codec_bits: int


@dataclasses.dataclass(frozen=True)
class CapacityMeasures:
    """Information capacity (arXiv 2511.08066)."""

    samples: int
    sample_tokens: int
    ts: float
    nll: float
    b: float
    flops_per_token_paper: int
    flops_per_token_exact: int
    information_capacity: float
    information_capacity_b0: float
    information_capacity_exact: float
    information_capacity_exact_b0: float
    information_capacity_script: float | None = None
    """As the authors' script prints it, which rounds TS to hundredths first."""


@dataclasses.dataclass(frozen=True)
class BpcMeasures:
    """Bits per character with a sliding window (arXiv 2404.09937)."""

    bpc: float
    bpc_window: int
    bpc_stride: int


@dataclasses.dataclass(frozen=True)
class DocumentsMeasures:
    """Each document by itself, as UncheatableEval scores them; the keys are that project's."""

    sample_count: int
    bos_mode: str
    chunk_size: int
    """Tokens that are read together at most."""
    neg_log_prob_sum: float
    """The mean over documents [nats]."""
    avg_tokens: float
    avg_character_count: float
    avg_bytes: float
    bpc: float
    """[bits/character]"""
    bpb: float
    """[bits/byte]"""
    compression_rate: float
    """[%]"""


@dataclasses.dataclass(frozen=True)
class ContextMeasures:
    """The same tokens behind contexts of several lengths."""

    contexts: list[int]
    context_spans: int
    bits_per_byte_by_context: list[float]
    bits_per_token_p99_by_context: list[float]


Measures = (
    CodecMeasures
    | CodeLengthMeasures
    | FileMeasures
    | CapacityMeasures
    | BpcMeasures
    | ContextMeasures
    | DocumentsMeasures
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One model or codec on one text. Its JSON is flat: the keys of all measurements that were made
    stand in it.
    """

    name: str
    kind: Kind
    text: str
    seconds: dict[str, float]
    """How long each task took."""
    errors: dict[str, str]
    """Why a task gave nothing."""
    seconds_per_megabyte: float | None = None
    codec: CodecMeasures | None = dataclasses.field(default=None, metadata=FLAT)
    code_length: CodeLengthMeasures | None = dataclasses.field(default=None, metadata=FLAT)
    file: FileMeasures | None = dataclasses.field(default=None, metadata=FLAT)
    capacity: CapacityMeasures | None = dataclasses.field(default=None, metadata=FLAT)
    bpc: BpcMeasures | None = dataclasses.field(default=None, metadata=FLAT)
    context: ContextMeasures | None = dataclasses.field(default=None, metadata=FLAT)
    documents: DocumentsMeasures | None = None
    """An object of its own in the JSON: `bpc` is a key of two protocols."""

    @property
    def is_empty(self) -> bool:
        """Whether no task gave anything."""
        return all(getattr(self, task) is None for task in ("codec", *TASKS))

    @property
    def bits_per_byte(self) -> float | None:
        """The rate of a codec's payload or of a model in independent segments; else None."""
        measured = self.codec or self.code_length
        return measured.bits_per_byte if measured else None

    @property
    def bits_per_char(self) -> float | None:
        """The same rate per character."""
        measured = self.codec or self.code_length
        return measured.bits_per_char if measured else None


@dataclasses.dataclass(frozen=True)
class Damage:
    """One point of the cache damage grid."""

    context: int
    evicted_fraction: float
    cache_bits: int
    bits_per_byte: float
    extra_bits_per_byte: float
    """Against the same tokens behind the undamaged cache."""
    extra_bits_per_token_p99: float


@dataclasses.dataclass(frozen=True)
class DamageGrid:
    """What `llmzip eval damage` prints, beside the names of model and text."""

    cache_damage: list[Damage]


@dataclasses.dataclass(frozen=True)
class ModelDamage(Damage):
    """One point of the grid of one of several models."""

    model: str


@dataclasses.dataclass(frozen=True)
class MeasuredText:
    """A text that was measured."""

    name: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Result:
    """All that one run of `llmzip eval` has measured."""

    format: int
    date: str
    testing_only: bool
    options: Options
    models: list[ModelCard]
    texts: list[MeasuredText]
    rows: list[Row]
    cache_damage: list[ModelDamage]
    cache_damage_seconds: dict[str, float]
    """How long each model's grid took."""
    errors: dict[str, str]
    environment: Environment

    def rows_of(self, text: MeasuredText) -> list[Row]:
        """The rows of one text."""
        return [row for row in self.rows if row.text == text.name]
