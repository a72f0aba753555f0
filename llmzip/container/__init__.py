"""Frames, blocks and their checks: the bytes of docs/format.md, with no idea of what a codec does."""
