"""Texts before which generation ends, wherever tokens end."""

from __future__ import annotations

from collections.abc import Sequence

from llmzip.buffers import Buffer, flat


class Stops:
    """What has been drawn, up to the first of some texts that appears in it."""

    def __init__(self, texts: Sequence[Buffer]) -> None:
        """Raises ValueError for an empty text, TypeError for a str."""
        self._texts = [bytes(flat(text, "stop")) for text in texts]
        if not all(self._texts):
            raise ValueError("an empty text to stop at: it would appear at once")
        self._waiting = b""
        self.is_reached = False
        """Whether one has appeared."""

    def take(self, piece: bytes) -> bytes:
        """The next piece of what is drawn; what can be given out: bytes that may begin one of the
        texts wait.
        """
        self._waiting += piece
        found = [at for text in self._texts if (at := self._waiting.find(text)) >= 0]
        if found:
            self.is_reached = True
            self._waiting = self._waiting[: min(found)]
            return self.rest()
        kept = max((_begun(self._waiting, text) for text in self._texts), default=0)
        given = self._waiting[: len(self._waiting) - kept]
        self._waiting = self._waiting[len(given) :]
        return given

    def rest(self) -> bytes:
        """What waits, as nothing follows."""
        given, self._waiting = self._waiting, b""
        return given


def _begun(text: bytes, stop: bytes) -> int:
    """How many of the text's last bytes may be the beginning of this one."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
