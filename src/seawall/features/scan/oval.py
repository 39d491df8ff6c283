"""Advisories in OVAL, as distributions publish them: Debian, Ubuntu, Red Hat (v2), SUSE, AlmaLinux, Oracle.

A file is read twice as a stream: what its tests look at, then its definitions. Sources: the language OVAL
5.11 (definitions, linux and independent schemas) and the files' own shape.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from seawall.features.scan import ecosystems, severity
from seawall.features.scan.advisories import CVE, SUMMARY, Advisory, Affected, moment
from seawall.kernel.errors import InvalidError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    from lxml import etree
else:
    etree = optional("lxml.etree")

SUFFIXES = (".xml", ".xml.bz2", ".xml.gz")
# The largest published are some hundreds of MiB unpacked.
_UNPACKED_BYTES = 4 * 1024**3
_MODULE = re.compile(r"^Module ([\w.+-]+:[\w.+-]+) is enabled")
_NOTHING = ("0", "0:0", "0:0-0")
# What Red Hat says about packages that it has not fixed.
_STATES = {"will not fix": "wontfix", "out of support scope": "end-of-life"}


@dataclass(frozen=True, slots=True)
class _Test:
    """A test of packages: any of `names`, with a version below `fixed`, or up to `last`, or any at all."""

    kind: str
    names: tuple[str, ...]
    fixed: str = ""
    last: str = ""


@dataclass(slots=True)
class _Node:
    """Criteria: of tests, platforms and module streams, under AND or OR."""

    any_of: bool
    children: list[_Node] = field(default_factory=list)
    test: _Test | None = None
    platforms: tuple[str, ...] = ()
    module: str = ""
    packages: bool = False
    """whether a test of packages is at or below it"""


def advisories(path: Path) -> Iterator[Advisory]:
    """The advisories of an OVAL file (plain, bzip2 or gzip). Raises InvalidError."""
    tests = _tests(path)
    definitions = 0
    for element in _elements(path, {"definition"}):
        definitions += 1
        yield from _definition(element, tests)
    if not definitions:
        raise InvalidError("no OVAL definitions found")


# -- reading XML ---------------------------------------------------------------------------------------


class _Bounded(io.RawIOBase):
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _UNPACKED_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidError("the file is too large when unpacked")
        return data


def _open(path: Path) -> Any:
    if path.name.lower().endswith(".bz2"):
        return bz2.open(path)
    if path.name.lower().endswith(".gz"):
        return gzip.open(path)
    return path.open("rb")


def _elements(path: Path, names: set[str]) -> Iterator[Any]:
    """Elements of these local names, each cleared after its turn. Raises InvalidError."""
    try:
        with _open(path) as stream:
            parser = etree.iterparse(
                _Bounded(stream),
                events=("start", "end"),
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                remove_comments=True,
                remove_pis=True,
                huge_tree=False,
            )
            first = True
            for event, element in parser:
                if first:
                    first = False
                    # No OVAL file has a document type; those that do declare entities.
                    if element.getroottree().docinfo.doctype:
                        raise InvalidError("XML with a document type declaration is refused")
                    if _local(element) != "oval_definitions":
                        raise InvalidError("not an OVAL file")
                if event != "end":
                    continue
                if _local(element) in names:
                    yield element
                parent = element.getparent()
                # Children of the sections (definitions, tests, ...) are done with once they end.
                if parent is not None and parent.getparent() is not None and _is_root(parent.getparent()):
                    parent.remove(element)
    except etree.XMLSyntaxError as error:
        raise InvalidError(f"not valid XML: {error.msg}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidError(f"cannot be unpacked: {error}") from None


def _is_root(element: Any) -> bool:
    return element.getparent() is None


def _local(element: Any) -> str:
    name: str = element.tag
    return name.rpartition("}")[2]


def _children(element: Any, name: str) -> list[Any]:
    return [child for child in element if _local(child) == name]


def _child(element: Any, name: str) -> Any:
    return next((child for child in element if _local(child) == name), None)


def _text(element: Any) -> str:
    return (element.text or "").strip() if element is not None else ""


# -- tests ---------------------------------------------------------------------------------------------

_KINDS = {"dpkginfo": "deb", "rpminfo": "rpm"}


def _tests(path: Path) -> dict[str, _Test]:
    """The tests of packages by id; others (files, kernels, signatures) are not there."""
    raw: dict[str, tuple[str, str, list[str]]] = {}
    objects: dict[str, tuple[str, str]] = {}
    states: dict[str, tuple[str, str]] = {}
    variables: dict[str, tuple[str, ...]] = {}
    wanted = {f"{base}_{part}" for base in _KINDS for part in ("test", "object", "state")}
    for element in _elements(path, wanted | {"constant_variable"}):
        base, _, part = _local(element).partition("_")
        identifier = element.get("id", "")
        if base == "constant":
            variables[identifier] = tuple(_text(value) for value in _children(element, "value"))
        elif part == "test":
            target = _child(element, "object")
            if target is None or element.get("check_existence") == "none_exist":
                continue
            refs = [item.get("state_ref", "") for item in _children(element, "state")]
            raw[identifier] = _KINDS[base], target.get("object_ref", ""), refs
        elif part == "object":
            name = _child(element, "name")
            objects[identifier] = (_text(name), name.get("var_ref", "") if name is not None else "")
        else:
            evr = _child(element, "evr")
            states[identifier] = (_text(evr), evr.get("operation", "equals")) if evr is not None else ("", "")
    found = {}
    for identifier, (kind, target, refs) in raw.items():
        text, variable = objects.get(target, ("", ""))
        names = variables.get(variable, ()) if variable else (text,)
        names = tuple(name for name in names if 0 < len(name) <= 255)
        test = _test(kind, names, [states.get(ref, ("", "")) for ref in refs])
        if test is not None and names:
            found[identifier] = test
    return found


def _test(kind: str, names: tuple[str, ...], states: list[tuple[str, str]]) -> _Test | None:
    if not states:
        return _Test(kind, names)
    for evr, operation in states:
        # Nothing else distinguishes epoch 0 from none.
        version = evr.removeprefix("0:")
        if operation == "less than" and evr not in _NOTHING:
            return _Test(kind, names, fixed=version)
        if operation == "less than or equal":
            return _Test(kind, names, last=version)
        if operation in ("greater than", "greater than or equal") and evr in _NOTHING:
            return _Test(kind, names)
    return None  # about signatures, architectures, or of what is not affected


# -- definitions ---------------------------------------------------------------------------------------


def _criteria(element: Any, tests: dict[str, _Test]) -> _Node:
    node = _Node(any_of=element.get("operator", "AND") == "OR")
    for child in element:
        if child.get("negate", "false") in ("true", "1"):
            continue
        if _local(child) == "criteria":
            part = _criteria(child, tests)
        else:
            part = _leaf(child, tests)
        node.children.append(part)
        node.packages = node.packages or part.packages
    return node


def _leaf(element: Any, tests: dict[str, _Test]) -> _Node:
    comment = element.get("comment", "").strip()
    module = _MODULE.match(comment)
    if module is not None:
        return _Node(False, module=module[1])
    platform = ecosystems.platform(comment)
    test = tests.get(element.get("test_ref", ""))
    # The version of its release package says which platform it is.
    if test is None or (platform is not None and all("release" in name for name in test.names)):
        return _Node(False, platforms=(platform,) if platform is not None else ())
    return _Node(False, test=test, packages=True)


def _below(node: _Node) -> tuple[tuple[str, ...], str]:
    platforms, module = list(node.platforms), node.module
    for child in node.children:
        more, name = _below(child)
        platforms += more
        module = module or name
    return tuple(dict.fromkeys(platforms)), module


def _walk(
    node: _Node, platforms: tuple[str, ...], module: str
) -> Iterator[tuple[_Test, tuple[str, ...], str]]:
    """(test, platforms, module) of each test of packages, with what stands next to it under AND."""
    if node.test is not None:
        yield node.test, platforms, module
        return
    if not node.any_of:
        for child in node.children:
            if not child.packages:
                more, name = _below(child)
                platforms, module = more or platforms, name or module
    for child in node.children:
        if child.packages:
            yield from _walk(child, platforms, module)


def _definition(element: Any, tests: dict[str, _Test]) -> Iterator[Advisory]:
    identifier = element.get("id", "")[:255]
    metadata, criteria = _child(element, "metadata"), _child(element, "criteria")
    if (
        metadata is None
        or criteria is None
        or element.get("class") not in ("patch", "vulnerability")
        or element.get("deprecated") in ("true", "1")
        or ".unaffected:" in identifier
    ):
        return
    named: list[str] = []
    for affected in _children(metadata, "affected"):
        for item in _children(affected, "platform"):
            platform = ecosystems.platform(_text(item))
            if platform is not None:
                named.append(platform)
    advisory = _child(metadata, "advisory")
    if advisory is None:
        advisory = _child(metadata, "debian")
    states = _resolutions(advisory)
    rows: dict[tuple[str, str, str, str], Affected] = {}
    for test, platforms, module in _walk(_criteria(criteria, tests), tuple(dict.fromkeys(named)), ""):
        for platform in platforms:
            if ecosystems.SYSTEMS.get(platform.partition(":")[0]) != test.kind:
                continue
            # Ubuntu's files name binary packages, Debian's name source packages.
            place = platform + ecosystems.BINARY if platform.startswith("ubuntu:") else platform
            for name in test.names:
                key = place, name, module, test.fixed or test.last
                if key not in rows:
                    rows[key] = _affected(test, place, name, module, states)
    if not rows:
        return
    yield from _advisories(identifier, element.get("class"), metadata, advisory, list(rows.values()))


def _affected(test: _Test, place: str, name: str, module: str, states: dict[str, str]) -> Affected:
    events = [{"introduced": "0"}]
    if test.fixed:
        events.append({"fixed": test.fixed})
    elif test.last:
        events.append({"last_affected": test.last})
    entry: dict[str, Any] = {"type": "ECOSYSTEM", "events": events}
    if module:
        entry["module"] = module
    status = ""
    if not test.fixed:
        status = states.get(f"{module}/{name}" if module else name) or states.get("") or "open"
    return Affected(place, name, [entry], status=status)


def _resolutions(advisory: Any) -> dict[str, str]:
    """Component -> why it has no fix; "" for all of them where they say the same."""
    found: dict[str, str] = {}
    affected = _child(advisory, "affected") if advisory is not None else None
    for item in _children(affected, "resolution") if affected is not None else ():
        status = _STATES.get(item.get("state", "").strip().lower(), "open")
        for component in _children(item, "component"):
            found[_text(component)] = status
    if len(set(found.values())) == 1:
        found[""] = next(iter(found.values()))
    return found


def _advisories(
    identifier: str, kind: str, metadata: Any, advisory: Any, rows: list[Affected]
) -> Iterator[Advisory]:
    references = _children(metadata, "reference")
    title, description = _text(_child(metadata, "title")), _text(_child(metadata, "description"))
    rated: dict[str, tuple[str, float | None, str]] = {}
    for item in _children(advisory, "cve") if advisory is not None else ():
        match = CVE.search(_text(item))
        if match is not None:
            rated[match[0]] = _rating(item)
    names = [item.get("ref_id", "") for item in references]
    cves = [match[0] for text in names if (match := CVE.search(text))]
    cves = sorted({*cves, *rated}) or sorted(set(CVE.findall(title)))
    own = next((text for text in names if text and not CVE.search(text)), "")
    # Errata are one definition each; other ids may stand in several.
    name = (own if kind == "patch" and own else identifier)[:255]
    word = severity.word(_text(_child(advisory, "severity"))) if advisory is not None else ""
    score, vector = None, ""
    if len(cves) == 1:
        given, score, vector = rated.get(cves[0], ("", None, ""))
        word = given or word
    else:
        # One rating is not that of many vulnerabilities; each has its own, under its own name.
        for cve in cves:
            given, number, text = rated.get(cve, ("", None, ""))
            if given or word:
                yield Advisory(cve, [cve], [], severity=given or word, score=number, vector=text)
        word = ""
    updated = _child(advisory, "updated") if advisory is not None else None
    if updated is None and advisory is not None:
        updated = _child(advisory, "issued")
    links = [item.get("ref_url", "") for item in references]
    yield Advisory(
        name=name,
        cves=[cve[:128] for cve in cves] or [name[:128]],
        affected=rows,
        severity=word,
        score=score,
        vector=vector,
        summary=(description or title)[:SUMMARY],
        links=[link[:1000] for link in dict.fromkeys(links) if link.startswith(("http://", "https://"))][:20],
        modified_at=moment(updated.get("date")) if updated is not None else None,
    )


def _rating(item: Any) -> tuple[str, float | None, str]:
    """(severity, score, vector) of a `cve` element: the source's word first, else that of the score."""
    # "7.5/CVSS:3.1/AV:N/...": the score stands before the vector.
    text = item.get("cvss_vector") or re.sub(r"^[\d.]+/", "", item.get("cvss3") or "")
    found = severity.vector(text)
    word = severity.word(item.get("impact") or item.get("priority"))
    if found is None:
        return word, None, ""
    return word or found[0], found[1], text
