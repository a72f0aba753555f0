"""Tuning a model for compression: plain next-token training through the quantizer
(docs/tuning.md).
"""
