"""Tuning a model for compression: next-token training through the quantizer (docs/tuning.md)."""
