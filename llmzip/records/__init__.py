"""Many short messages: a shared dictionary, each record decodable by itself (docs/records.md).

>>> from llmzip.records import RecordCodec, RecordDictionary, RecordReader, RecordWriter
"""

from __future__ import annotations

from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.append import appending
from llmzip.records.codec import RecordCodec
from llmzip.records.framing import FRAMINGS, join, split
from llmzip.records.reader import RecordReader
from llmzip.records.writer import RecordWriter

__all__ = [
    "FRAMINGS",
    "RecordCodec",
    "RecordDictionary",
    "RecordReader",
    "RecordWriter",
    "appending",
    "join",
    "split",
]
