"""`llmzip eval` and its sub-commands."""
