"""What is compared: llmzip's levels, its codecs, and the programs that users would pick instead."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata

from benchmarks.worker import CodecTask, LevelTask, ProgramTask, Task
from llmzip.codecs.registry import codec_names, find_codec, get_codec
from llmzip.errors import LLMZipError
from llmzip.evaluation.codec_rows import parse_codec
from llmzip.evaluation.environment import environment


@dataclasses.dataclass(frozen=True)
class Compressor:
    """One way to compress; `task` is what benchmarks/worker.py runs in a process of its own."""

    name: str
    command: str
    """What to type for the same, for the footnote."""
    task: Task
    missing: str | None = None
    """Why it cannot run here."""
    version: str = ""


# Name, compression, decompression; {source} and {sink} are files, else standard input and output.
_PROGRAMS = (
    ("gzip -9", "gzip -9 -n -c", "gzip -d -c"),
    ("bzip2 -9", "bzip2 -9 -c", "bzip2 -d -c"),
    ("xz -9e", "xz -9e -T1 -c", "xz -d -c"),
    ("zstd -19", "zstd -19 -T1 -q -c", "zstd -d -q -c"),
    ("zstd -22", "zstd --ultra -22 -T1 -q -c", "zstd -d -q -c --long=31"),
    ("brotli -q 11", "brotli -q 11 -w 24 -c", "brotli -d -c"),
    ("bzip3", "bzip3 -e -c", "bzip3 -d -c"),
    ("7z PPMd -o8", "7z a -t7z -m0=PPMd:o=8:mem=192m {sink} {source}", "7z e -so {source}"),
    ("zpaq -m5", "zpaq add {sink} {source} -m5", "zpaq extract {source} {original} -to {sink}"),
)

_BEST_PARAMETERS = {
    "zlib": "level=9",
    "bzip2": "level=9",
    "xz": "preset=9",
    "zstd": "level=22",
    "brotli": "quality=11",
}
"""Of the codecs that do not compress best by default."""

CODECS = tuple(
    f"{name}:{_BEST_PARAMETERS[name]}" if name in _BEST_PARAMETERS else name
    for name in codec_names()
    if name not in ("raw", "llm")
)
"""The registry's codecs but `raw` and `llm`, for which llmzip's levels stand, each at its best."""

_PACKAGES = {"zstd": "zstandard", "brotli": "brotli", "ppmd": "pyppmd"}


def llmzip_levels(
    levels: Sequence[int], model: str | None, threads: int | None, solid: bool = False
) -> list[Compressor]:
    """llmzip at each level."""
    found = []
    for level in levels:
        name = f"llmzip -{level}" + (" --solid" if solid else "")
        task = LevelTask(level, model, threads, solid)
        found.append(
            Compressor(name, name + (f" -m {model}" if model else ""), task, version=_own_version())
        )
    return found


def codecs(names: Sequence[str] = CODECS, model: str | None = None) -> list[Compressor]:
    """Codecs by themselves; their bytes have a size and a check."""
    found = []
    for text in names:
        name, parameters = parse_codec(text)
        missing = None
        try:
            needs_model = find_codec(name).needs_model
            if model and needs_model:
                parameters["model"] = model
            if not needs_model:  # a model is left to the process that measures
                get_codec(name, **parameters).encode(b"x")
        except (LLMZipError, ValueError, TypeError) as error:
            missing = str(error)
        values = "".join(f", {key}={value!r}" for key, value in parameters.items())
        command = (
            'python -c "from llmzip.codecs.registry import get_codec; '
            f'get_codec({name!r}{values}).encode(...)"'
        )
        version = _own_version() + (
            f", {_PACKAGES[name]} {_package(_PACKAGES[name])}" if name in _PACKAGES else ""
        )
        task = CodecTask(name, parameters)
        found.append(Compressor(f"codec {text}", command, task, missing, version))
    return found


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def _own_version() -> str:
    """Of llmzip: its version where it is installed, and the commit where these are its sources."""
    made = environment()
    return " ".join(filter(None, ("llmzip", made.packages["llmzip"], made.git)))


def programs(llama_model: str | None) -> list[Compressor]:
    """The programs, the missing ones with the reason."""
    rows = [*_PROGRAMS]
    if llama_model:
        call = f"llama-zip {shlex.quote(str(pathlib.Path(llama_model).resolve()))} -f binary"
        rows.append(("llama-zip", f"{call} -c", f"{call} -d"))
    found = [_program(*row) for row in rows]
    if not llama_model and shutil.which("llama-zip"):
        found.append(
            Compressor("llama-zip", "", ProgramTask("", ""), "needs --llama-model FILE.gguf")
        )
    for library in ("gptzip", "nnzip"):
        if importlib.util.find_spec(library):
            found.append(
                Compressor(
                    library,
                    "",
                    ProgramTask("", ""),
                    "has no command on files of its own: give one as --extra",
                )
            )
    return found


def extra_compressor(text: str) -> Compressor:
    """`NAME=COMPRESSION|DECOMPRESSION`, commands as in the list above. Raises ValueError for
    anything else.
    """
    name, equals, commands = text.partition("=")
    encode, bar, decode = commands.partition("|")
    if not (name and equals and bar):
        raise ValueError(f"{text!r}: a compressor is NAME=COMPRESSION|DECOMPRESSION")
    return _program(name, encode, decode)


def _program(name: str, encode: str, decode: str) -> Compressor:
    program = encode.split()[0]
    missing = None if shutil.which(program) else "not installed"
    version = "" if missing else _version(program)
    return Compressor(name, encode, ProgramTask(encode, decode), missing, version)


def _version(program: str) -> str:
    """The first line of `--version` that holds a digit; zpaq says it only in its help."""
    try:
        ran = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (ran.stdout + ran.stderr).splitlines()
    return next((line.strip()[:80] for line in lines if any(c.isdigit() for c in line)), "")
