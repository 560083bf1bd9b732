"""The exit statuses of all commands, as the README documents them."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit status of a command."""

    DONE = 0
    GATE_FAILED = 1
    """`--fail-over` or `--budget` was not met."""
    USAGE = 2
    """The command line is wrong; nothing was read."""
    FAILED = 3
    """The trace cannot be used, or the output cannot be written."""
    BUG = 70
    """A bug in ttinsys (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as shells have it."""
    NOT_READ = 141
    """Whoever read the output stopped, as `head` does: 128 and the number of SIGPIPE."""
