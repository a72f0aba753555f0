"""Engines evaluate an integer model: in torch, in C, and on CUDA. All return the same bits."""
