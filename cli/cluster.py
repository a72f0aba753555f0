"""The cluster of `--ray`, for as long as a command needs it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator

from llmzip.runtime import Runtime


@contextlib.contextmanager
def connected(address: str | None, runtime: Runtime) -> Iterator[Runtime]:
    """The runtime of this process, with a pool of workers that compute as `runtime` says; the same
    runtime where there is no address. Raises LLMZipError where there is no cluster.
    """
    if address is None:
        yield runtime
        return
    from llmzip.integrations.ray import RayPool

    # Ray prints what happens to its machines, whatever its logs are set to.
    with contextlib.redirect_stdout(sys.stderr), RayPool(address, runtime) as pool:
        yield dataclasses.replace(runtime, engine="auto", device="cpu", pool=pool)
