"""What an evaluation is asked to do, and the texts and models that its names mean."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re

from llmzip import levels
from llmzip.corpora import library
from llmzip.errors import LLMZipError
from llmzip.metrics.capacity import BIASES
from llmzip.model.files import readable

_SIZED = re.compile(r"(.+):([0-9]{1,18})", re.DOTALL)
TASKS = ("code_length", "file", "capacity", "bpc", "context")
CONTEXTS = (16, 64, 256, 1024, 2048)


@dataclasses.dataclass(frozen=True)
class Options:
    """The parameters that decide the numbers; they are stored beside the results."""

    tasks: tuple[str, ...] = TASKS
    context: int = 1024
    """Tokens of the independent segments."""
    contexts: tuple[int, ...] = CONTEXTS
    """The context lengths behind which the same tokens are scored [tokens]."""
    samples: int = 16
    """At most this many spans of 64 tokens for `context`, and segments of 1024 for `capacity`."""
    damage_contexts: tuple[int, ...] = (128, 512, 1024)
    """The context lengths of the cache damage grid [tokens]."""
    level: int = levels.DEFAULT_LEVEL
    """The level of the real file."""
    ic_bias: float = BIASES["other"]
    alpha: float = 0.01
    """The smoothing of the smoothed bits/byte."""
    limit: int | None = None
    """Only the first so many bytes of each text: testing only."""


@dataclasses.dataclass(frozen=True)
class Text:
    """One text that is measured."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """The digest of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def split_size(name: str) -> tuple[str, int | None]:
    """`NAME:BYTES` -> the name and how many bytes are wanted; None: all. What exists as a whole is
    a path, whatever it ends with.

    >>> split_size("no-such-file:100"), split_size("no-such-file:\u00b2")
    (('no-such-file', 100), ('no-such-file:\u00b2', None))
    """
    match = _SIZED.fullmatch(name)
    if match is None or pathlib.Path(name).exists():
        return name, None
    return match[1], int(match[2])


def load_texts(names: tuple[str, ...], limit: int | None = None) -> list[Text]:
    """The texts of corpora, files and folders; `NAME:BYTES` takes only the first so many bytes of
    each, as `limit` does.

    Raises LLMZipError for unknown names and where nothing is left.
    """
    found = []
    for name in names:
        path, max_bytes = split_size(name)
        max_bytes = min((n for n in (max_bytes, limit) if n is not None), default=None)
        texts = library.texts(path)
        source = path.removeprefix(library.PREFIX)
        for label, data in texts.items():
            if data[:max_bytes]:
                found.append(
                    Text(
                        readable(label if len(texts) == 1 else f"{source}/{label}"),
                        data[:max_bytes],
                    )
                )
    if not found:
        raise LLMZipError(f"{', '.join(names) or 'no data'}: there is no text to measure")
    return found
