"""Recovery of damaged files: finding their sound parts, ordering them, decoding them
(docs/repair.md).
"""
