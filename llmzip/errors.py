"""The exceptions of llmzip.

    LLMZipError
    ├── FormatError                 the bytes are not what docs/format.md allows
    │   └── TruncatedError          ... because they end early (also an EOFError)
    ├── IntegrityError              the bytes are well-formed but have changed, as a checksum says,
    │                               or what they decode to
    ├── ModelError
    │   ├── ModelNotFoundError      no such model here; the message names the command that gets it
    │   ├── ModelMismatchError      a model is here, but not the one that the file needs
    │   └── UnsupportedModelError   the model's architecture is not one that the arithmetic covers
    ├── DictionaryError             the file needs a dictionary that was not given, or is another
    └── LimitError                  decoding would exceed a limit that the caller set

Every message says what is wrong, where, and how to repair it.
"""

from __future__ import annotations


class LLMZipError(Exception):
    """Base of all errors that llmzip raises on purpose."""


class FormatError(LLMZipError, ValueError):
    """The bytes are not a frame, or break a rule of docs/format.md."""


class TruncatedError(FormatError, EOFError):
    """The bytes end before the frame does."""

    def __init__(self, message: str, missing: int = 1) -> None:
        super().__init__(message)
        self.missing = missing
        """How many more bytes it takes at least."""


class IntegrityError(LLMZipError):
    """The bytes were changed after they were written: a checksum does not match, or a payload does
    not decode to what it is to hold.
    """


class ModelError(LLMZipError):
    """Something is wrong with a model."""


class ModelNotFoundError(ModelError):
    """A model is neither installed nor, where the network is allowed, to be had."""


class ModelMismatchError(ModelError):
    """A model differs from the one that a file or a registry entry names."""


class UnsupportedModelError(ModelError):
    """The model's architecture or shape is outside docs/arithmetic.md."""


class DictionaryError(LLMZipError):
    """A frame needs a dictionary: it was not given, or another was."""


class LimitError(LLMZipError):
    """Decoding would exceed a limit set by the caller (memory or output size)."""
