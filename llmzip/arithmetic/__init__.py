"""The exact primitives: all that can touch a coded bit goes through here (docs/arithmetic.md).

Reductions are integer sums that the chosen type holds without rounding; element-wise steps are
single IEEE-754 operations; transcendental functions are fixed polynomials. No step depends on
order, batch, threads, library or device.
"""
