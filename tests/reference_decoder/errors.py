"""The one exception of this decoder."""


class DecodeError(Exception):
    """What is wrong with the input, where, and what to do about it."""
