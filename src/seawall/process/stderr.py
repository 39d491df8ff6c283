"""Where logs go."""

from __future__ import annotations

import sys


class StandardError:
    """Standard error as it is when a line is written: loggers are kept, and what they write to may change."""

    def write(self, text: str) -> int:
        """Write `text`; returns its length."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        sys.stderr.flush()
