"""The loop over the inputs: it goes on after an error and remembers that there was one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmzip.cli.arguments import Arguments
from llmzip.cli.files import RefusalError
from llmzip.cli.inputs import Source, check
from llmzip.cli.messages import say_error
from llmzip.cli.plan import plan
from llmzip.errors import LLMZipError


def run_each(
    arguments: Arguments,
    work: Callable[[Source], None],
    look_ahead: Callable[[Sequence[Source], int], None] = lambda planned, number: None,
) -> int:
    """Call `work` on every input; the exit code: 0, or 1 when anything that was named could not be
    done.

    look_ahead: is told before each all inputs, and its number among them.
    """
    code = 0

    def complain(label: str, error: Exception) -> None:
        nonlocal code
        code = 1
        say_error(label, error)

    planned = plan(arguments, complain)
    for number, source in enumerate(planned):
        try:
            check(source, arguments)
            look_ahead(planned, number)
            work(source)
        except BrokenPipeError:
            raise  # nobody reads the output any more: there is nothing left to do
        except (LLMZipError, RefusalError, OSError, MemoryError) as error:
            complain(source.label, error)
    return code
