"""The page: one HTML file with everything in it, and nothing to load."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import zlib
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.mixing.base import EXPERTS
from llmzip.view.cells import Cells, cells_of
from llmzip.view.observe import Observed
from llmzip.view.recorder import ALTERNATIVES, CodedTokens
from llmzip.view.summary import summary
from llmzip.view.words import Words

BIT_UNITS = 512
"""The page has the bits of tokens in these parts of a bit, ..."""
SAVED_UNITS = 128
"""... what experts saved in these, ..."""
PROBABILITY_UNITS = 10_000
"""... and probabilities in these parts."""

_CHUNK = 1 << 19  # characters that a browser decodes at once
_ALIGNMENT = 8
_SCRIPTS = ("data", "rows", "paint", "detail", "sums", "main")


def page(observed: Observed, name: str) -> str:
    """The HTML page of a file called `name`, in which surrogates become question marks."""
    name = name.encode("utf-8", "replace").decode()
    data = base64.b64encode(_deflated(_data(observed, name))).decode()
    chunks = [data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK)]
    parts = {
        "title": html.escape(name),
        "style": _resource("style.css"),
        "script": "".join(_resource(f"{name}.js") for name in _SCRIPTS),
        "data": "\n".join(f'<script type="text/plain" class="data">{c}</script>' for c in chunks),
    }
    shell = _resource("shell.html")
    for key, value in parts.items():
        before, mark, after = shell.partition(f"<!--{key}-->")
        assert mark
        shell = before + value + after
    return shell


def _resource(name: str) -> str:
    return (resources.files("llmzip.view") / "assets" / name).read_text("utf-8")


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _data(observed: Observed, name: str) -> bytes:
    """The length of the JSON in 4 bytes, the JSON, and the arrays that it names, little-endian."""
    words = Words(observed.payloads)
    cells = cells_of(observed.text, observed.layout.sizes)
    arrays = {
        **_text_arrays(observed, cells),
        **_token_arrays(observed.payloads, words),
    }
    places, blobs, offset = {}, [], 0
    for key, array in arrays.items():
        blob = array.astype(array.dtype.newbyteorder("<")).tobytes()
        places[key] = [array.dtype.name, offset, array.size]
        blob += bytes(-len(blob) % _ALIGNMENT)
        blobs.append(blob)
        offset += len(blob)
    facts = _facts(observed, cells, name) | {"summary": summary(observed, words), "arrays": places}
    header = json.dumps(facts, separators=(",", ":")).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *blobs])


def _facts(observed: Observed, cells: Cells, name: str) -> dict[str, Any]:
    layout = observed.layout
    token_starts = np.cumsum([0, *(len(tokens.ids) for tokens in observed.payloads)])
    return {
        "name": name,
        "bytes": len(observed.text),
        "packed": observed.packed_bytes,
        "experts": EXPERTS,
        "alternatives": ALTERNATIVES,
        "units": [BIT_UNITS, SAVED_UNITS, PROBABILITY_UNITS],
        "frames": [
            dataclasses.asdict(frame) | {"bytes": frame.bytes, "unit": unit}
            for frame, unit in zip(
                layout.frames, _units(cells, [f.start for f in layout.frames]), strict=True
            )
        ],
        "blocks": [
            dataclasses.asdict(block)
            | {"bytes": block.bytes, "unit": unit}
            | (
                {}
                if block.payload is None
                else _streams(observed.payloads[block.payload], int(token_starts[block.payload]))
            )
            for block, unit in zip(
                layout.blocks, _units(cells, [b.start for b in layout.blocks]), strict=True
            )
        ],
    }


def _streams(tokens: CodedTokens, first: int) -> dict[str, Any]:
    """first: the number of the payload's first token among all."""
    starts = tokens.stream_starts
    return {
        "tokens": len(tokens.ids),
        "streams": (first + starts).tolist(),
        "stream_bits": np.add.reduceat(tokens.bits, starts).round(1).tolist(),
    }


def _units(cells: Cells, positions: list[int]) -> list[int]:
    units: list[int] = cells.unit_at(np.array(positions, np.int64)).tolist()
    return units


def _text_arrays(observed: Observed, cells: Cells) -> dict[str, npt.NDArray[Any]]:
    layout, end = observed.layout, len(observed.text)
    matches = np.array(
        [(m.start, m.source, m.size, m.bits) for m in layout.matches], np.int64
    ).reshape(-1, 4)
    sources = matches[:, 1]
    targets = cells.unit_at(np.clip(np.stack([sources, sources + matches[:, 2]]), 0, end))
    return {
        "text": cells.units,
        "cell_starts": cells.starts.astype(np.uint32),
        "cell_parts": cells.parts.astype(np.uint32),
        "part_kinds": np.array(layout.kinds, np.uint8),
        "match_bytes": matches[:, 2].astype(np.uint32),
        "match_bits": matches[:, 3].astype(np.uint32),
        "match_units": np.where(sources < 0, -1, targets[0]).astype(np.int32),
        "match_ends": np.where(sources < 0, -1, targets[1]).astype(np.int32),
        "run_bytes": np.array([run.size for run in layout.runs], np.uint32),
        "run_bits": np.array([run.bits for run in layout.runs], np.float64),
    }


def _token_arrays(payloads: list[CodedTokens], words: Words) -> dict[str, npt.NDArray[Any]]:
    def joined(arrays: list[npt.NDArray[Any]], kind: type[Any]) -> npt.NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *(a.astype(kind).ravel() for a in arrays)])

    def scaled(units: int, arrays: list[npt.NDArray[Any]], kind: type[Any]) -> npt.NDArray[Any]:
        info = np.iinfo(kind)
        return joined([np.clip(np.rint(a * units), info.min, info.max) for a in arrays], kind)

    texts = words.texts
    return {
        "word_bytes": np.frombuffer(b"".join(texts), np.uint8),
        "word_sizes": np.array([len(text) for text in texts], np.uint32),
        "token_words": joined([words.numbers(t.vocabulary, t.ids) for t in payloads], np.uint32),
        "token_bits": scaled(BIT_UNITS, [t.bits for t in payloads], np.uint16),
        "token_model_bits": scaled(BIT_UNITS, [t.model_bits for t in payloads], np.uint16),
        "token_ranks": joined([t.ranks for t in payloads], np.uint32),
        "token_saved": scaled(SAVED_UNITS, [t.saved for t in payloads], np.int16),
        "other_words": joined(
            [words.numbers(t.vocabulary, t.alternatives) for t in payloads], np.uint32
        ),
        "other_models": scaled(
            PROBABILITY_UNITS, [t.model_probabilities for t in payloads], np.uint16
        ),
        "others": scaled(PROBABILITY_UNITS, [t.probabilities for t in payloads], np.uint16),
    }
