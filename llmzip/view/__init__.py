"""A page to look at: where the bits of a compressed file are, token by token."""
