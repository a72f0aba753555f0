"""`python -m llmzip`."""

from llmzip.cli.main import main

main()
