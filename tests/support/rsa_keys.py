"""Signing keys for the registries of tests, made once: a new one is half of what it costs to open a registry.

A start in a new interpreter (commands of the documentation, hosts that install a bundle) makes a real one.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric import rsa

from seawall.infra.secrets import material

# More than the registries and rotations of one test, which have to have keys of their own.
_COUNT = 12


def hand_out(*, at_once: bool = False) -> None:
    """Have the registries of this process, and of those forked from it, use a few keys in turn.

    `at_once`: make them now, so that forked processes have them.
    """
    make = material.new_rsa_key
    made: dict[int, rsa.RSAPrivateKey] = {}
    # Forked processes share a file's position, and the kernel moves it for one of them at a time.
    place = os.memfd_create("seawall-test-keys")

    def next_key() -> rsa.RSAPrivateKey:
        number = os.lseek(place, 1, os.SEEK_CUR) % _COUNT
        if number not in made:
            made[number] = make()
        return made[number]

    if at_once:
        made.update({number: make() for number in range(_COUNT)})
    material.new_rsa_key = next_key
