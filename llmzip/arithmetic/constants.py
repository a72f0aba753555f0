"""Numbers that docs/arithmetic.md fixes. Changing one is a new arithmetic version."""

from __future__ import annotations

ROW_FLOOR = 2.0**-40
"""Row maxima are raised to this before a division: no division by zero, and no subnormal number
anywhere.
"""

INT8_MAX = 127.0
INT16_MAX = 32767.0

WIDE_MAX = 32512.0
"""Of numbers of 16 bits that are two of 8: 127 x 256."""
WIDE_BASE = 256.0
WIDE_INNER_MAX = 2.0**20
"""Of the MLP's inner vector before its rotation, where what is rotated has 16 bits."""

NORM_MAX = 1023.0
"""Vectors that are normalized on their own are rounded to this many steps: sums of 1040 squares fit
int32.
"""

EXP2_MIN = -30.0
EXP2_MAX = 30.0

# 2**r on [0, 1] as ((C3*r + C2)*r + C1)*r + 1, which is 2 at r = 1, so that the function is
# continuous. Relative error below 1.1e-4. Each constant is a float32.
EXP2_C1 = float.fromhex("0x1.640ea8p-1")
EXP2_C2 = float.fromhex("0x1.cf7a66p-3")
EXP2_C3 = float.fromhex("0x1.4095f4p-4")

# log2(1 + r) on [0, 1) as ((C3*r + C2)*r + C1)*r, which is 1 at r = 1. Absolute error below 9e-4.
LOG2_C1 = float.fromhex("0x1.6c40c4p+0")
LOG2_C2 = float.fromhex("-0x1.2a06d0p-1")
LOG2_C3 = float.fromhex("0x1.461522p-3")

# g * Phi(g) as g / (1 + 2**v), v = g * ((C*t + B)*t + A), t = min(g*g, GELU_LIMIT): the tanh form
# of GELU, whose C is 0, and one for the exact form. Absolute error below 3e-5, without that of
# exp2.
GELU_LIMIT = 36.0
GELU_TANH_A = float.fromhex("-0x1.26aec2p+1")
GELU_TANH_B = float.fromhex("-0x1.a5a7d0p-4")
GELU_ERF_A = float.fromhex("-0x1.268b1ep+1")
GELU_ERF_B = float.fromhex("-0x1.b55b84p-4")
GELU_ERF_C = float.fromhex("0x1.09f0c2p-10")

ATTENTION_ONE_BITS = 15
"""exp2(0) in attention is 2**15 before normalization."""

ATTENTION_TOTAL_BITS = 16
"""Attention weights of one query are normalized to a sum of about 2**16: 127 * (2**16 + n/2) <
2**24.
"""

ROPE_BITS = 14
"""Sines and cosines are integers in units of 2**-14."""

ROUTING_BITS = 14
"""Weights of experts are integers in units of 2**-14: an expert adds 0 or normal numbers."""

WEIGHT_BITS = 23
"""The most likely token has the weight 2**23; a bucket of 256 tokens sums to at most 2**31."""

BUCKET_BITS = 8
BUCKET_SIZE = 1 << BUCKET_BITS

FREQUENCY_BITS = 24
FREQUENCY_TOTAL = 1 << FREQUENCY_BITS

SUM_BITS = 39
"""Sums of weights are shifted below 2**39, so that times 2**24 they stay below 2**63."""

LOG2_E = float.fromhex("0x1.71547652b82fep+0")
