"""llmzip on more than one process or machine: pools that code blocks (docs/cluster.md)."""
