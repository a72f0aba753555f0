"""Where numbers come from: versions, machine and commit."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import platform
import subprocess
from importlib import metadata

PACKAGES = (
    "llmzip",
    "numpy",
    "torch",
    "transformers",
    "tokenizers",
    "zstandard",
    "brotli",
    "pyppmd",
)


@dataclasses.dataclass(frozen=True)
class Environment:
    """The machine and the software of a measurement."""

    python: str
    machine: str
    processor: str
    cores: int | None
    packages: dict[str, str | None]
    """Versions; None: not installed."""
    git: str | None
    """The commit of the sources that ran; None for an installed package."""


def environment() -> Environment:
    """The machine and the software that this process runs on."""
    return Environment(
        python=platform.python_version(),
        machine=platform.machine(),
        processor=_processor(),
        cores=os.cpu_count(),
        packages={name: _version(name) for name in PACKAGES},
        git=_commit(),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        "unknown",
    )


def _commit() -> str | None:
    """The commit of the sources that run; None for an installed package."""
    root = pathlib.Path(__file__).resolve().parents[2]
    try:
        ran = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return ran.stdout.strip()
