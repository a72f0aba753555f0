"""Triton's kernels on a GPU: are they right, how fast is each, and how fast is a decoder's step?

    python -m benchmarks.gpu_kernels [--model FILE | --random] [--rows 64 256 512 1024 2048]
        [--seconds 150] [--output FILE]

Each section stands alone: where one fails, the others go on. `--random` makes a model of the
default model's shape with random weights, so that no file is needed; of third-party packages numpy,
safetensors, torch and Triton are.
"""

from __future__ import annotations

import argparse
import pathlib
import platform
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch

import benchmarks.bare  # noqa: F401  before the engines
from benchmarks.gpu_parity import check_kernels, compare_steps
from benchmarks.gpu_times import copy_rate, operation_table, time_rows, tune
from benchmarks.random_model import random_model
from benchmarks.sections import Report, Results
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.operations import Operations
from llmzip.model.integer_model import IntegerModel


def versions(report: Report, figures: Results) -> None:
    import triton

    properties = torch.cuda.get_device_properties(0)
    figures |= {
        "device": properties.name, "memory_gib": properties.total_memory / 2**30,
        "torch": torch.__version__, "capability": f"{properties.major}.{properties.minor}",
        "processors": properties.multi_processor_count, "triton": triton.__version__,
        "cuda": torch.version.cuda, "python": platform.python_version(), "numpy": np.__version__,
    }  # fmt: skip
    report.say(", ".join(f"{k} {v}" for k, v in figures.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model", type=pathlib.Path, help="an integer model; without it, random weights"
    )
    which.add_argument("--random", action="store_true", help="random weights (the default)")
    parser.add_argument("--rows", type=int, nargs="+", default=[512, 1024, 256, 64, 2048])
    parser.add_argument(
        "--seconds", type=float, default=150.0, help="after which no section begins"
    )
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no CUDA device")
    report = Report(options.seconds, options.output)
    report.section("versions", lambda figures: versions(report, figures))
    model = IntegerModel.load(options.model) if options.model else random_model()
    engine = TritonEngine(model, "cuda", operations=Operations(model.spec))
    rate = copy_rate()
    report.results["copy_GB/s"] = rate / 1e9
    report.say(
        f"{engine.transformer.kernel.name} products in the torch path; "
        f"copies at {rate / 1e9:.0f} GB/s"
    )

    def with_kernels(work: Callable[..., None], *given: object) -> Callable[[Results], None]:
        def run(figures: Results) -> None:
            torch.cuda.empty_cache()
            with engine.working():
                work(report, engine, *given, figures)

        return run

    def whole_steps(rows: int) -> None:
        report.section(f"whole steps, {rows} rows", with_kernels(time_rows, rows, rate))

    def steps_against_torch(figures: Results) -> None:
        plain = TorchEngine(model, "cuda")
        compare_steps(report, engine, plain, 5, 16, [9, *[1] * 30], figures)
        compare_steps(report, engine, plain, 300, 1000, [*[1] * 8], figures)
        compare_steps(report, engine, plain, 1, 40, [30, *[1] * 20], figures)

    def steps_against_the_cpu(figures: Results) -> None:
        from llmzip.engine.native_engine import NativeEngine

        compare_steps(report, engine, NativeEngine(model), 4, 16, [5, *[1] * 24], figures)

    report.section("kernels against torch", with_kernels(check_kernels))
    report.section("steps against torch", steps_against_torch)
    report.section("steps against the CPU", steps_against_the_cpu)
    whole_steps(options.rows[0])
    report.section("kernels at 512 rows", with_kernels(operation_table, 512, rate))
    for rows in options.rows[1:]:
        whole_steps(rows)
    report.section("sizes of attention's programs at 512 rows", with_kernels(tune, 512), 15)
    report.section("kernels at 64 rows", with_kernels(operation_table, 64, rate), 10)
    report.say(
        f"\n{'SOMETHING DIFFERS OR FAILED' if report.wrong else 'all equal'}; "
        f"{options.seconds - report.left:.0f} s"
    )
    return int(report.wrong)


if __name__ == "__main__":
    sys.exit(main())
