"""Engines evaluate an integer model; all return the same bits."""
