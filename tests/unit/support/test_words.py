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


@pytest.mark.parametrize(
    "word", ["anew", "Mended", "told", "hear of", "whoever", "beside", "besides", "of which", "whom"]
)
def test_a_banned_word_is_found(word: str) -> None:
    ((line, said, better),) = WORDS.found(f"Fine.\nAnd {word} here.\n")
    assert (line, said) == (2, word)
    assert better


def test_code_and_what_is_let_pass() -> None:
    assert WORDS.found("`told` is a name.\n```\ntold\n```\nFinely retold.\n") == []
    assert WORDS.found("<!-- words: a quotation -->\nHe told us.\nHe told us.\n")[0][0] == 3


def test_a_phrase_is_found_but_not_the_same_words_in_another() -> None:
    assert WORDS.found("Three parts, all of which must fit.") == []
    assert [
        word for _, word, _ in WORDS.found("A name is no URL.\nThere is no URL. It is no longer one.")
    ] == ["is no "]


def test_sources_have_the_words_of_sources_only() -> None:
    text = "# whoever told him that it is no key beside it\n"
    assert [word for _, word, _ in WORDS.found(text, source=True)] == ["whoever"]


def test_what_a_module_says_is_prose_and_its_names_are_not() -> None:
    text = (
        'told = 1  # told us\nfail(f"no word of which {told} is")\nname = "beside"\n"""He hears of\nus."""\n'
    )
    said = WORDS.said(text)
    assert [(line, word) for line, word, _ in WORDS.found(said)] == [
        (1, "told"),
        (2, "of which"),
        (4, "hears of"),
    ]


def test_a_heading_and_the_target_of_a_link_may_keep_theirs() -> None:
    assert WORDS.found("## Beside Harbor\nSee [there](page.md#beside-harbor).\n") == []


def test_no_page_and_no_command_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert WORDS.main([]) == 0, capsys.readouterr().out
    assert "words.py" in (ROOT / "Makefile").read_text()
