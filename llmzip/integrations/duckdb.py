"""DuckDB: functions `llmzip` and `unllmzip` of values, and "llmzip://PATH" for files.

DuckDB takes no codec from outside for its storage or for Parquet; functions and file systems it
does.
"""

from __future__ import annotations

from typing import Any

from llmzip.extras import needing
from llmzip.integrations.files import useful
from llmzip.one_shot import compress, decompress

with needing("duckdb", "llmzip.integrations.duckdb"):
    import duckdb

    from llmzip.integrations.fsspec import ContentFileSystem


def register(connection: duckdb.DuckDBPyConnection, fs: Any = None, **options: Any) -> None:
    """Give a connection `llmzip(text)`, a BLOB, `unllmzip(blob)`, the text again, and the files of
    an fsspec file system (by default local ones) as "llmzip://PATH", those with ".llmz"
    decompressed.

    options: of `LLMZipFile`. Raises TypeError for an option that there is not.
    """
    packing, unpacking = useful(options, "w"), useful(options, "r")

    def pack(text: str) -> bytes:
        return compress(text.encode(), **packing)

    def unpack(blob: bytes) -> str:
        return decompress(blob, **unpacking).decode()

    connection.create_function("llmzip", pack, ["VARCHAR"], "BLOB")
    connection.create_function("unllmzip", unpack, ["BLOB"], "VARCHAR")
    connection.register_filesystem(ContentFileSystem(fs, **options))
