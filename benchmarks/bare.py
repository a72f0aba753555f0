"""llmzip's engines where something that only files need is not installed: to be imported before
them.

On machines lent for a measurement there may be numpy, safetensors, torch and Triton, and nothing
else.
"""

from __future__ import annotations

import pathlib
import sys
import types

try:
    import llmzip
except ModuleNotFoundError:  # the engines do without the package's front door
    llmzip = types.ModuleType("llmzip")
    llmzip.__path__ = [str(pathlib.Path(__file__).parents[1] / "llmzip")]
    sys.modules["llmzip"] = llmzip
