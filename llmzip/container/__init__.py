"""The file format of docs/format.md: frames, blocks, checks, index. Payloads are opaque here."""
