"""The options, in the sections that --help shows them in."""

from __future__ import annotations

import click

from llmzip import __version__
from llmzip.cli import environment
from llmzip.cli.arguments import Action
from llmzip.cli.durations import parse_duration
from llmzip.cli.files import SUFFIX
from llmzip.cli.names import NAME
from llmzip.cli.numbers import WholeNumber
from llmzip.cli.sizes import parse_size
from llmzip.cli.spans import parse_bytes, parse_lines
from llmzip.levels import DEFAULT_LEVEL, MAX_LEVEL, MIN_LEVEL
from llmzip.runtime import ENGINE_NAMES, EngineName, Runtime

Section = list[click.Option]


def flag(*names: str, help: str) -> click.Option:
    """An option without a value."""
    return click.Option(names, is_flag=True, help=help)


def without(name: str, help: str) -> click.Option:
    """`--no-NAME`, which turns off what is done by default; the value has the name itself."""
    return click.Option(
        [f"--no-{name}", name], is_flag=True, flag_value=False, default=True, help=help
    )


def make_runtime(
    engine: EngineName,
    device: str,
    threads: int | None,
    offline: bool,
    download: bool,
    jobs: int | None = None,
) -> Runtime:
    """The Runtime that options ask for. Raises UsageError where they exclude each other."""
    try:
        return Runtime(engine, device, threads, jobs, offline, download and not offline)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def runtime_of(
    offline: bool, download: bool, device: str, engine: EngineName, threads: int | None
) -> Runtime:
    """The Runtime that the options OFFLINE and ENGINE ask for, of a command without JOBS."""
    return make_runtime(engine, device, environment.threads(threads), offline, download)


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"llmzip {__version__}")
        ctx.exit()


def _known_codec(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    if name is None:
        return None
    from llmzip.container.codec_ids import CHOICES

    if name not in CHOICES:
        raise click.BadParameter(f"{name!r} is not one of {', '.join(sorted(CHOICES))}.")
    return name


def _suffix(ctx: click.Context, param: click.Parameter, suffix: str) -> str:
    if not suffix or "/" in suffix:
        raise click.BadParameter(f"{suffix!r} is no suffix: write .xyz, without a slash.")
    return suffix


def _action(names: str, action: Action, help: str) -> click.Option:
    return click.Option(
        [*names.split(), "action"],
        flag_value=action,
        type=click.UNPROCESSED,
        default=None,
        help=help,
    )


_LEVEL_NAMES = {MIN_LEVEL: ["--fast"], MAX_LEVEL: ["--best"]}


def _level(level: int) -> click.Option:
    help = {
        MIN_LEVEL: f"Fastest, through -{DEFAULT_LEVEL}, the default, ...",
        MAX_LEVEL: "... to strongest.",
    }
    return click.Option(
        [f"-{level}", *_LEVEL_NAMES.get(level, ()), "digit"],
        flag_value=level,
        type=int,
        default=None,
        help=help.get(level),
        hidden=level not in help,
    )


ACTIONS = [
    _action("-z --compress", Action.COMPRESS, "Compress FILE to FILE.llmz; the default."),
    _action("-d --decompress --uncompress", Action.DECOMPRESS, "Decompress FILE.llmz to FILE."),
    _action("-t --test", Action.TEST, "Decompress to nowhere: is the file sound?"),
    _action(
        "-l --list",
        Action.LIST,
        "Show sizes, model and checks without decoding; -lv shows the frames.",
    ),
]
TARGETS = [
    flag("-c", "--stdout", "--to-stdout", help="Write to standard output."),
    click.Option(
        ["-o", "--output"], type=NAME, metavar="FILE", help="Write to FILE (one input only)."
    ),
    click.Option(
        ["--output-dir-flat"], type=NAME, metavar="DIR", help="Write files with such names to DIR."
    ),
    click.Option(
        ["--output-dir-mirror"],
        type=NAME,
        metavar="DIR",
        help="The same, with the folders that the inputs are in.",
    ),
    flag("-f", "--force", help="Overwrite; follow symbolic links; compressed data to a terminal."),
    click.Option(
        ["-k", "--keep"], is_flag=True, expose_value=False, help="Keep the input; always the case."
    ),
    flag(
        "--rm", "remove", help="Remove the input once the output was decoded and compared with it."
    ),
]
INPUTS = [
    flag("-r", "--recursive", help="Work on the files in folders."),
    click.Option(
        ["--files", "--filelist", "name_lists"],
        type=NAME,
        multiple=True,
        is_flag=False,
        flag_value="-",
        metavar="[LIST]",
        help="Work also on the files that LIST, or standard input, names, one a line.",
    ),
    click.Option(
        ["--files0", "name_lists0"],
        type=NAME,
        multiple=True,
        is_flag=False,
        flag_value="-",
        metavar="[LIST]",
        help="The same with a NUL behind each name.",
    ),
    click.Option(
        ["-S", "--suffix"],
        default=SUFFIX,
        metavar="SUFFIX",
        callback=_suffix,
        help=f"Of the names of compressed files, instead of {SUFFIX}.",
    ),
]
OFFLINE = flag("--offline", help="Never download a model.")
LEVEL_DIGITS = [_level(level) for level in range(MIN_LEVEL, MAX_LEVEL + 1)]
COMPRESSION: Section = [
    click.Option(
        ["--level"],
        type=WholeNumber(MIN_LEVEL, MAX_LEVEL),
        help=f"The same as a number; without it {environment.LEVEL} tells.",
    ),
    click.Option(
        ["--block-size"],
        type=parse_size,
        metavar="SIZE",
        help="Bytes of text that are coded as one block.",
    ),
    click.Option(
        ["--block-lines"],
        type=WholeNumber(min=1),
        help="Lines of text that are coded as one block, so that `cat --lines` finds them.",
    ),
    click.Option(
        ["--codec"],
        metavar="NAME",
        callback=_known_codec,
        help="Code every block so, not as is smallest: llm, meta-token, raw, xz, zstd.",
    ),
    without("mixing", help="Do not correct predictions by what has been coded."),
    flag(
        "--solid",
        help=(
            "Carry that mixer, and find repeats, from block to block: "
            "smaller, without random access."
        ),
    ),
]
"""Named like the fields of `CompressionOptions` (llmzip/blocks/options.py), which they become: add
one there and here. The recipe is in CONTRIBUTING.md.
"""
LEVEL_TARGETS = [
    click.Option(
        ["--target-time"],
        type=parse_duration,
        metavar="DURATION",
        help=(
            "The level that takes no longer here, in either direction: 90s, 5min, 1h; "
            f"else {environment.TARGET_TIME}."
        ),
    ),
    click.Option(
        ["--target-memory"],
        type=parse_size,
        metavar="SIZE",
        help=(
            "The level whose files are decoded in so much memory, as -M counts it; "
            f"else {environment.TARGET_MEMORY}."
        ),
    ),
]
DICTIONARY = click.Option(
    ["--dictionary", "-D"],
    type=NAME,
    metavar="FILE",
    help="A text like the content, known to both sides: short files get much smaller.",
)
ENGINE = [
    click.Option(
        ["-m", "--model"],
        type=NAME,
        help="Name or path of the model, else LLMZIP_MODEL; a compressed file knows its own.",
    ),
    click.Option(
        ["-T", "--threads"],
        type=WholeNumber(min=0),
        help=(
            f"Number of threads, 0 for all cores, else {environment.THREADS}; "
            "the bytes stay the same."
        ),
    ),
    click.Option(
        ["--device"],
        type=click.Choice(["cpu", "cuda"]),
        default="cpu",
        help="Where the model runs.",
    ),
    click.Option(
        ["--engine"],
        type=click.Choice(ENGINE_NAMES),
        default="auto",
        help="What runs it; the same bytes.",
    ),
]
JOBS = click.Option(
    ["-j", "--jobs"],
    type=WholeNumber(min=0),
    metavar="N",
    help=(
        "Blocks that are coded side by side, at most, 0 for as many as is good, else "
        f"{environment.JOBS}; the bytes stay the same."
    ),
)
RAY = click.Option(
    ["--ray"],
    metavar="ADDRESS",
    help=(
        "Code blocks on a Ray cluster: auto, local, HOST:PORT or ray://HOST:PORT; the bytes stay "
        "the same."
    ),
)
LIMITS = [
    click.Option(
        ["-M", "--max-memory"],
        type=parse_size,
        metavar="SIZE",
        help="Refuse files whose decoding needs more memory.",
    ),
    click.Option(
        ["--max-output"], type=parse_size, metavar="SIZE", help="Refuse files with more content."
    ),
]
KEEP_GOING = flag(
    "--keep-going", help="Of a damaged file, get what is sound, as the command repair does."
)
PASS = flag("-f", "--force", help="Copy what is not compressed as it is.")
RESUME = flag(
    "--resume", help="Go on where this was interrupted; until it is whole, FILE.llmz.partial stays."
)
SPANS = [
    click.Option(
        ["--lines"], type=parse_lines, metavar="A-B", help="Only these lines; the first is 1."
    ),
    click.Option(
        ["--bytes"], type=parse_bytes, metavar="A-B", help="Only these bytes; the first is 0."
    ),
    click.Option(
        ["--block-lines", "lines_per_block"],
        type=WholeNumber(1),
        help="Lines of each block, as the file was compressed: finds them without those before.",
    ),
]
SPARSE = click.Option(
    ["--sparse/--no-sparse"], default=True, help="Make holes of zeros where files can have them."
)
JOIN = flag("--join", help="Leave out what is missing, instead of zeros in its place.")
LIST = [flag("--json", help="With -l: as JSON.")]
MESSAGES = [
    flag("-v", "--verbose", help="Say what was done."),
    flag("-q", "--quiet", help="Only errors."),
    click.Option(
        ["--progress/--no-progress"], default=True, help="Progress on stderr if that is a terminal."
    ),
    click.Option(
        ["-V", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version.",
    ),
]
