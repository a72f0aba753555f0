"""Models: specification, vocabulary, conversion to integers, storage."""
