"""pip as a program of its own: that of this environment, or the one that comes with Python where
there is none, as in environments that uv makes.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

from llmzip.errors import ModelNotFoundError


def pip_command(folder: pathlib.Path) -> list[str]:
    """How to run pip, with a folder for a copy of it, so that nothing is installed.

    Raises ModelNotFoundError where Python came without its pip.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        [sys.executable, "-m", "ensurepip", "--root", str(folder)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    for main in folder.rglob("pip/__main__.py"):
        return [sys.executable, str(main.parent)]
    raise ModelNotFoundError(
        "models are downloaded by pip, which is neither in this environment nor comes with this "
        f"Python (`python -m ensurepip`):\n{made.stdout.strip()}\n"
        f"Install it: `{sys.executable} -m ensurepip` or `uv pip install --python "
        f"{sys.executable} pip`"
    )
