"""Triton's kernels on a GPU: are they right, how fast is each, a decoder's step, and a whole file?

    python -m benchmarks.gpu_kernels [--model FILE | --random] [--rows 512 1024 256 64 2048]
        [--parts parity steps files sizes kernels] [--context 1024] [--level 2] [--kib 4096]
        [--block-kib 256] [--seconds 150] [--output FILE]

Each section stands alone: where one fails, the others go on. They come in the order of what they
decide: parity, whole steps, files both ways (with one lane and two, compared with the CPU's),
single kernels, other sizes of programs. `--random` makes a model of the default model's shape with
random weights, so that no file is needed; random tokens are coded instead of files then.
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
from benchmarks.gpu_files import code_files, code_tokens, source_text
from benchmarks.gpu_parity import check_kernels, compare_steps
from benchmarks.gpu_times import copy_rate, operation_table, time_rows, time_tunings, tune
from benchmarks.random_model import random_model
from benchmarks.sections import Report, Results
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.triton import self_test
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.operations import Operations
from llmzip.model.integer_model import IntegerModel

PARTS = ("parity", "steps", "files", "sizes", "kernels")


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
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--context", type=int, default=1024, help="the window of steps that are timed"
    )
    parser.add_argument("--level", type=int, default=2, help="of files")
    parser.add_argument("--kib", type=int, default=4096, help="the size of files")
    parser.add_argument("--block-kib", type=int, default=256, help="the size of their blocks")
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
        work = with_kernels(time_rows, rows, rate, options.context)
        report.section(f"whole steps, {rows} rows", work)

    def steps_against_torch(figures: Results) -> None:
        plain = TorchEngine(model, "cuda")
        compare_steps(report, engine, plain, 5, 16, [9, *[1] * 30], figures)
        compare_steps(report, engine, plain, 300, 1000, [*[1] * 8], figures)
        compare_steps(report, engine, plain, 1, 40, [30, *[1] * 20], figures)

    def steps_against_the_cpu(figures: Results) -> None:
        from llmzip.engine.native_engine import NativeEngine

        compare_steps(report, engine, NativeEngine(model), 4, 16, [5, *[1] * 24], figures)

    def end_to_end(figures: Results) -> None:
        torch.cuda.empty_cache()
        settings = [(1024, 1), (2048, 2)]
        if options.model:
            text = source_text(options.kib << 10)
            block_size = options.block_kib << 10
            code_files(report, engine, settings, text, options.level, block_size, figures)
        else:
            for rows, lanes in settings:
                code_tokens(report, engine, rows, lanes, 300, options.context, figures)

    def tuned(figures: Results) -> None:
        torch.cuda.empty_cache()
        with engine.working():
            best = tune(report, engine, 512, options.context, figures)
            time_tunings(report, engine, best, (512, 1024), options.context, rate, figures)

    def kernel_table(rows: int, least: float) -> None:
        work = with_kernels(operation_table, rows, rate, options.context)
        report.section(f"kernels at {rows} rows", work, least)

    def check(*sizes: int) -> Callable[[Results], None]:
        def run(figures: Results) -> None:
            with engine.working():
                check_kernels(report, engine, figures, sizes)

        return run

    if "parity" in options.parts:
        report.section("kernels against torch, 65 rows", check(65))
        report.section("steps against torch", steps_against_torch)
        report.section("steps against the CPU", steps_against_the_cpu)
    if "steps" in options.parts:
        for rows in options.rows[:2]:
            whole_steps(rows)
    if "files" in options.parts:
        report.section("end to end", end_to_end, 30)
    if "kernels" in options.parts:
        kernel_table(512, 10)
    if "steps" in options.parts:
        for rows in options.rows[2:]:
            whole_steps(rows)
    if "kernels" in options.parts:
        kernel_table(64, 10)
    if "sizes" in options.parts:
        report.section("other sizes of programs", tuned, 20)
    if "parity" in options.parts:
        others = [rows for rows in self_test.ROWS if rows != 65]
        report.section(f"kernels against torch, {others} rows", check(*others), 15)
    report.say(
        f"\n{'SOMETHING DIFFERS OR FAILED' if report.wrong else 'all equal'}; "
        f"{options.seconds - report.left:.0f} s"
    )
    return int(report.wrong)


if __name__ == "__main__":
    sys.exit(main())
