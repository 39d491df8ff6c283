"""Entry point of the `seawall` command: an error that can be expected is one line on standard error.

Exit codes: 0 done, 1 it could not be done, 2 the command line is wrong, 130 interrupted. With `--debug` (or
`SEAWALL_DEBUG=1`) the trace follows. Nothing heavy is imported before the boundary stands, so that Ctrl-C
in the first second ends as quietly as later.
"""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import sys
import traceback
from itertools import pairwise
from typing import NoReturn

_debug = False


def main() -> None:
    """Run the command line given in `sys.argv`."""
    try:
        _take_debug(sys.argv)
        _refuse_slips(sys.argv)
        _complete(sys.argv)
        # Importing makes objects that all stay; looking for garbage among them takes a sixth of the time.
        gc.disable()
        from seawall.process.commands.main import app

        gc.enable()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not standalone: errors of the command line come here too, and what is returned is an exit code.
        code = app(prog_name="seawall", standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough. What is still buffered must not be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _leave(*_ending(error))
    if code == 130:
        _leave("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _take_debug(words: list[str]) -> None:
    """Take `--debug` from wherever it stands: most people add it at the end of what has failed."""
    global _debug
    _debug = "--debug" in words
    words[1:] = [word for word in words[1:] if word != "--debug"]


def _refuse_slips(words: list[str]) -> None:
    # A path that is empty is the working directory, to programs: nobody means that.
    for before, word in pairwise(words):
        if not word:
            _leave(f"the word after {before} is empty; is a variable not set?", 2)
        if re.fullmatch(r"--[a-z-]+=", word):
            _leave(f"{word} has no value; is a variable not set?", 2)
        if re.match(r"--[a-z-]+=~", word):
            # bash leaves it as it is there, and a folder called ~ would be made.
            _leave(f"{word}: a shell does not replace ~ after =; write {word.replace('=', ' ', 1)}", 2)


def _complete(words: list[str]) -> None:
    if len(words) < 2 or "-completion" not in words[1]:
        return
    from seawall.kernel.errors import InvalidError
    from seawall.process.commands.completion import completed

    try:
        text = completed(words)
    except InvalidError as error:
        _leave(str(error), 2)
    if text is not None:
        print(text)
        sys.exit(0)


def _ending(error: Exception) -> tuple[str, int]:
    """(line, exit code)"""
    from typer import Abort
    from typer.exceptions import TyperException

    if isinstance(error, Abort):
        return "nothing was typed, so nothing was done", 1
    if isinstance(error, TyperException):
        if type(error).__name__ == "NoArgsIsHelpError":
            # The help is printed already.
            sys.exit(error.exit_code)
        from seawall.process.commands.usage import usage_line

        return usage_line(error), error.exit_code
    return described(error), 1


def _leave(line: str, code: int) -> NoReturn:
    if debugging():
        traceback.print_exc()
    print(f"seawall: {line}", file=sys.stderr)
    sys.exit(code)


def debugging() -> bool:
    """Whether the operator wants traces."""
    return _debug or os.environ.get("SEAWALL_DEBUG", "") not in ("", "0")


def described(error: Exception) -> str:
    """One line for the operator: what, where, and what helps where that is known."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from seawall.infra.db import faults
    from seawall.kernel.errors import SeawallError
    from seawall.kernel.extras import lacking

    if isinstance(error, SeawallError):
        return " ".join(str(error).split())
    found = faults.status(error)
    if found is not None:
        return f"it {found[1]}; try again" if found[0] == 409 else found[1]
    if isinstance(error, DBAPIError):
        return f"database: {_of_database(error)}"
    if isinstance(error, SQLAlchemyError):
        return f"database: {_first_line(error)}"
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, ImportError):
        return lacking(error) or (
            f"{_first_line(error)}: this installation lacks a part, or is another Python's; install it again"
        )
    if isinstance(error, UnicodeDecodeError):
        return "a file that should be text is not UTF-8"
    if type(error).__module__.split(".")[0] in ("httpx", "redis", "ldap3", "obstore", "psycopg"):
        return f"{type(error).__module__.split('.')[0]}: {_first_line(error)}"
    return f"internal error: {type(error).__name__}: {_first_line(error)}; add --debug for the trace"


def _of_database(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    text = _first_line(original)
    if getattr(original, "sqlstate", None) == "42501" and "schema" in text:
        grant = "GRANT CREATE, USAGE ON SCHEMA public TO the user of database.url"
        return f"{text}; let the database's owner run: {grant}"
    if "unable to open database file" in text or "readonly database" in text:
        return f"{text}; is the data directory writable for this user?"
    if "disk is full" in text:
        return f"{text}: there is no space left where the data directory is"
    if "file is not a database" in text:
        return f"{text}: seawall.db in the data directory is damaged, or belongs to another program"
    return text


# What helps against an error of the operating system that names a file.
_CURES = {
    errno.ENOSPC: "; make room there, or name another place",
    errno.EDQUOT: "; make room there, or name another place",
    errno.EROFS: "; name another place, or mount it writable",
    errno.EACCES: "; run it as a user who may, or name another place",
    errno.EPERM: "; run it as a user who may, or name another place",
    errno.EISDIR: "; name a file",
    errno.ENOENT: "; correct the path, or make it first",
    errno.ENOTDIR: "; a part of this path is a file",
}


def _of_system(error: OSError) -> str:
    reason = error.strerror or _first_line(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    cure = _CURES.get(error.errno or 0, "")
    return f"{' -> '.join(names)}: {reason}{cure}" if names else reason


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
