"""The witness: by its word at most one site holds the lease, whatever it is asked and however it restarts."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.availability.sites.witness import Grant, Witness, open_witness

SITES = st.sampled_from(["a", "b"])
LEASE = 10.0


class Machine(RuleBasedStateMachine):
    """Sites as they believe, a witness with a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.disk: Grant | None = None
        # What each site was granted: until when (by a clock that runs as fast), and at which epoch.
        self.until = {"a": -1.0, "b": -1.0}
        self.epoch = {"a": 0, "b": 0}
        self.restart()

    def _save(self, grant: Grant) -> None:
        self.disk = grant

    @rule()
    def restart(self) -> None:
        self.witness = Witness(self.disk, self._save, lambda: self.now)

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(site=SITES, travel=st.floats(0, 3))
    def renew(self, site: str, travel: float) -> None:
        # The holder counts from before it asked; the question takes its time.
        asked = self.now
        self.now += travel
        if self.epoch[site] and self.witness.renew(site, self.epoch[site], LEASE):
            self.until[site] = asked + LEASE

    @rule(site=SITES, travel=st.floats(0, 3), ahead=st.integers(-1, 2))
    def take(self, site: str, travel: float, ahead: int) -> None:
        asked, epoch = self.now, max(self.epoch.values()) + ahead
        self.now += travel
        if epoch > 0 and self.witness.take(site, epoch, LEASE):
            self.until[site], self.epoch[site] = asked + LEASE, epoch

    @rule(site=SITES)
    def give_back(self, site: str) -> None:
        # A site stops writing before it says so.
        self.until[site] = -1.0
        self.witness.release(site, self.epoch[site])

    @invariant()
    def at_most_one_writes(self) -> None:
        assert sum(until > self.now for until in self.until.values()) <= 1

    @invariant()
    def epochs_are_one_sites(self) -> None:
        assert not self.epoch["a"] or self.epoch["a"] != self.epoch["b"]


TestWitness = Machine.TestCase
TestWitness.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_grant_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "w" / "witness.json"
    assert open_witness(file).take("a", 4, 5.0)
    again = open_witness(file)
    assert not again.take("b", 5, 5.0), "the lease counts as granted at the restart"
    assert not again.renew("b", 4, 5.0)
    assert again.renew("a", 4, 5.0)
    assert again.told()["held_by"] == "a"
