"""What -l shows: one line a file, with -v the frames too, or JSON; nothing is decoded."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from llmzip.cli.arguments import Arguments
from llmzip.cli.files import blaming
from llmzip.cli.inputs import Source, reading
from llmzip.cli.paths import shown
from llmzip.cli.repair import advising, is_archive
from llmzip.cli.sizes import counted, format_size
from llmzip.errors import LLMZipError
from llmzip.levels import levels_of

if TYPE_CHECKING:
    from llmzip.container.frame_info import FrameSummary

_COLUMNS = "{:>6}  {:>10}  {:>12}  {:>7}  {:>9}  {:<12}  {:<8}  {}"
_TITLES = (
    "Frames",
    "Compressed",
    "Uncompressed",
    "Ratio",
    "bits/byte",
    "Model",
    "Check",
    "Filename",
)


@dataclass(frozen=True)
class Listed:
    """One file of the list."""

    name: str
    """As Python has it: bytes that are no text are surrogates."""
    frames: Sequence[FrameSummary]
    damaged: bool = False
    """Whether this is only what is there of it."""

    @property
    def compressed_bytes(self) -> int:
        """The sum over the frames."""
        return sum(frame.compressed_size for frame in self.frames)

    @property
    def uncompressed_bytes(self) -> int:
        """The sum over the frames."""
        return sum(frame.uncompressed_size for frame in self.frames)

    @property
    def models(self) -> list[str]:
        """The models that decoding needs, each once."""
        return list(dict.fromkeys(frame.model for frame in self.frames if frame.model))

    @property
    def checks(self) -> list[str]:
        """The kinds of checksum, each once."""
        return list(dict.fromkeys(frame.check for frame in self.frames))


@dataclass
class Listing:
    """Prints the list as it grows."""

    arguments: Arguments
    listed: list[Listed] = field(default_factory=list)

    def add(self, source: Source) -> None:
        """List one input."""
        from llmzip.container.frame_info import list_frames

        name = "stdin" if source.path is None else str(source.path)
        with reading(source) as reader, advising():
            archive = is_archive(reader)
            try:
                listed = Listed(name, list_frames(reader))
            except LLMZipError:
                if reader.seekable() and not archive and (frames := _found(reader)):
                    self._show(Listed(name, frames, damaged=True))
                raise
        self._show(listed)

    def _show(self, listed: Listed) -> None:
        self.listed.append(listed)
        if self.arguments.json:
            return
        if len(self.listed) == 1:
            _print(_COLUMNS.format(*_TITLES))
        _print(_line(listed))
        if self.arguments.verbose:
            for number, frame in enumerate(listed.frames, 1):
                _print(_details(number, frame))

    def finish(self) -> None:
        """Print what can be said only at the end."""
        if self.arguments.json:
            _print(json.dumps([_record(listed) for listed in self.listed], indent=2))
        elif len(self.listed) > 1:
            everything = [frame for listed in self.listed for frame in listed.frames]
            _print(_line(Listed(f"{len(self.listed)} files", everything)))


def _found(reader: BinaryIO) -> list[FrameSummary]:
    """What is there of a damaged file."""
    from llmzip.salvage.listing import list_damaged_frames

    return list_damaged_frames(reader)


def _print(text: str) -> None:
    with blaming("stdout"):
        click.echo(text)


def _line(listed: Listed) -> str:
    ratio, bits_per_byte = _rates(listed)
    return _COLUMNS.format(
        len(listed.frames),
        format_size(listed.compressed_bytes),
        format_size(listed.uncompressed_bytes),
        "-" if ratio is None else f"{ratio:.3f}",
        "-" if bits_per_byte is None else f"{bits_per_byte:.3f}",
        _only([model[:12] for model in listed.models]),
        _only(listed.checks),
        shown(listed.name) + (" (damaged)" if listed.damaged else ""),
    )


def _details(number: int, frame: FrameSummary) -> str:
    codecs = ", ".join(f"{count} {name}" for name, count in Counter(frame.codecs).items())
    return (
        f"    frame {number}: version {frame.version}, "
        f"{frame.uncompressed_size:,} -> {counted(frame.compressed_size, 'byte')}, "
        f"blocks: {codecs or 'none'}, model: {frame.model or 'none'}, check: {frame.check}, "
        f"decoder memory: {format_size(frame.memory)}"
        + _level(frame)
        + (f", dictionary: {frame.dictionary_id}" if frame.dictionary_id else "")
        + (", solid" if frame.solid else "")
    )


def _level(frame: FrameSummary) -> str:
    """The level, or those which make the same of such blocks: the file says streams and windows."""
    of_blocks = [set(levels_of(*astuple(said))) for said in frame.streams]
    found = sorted(set.intersection(*of_blocks)) if of_blocks else []
    return f", level: {found[0]}{f' to {found[-1]}' if found[1:] else ''}" if found else ""


def _record(listed: Listed) -> dict[str, Any]:
    ratio, bits_per_byte = _rates(listed)
    return {
        **_filename(listed.name),
        "compressed_bytes": listed.compressed_bytes,
        "uncompressed_bytes": listed.uncompressed_bytes,
        "ratio": ratio,
        "bits_per_byte": bits_per_byte,
        "models": listed.models,
        "checks": listed.checks,
        "damaged": listed.damaged,
        "frames": [asdict(frame) for frame in listed.frames],
    }


def _filename(name: str) -> dict[str, str]:
    """The name as text; where that is not all of it, its bytes in hex, too."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return (
        {"filename": text}
        if text == name
        else {"filename": text, "filename_hex": os.fsencode(name).hex()}
    )


def _rates(listed: Listed) -> tuple[float | None, float | None]:
    """Uncompressed / compressed bytes, and compressed bits per uncompressed byte; None where there
    is no byte.
    """
    compressed, uncompressed = listed.compressed_bytes, listed.uncompressed_bytes
    return (
        uncompressed / compressed if compressed else None,
        8 * compressed / uncompressed if uncompressed else None,
    )


def _only(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else "several" if values else "-"
