"""Where numbers come from: versions, machine and commit."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
from importlib import metadata
from typing import Any

PACKAGES = ("llmzip", "numpy", "torch", "transformers", "tokenizers", "zstandard", "brotli", "pyppmd")


def environment() -> dict[str, Any]:
    """Versions of Python and packages (None: not installed), the machine, the number of its cores, and the git commit."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _commit(),
    }


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
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str | None:
    """Of the sources that this runs from; None for an installed package."""
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
