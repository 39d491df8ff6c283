"""Every key that any Harbor's harbor.yml has had, and the page that says what each does here.

`python -m seawall.install.harbor_keys > docs/install/harbor-yml.md` writes the page from
`data/harbor_keys.tsv` (names and releases) and `harbor_shape.SHAPE` (what is done with them).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass

from seawall.install.harbor_shape import SHAPE
from seawall.install.marked import Anything, Noted, Refused, Shape, Used

RELEASES = ("1.8", "1.9", "1.10", *(f"2.{minor}" for minor in range(16)), "main")


@dataclass(frozen=True, slots=True)
class HarborKey:
    """A key by its dotted name.

    `releases` have it in their template, `active` are those where it is not commented out; each is a text as
    in the data file ("1.8-2.7"). `origin` is `template`, `driver` (a storage driver's parameter) or
    `driver 3` (of the distribution's version 3).
    """

    name: str
    releases: str
    active: str
    origin: str

    def known(self, release: str) -> bool:
        """Whether `release` ("2.4", "main") has the key, be it commented out."""
        return release in _range(self.releases)

    def shown(self, release: str) -> bool:
        """Whether the key is in the template of `release` and not commented out."""
        return release in _range(self.active)


def _range(text: str) -> set[str]:
    found: set[str] = set()
    for part in text.split(",") if text != "-" else ():
        first, _, last = part.partition("-")
        found.update(RELEASES[RELEASES.index(first) : RELEASES.index(last or first) + 1])
    return found


def keys() -> list[HarborKey]:
    """All keys, sorted by name."""
    text = (importlib.resources.files("seawall.install") / "data" / "harbor_keys.tsv").read_text()
    return [
        HarborKey(*line.split("\t"))
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def effect(name: str) -> str:
    """What the key does here, in Markdown. Raises KeyError for one that is unknown."""
    rule: object = SHAPE
    for part in name.split("."):
        if isinstance(rule, Noted | Refused) or (isinstance(rule, Used) and isinstance(rule.rule, Anything)):
            break
        if not isinstance(rule, Mapping):
            raise KeyError(name)
        rule = rule[part]
    if isinstance(rule, Used):
        return rule.effect
    if isinstance(rule, Noted):
        return f"noted: {rule.why}"
    assert isinstance(rule, Refused), f"{name} is a section"
    return f"**refused**: {rule.why}"


def is_section(name: str) -> bool:
    """Whether the key holds other keys that have meanings of their own."""
    rule: Shape | Used | Noted | Refused = SHAPE
    for part in name.split("."):
        if not isinstance(rule, Mapping):
            return False
        rule = rule[part]
    return isinstance(rule, Mapping)


_HEAD = """\
# Keys of harbor.yml

`seawall prepare` takes the harbor.yml of every Harbor from 1.8 to today's main branch. A key is used, or
noted in a line that says why it has no effect, or refused where ignoring it would lose data or security.
Keys that no Harbor has had are refused with their line, and with the name that was perhaps meant.

Made by `python -m seawall.install.harbor_keys` from the keys' names and from what `prepare` does with
them. *Releases* are those whose template has the key; "driver" is a parameter of a storage driver that the
template refers to. `common/config/...` is below the folder that `prepare` writes to; other names in code
style are settings of [seawall.yml](../settings.md).

| Key | Releases | What it does here |
|---|---|---|
"""


def page() -> str:
    """The page `docs/install/harbor-yml.md`."""
    rows = []
    for key in keys():
        if is_section(key.name):
            continue
        releases = {"template": key.releases, "driver": "driver", "driver 3": "driver, distribution 3"}
        rows.append(f"| `{key.name}` | {releases[key.origin]} | {effect(key.name)} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    print(page(), end="")
