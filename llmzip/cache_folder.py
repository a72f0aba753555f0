"""The folder for everything that can be had again."""

from __future__ import annotations

import os
import pathlib

import platformdirs

CACHE_VARIABLE = "LLMZIP_CACHE"


def cache_base() -> pathlib.Path:
    """What the environment variable LLMZIP_CACHE names, or the user's cache folder for llmzip."""
    return pathlib.Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("llmzip"))
