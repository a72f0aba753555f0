"""Tuning a model for compression: plain next-token training through the quantiser (docs/tuning.md)."""
