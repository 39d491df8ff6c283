"""Versions of entities and the rule by which two of them become one.

An entity's version is a hybrid logical clock: milliseconds of the wall clock, a counter, and the name of the
instance that made the change. It is later than any version that its maker had seen, whatever the clocks say.
(Kulkarni et al., "Logical Physical Clocks", 2014.) With it goes a version vector, which tells a change that
knew of the other one from a change made at the same time elsewhere: only the second is a conflict.

The rule is the same for changes, deletions and creations: the later version is what the entity is, ties go
to the greater instance name, and the vectors are merged. That is a join of a semilattice, so any order,
repetition and grouping of exchanges ends in the same state.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import StrEnum


@dataclass(slots=True)
class Clock:
    """The hybrid logical clock of one instance: last milliseconds and counter that it gave or saw."""

    milliseconds: int = 0
    counter: int = 0

    def tick(self, now: float | None = None) -> str:
        """The stamp of a change made now (Unix seconds)."""
        wall = int((time.time() if now is None else now) * 1000)
        if wall > self.milliseconds:
            self.milliseconds, self.counter = wall, 0
        else:
            self.counter += 1
        return stamp(self.milliseconds, self.counter)

    def see(self, other: str) -> None:
        """Be later than `other` (a stamp or a version) from now on."""
        milliseconds, counter = int(other[:13]), int(other[14:20])
        if (milliseconds, counter) > (self.milliseconds, self.counter):
            self.milliseconds, self.counter = milliseconds, counter


def stamp(milliseconds: int, counter: int = 0) -> str:
    """Text that sorts as the clock does."""
    return f"{milliseconds:013d}-{counter:06d}"


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of one entity: `digest` of its document, "" when deleted.

    `version` is `stamp@instance`; `vector` has the latest stamp of each instance that the state takes into
    account. `cascade`: it was deleted together with its project.
    """

    kind: str
    key: str
    version: str
    vector: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    deleted: bool = False
    cascade: bool = False

    @property
    def instance(self) -> str:
        """The instance that made the change."""
        return self.version.partition("@")[2]


class Verdict(StrEnum):
    """What an incoming state means for the one that is here."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    # Made without knowledge of each other: which is kept, is the rule's.
    KEEP = "keep"
    TAKE = "take"


def dominates(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether vector `one` takes all of `other` into account."""
    return all(one.get(name, "") >= value for name, value in other.items())


def merged(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """The vector that takes both into account."""
    return {name: max(one.get(name, ""), other.get(name, "")) for name in sorted({*one, *other})}


def merge(here: Entry | None, incoming: Entry) -> tuple[Verdict, Entry]:
    """What an entity is after `incoming` has come, and why."""
    if here is None:
        return Verdict.NEWER, incoming
    vector = merged(here.vector, incoming.vector)
    if here.version == incoming.version:
        return Verdict.SAME, replace(here, vector=vector)
    later = incoming.version > here.version
    result = replace(incoming if later else here, vector=vector)
    if (here.digest, here.deleted) == (incoming.digest, incoming.deleted):
        # Both made the same of it, knowing of each other or not.
        return (Verdict.NEWER if later else Verdict.OLDER), result
    if dominates(incoming.vector, here.vector) and later:
        return Verdict.NEWER, result
    if dominates(here.vector, incoming.vector) and not later:
        return Verdict.OLDER, result
    return (Verdict.TAKE if later else Verdict.KEEP), result


def changed(here: Entry | None, kind: str, key: str, digest: str, at: str, instance: str) -> Entry:
    """The entity after a change that `instance` made knowing of `here`; digest "" is its deletion."""
    vector = dict(here.vector) if here is not None else {}
    vector[instance] = max(at, vector.get(instance, ""))
    return Entry(kind, key, f"{at}@{instance}", vector, digest, deleted=not digest)
