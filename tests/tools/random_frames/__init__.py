"""Random valid frames, built by hand with what the format allows, not only with what llmzip's
encoder writes.

    python -m tests.tools.random_frames --count 100 --seed 1 FOLDER

writes FOLDER/0.llmz and its text FOLDER/0.txt, and so on, for the tiny model of the tests, and the
dictionary that some need, FOLDER/dictionary.txt. Whoever writes a decoder can try it on them.
`--check` in the place of FOLDER lets llmzip read them. Some ten files a second.

The frames come from the educational decoder run backwards: where it asks for the next symbol, one
is chosen at random and handed to a range encoder, and what it then decodes is the text.
"""
