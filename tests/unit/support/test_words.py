"""The list of banned words finds them in prose, and lets code pass."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.support.processes import ROOT


def _words() -> ModuleType:
    spec = importlib.util.spec_from_file_location("words", ROOT / ".ci" / "words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORDS = _words()


@pytest.mark.parametrize("word", ["anew", "Mended", "told", "hear of", "whoever"])
def test_a_banned_word_is_found(word: str) -> None:
    ((line, said, better),) = WORDS.found(f"Fine.\nAnd {word} here.\n")
    assert (line, said) == (2, word)
    assert better


def test_code_and_what_is_let_pass() -> None:
    assert WORDS.found("`told` is a name.\n```\ntold\n```\nFinely retold.\n") == []
    assert WORDS.found("<!-- words: a quotation -->\nHe told us.\nHe told us.\n")[0][0] == 3


def test_no_page_and_no_command_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert WORDS.main([]) == 0, capsys.readouterr().out
    assert "words.py" in (ROOT / "Makefile").read_text()
