"""How and where to compute: the options that change no byte."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from llmzip.buffers import whole_number

if TYPE_CHECKING:
    from concurrent.futures import Future

    from llmzip.errors import LLMZipError
    from llmzip.types import DownloadProgress

EngineName = Literal["auto", "native", "torch"]

ENGINE_NAMES: tuple[EngineName, ...] = typing.get_args(EngineName)


Piece = TypeVar("Piece", contravariant=True)
Done = TypeVar("Done")


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How and where to compute.

    A Runtime never changes a byte. What changes bytes (level, model, dictionary, mixing, solid,
    block_size, block_lines, codec) are keywords of their own.

    Raises ValueError for an unknown engine, a negative number of threads or jobs, and the native
    engine on a device other than the CPU; TypeError for threads or jobs that are no integer and a
    device that is no str.

    >>> packed = compress(b"To be, or not to be", runtime=Runtime(threads=1))
    """

    engine: EngineName = "auto"
    """What evaluates the model: "native", the C core; "torch", PyTorch; "auto": native on the CPU
    if it is built, else torch.
    """
    device: str = "cpu"
    """Where the model is evaluated, as PyTorch names it: "cpu", "cuda", "cuda:1"."""
    threads: int | None = None
    """CPU threads; None or 0: one for each processor that this process may use."""
    jobs: int | None = None
    """Blocks that are coded side by side, at most, each with its part of the threads; None or 0: as
    many as make good use of the threads, or of the device, and as the memory has room for.
    """
    offline: bool = False
    """Whether the network is never touched, whatever `download` says."""
    download: bool = False
    """Whether a missing model may be downloaded."""
    download_progress: DownloadProgress | None = None
    """Called with the stage ("download", "convert"), what is done and the total, while a model is
    downloaded and converted.
    """
    pool: Pool | None = None
    """What codes blocks elsewhere (`llmzip.integrations`): blocks of files that are not solid, and
    each as it is coded here. None: all is done here.
    """

    def __post_init__(self) -> None:
        threads = 0 if self.threads is None else whole_number(self.threads, "threads")
        jobs = 0 if self.jobs is None else whole_number(self.jobs, "jobs")
        if threads < 0:
            raise ValueError(f"{threads} threads: 0 for all processors, or how many")
        if jobs < 0:
            raise ValueError(f"{jobs} jobs: 0 for as many as are useful, or how many")
        # One engine for both ways to say all.
        object.__setattr__(self, "threads", threads or None)
        object.__setattr__(self, "jobs", jobs or None)
        if self.engine not in ENGINE_NAMES:
            raise ValueError(f"engine {self.engine!r}: engines are {', '.join(ENGINE_NAMES)}")
        if not isinstance(self.device, str):
            raise TypeError(f"device must be a str as PyTorch names it, not {self.device!r}")
        if self.engine == "native" and self.device != "cpu":
            raise ValueError(
                f"the native engine runs on the CPU, not on {self.device!r}: leave one out"
            )


DEFAULT_RUNTIME = Runtime()
"""All processors, the quickest engine that is there, and no download."""


class Job(Protocol[Piece, Done]):
    """Work on pieces that do not depend on each other; like the pieces and what is made of them, it
    can be pickled.
    """

    def __call__(self, pieces: Sequence[Piece], runtime: Runtime) -> list[Done | LLMZipError]:
        """What is made of each piece, or what is wrong with it. Done twice it gives the same."""
        ...


class Pool(Protocol):
    """Does jobs elsewhere: in other processes, or on other machines."""

    @property
    def pieces(self) -> int:
        """How many pieces should be submitted and not yet taken, at most: enough that no worker
        waits for its next one.
        """
        ...

    def submit(self, job: Job[Any, Done], piece: Any) -> Future[Done]:
        """Have a piece worked on. Pieces are begun in the order in which they are submitted.

        The future raises the LLMZipError that the job gives for the piece, or one that says why no
        worker could do it.
        """
        ...
