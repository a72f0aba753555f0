"""Measures of models and compressors as pure functions of code lengths; docs/evaluation.md lists
their formulas.

Code lengths are in bits. Sizes are in bytes, and bytes, never tokens, stand in denominators unless
a name says otherwise.
"""
