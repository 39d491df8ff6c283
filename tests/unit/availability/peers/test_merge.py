"""The merge rule: whatever the order, repetition and grouping of exchanges, replicas end up equal."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.availability.peers.versions import Clock, Entry, Verdict, changed, dominates, merge

NAMES = "abc"


class Replica:
    """One entity on one instance."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.clock = Clock()
        self.entry: Entry | None = None
        self.lost: list[Entry] = []

    def change(self, digest: str, now: float) -> None:
        stamp = self.clock.tick(now)
        self.entry = changed(self.entry, "tag", "[]", digest, stamp, self.name)

    def hear(self, entry: Entry) -> None:
        before = self.entry
        self.clock.see(entry.version)
        verdict, self.entry = merge(before, entry)
        if verdict is Verdict.TAKE:
            assert before is not None
            self.lost.append(before)
        elif verdict is Verdict.KEEP:
            self.lost.append(entry)


STEP = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(NAMES), st.sampled_from(["", "one", "two"])),
    st.tuples(st.just("send"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    # A message of any time before, delivered late or once more.
    st.tuples(st.just("late"), st.sampled_from(NAMES), st.integers(0, 30)),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEP, max_size=30), skews=st.tuples(*[st.integers(-5000, 5000)] * 3))
def test_replicas_converge(steps: list[tuple[str, str, object]], skews: tuple[int, ...]) -> None:
    replicas = {name: Replica(name) for name in NAMES}
    skew = dict(zip(NAMES, skews, strict=True))
    sent: list[Entry] = []
    acknowledged: list[Entry] = []
    now = 1_700_000_000.0
    for what, name, detail in steps:
        now += 0.25
        replica = replicas[name]
        if what == "change":
            replica.change(str(detail), now + skew[name])
            assert replica.entry is not None
            acknowledged.append(replica.entry)
        elif what == "send" and replica.entry is not None:
            sent.append(replica.entry)
            replicas[str(detail)].hear(replica.entry)
        elif what == "late" and sent:
            replica.hear(sent[int(str(detail)) % len(sent)])
    for _ in range(2):
        for one in replicas.values():
            for other in replicas.values():
                if one.entry is not None and one is not other:
                    other.hear(one.entry)
    entries = {replica.entry for replica in map(_hashable, replicas.values())}
    assert len(entries) == 1
    final = replicas["a"].entry
    if final is None:
        assert not acknowledged
        return
    # Each change is the outcome, or was known to what replaced it, or is recorded as lost somewhere.
    for entry in acknowledged:
        # By what it said: two that made the same of it are one.
        lost = any(item.digest == entry.digest for r in replicas.values() for item in r.lost)
        same = (entry.digest, entry.deleted) == (final.digest, final.deleted)
        known = final.vector.get(entry.instance, "") >= entry.version.partition("@")[0]
        assert known
        assert entry.version == final.version or same or lost or _replaced(entry, acknowledged)


def _replaced(entry: Entry, changes: list[Entry]) -> bool:
    """Whether a later change was made by somebody who knew of this one."""
    return any(other.version != entry.version and dominates(other.vector, entry.vector) for other in changes)


class _Frozen:
    def __init__(self, entry: Entry | None) -> None:
        self.entry = None if entry is None else (entry.version, tuple(sorted(entry.vector.items())))


def _hashable(replica: Replica) -> _Frozen:
    return _Frozen(replica.entry)


@given(st.lists(st.floats(0, 2e9), min_size=1, max_size=20))
def test_clock_never_goes_back(walls: list[float]) -> None:
    clock = Clock()
    stamps = [clock.tick(now) for now in walls]
    assert stamps == sorted(set(stamps))
    other = Clock()
    other.see(stamps[-1])
    assert other.tick(0) > stamps[-1]


def test_later_wins_and_ties_go_to_the_greater_name() -> None:
    one = Entry("tag", "[]", "0000000000005-000000@a", {"a": "0000000000005-000000"}, "x")
    two = replace(one, version="0000000000005-000000@b", vector={"b": "0000000000005-000000"}, digest="y")
    assert merge(one, two)[0] is Verdict.TAKE
    assert merge(two, one)[0] is Verdict.KEEP
    assert merge(one, two)[1] == merge(two, one)[1]
