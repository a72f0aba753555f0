"""llmzip in other libraries, a module for each: docs/integrations.md has examples, docs/cluster.md
has clusters.

Importing a module imports its library, which is optional, and registers llmzip where there is a
place to.
"""
