"""What an evaluation is asked to do, and the texts and models that its names mean."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import Literal

from llmzip import levels
from llmzip.corpora import library, parquet
from llmzip.corpora.readers import READERS, Reader
from llmzip.errors import LLMZipError
from llmzip.model.files import readable

_SIZED = re.compile(r"(.+):([0-9]{1,18})", re.DOTALL)
TASKS = ("code_length", "file", "capacity", "bpc", "context", "documents")
CONTEXTS = (16, 64, 256, 1024, 2048)
BosMode = Literal["add_default_bos", "add_default_eos", "add_newline_token"]


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
    ic_bias: float | None = None
    """The b of the information capacity; None: the authors' for a text of that name."""
    bos_mode: BosMode = "add_default_bos"
    """What stands before each document of `documents`, in UncheatableEval's words."""
    alpha: float = 0.01
    """The smoothing of the smoothed bits/byte."""
    limit: int | None = None
    """Only the first so many bytes of each text: testing only."""


@dataclasses.dataclass(frozen=True)
class Text:
    """One text that is measured."""

    name: str
    data: bytes
    documents: tuple[bytes, ...] = ()
    """What it is made of, one after the other, where it is a set of documents."""

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The documents, or the text as the only one."""
        return self.documents or (self.data,)

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
    path = name.partition(":")[2] if _reader(name) else name
    if match is None or pathlib.Path(path).exists():
        return name, None
    return match[1], int(match[2])


def _reader(name: str) -> Reader | None:
    """The reader that a name begins with, unless it is a path."""
    kind, _, path = name.partition(":")
    return READERS.get(kind) if path and not pathlib.Path(name).exists() else None


def sources(name: str, limit: int | None = None) -> dict[str, Text]:
    """The texts that a name stands for, by their names in it: a file, the files of a folder, a
    corpus, or with `READER:PATH` the sources of a data set. A Parquet file is a set of `rows`,
    where no other reader is named.

    limit: only the first so many bytes of each, and no more is read. Raises LLMZipError where there
    is nothing of that name.
    """
    path = pathlib.Path(name)
    if reader := _reader(name):
        path = pathlib.Path(name.partition(":")[2])
    elif path.suffix == parquet.SUFFIX and path.is_file():
        reader = READERS["rows"]
    if reader:
        found = [
            Text(readable(label), b"".join(documents), tuple(documents))
            for label, documents in reader.read(path, limit).items()
        ]
    else:
        found = [Text(readable(n), data) for n, data in library.texts(name, limit).items()]
    return {text.name: text for text in found}


def load_texts(names: tuple[str, ...], limit: int | None = None) -> list[Text]:
    """The texts of files, folders, corpora and data sets; `NAME:BYTES` takes only the first so many
    bytes of each, as `limit` does.

    Raises LLMZipError for unknown names and where nothing is left.
    """
    found: list[tuple[Text, str]] = []
    for name in names:
        path, max_bytes = split_size(name)
        max_bytes = min((n for n in (max_bytes, limit) if n is not None), default=None)
        texts = sources(path, max_bytes)
        folder = path.removeprefix(library.PREFIX)
        for label, text in texts.items():
            whole = label if len(texts) == 1 else f"{readable(folder)}/{label}"
            if text.data:
                found.append((dataclasses.replace(text, name=whole), readable(path)))
    if not found:
        raise LLMZipError(f"{', '.join(names) or 'no data'}: there is no text to measure")
    return _distinct(found)


def _distinct(found: Sequence[tuple[Text, str]]) -> list[Text]:
    """The texts by names of their own, as rows name their text: where several have one, what each
    was asked for by, and its size where that is not enough. What was asked for twice is one text.
    """
    times = collections.Counter(text.name for text, _ in found)
    texts: dict[str, Text] = {}
    for text, asked in found:
        name = text.name if times[text.name] == 1 or "/" in text.name else asked
        if name in texts and texts[name].data != text.data:
            name = f"{name}:{len(text.data)}"
        texts.setdefault(name, dataclasses.replace(text, name=name))
    return list(texts.values())
