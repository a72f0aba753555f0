"""Packages that only some commands need: an error that names the extra which installs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from llmzip.errors import LLMZipError


@contextlib.contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """For the import of optional packages: raises LLMZipError where one of them cannot be imported.

    what: what needs them, as the beginning of a sentence. extra: the extra of llmzip that installs
    them.
    """
    try:
        yield
    except ImportError as error:
        if error.name and error.name.partition(".")[0] == "llmzip":
            raise  # a fault of our own, which no installation repairs
        missing = isinstance(error, ModuleNotFoundError) and error.name
        reason = (
            f"the package {error.name}, which is not installed"
            if missing
            else f"a package that fails ({error})"
        )
        raise LLMZipError(f"{what} needs {reason}: pip install 'llmzip[{extra}]'") from error
