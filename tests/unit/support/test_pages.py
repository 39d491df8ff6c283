"""Every command of the documentation is run by a test, or says on the page why it is not."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections import Counter

import pytest
import yaml

from tests.support.docs.machine import script
from tests.support.docs.walks import WALKS
from tests.support.pages import SHELL, Block, blocks, exists, links, pages
from tests.support.processes import ROOT

BLOCKS = [block for page in pages() for block in blocks(page)]


def test_every_page_with_commands_is_walked_once() -> None:
    walked = Counter(page for item in WALKS for page in item.pages)
    assert [page for page, times in walked.items() if times > 1] == []
    runnable = {block.page for block in BLOCKS if block.runs}
    assert runnable - set(walked) == set(), "add these pages to a walk, or mark their blocks"
    assert set(walked) - set(pages()) == set()


def test_shell_blocks_are_sh() -> None:
    # `console`, `bash` and blocks without a language would escape the walk.
    wrong = [block.where for block in BLOCKS if block.language in ("console", "bash", "shell", "zsh")]
    assert wrong == []
    bare = [
        block.where for block in BLOCKS if block.language == "" and block.text.startswith(("$ ", "curl "))
    ]
    assert bare == []


def test_what_is_not_run_has_a_reason() -> None:
    for block in BLOCKS:
        if block.mark == "not run":
            assert len(block.value) > 10, block.where
        if block.mark == "run by":
            test = block.value.partition(" ")[0]
            assert exists(test), f"{block.where}: there is no {test}"
            text = (ROOT / test).read_text()
            words = re.findall(r"[a-z][\w-]{2,}", block.text)
            assert block.page.rpartition("/")[2] in text or any(word in text for word in words[:8]), (
                block.where
            )


def test_quick_starts_of_the_readme_are_those_of_the_pages() -> None:
    """What the README shows of a page is what a test runs on that page, word for word."""
    marked = [block for block in blocks("README.md") if block.mark and "make test" not in block.text]
    assert len(marked) == 4
    elsewhere = {block.text: block for block in BLOCKS if block.page != "README.md"}
    for block in marked:
        assert block.text in elsewhere, block.where
        assert (block.mark, block.value) == (elsewhere[block.text].mark, elsewhere[block.text].value)


def test_marks_belong_to_blocks() -> None:
    for page in pages():
        written = len(re.findall(r"<!-- (?:not run|run by|ends with)", (ROOT / page).read_text()))
        assert written == sum(bool(block.mark) for block in blocks(page)), page


def test_blocks_are_bash() -> None:
    for page in pages():
        done = subprocess.run(["bash", "-n"], input=script(page), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {done.stderr}"


@pytest.mark.parametrize("language", ["yaml", "json", "toml"])
def test_other_blocks_can_be_read(language: str) -> None:
    found = [block for block in BLOCKS if block.language == language]
    assert found
    for block in found:
        try:
            if language == "yaml":
                list(yaml.safe_load_all(block.text))
            elif language == "toml":
                tomllib.loads(block.text)
            else:
                json.loads(re.sub(r"^//.*\n", "", block.text))
        except ValueError as error:
            raise AssertionError(f"{block.where}: {error}") from None


def test_nothing_follows_a_server_in_its_block() -> None:
    """A reader who pastes the block would wait for the server to end before the next line is run."""
    server = re.compile(r"\bseawall (?:serve|jobservice|dr witness)\b(?!.*(?:&|\\)\s*(?:#.*)?$)")
    for block in BLOCKS:
        if block.language != SHELL:
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        first = next((n for n, line in enumerate(lines) if server.search(line)), len(lines))
        after = [line for line in lines[first + 1 :] if line.strip() and not line.startswith("#")]
        assert after == [], f"{block.where}: give the server a block of its own"


# The administrator's password is that of the harbor.yml which the page starts with.
_OF_A_STEP_BEFORE = ("docs/install/offline-replication.md", "docs/install/guide.md")


def test_placeholders_are_the_same_everywhere() -> None:
    """`$PASSWORD`, `$REGISTRY`, `$API`, `$AUTH`, each defined on the page that uses it."""
    for page in pages():
        text = "\n".join(block.text for block in blocks(page) if block.language == SHELL)
        assert not re.search(r"admin:PASSWORD|\$api\b|\$base_url\b|Seawall-12345", text), page
        for name in ("PASSWORD", "REGISTRY", "API", "AUTH"):
            if re.search(rf"\$\{{?{name}\b", text) and page not in _OF_A_STEP_BEFORE:
                assert re.search(rf"\b{name}=", text), f"{page} uses ${name} and does not say what it is"


def test_no_page_is_an_orphan() -> None:
    seen = {"README.md"}
    left = ["README.md"]
    while left:
        for target in links(left.pop()):
            if target in pages() and target not in seen:
                seen.add(target)
                left.append(target)
    assert set(pages()) - seen == set()


def test_links_lead_somewhere() -> None:
    for page in pages():
        missing = [target for target in links(page) if not exists(target)]
        assert missing == [], page


def test_defaults_of_settings_agree() -> None:
    """A setting that several pages have in a table has the same default in all."""
    name = r"`[a-z_]+\.[a-z_0-9.]+`"
    found: dict[str, dict[str, str]] = {}
    for page in pages():
        if page in (
            "docs/install/harbor-yml.md",
            "docs/install/harbor-helm-values.md",
            "docs/reference/settings.md",
        ):
            # Their second columns are releases, whether a value is used, and names in the environment.
            continue
        text = (ROOT / page).read_text()
        for names, defaults in re.findall(
            rf"^\| ({name}(?:, {name})*) \| ([^|]*) \|[^\n]*\n(?!\|-)", text, re.MULTILINE
        ):
            settings = names.replace("`", "").split(", ")
            values = [defaults] if len(settings) == 1 else defaults.split(", ")
            if len(settings) == len(values):
                for setting, default in zip(settings, values, strict=True):
                    found.setdefault(setting, {})[page] = default
    assert len(found["database.connect_seconds"]) == 2
    for setting, said in found.items():
        assert len({re.sub(r"[`\s]", "", value) for value in said.values()}) == 1, f"{setting}: {said}"


def test_block_forms() -> None:
    block = Block("p", 1, "yaml", "# /etc/x/y.yaml\na: 1\n")
    assert block.file == "/etc/x/y.yaml"
    assert Block("p", 1, "yaml", "# what it is for\na: 1\n").file == ""
    assert not Block("p", 1, SHELL, "x", "not run", "why").runs
