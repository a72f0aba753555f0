"""The golden archives of records in data/golden-records, by formula."""

from __future__ import annotations

import io
import pathlib
import random
from typing import Any

from llmzip.model.integer_model import IntegerModel
from llmzip.records import RecordWriter
from tests import golden

FOLDER = golden.DATA / "golden-records"
OF_VERSION_1 = golden.DATA / "golden-records-1"
"""The same cases as version 1 wrote them."""


def event(number: int) -> bytes:
    """A record like the others."""
    draw = random.Random(number)
    word = draw.choice(["started", "stopped", "failed", "is waiting"])
    text = f'{{"n":{number},"text":"the {word} function","id":"{draw.getrandbits(32):08x}"}}'
    return text.encode()


SAMPLES = [event(number) for number in range(100, 110)]
RECORDS = [
    *(event(number) for number in range(40, 52)),
    *(b"", b"\n", b"caf\xe9\x04", golden.BINARY),
]
CASES: dict[str, dict[str, Any]] = {
    "archive": {"dictionary": SAMPLES, "group_records": 5, "check": 2},
    "no-dictionary": {},
    "lines": {"dictionary": [b"two\nlines", *SAMPLES[:3]], "embed": True, "framing": "null"},
}


def path(name: str, folder: pathlib.Path = FOLDER) -> pathlib.Path:
    """Where the archive of a case lies."""
    return folder / f"{name}.llmr"


def make(name: str, model: IntegerModel) -> bytes:
    """The archive of a case."""
    sink = io.BytesIO()
    with RecordWriter(sink, model=model, **CASES[name]) as writer:
        writer.write_many(RECORDS)
    return sink.getvalue()
