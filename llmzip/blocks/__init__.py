"""The blocks of frames, one at a time, side by side or in a pool (docs/architecture.md)."""
