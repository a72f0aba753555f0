"""Objects that several threads call, that an exception interrupts, or that a fork copies in the
middle of a call.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")

_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def _renew_locks() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def new_lock() -> Any:
    """A lock (`threading.RLock`) that is free in a forked process: the thread that held it does not
    exist there.
    """
    lock = threading.RLock()
    _locks.add(lock)
    return lock


class ExclusiveCalls:
    """The calls of one object: one at a time, and none after one that has not come to its end.

    Such a call may have done half of its work, and nobody knows which. In a forked process that
    holds for the call that another thread was making, too.
    """

    def __init__(self, what: str) -> None:
        """what: the object, as messages call it."""
        self._unfinished = (
            f"the {what} was interrupted in the middle of a call, or is called from within one: "
            "make a new one"
        )
        self._refusal = ""
        self._lock = new_lock()

    @property
    def broken(self) -> bool:
        """Whether a call has not come to its end."""
        return self._refusal == self._unfinished

    def check(self) -> None:
        """Raise ValueError where no call is allowed any more."""
        if self._refusal:
            raise ValueError(self._refusal)

    def run(self, work: Callable[[], Result], then: str = "") -> Result:
        """Wait for the other threads' calls, then do the work. Raises ValueError as `check` does.

        then: why no call is allowed after this one; empty: further calls are.
        """
        try:
            with self._lock:
                self.check()
                self._refusal = self._unfinished
                result = work()
                self._refusal = then
                return result
        except BaseException:
            self._refusal = self._refusal or self._unfinished
            raise

    def run_last(self, work: Callable[[], object], then: str) -> None:
        """The same, once: nothing, where a thread has done it before, with the same `then`."""
        with self._lock:
            if self._refusal != then:
                self.run(work, then)

    def run_repeatable(self, work: Callable[[], Result]) -> Result:
        """The same for work that may be done again after an exception has ended it, but not after
        one that loses its result.
        """
        done = False
        try:
            with self._lock:
                self.check()
                self._refusal = self._unfinished
                try:
                    result, done = work(), True
                finally:
                    self._refusal = ""
                return result
        except BaseException:
            self._refusal = self._unfinished if done else self._refusal
            raise


class OwnProcess:
    """The process that an object belongs to: one that is forked has a copy of it."""

    def __init__(self) -> None:
        """It is this process."""
        self.take()

    def take(self) -> None:
        """From now on it is this process."""
        self._number = os.getpid()

    @property
    def is_other(self) -> bool:
        """Whether that is not the one that asks."""
        return self._number != os.getpid()


def leaves_incomplete(error: BaseException | None, process: OwnProcess) -> bool:
    """Whether a `with` block that ends so leaves what it writes incomplete: with a failure, as
    neither the end of a generator nor that of the program with success is, or with any exception in
    another process than that which writes.
    """
    if error is None or process.is_other:
        return error is not None
    if isinstance(error, SystemExit):
        return error.code not in (None, 0)
    return not isinstance(error, GeneratorExit)


class NotCopyable:
    """A base of classes whose objects cannot be copied or pickled, as those of bz2 and lzma."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Raise TypeError."""
        raise TypeError(
            f"cannot pickle or copy a {type(self).__name__}: it is in the middle of its stream"
        )
