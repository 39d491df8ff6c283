"""`seawall --show-completion SHELL` and `--install-completion SHELL`.

Typer's own options take no shell: they look which one they run in, and a word after them would be ignored.
"""

from __future__ import annotations

from seawall.kernel.errors import InvalidError
from seawall.kernel.spelling import did_you_mean

_OPTIONS = ("--show-completion", "--install-completion")
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_PROGRAM = "seawall"
_VARIABLE = "_SEAWALL_COMPLETE"


def completed(words: list[str]) -> str | None:
    """What to print when the command line asks for completion; None when it does not.

    Raises InvalidError for a shell that has none, and where the shell is neither given nor to be seen.
    """
    option, _, given = words[1].partition("=") if len(words) > 1 else ("", "", "")
    if option not in _OPTIONS:
        return None
    rest = [given, *words[2:]] if given else words[2:]
    if rest[:1] == ["--help"]:
        return None
    if len(rest) > 1:
        raise InvalidError(f"{option} takes one shell, and {' '.join(rest)} was given")
    # Not sooner: every command passes here.
    from typer import _completion_shared as shared

    shell = rest[0] if rest else shared._get_shell_name()
    if shell is None:
        raise InvalidError(f"{option}: which shell? add one of {', '.join(_SHELLS)}")
    if shell not in _SHELLS:
        known = did_you_mean(shell, _SHELLS) or f"; there are {', '.join(_SHELLS)}"
        raise InvalidError(f"{option}: no completion for {shell}{known}")
    if option == "--show-completion":
        return shared.get_completion_script(prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell)
    _, place = shared.install(shell=shell, prog_name=_PROGRAM, complete_var=_VARIABLE)
    return f"completion of {shell} is in {place}; it works from the next terminal on"
