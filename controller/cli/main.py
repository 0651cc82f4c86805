"""The `governor` command's entry: imports nothing heavy, so that a Ctrl-C in its first second is no traceback."""

from __future__ import annotations

import sys

from controller.errors import GovernorError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """Run the command; an expected error is one sentence on standard error and exit code 2."""
    try:
        from controller.cli.app import app  # noqa: PLC0415 - an interrupt during it is caught here

        app()
    except GovernorError as error:
        sys.stderr.write(f"governor: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
