"""Damaged or missing frame headers: candidates, and the one that a first block's check proves."""

from __future__ import annotations

import binascii
import dataclasses
import functools
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from llmzip.accounting import block_bytes
from llmzip.container.block import MAX_BLOCK_SIZE
from llmzip.container.checks import CHECK_BYTES, SHORT_CHECK_BYTES, is_short
from llmzip.container.header import (
    DICTIONARY_ID_BYTES,
    FINGERPRINT_PREFIX,
    VERSIONS,
    FrameHeader,
    fingerprint_bytes,
    memory_code,
)
from llmzip.engine_loader import EngineLoader
from llmzip.model.store import ModelStore
from llmzip.salvage.search import Words, combined

NOTHING_STATED = FrameHeader(False, 0, is_guess=True)
"""Stands for a lost header."""
_OF_MIXING = {FrameHeader(False, 0, version=v).mixing_version: v for v in VERSIONS}
_MIXED_ALIKE = sorted(_OF_MIXING.values(), reverse=True)
"""A version for each version of the mixing, the newest first."""

MAX_HEADER_BYTES = 5 + FINGERPRINT_PREFIX + DICTIONARY_ID_BYTES

_MIN_CODE = memory_code(block_bytes(1, False))
_CODES = {version: range(_MIN_CODE if version >= 4 else 0, 256) for version in VERSIONS}
"""By version: the memory codes that frames which name a model can have."""
_WITHOUT_MODEL = range(_MIN_CODE, memory_code(block_bytes(MAX_BLOCK_SIZE, True)) + 1)
_CODES_WITHOUT_MODEL = {
    version: _WITHOUT_MODEL if version >= 4 else range(1) for version in VERSIONS
}
_MAX_WRONG = 4
"""Bytes of a short frame's header that may be wrong or absent: its check alone is too weak a
witness.
"""


class HeaderGuesses:
    """The headers that this machine's models, and the dictionary that was given, allow."""

    def __init__(self, loader: EngineLoader) -> None:
        """loader: with a model only that one is considered."""
        self._loader = loader

    def proven_by(
        self, observed: bytes, body: bytes, size: int, stated: bytes
    ) -> FrameHeader | None:
        """The header that makes the check of a frame's first block hold, or None.

        observed: the bytes where its end must have been. body: the block up to its check; size: its
        uncompressed bytes. stated: the four bytes where the check must have been.
        """
        headers, encoded, crcs = self._all
        hits: list[int] = []
        if len(stated) == CHECK_BYTES:
            wanted = int.from_bytes(stated, "little")
            hits += np.flatnonzero(combined(crcs, zlib.crc32(body), len(body)) == wanted).tolist()
            hits = [i for i in hits if not is_short(headers[i].single_block, size)]
        wanted = int.from_bytes(stated[:SHORT_CHECK_BYTES], "little")
        for i, header in enumerate(headers):
            likely = (
                is_short(header.single_block, size)
                and _wrong_bytes(encoded[i], observed) <= _MAX_WRONG
            )
            if likely and binascii.crc_hqx(body, binascii.crc_hqx(encoded[i], 0xFFFF)) == wanted:
                hits.append(i)
        if not hits:
            return None
        return headers[min(hits, key=lambda i: _wrong_bytes(encoded[i], observed))]

    def likely(self) -> Iterator[FrameHeader]:
        """Headers to decode blocks with that nothing proves: of frames of several blocks that are
        not solid.
        """
        for fingerprint in self._fingerprints:
            for dictionary_id in self._dictionary_ids(fingerprint):
                named = fingerprint[: fingerprint_bytes(False, bool(dictionary_id))]
                for version in _MIXED_ALIKE:
                    yield dataclasses.replace(
                        NOTHING_STATED,
                        fingerprint=named,
                        dictionary_id=dictionary_id,
                        version=version,
                    )

    @functools.cached_property
    def _all(self) -> tuple[Sequence[FrameHeader], Sequence[bytes], Words]:
        """All headers that frames can have here, as they are written, and the CRC-32 of that."""
        headers = [
            FrameHeader(single, code, solid=solid, version=version)
            for version, codes in _CODES_WITHOUT_MODEL.items()
            for single in (True, False)
            for solid in (False, True)
            for code in codes
        ]
        for fingerprint in self._fingerprints:
            for dictionary_id in self._dictionary_ids(fingerprint):
                for single in (True, False):
                    named = fingerprint[: fingerprint_bytes(single, bool(dictionary_id))]
                    headers += [
                        FrameHeader(single, code, named, dictionary_id, solid, version)
                        for version, codes in _CODES.items()
                        for solid in (False, True)
                        for code in codes
                    ]
        encoded = [header.to_bytes() for header in headers]
        return headers, encoded, np.array([zlib.crc32(data) for data in encoded], np.uint32)

    @functools.cached_property
    def _fingerprints(self) -> list[bytes]:
        if self._loader.model is not None:
            return [self._loader.chosen_model().fingerprint]
        return [
            bytes.fromhex(model.fingerprint)
            for model in ModelStore().list()
            if model.state == "ready"
        ]

    def _dictionary_ids(self, fingerprint: bytes) -> list[bytes]:
        """The digest of the dictionary under a model, where one was given, and none."""
        if self._loader.dictionary is None:
            return [b""]
        prepared = self._loader.prepared_dictionary(self._loader.for_fingerprint(fingerprint))
        return [prepared.digest, b""] if prepared else [b""]


def _wrong_bytes(header: bytes, observed: bytes) -> int:
    """How many bytes of a header differ from those observed where its end must have been; those
    that are absent count.
    """
    kept = header[max(0, len(header) - len(observed)) :]
    if len(observed) > len(header):
        return len(header)
    return len(header) - len(kept) + sum(a != b for a, b in zip(kept, observed, strict=True))
