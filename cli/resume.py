"""Compression that goes on where it was interrupted, at the last whole block, and makes the same
file.

Until the file is whole its blocks are in `FILE.llmz.partial`, and `FILE.llmz.partial.json` says
what they were made from: hashes of the input so far and of the blocks, the options, the model, the
dictionary. Whoever goes on has to have all of these; blocks of frames that are not solid depend on
nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

import llmzip
from llmzip.cli import files
from llmzip.cli.files import PARTIAL, PARTIAL_STATE, RefusalError, Sink, blaming
from llmzip.compressor import LLMZipCompressor
from llmzip.container.frame_reader import FrameReader, read_frames
from llmzip.container.frame_writer import FrameWriter
from llmzip.errors import TruncatedError
from llmzip.levels import MIN_BLOCK_SIZE
from llmzip.streams import Totals

_HASH_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True)
class State:
    """What the blocks of a partial file were made from."""

    made_by: str
    """The version of llmzip: another one may choose otherwise."""
    options: Mapping[str, Any]
    """The fields of `CompressionOptions`."""
    dictionary: str | None
    """The SHA-256 of the dictionary."""
    model: str | None
    """A hash of the model's fingerprint and tokenizer rules, once a block has asked the model."""
    input_bytes: int
    """How much of the input the blocks hold."""
    input_sha256: str
    output_bytes: int
    """How much of the partial file counts."""
    output_sha256: str

    def check(self) -> None:
        """Raise TypeError or ValueError where a field is none of its kind."""
        texts = [self.made_by, self.input_sha256, self.output_sha256]
        texts += [text for text in (self.dictionary, self.model) if text is not None]
        sizes = (self.input_bytes, self.output_bytes)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.options, dict):
            raise TypeError("a field of another type")
        if not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError("a size that is none")


class PartialSink(Sink):
    """A sink into the partial file of a target; `state` says what is in it, if anything."""

    def __init__(self, fd: int, path: Path, label: str) -> None:
        super().__init__(fd, label, draft=path, closefd=False)
        self.state_path = path.with_name(path.name.removesuffix(PARTIAL) + PARTIAL_STATE)
        self.state = self._read_state()

    def _read_state(self) -> State | None:
        try:
            state = State(**json.loads(self.state_path.read_text("utf-8")))
            state.check()
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise RefusalError(
                f"{self.state_path} is damaged, so nothing can go on: remove it to begin anew"
            ) from None
        return state

    def keep(self, state: State) -> None:
        """What has been written so far counts, and is on the disk."""
        with blaming(self.label):
            os.fsync(self.fileno())
            new = self.state_path.with_name(self.state_path.name + ".new")
            with new.open("w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(state), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.state_path)

    def forget(self) -> None:
        """The partial file is no more, or is whole."""
        self.state_path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(target: Path, *, force: bool, like: os.stat_result) -> Iterator[PartialSink]:
    """As `files.writing`, but what was written stays where the block ends badly.

    Raises RefusalError where another process writes the file, or the partial file is another
    user's.
    """
    if files.is_written_into(target):
        raise RefusalError("--resume needs an output that is a new file")
    if not force and os.path.lexists(target):
        raise files.exists_error(target)
    path = target.with_name(target.name + PARTIAL)
    with blaming(str(path)):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, 0o600)
    try:
        _check(path, fd)
        with PartialSink(fd, path, str(target)) as sink:
            yield sink
            with blaming(str(target)):
                files.copy_attributes(fd, like)
                os.fsync(fd)
                files.publish(path, target, force)
            sink.forget()
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _check(path: Path, fd: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise RefusalError(f"{path} is no file of yours: remove it, or name another output with -o")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        still_there = os.path.samestat(path.lstat(), status)
    except (BlockingIOError, FileNotFoundError):
        still_there = False
    except OSError as error:  # a file system without locks
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK):
            raise
        still_there = True
    if not still_there:
        raise RefusalError(f"another process is writing {path}")


def compress(
    compressor: LLMZipCompressor,
    options: Mapping[str, Any],
    dictionary: bytes | None,
    source: BinaryIO,
    sink: PartialSink,
) -> Totals:
    """Compress everything that `source` yields into `sink`, behind what is there already, and end
    the stream.

    Raises RefusalError where what is there was made from something else.
    """
    work = _Work(compressor, options, dictionary, sink)
    work.go_on(source)
    while data := source.read(MIN_BLOCK_SIZE):  # so that each block is kept at once
        work.take(data)
    work.finish()
    return Totals(work.read_bytes, work.written_bytes, compressor.tokens, compressor.frames)


class _Work:
    """The compression of one file: what was read and written, and hashes of it."""

    def __init__(
        self,
        compressor: LLMZipCompressor,
        options: Mapping[str, Any],
        dictionary: bytes | None,
        sink: PartialSink,
    ) -> None:
        self._compressor = compressor
        self._options = dict(options)
        self._dictionary = None if dictionary is None else hashlib.sha256(dictionary).hexdigest()
        self._sink = sink
        self._input, self._output = hashlib.sha256(), hashlib.sha256()
        self._waiting = bytearray()  # has been read, and is in no block yet
        self._coded_bytes = 0
        self.read_bytes = self.written_bytes = 0

    def take(self, data: bytes) -> None:
        """Compress more of the input."""
        packed = self._compressor.compress(data)
        self.read_bytes += len(data)
        self._waiting += data
        if packed:
            self._write(packed)
            self._keep()

    def finish(self) -> None:
        """End the stream. Of blocks that go side by side, and of a file that a pool codes, all may
        be left until then.
        """
        for packed in self._compressor.flush_in_parts():
            self._write(packed)
            if self._compressor.coded_bytes < self.read_bytes:
                self._keep()

    def _keep(self) -> None:
        size = self._compressor.coded_bytes - self._coded_bytes
        self._input.update(self._waiting[:size])
        del self._waiting[:size]
        self._coded_bytes += size
        self._sink.keep(
            State(
                llmzip.__version__,
                self._options,
                self._dictionary,
                self._model(),
                self._coded_bytes,
                self._input.hexdigest(),
                self.written_bytes,
                self._output.hexdigest(),
            )
        )

    def _write(self, packed: bytes) -> None:
        self._sink.write(packed)
        self._output.update(packed)
        self.written_bytes += len(packed)

    def go_on(self, source: BinaryIO) -> None:
        """Stand behind the blocks of the partial file, in the input, too. Raises RefusalError."""
        state = self._sink.state
        if state is None:
            self._sink.truncate(0)
            return
        self._compare(state)
        assert self._sink.draft is not None
        with self._sink.draft.open("rb") as partial:
            _hash(partial, state.output_bytes, self._output)
            # No size is believed beyond what is there: a longer file would be one with a hole.
            there = partial.tell() == state.output_bytes
            if not there or self._output.hexdigest() != state.output_sha256:
                raise self._refusal("is damaged")
        self._sink.truncate(state.output_bytes)
        with self._sink.draft.open("rb") as partial:  # anew, for nothing behind that is buffered
            frame, start, number = _last_frame(partial)
        content = xxhash.xxh3_64()
        _hash(source, start, self._input)
        _hash(source, state.input_bytes - start, self._input, content)
        if self._input.hexdigest() != state.input_sha256:
            raise self._refusal("was made from this file when it had another content")
        self._compressor.go_on(
            FrameWriter(frame.header, frame.entries, content), number, state.input_bytes
        )
        self._sink.seek(state.output_bytes)
        self._coded_bytes = self.read_bytes = state.input_bytes
        self.written_bytes = state.output_bytes

    def _compare(self, state: State) -> None:
        """Raise RefusalError where the blocks were not made as they would be now."""
        if state.made_by != llmzip.__version__:
            raise self._refusal(f"was made by llmzip {state.made_by}")
        if other := [
            name for name in self._options if self._options[name] != state.options.get(name)
        ]:
            told = ", ".join(f"{name} {state.options.get(name)}" for name in other)
            raise self._refusal(f"was made with other options ({told})")
        if state.dictionary != self._dictionary:
            raise self._refusal("was made with another dictionary, or one of the two without")
        if state.model is not None:
            self._compressor.load_model()
            if state.model != self._model():
                raise self._refusal("was made with another model")

    def _model(self) -> str | None:
        """What tells the model and its tokenizer from others; None where it was not asked yet."""
        model = self._compressor.model
        if model is None:
            return None
        rules = model.vocabulary.rules.encode()
        return hashlib.sha256(model.fingerprint + rules).hexdigest()

    def _refusal(self, what: str) -> RefusalError:
        return RefusalError(
            f"{self._sink.draft} {what}: repeat what was asked for then, "
            f"or remove it and {self._sink.state_path.name} to begin anew"
        )


def _last_frame(partial: BinaryIO) -> tuple[FrameReader, int, int]:
    """The frame that goes on, the position in the content where it begins, and its number from
    1.
    """
    start = 0
    for number, frame in enumerate(read_frames(partial), 1):
        try:
            for _ in frame:
                pass
        except TruncatedError:
            return frame, start, number
        start += frame.uncompressed_size
    raise AssertionError("a state is kept only behind a block")


def _hash(file: BinaryIO, size: int, *hashes: Any) -> None:
    """Put the next bytes of a file into hashes, as far as there are such."""
    while size and (data := file.read(min(size, _HASH_BYTES))):
        size -= len(data)
        for state in hashes:
            state.update(data)
