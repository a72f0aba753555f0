"""Meta-tokens: repeats in a token sequence as entries of a dictionary in front of it (LTSC, arXiv
2506.00307).
"""
