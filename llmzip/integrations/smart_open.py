"""smart_open: files whose names end with ".llmz" are compressed and decompressed.

Importing this module registers the extension.
"""

from __future__ import annotations

from typing import Any

from llmzip.extras import needing
from llmzip.integrations.files import EXTENSION, opener

with needing("smart-open", "llmzip.integrations.smart_open"):
    import smart_open


def register(extension: str = f".{EXTENSION}", **options: Any) -> None:
    """Give smart_open an extension, with options of `LLMZipFile`, which `compression_kwargs` of
    `smart_open.open` adds to; those of no use in a mode are left out.

    Raises TypeError for an option that there is not.
    """
    smart_open.register_compressor(extension, opener(**options))


register()
