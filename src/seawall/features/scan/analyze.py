"""What one layer changes in the package list: files added with what they list, paths removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from seawall.features.scan import catalog
from seawall.features.scan.budget import Budget
from seawall.features.scan.layers import (
    DIRECTORY,
    HARDLINK,
    REGULAR,
    Entry,
    LayerError,
    LayerLimitError,
    LayerReader,
    Source,
)
from seawall.features.scan.model import Distribution, Found, Limits
from seawall.features.scan.parsers import system
from seawall.features.scan.parsers.base import ParseError, TooMuchError

# OCI Image 1.1 layer.md, "Whiteouts".
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_NOTES = 200


@dataclass(slots=True)
class Delta:
    """The effect of a layer: `removed` paths of lower layers, then `files` (path -> packages)."""

    files: dict[str, list[Found]] = field(default_factory=dict)
    catalogers: dict[str, str] = field(default_factory=dict)
    distributions: dict[str, Distribution] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "files": {
                path: [self.catalogers.get(path, ""), [f.as_list() for f in found]]
                for path, found in self.files.items()
            },
            "distributions": {
                path: [d.id, d.version, d.codename, d.name, list(d.like)]
                for path, d in self.distributions.items()
            },
            "removed": self.removed,
            "notes": self.notes,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Delta:
        """Inverse of `as_dict`."""
        return cls(
            {path: [Found.from_list(row) for row in rows] for path, (_, rows) in data["files"].items()},
            {path: name for path, (name, _) in data["files"].items()},
            {path: Distribution(*[*row[:4], tuple(row[4])]) for path, row in data["distributions"].items()},
            list(data["removed"]),
            list(data["notes"]),
        )


class _Lower:
    """Paths that lower layers put on the list, to see which of them an entry hides."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = set(paths)
        self.parents: dict[str, list[str]] = {}
        for path in self.paths:
            parent = path
            while parent:
                parent = parent.rpartition("/")[0]
                self.parents.setdefault(parent, []).append(path)

    def hidden_by(self, path: str) -> list[str]:
        """Lower paths that vanish when `path` is removed or becomes something other than a directory."""
        hidden = list(self.parents.get(path, ()))
        if path in self.paths:
            hidden.append(path)
        return hidden


def analyze(open_source: Callable[[], Source], lower: Iterable[str], limits: Limits) -> Delta:
    """Read a layer whose lower layers have the files `lower` on the list.

    The layer is read a second time when a hard link makes a file interesting that was not so under its
    first name (pnpm links packages from its store). Raises LayerError.
    """
    below = _Lower(lower)
    delta = Delta()
    removed: set[str] = set()
    links: dict[str, list[tuple[str, catalog.Cataloger]]] = {}
    _read(open_source(), below, limits, delta, removed, links)
    if links:
        second = Delta()
        _read_targets(open_source(), limits, links, second)
        for path, found in second.files.items():
            delta.files.setdefault(path, found)
            delta.catalogers.setdefault(path, second.catalogers[path])
        delta.notes.extend(second.notes)
    delta.removed = sorted(removed)
    return delta


def _read(
    source: Source,
    below: _Lower,
    limits: Limits,
    delta: Delta,
    removed: set[str],
    links: dict[str, list[tuple[str, catalog.Cataloger]]],
) -> None:
    reader = LayerReader(source, limits)
    budget = Budget(limits)
    total = 0
    for entry in reader:
        path = entry.path
        directory, _, name = path.rpartition("/")
        if name.startswith(_WHITEOUT):
            if name == _OPAQUE:
                removed.update(below.parents.get(directory, ()))
            elif not name.startswith(".wh..wh."):
                target = name[len(_WHITEOUT) :]
                removed.update(below.hidden_by(f"{directory}/{target}" if directory else target))
            continue
        if entry.type == DIRECTORY:
            if path in below.paths:
                removed.add(path)
            continue
        if below.paths:
            removed.update(below.hidden_by(path))
        # A later entry of the same name replaces an earlier one.
        delta.files.pop(path, None)
        delta.distributions.pop(path, None)
        if entry.type == REGULAR:
            total += _regular(reader, entry, budget, delta, [(path, None)])
        elif entry.type == HARDLINK:
            chosen = catalog.choose(path, entry.mode)
            # An executable found under one name needs no second.
            if chosen is not None and chosen is not catalog.EXECUTABLE and len(links) < 100_000:
                target = entry.link.lstrip("./")
                if target in delta.files and delta.catalogers.get(target) == chosen.name:
                    delta.files[path] = delta.files[target]
                    delta.catalogers[path] = chosen.name
                else:
                    links.setdefault(target, []).append((path, chosen))
        if total > limits.packages:
            raise LayerLimitError(f"layer lists more than {limits.packages} packages")
    for path in reader.skipped:
        _note(delta, f"{path}: outside the root, left out")


def _read_targets(
    source: Source, limits: Limits, links: dict[str, list[tuple[str, catalog.Cataloger]]], delta: Delta
) -> None:
    reader = LayerReader(source, limits)
    budget = Budget(limits)
    total = 0
    for entry in reader:
        if entry.type == REGULAR and entry.path in links:
            total += _regular(reader, entry, budget, delta, [*links[entry.path]])
        if total > limits.packages:
            raise LayerLimitError(f"layer lists more than {limits.packages} packages")


def _regular(
    reader: LayerReader,
    entry: Entry,
    budget: Budget,
    delta: Delta,
    targets: list[tuple[str, catalog.Cataloger | None]],
) -> int:
    """Parse a regular file under each of `targets`' names; returns the number of packages found.

    Raises LayerError for the package list of a distribution that cannot be read, and LayerLimitError for a
    file that costs too much: what is in them nobody knows, and "nothing found" would be wrong.
    """
    path, limits = entry.path, budget.limits
    if path in catalog.OS_RELEASE_PATHS:
        if entry.size <= limits.metadata_bytes:
            delta.distributions[path] = system.os_release(reader.read())
        return 0
    wanted = [(name, how or catalog.choose(name, entry.mode)) for name, how in targets]
    chosen = [(name, how) for name, how in wanted if how is not None]
    if not chosen or not entry.size:
        return 0
    if chosen[0][1] is catalog.EXECUTABLE and not catalog.is_executable(reader.peek(4)):
        return 0
    needed = any(how.system for _, how in chosen)
    if entry.sparse:
        if needed:
            raise LayerError(f"{path}: sparse file")
        _note(delta, f"{path}: sparse file, left out")
        return 0
    large = any(how.large for _, how in chosen)
    if entry.size > (limits.binary_bytes if large else limits.file_bytes):
        if needed:
            raise LayerLimitError(f"{path}: {entry.size} bytes")
        _note(delta, f"{path}: {entry.size} bytes, left out")
        return 0
    data = reader.read()
    total = 0
    for name, how in chosen:
        try:
            with budget.parsing(len(data)):
                found = how.parse(data, name)
        except TooMuchError as error:
            raise LayerLimitError(f"{name}: {error}"[:300]) from None
        except ParseError as error:
            if how.system:
                raise LayerError(f"{name}: {error}"[:300]) from None
            _note(delta, f"{name}: {error}"[:300])
            continue
        if found:
            delta.files[name] = found
            delta.catalogers[name] = how.name
            total += len(found)
    return total


def _note(delta: Delta, text: str) -> None:
    if len(delta.notes) < _NOTES:
        delta.notes.append(text)
