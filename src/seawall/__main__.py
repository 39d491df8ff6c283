"""`seawall`, and `python -m seawall`: Ctrl-C ends quietly, also while the program is still being read."""

from __future__ import annotations

import signal

from seawall.kernel.interrupt import leave_at_once


def main() -> None:
    """Run the command line given in `sys.argv`."""
    signal.signal(signal.SIGINT, leave_at_once)
    from seawall.process.commands.boundary import main as command

    command()


if __name__ == "__main__":
    main()
