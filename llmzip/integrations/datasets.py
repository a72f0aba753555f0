"""Hugging Face datasets: `load_dataset` reads .llmz files of any kind that it knows, streamed too,
and `Dataset.to_json` writes them.

Importing this module registers the extension. The library has no function for that: its tables of
compressions are extended.
"""

from __future__ import annotations

import shutil
from typing import Any

from llmzip.container.header import MAGIC
from llmzip.extras import needing
from llmzip.integrations.files import EXTENSION, opener

with needing("datasets", "llmzip.integrations.datasets"):
    import datasets
    import datasets.filesystems
    import datasets.utils.extract
    import datasets.utils.file_utils

    from llmzip.integrations import fsspec


class LLMZipExtractor(datasets.utils.extract.MagicNumberBaseExtractor):  # type: ignore[misc]
    """Decompresses a file into datasets' cache, for builders that do not read it streamed."""

    magic_numbers = (MAGIC,)

    @staticmethod
    def extract(input_path: Any, output_path: Any) -> None:
        """Decompress a file. Raises LLMZipError."""
        with opener()(input_path) as content, open(output_path, "wb") as file:  # noqa: PTH123
            shutil.copyfileobj(content, file)


def _register() -> None:
    files = datasets.utils.file_utils
    files.COMPRESSION_EXTENSION_TO_PROTOCOL[EXTENSION] = fsspec.NAME
    files.SINGLE_FILE_COMPRESSION_EXTENSION_TO_PROTOCOL[EXTENSION] = fsspec.NAME
    files.SINGLE_FILE_COMPRESSION_PROTOCOLS.add(fsspec.NAME)
    files.MAGIC_NUMBER_TO_COMPRESSION_PROTOCOL[MAGIC] = fsspec.NAME
    datasets.utils.extract.Extractor.extractors[fsspec.NAME] = LLMZipExtractor
    # For members of webdatasets.
    datasets.filesystems.EXTENSION_TO_COMPRESSION_FS_FILE_CLS[f".{EXTENSION}"] = opener()


_register()
