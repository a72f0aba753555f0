"""What is left of a damaged file: finding its parts, their order, and decoding them (docs/repair.md)."""
