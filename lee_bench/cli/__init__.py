"""The command line: one Typer app, one module a command.

A command's module imports only what its options need, and the heavy rest inside its function, so
that `lee-bench --help` answers at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; expected failures become a sentence and an exit code."""
    from lee_bench.cli.app import app
    from lee_bench.cli.console import report
    from lee_bench.errors import LeeBenchError, SetupError, UsageError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # outside UTF-8, a ● must not end a long run
            stream.reconfigure(errors="replace")
    try:
        app()
    except LeeBenchError as error:
        report(error)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:  # a folder that may not be looked into, a full disk
        where = f"{error.filename}: " if error.filename else ""
        report(SetupError(f"{where}{error.strerror or error}.", "Mend that, or name another path."))
        sys.exit(1)
