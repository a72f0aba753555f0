"""The GPU engine: Triton kernels with the bits of the torch reference."""
