"""Which level suits: what a text takes at each of them in time and memory, on this machine."""
