"""Mutants of compressed data with checks that hold, so that they reach the inner decoders
(docs/notes/mutation.md).

`python -m tests.tools.mutation --minutes 10 --seed 1`
"""
