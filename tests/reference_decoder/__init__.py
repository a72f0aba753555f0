"""The educational decoder: an .llmz file to its bytes, written from docs/ alone.

It shares no code with llmzip and needs Python, numpy and three libraries that define what the
documents only name: zstandard and lzma (blocks of those codecs) and xxhash (the content check); and
for files with a dictionary `tokenizers`, which splits the dictionary's text. README.md tells in
which order to read it.
"""
