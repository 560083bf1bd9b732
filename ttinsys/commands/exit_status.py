"""Exit statuses of every command: README documents them."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    GATE_FAILED = 1
    """`--fail-over` or `--budget` was not met."""
    USAGE = 2
    """The command line is wrong; nothing was read."""
    FAILED = 3
    """The trace could not serve, or the output could not be written."""
    BUG = 70
    """ttinsys itself is at fault (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as shells have it."""
    NOT_READ = 141
    """Whoever read the output stopped, as `head` does: 128 and the number of SIGPIPE."""
