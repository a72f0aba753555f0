"""The real file of a text, and where its bits come from."""

from __future__ import annotations

import dataclasses
import io
import itertools

import numpy as np

from llmzip import levels
from llmzip.codecs.llm import LLMCodec
from llmzip.coding.range_coder import CodeLength, watching
from llmzip.compressor import LLMZipCompressor
from llmzip.container.block import Block
from llmzip.container.varint import ByteReader
from llmzip.frames import FrameParser
from llmzip.metrics.windows import Span
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.score import LITERAL_BITS, Progress, batches


@dataclasses.dataclass(frozen=True)
class FileLength:
    """A compressed file's bits: `model + tables + mixing + tail + header + others` is the file."""

    text_bytes: int
    file_bits: int
    model_bits: float
    """What the model's own probabilities give, with the file's streams and window."""
    table_bits: float
    """What the coder's integer tables cost beyond that."""
    mixing_bits: float
    """What the mixer adds to that: negative where it saves."""
    tail_bits: float
    """What the range coder wrote beyond the tables' ideal code length."""
    header_bits: int
    """Frame and block headers, checks, index, and the parameters of the model's blocks."""
    other_bits: int
    """Payloads of blocks that another codec made smaller."""

    @property
    def bits_per_byte(self) -> float:
        """Of the file without its overhead (tables, tail, header) and without what the mixer saves."""
        return (self.model_bits + self.other_bits) / self.text_bytes

    @property
    def file_bits_per_byte(self) -> float:
        """Of the real file."""
        return self.file_bits / self.text_bytes


def file_length(
    scorer: IntegerScorer,
    data: bytes,
    level: int = levels.DEFAULT_LEVEL,
    *,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> FileLength:
    """Compress `data` with the scorer's model, take the file apart, and score its blocks in the file's own layout.

    The scored tokens get the coder's tables as they are without the mixer, too, to tell what the tables cost from what
    the mixer saves.
    """
    compressor = LLMZipCompressor(level, model=scorer.engine.model, block_size=block_size)
    with watching() as lengths:
        packed = compressor.compress(data) + compressor.flush()
    parameters = levels.level_parameters(level, block_size)
    model_bits = plain_bits = ideal_bits = coded_bits = 0.0
    other_bits = place = 0
    for block in _blocks(packed):
        text = data[place : place + block.size]
        place += block.size
        if block.codec != LLMCodec.id:
            other_bits += 8 * len(block.payload)
            continue
        length = _encoder_of(block, lengths)
        ideal_bits += length.bits
        coded_bits += 8 * len(length.coded)
        own, tables = _model_bits(scorer, text, parameters, progress)
        model_bits += own
        plain_bits += tables
    return FileLength(
        text_bytes=len(data),
        file_bits=8 * len(packed),
        model_bits=model_bits,
        table_bits=plain_bits - model_bits,
        mixing_bits=ideal_bits - plain_bits,
        tail_bits=coded_bits - ideal_bits,
        header_bits=8 * len(packed) - int(coded_bits) - other_bits,
        other_bits=other_bits,
    )


def _blocks(packed: bytes) -> list[Block]:
    blocks = []
    source = io.BytesIO(packed)
    reader = ByteReader(source)
    while source.tell() < len(packed):
        parser = FrameParser()
        parser.read_header(reader)
        while block := parser.read_block(reader):
            blocks.append(block)
    return blocks


def _encoder_of(block: Block, lengths: list[CodeLength]) -> CodeLength:
    """The encoder that wrote the block, and no longer those before it, whose payloads lost against another codec."""
    while lengths:
        length = lengths.pop(0)
        if length.coded and block.payload.endswith(length.coded):
            return length
    raise AssertionError("a block of the model's codec has no encoder")


def _model_bits(
    scorer: IntegerScorer, text: bytes, level: levels.Level, progress: Progress | None
) -> tuple[float, float]:
    """The code length of a block by the model's weights, and by the integer tables that the coder makes of them."""
    tokens = scorer.tokenize(text)
    layout = levels.plan(level, len(tokens.ids), scorer.engine.model.spec)
    bounds = np.concatenate([[0], np.cumsum([len(p) for p in np.array_split(tokens.ids, layout.streams)])]).tolist()
    spans = [Span(a, a, b) for a, b in itertools.pairwise(bounds)]
    model_bits = table_bits = LITERAL_BITS * int(tokens.escaped.sum())
    fed = 0
    for batch in batches(scorer, tokens, spans):
        for columns, predictions in scorer.predict(batch.inputs, batch.wanted, layout.window):
            targets = batch.targets[:, columns][batch.wanted[:, columns]]
            model_bits += float(predictions.measure(targets)[0].sum())
            table_bits += float(predictions.table_bits(targets).sum())
            if progress:
                progress(fed + columns.stop * len(batch.inputs))
        fed += batch.inputs.size
    return model_bits, table_bits
