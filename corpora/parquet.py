"""Rows of Parquet files, as Hugging Face keeps data sets: a few columns, a part of them at a time.

A part is at most the wanted columns of a row group: what is in memory at once.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from llmzip.errors import LLMZipError
from llmzip.extras import needing
from llmzip.model.files import brief

SUFFIX = ".parquet"
"""How names of such files end."""

_BATCH_ROWS = 256


def rows(
    path: pathlib.Path, wanted: Sequence[str], others: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows, as far as they are in these columns; columns that the file lacks are left out.

    Raises LLMZipError where it has none of the wanted ones, and names those it has; where it cannot
    be read, and where pyarrow is not installed.
    """
    with needing("parquet", f"{path}: Parquet"):
        import pyarrow
        import pyarrow.parquet
    failures = (pyarrow.ArrowException, OSError, ValueError)
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except failures as error:
        raise LLMZipError(f"{path}: no Parquet file: {brief(error)}") from error
    with file:
        there = file.schema_arrow.names
        if not set(wanted) & set(there):
            raise LLMZipError(
                f"{path}: no column {' or '.join(wanted)}; there are {', '.join(there) or 'none'}"
            )
        columns = [column for column in (*wanted, *others) if column in there]
        batches = file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
                found = batch.to_pylist() if batch else []
            except failures as error:
                raise LLMZipError(f"{path}: damaged: {brief(error)}") from error
            if batch is None:
                return
            yield from found
