"""Where outputs go that get a folder of their own, flat or as a mirror of the inputs' folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from llmzip.cli.files import RefusalError


def mirrored(root: Path, target: Path) -> Path:
    """The place below `root` of what would be `target`. Raises RefusalError where `..` leads out of
    what can be mirrored.
    """
    if os.pardir in target.parts:
        raise RefusalError("has .. in its path, which leads to no place in --output-dir-mirror")
    return root / target.relative_to(target.anchor)


def make_for(target: Path, root: Path, source: Path) -> None:
    """Make the folders that `target` needs: `root` like any, those below with the permissions of
    the folders that `source` is in, so that what is private stays so. Raises RefusalError where
    `root` is a file.
    """
    if root.exists() and not root.is_dir():
        raise RefusalError(f"its output would go into {root}, which is a file: name a folder")
    root.mkdir(parents=True, exist_ok=True)
    below = target.parent.relative_to(root).parts
    for depth in range(1, len(below) + 1):
        like = Path(source.anchor, *below[:depth])
        # Whoever makes it has to write into it.
        mode = stat.S_IMODE(like.stat().st_mode) & 0o777 | stat.S_IRWXU
        root.joinpath(*below[:depth]).mkdir(mode, exist_ok=True)
