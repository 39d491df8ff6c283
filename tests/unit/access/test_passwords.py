"""What a hash costs those who guess, and that an unknown name costs the same."""

from __future__ import annotations

import time

from seawall.access.passwords import hash_of, verify


def test_hashes_cost_what_owasp_asks_for() -> None:
    assert hash_of("Secret-12345").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_nobody_costs_as_much_as_a_wrong_password() -> None:
    stored = hash_of("Secret-12345")

    def seconds(known: str | None) -> float:
        begun = time.process_time()
        for _ in range(5):
            assert not verify(known, "Wrong-12345")
        return time.process_time() - begun

    known, nobody = (min(seconds(item) for _ in range(3)) for item in (stored, None))
    assert known / 2 < nobody < known * 2
