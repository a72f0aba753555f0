"""The user's corpora: fetched once, verified, unpacked, and read by name.

<cache>/corpora/<name>/...           the corpus's files <cache>/corpora/<name>.sha256        the
digest of the archive, or of the joined text, that they are from
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import shutil
import tarfile
import tempfile
import urllib.parse
import zipfile
from collections.abc import Callable, Mapping

from llmzip.cache_folder import cache_base
from llmzip.corpora import packed, registry
from llmzip.corpora.builtin import BUILTIN
from llmzip.corpora.download import download
from llmzip.corpora.registry import Corpus
from llmzip.errors import IntegrityError, LLMZipError
from llmzip.types import TransferProgress

PREFIX = "corpus:"
"""What stands before the name of a corpus that no file or folder of that name is to replace."""

_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_/]?(0[1-9]|1[0-2])(?:[-_/]?(?:0[1-9]|[12]\d|3[01]))?(?!\d)"
)
# Of periods in UncheatableEval's older names: 240125_to_240203, 240401to240406.
_PERIOD = re.compile(r"(?<!\d)(\d\d)(0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])_?to_?\d{6}(?!\d)")
_STATED_DATE = re.compile(rb"""^\s*(?:date|path)\s*[:=]\s*["']?(\d{4})[-/](\d{2})""", re.MULTILINE)


def folder_of(corpus: Corpus) -> pathlib.Path:
    """Where a corpus's files are, or will be."""
    return cache_base() / "corpora" / corpus.name


def fetch(
    corpus: Corpus, progress: TransferProgress | None = None, say: Callable[[str], None] = print
) -> pathlib.Path:
    """Download, verify and unpack a corpus unless it is here; its folder.

    `say` is told a digest that is trusted because nothing is known to compare it with. Raises
    LLMZipError when the download fails (again goes on), IntegrityError when the archive is not the
    one that the registry, or an earlier download, names.
    """
    folder = folder_of(corpus)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = (
        _download_parts(corpus, progress) if corpus.parts else _download_archive(corpus, progress)
    )
    with archive.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    record = folder.with_name(f"{corpus.name}.sha256")
    known = corpus.sha256 or (record.read_text("ascii").strip() if record.is_file() else None)
    if known is None:
        say(f"{corpus.name}: no digest is known; trusted from now on: SHA-256 {digest.hexdigest()}")
    elif digest.hexdigest() != known:
        archive.unlink()
        hint = "" if corpus.sha256 else f"; delete {record} to trust the new one"
        raise IntegrityError(
            f"{corpus.url} has SHA-256 {digest.hexdigest()}, expected {known}{hint}"
        )
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as name:
        scratch = pathlib.Path(name, corpus.name)
        if corpus.parts:
            scratch.mkdir()
            shutil.copyfile(archive, scratch / f"{corpus.name}{corpus.suffix}")
        else:
            _unpack(archive, scratch)
        for path in [
            p for p in scratch.rglob("*") if p.is_file() and not p.name.endswith(corpus.suffix)
        ]:
            path.unlink()
        scratch.rename(folder)
    record.write_text(digest.hexdigest() + "\n", "ascii")
    archive.unlink()
    return folder


def _download_archive(corpus: Corpus, progress: TransferProgress | None) -> pathlib.Path:
    suffixes = "".join(pathlib.PurePosixPath(corpus.url).suffixes[-2:])
    archive = folder_of(corpus).with_name(f"{corpus.name}{suffixes}")
    download(corpus.url, archive, progress)
    return archive


def _download_parts(corpus: Corpus, progress: TransferProgress | None) -> pathlib.Path:
    """The parts joined in one file; parts that an interrupted download has brought are not fetched
    again.
    """
    folder = folder_of(corpus).with_name(f"{corpus.name}.parts")
    folder.mkdir(exist_ok=True)
    joined = folder.with_name(f"{corpus.name}.joined")
    done = 0
    with joined.open("wb") as out:
        for i, name in enumerate(corpus.parts):
            part = folder / str(i)
            if not part.is_file():
                download(f"{corpus.url}/{urllib.parse.quote(name)}", part)
            data = part.read_bytes()
            out.write(data)
            done += len(data)
            if progress:
                progress(done, corpus.download_bytes)
    shutil.rmtree(folder)
    return joined


def _unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(folder)
        else:
            with tarfile.open(archive) as tarred:
                tarred.extractall(folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise IntegrityError(
            f"{archive}: does not unpack ({error}); delete it and fetch again"
        ) from error


def texts(name: str, limit: int | None = None) -> Mapping[str, bytes]:
    """Name -> bytes of a file, the files of a folder, a built-in corpus, or a fetched one, in a
    fixed order; of packed files (`packed.SUFFIXES`) those that they hold.

    A path that exists wins over a corpus of the same name; `corpus:NAME` is always the corpus.
    limit: only the first so many bytes of each, no more of a file is read. Raises LLMZipError for a
    name that is none of these, or a corpus that is not fetched.
    """
    path = pathlib.Path(name)
    if path.is_dir():
        return _files(path, limit)
    if path.is_file():
        return {path.name: packed.read(path, limit)}
    if path.exists():
        raise LLMZipError(f"{path}: neither a file nor a folder: copy it to a file first")
    name = name.removeprefix(PREFIX)
    if name in BUILTIN:
        return {name: BUILTIN[name]()[:limit]}
    corpus = registry.by_name(name)
    if corpus:
        folder = folder_of(corpus)
        if not folder.is_dir():
            raise LLMZipError(f"the corpus {name} is not here; run `llmzip corpora fetch {name}`")
        return _files(folder, limit)
    known = ", ".join([*BUILTIN, *(c.name for c in registry.CORPORA)])
    raise LLMZipError(f"{name}: no such file or folder, and no corpus (known: {known})")


def _files(folder: pathlib.Path, limit: int | None) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): packed.read(path, limit) for path in paths}


def month_of(name: str, data: bytes) -> str | None:
    """The month (`2026-03`) that a text is from: its name's date, or the `date:` or `path:` of its
    front matter.
    """
    found = _DATE.search(pathlib.PurePosixPath(name).name)
    if found:
        return f"{found[1]}-{found[2]}"
    if period := _PERIOD.search(pathlib.PurePosixPath(name).name):
        return f"20{period[1]}-{period[2]}"
    stated = _STATED_DATE.search(data[:1000])
    return f"{stated[1].decode()}-{stated[2].decode()}" if stated else None
