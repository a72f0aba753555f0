"""The process of the command line: `python -m llmzip`, and what is installed as `llmzip`."""

import signal


def main() -> None:
    """Run the command line. Until that handles signals, Ctrl-C ends the process as it ends other
    programs, without a traceback of what was being imported.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from llmzip.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
