"""Builds the C core of the native engine; everything else is in pyproject.toml.

The core uses nothing of Python's C interface: it is loaded with ctypes, so one build serves every
Python version.
"""

import pathlib

from setuptools import Extension, setup

NATIVE = pathlib.Path("llmzip/engine/native")

COMPILE = [
    "-std=c11",
    "-O3",
    # Bits must not depend on the compiler: no fused multiply-add, no re-ordered float arithmetic.
    "-ffp-contract=off",
    "-fno-fast-math",
    "-fno-math-errno",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-pthread",
]

setup(
    ext_modules=[
        Extension(
            "llmzip.engine._native",
            sources=[str(path) for path in sorted(NATIVE.glob("*.c"))],
            depends=[str(path) for path in sorted(NATIVE.glob("*.h"))],
            extra_compile_args=COMPILE,
            extra_link_args=["-pthread"],
            libraries=["m"],
            py_limited_api=True,
            optional=True,  # without a compiler the package installs and computes with torch
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
