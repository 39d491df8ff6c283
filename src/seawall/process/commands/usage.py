"""A command line that is wrong, in one line: what, what may have been meant, and where it is described."""

from __future__ import annotations

import re
from typing import Any

from typer.exceptions import TyperException

from seawall.kernel.spelling import did_you_mean

# What other programs call it.
_SYNONYMS = {
    "add": "create",
    "help": "--help",
    "ls": "list",
    "new": "create",
    "password": "passwd",
    "remove": "delete",
    "rm": "delete",
    "run": "serve",
    "show": "list",
    "start": "serve",
    "update": "migrate",
    "upgrade": "migrate",
    "up": "serve",
}

# What validates says it in its own words.
_WORDS = {
    r"Input should be a valid integer\b.*": "must be a whole number",
    r"Input should be a valid number\b.*": "must be a number",
    r"Input should be greater than or equal to (\S+)": r"must be \1 or more",
    r"Input should be less than or equal to (\S+)": r"must be \1 or less",
}


def usage_line(error: TyperException) -> str:
    """The line for an error that typer has found before any command began."""
    context: Any = getattr(error, "ctx", None)
    text = error.format_message()
    if context is None:
        return _tidied(text)
    path = _path(context)
    parameter: Any = getattr(error, "param", None)
    if type(error).__name__ == "NoSuchOption":
        known = [name for item in context.command.params for name in item.opts if name.startswith("--")]
        name = str(getattr(error, "option_name", ""))
        text = f"no option {name}{did_you_mean(name, [*known, '--help'])}"
    elif text.startswith("No such command") and hasattr(context.command, "commands"):
        text = _no_command(text, path, context.command.commands)
    elif type(error).__name__ == "MissingParameter" and parameter is not None:
        name = parameter.get_error_hint().strip("'")
        name = name if name.startswith("-") else name.upper()
        text = f"{name} is not given ({parameter.help})"
    elif text.startswith("Invalid value") and " is not one of " in text:
        said, _, choices = text.partition(" is not one of ")
        text = text.rstrip(".") + did_you_mean(said.split("'")[-2], choices.split("'")[1::2])
    return f"{_tidied(text)}; see {path} --help"


def _path(context: Any) -> str:
    # Not `command_path`, which has the arguments of the groups around it too.
    names = []
    while context is not None:
        names.append(context.info_name)
        context = context.parent
    return " ".join(reversed(names))


def _no_command(text: str, path: str, commands: dict[str, Any]) -> str:
    word = text.split("'")[1] if text.count("'") > 1 else text
    known = [name for name, command in commands.items() if not command.hidden]
    meant = _SYNONYMS.get(word)
    hint = f"; did you mean {meant}?" if meant in (*known, "--help") else did_you_mean(word, known)
    return f"no command {path} {word}{hint or '; there are ' + ', '.join(sorted(known))}"


def _tidied(text: str) -> str:
    # `Value error` is how typer's validation introduces any message.
    for pattern, words in _WORDS.items():
        text = re.sub(pattern, words, text)
    text = " ".join(text.replace(": Value error, ", ": ").split()).rstrip(".")
    first = text.partition(" ")[0]
    return text if first.isupper() else first.lower() + text[len(first) :]
