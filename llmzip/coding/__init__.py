"""Integer frequencies and symbols <-> bits."""
