"""Scorers: what any model, float or integer, says of the tokens of a text, in one shape."""
