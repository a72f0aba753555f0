"""Records archives (docs/format.md, "Records"): each record by itself, behind what samples of its
kind have taught."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence

import xxhash

from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.dictionary import read_dictionary
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.frame import INDEX_MAGIC, varint
from tests.reference_decoder.frame import MAGIC as FRAME_MAGIC
from tests.reference_decoder.llm import (
    SYMBOLS_PER_BYTE,
    Streams,
    decode_step,
    mixing_that_read,
    usual_capacity_bits,
)
from tests.reference_decoder.model import Model
from tests.reference_decoder.range_decoder import BYTES, RangeDecoder, cumulative_frequencies

MAGIC = b"\x8cLZr"
VERSIONS = (1, 2)
RECORDS, LINES, NULL, LENGTHS = range(4)
CHECKS = (0, 1, 2, 4)
LONG = 255
"""What a length of so many bytes or more is among the coded ones."""
SEEN, UNSEEN = 1 << 16, 1 << 10
"""What an occurrence adds to a length's weight, and its weight before any."""


class RecordStream(Streams):
    """The one stream of a record: what comes in it teaches the mixing nothing."""

    def learn(self, tokens: Sequence[int]) -> None:
        self._read[0] += tokens


@dataclasses.dataclass(frozen=True)
class Samples:
    """A dictionary of records."""

    tokens: tuple[int, ...]
    literals: bytes
    end: int
    """The token that ends each record."""
    version: int
    """Of the records behind them."""

    def digest(self, model: Model) -> bytes:
        digest = hashlib.sha256(b"llmzip records %d" % self.version)
        ids = b"".join(token.to_bytes(4, "little") for token in self.tokens)
        for part in (model.fingerprint, ids, self.literals):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()


def read_samples(samples: Sequence[bytes], model: Model, version: int) -> Samples:
    """The tokens of samples, each followed by the end."""
    order = (0x0A, 0x00, *range(0x01, 0x0A), *range(0x0B, 0x100))
    known = [byte for byte in order if bytes([byte]) in model.token_bytes]
    if not known:
        raise DecodeError("the model has no token that could end records")
    unused = [byte for byte in known if bytes([byte]) not in b"".join(samples)]
    byte = [*unused, *known][0]
    end, escape = model.token_bytes.index(bytes([byte])), model.spec.escape_token
    tokens: list[int] = []
    literals = bytearray()
    for sample in samples:
        cut = read_dictionary(sample, model)
        behind_escapes = iter(cut.literals)
        for token in cut.tokens:
            if token == escape:
                literals.append(next(behind_escapes))
            if token == end:
                literals.append(byte)
            tokens.append(escape if token == end else token)
        tokens.append(end)
    return Samples(tuple(tokens), bytes(literals), end, version)


class RecordDecoder:
    """Payloads to records."""

    def __init__(self, samples: Samples, context: int, model: Model) -> None:
        self._model, self._end = model, samples.end
        count = len(samples.tokens)
        self._most = model.spec.max_positions
        self._context = samples.tokens[count - min(count, context, self._most // 2) :]
        self._mixing = None
        if count:
            bits = usual_capacity_bits(count)
            self._mixing = mixing_that_read(samples.tokens, bits, model, samples.version + 1)

    def decode(self, payload: bytes) -> bytes:
        """One record."""
        if payload.startswith(FRAME_MAGIC):
            return decode_file(payload, self._model)
        model = self._model
        decoder, text = RangeDecoder(payload), bytearray()
        stream = RecordStream(model, 1, self._most, self._mixing, self._context)
        most = min(self._most - len(self._context), SYMBOLS_PER_BYTE * (1 + len(payload)))
        for _ in range(most):
            (token,) = decode_step(decoder, stream.predict(1))
            if token == self._end:
                return bytes(text)
            if token >= model.spec.vocab:
                raise DecodeError(f"token {token} of a vocabulary of {model.spec.vocab}")
            if token == model.spec.escape_token:
                text.append(decoder.decode(BYTES))
            elif not model.token_bytes[token]:
                raise DecodeError(f"token {token}, which stands for no text")
            text += model.token_bytes[token]
            stream.learn([token])
        raise DecodeError(f"a record that has not ended after {most} tokens")


def decode_archive(
    data: bytes, model: Model, dictionary: Sequence[bytes] = ()
) -> tuple[list[bytes], bytes]:
    """The records, and the file that they come from. dictionary: samples that are not inside."""
    reader = ByteReader(data)
    if reader.read(4, "the header") != MAGIC:
        raise DecodeError("this is no records archive")
    version = reader.byte("the header")
    if version not in VERSIONS:
        raise DecodeError("another version of records archives")
    check, framing = reader.byte("the header"), reader.byte("the header")
    if check not in CHECKS or framing not in (RECORDS, LINES, NULL, LENGTHS):
        raise DecodeError("checks or a framing that do not exist")
    fingerprint, digest = reader.read(8, "the header"), reader.read(8, "the header")
    context, size = reader.varint("the context"), reader.varint("the dictionary's size")
    inside = reader.read(size, "the dictionary")
    expect_crc(reader, 0)
    if not model.fingerprint.startswith(fingerprint):
        raise DecodeError(f"it needs the model of fingerprint {fingerprint.hex()}…")
    if inside:
        dictionary = split_lengths(decode_file(inside))
    samples = read_samples(dictionary, model, version)
    if not samples.digest(model).startswith(digest):
        raise DecodeError("another dictionary")
    decoder = RecordDecoder(samples, context, model)
    records: list[bytes] = []
    entries: list[int] = []
    while True:
        start = reader.offset
        group = read_group(reader, decoder, check)
        if not group:
            break
        records += group
        entries += [reader.offset - start, len(group)]
    tail = reader.byte("the end")
    body = b"".join(map(varint, [len(entries) // 2, *entries]))
    body += zlib.crc32(body).to_bytes(4, "little")
    if tail > 1 or reader.rest() != body + len(body).to_bytes(4, "little") + INDEX_MAGIC:
        raise DecodeError("the end or the index does not say what stands in the groups")
    return records, restored(records, framing, lacks_end=tail == 1)


def read_group(reader: ByteReader, decoder: RecordDecoder, check: int) -> list[bytes]:
    """The records of the next group; none at the end of the groups."""
    start = reader.offset
    count = reader.varint("a group")
    if not count:
        return []
    coded = reader.read(reader.varint("a group's lengths"), "a group's lengths")
    lengths = [
        length + reader.varint("a length") if length == LONG else length
        for length in read_lengths(coded, count)
    ]
    expect_crc(reader, start)
    start = reader.offset
    payloads = [reader.read(length, "a record") for length in lengths]
    content_check = reader.read(4, "a group's content check")
    expect_crc(reader, start)
    records = []
    for payload in payloads:
        if len(payload) < check:
            raise DecodeError("a record without its check")
        record = decoder.decode(payload[: len(payload) - check])
        if low_bits(record, check) != payload[len(payload) - check :]:
            raise DecodeError("a record's check differs")
        records.append(record)
    if low_bits(b"".join(records), 4) != content_check:
        raise DecodeError("a group's content check differs")
    return records


def read_lengths(coded: bytes, count: int) -> list[int]:
    """The payloads' lengths, of which the longer ones are cut to 255."""
    decoder, weights = RangeDecoder(coded), [UNSEEN] * (LONG + 1)
    lengths: list[int] = []
    while len(lengths) < count:
        size = min(max(16, min(256, len(lengths) // 8)), count - len(lengths))
        table = cumulative_frequencies(weights)
        group = [decoder.decode(table) for _ in range(size)]
        for length in group:
            weights[length] += SEEN
        lengths += group
    return lengths


def restored(records: Sequence[bytes], framing: int, lacks_end: bool) -> bytes:
    """The file that was packed."""
    if framing in (LINES, NULL):
        end = b"\n" if framing == LINES else b"\0"
        text = b"".join(record + end for record in records)
        return text[:-1] if lacks_end else text
    return b"".join(varint(len(record)) + record for record in records)


def split_lengths(text: bytes) -> list[bytes]:
    """Records that stand each behind its length."""
    reader, records = ByteReader(text), []
    while not reader.at_end:
        records.append(reader.read(reader.varint("a sample"), "a sample"))
    return records


def low_bits(data: bytes, count: int) -> bytes:
    """The low bytes of XXH3-64."""
    return xxhash.xxh3_64_intdigest(data).to_bytes(8, "little")[:count]


def expect_crc(reader: ByteReader, start: int) -> None:
    """The CRC-32 of what has been read since `start`."""
    crc = zlib.crc32(reader.data[start : reader.offset]).to_bytes(4, "little")
    if reader.read(4, "a check") != crc:
        raise DecodeError(f"byte {reader.offset}: a check differs: the file is damaged")
