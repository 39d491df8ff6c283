"""The settings that hold back what is pulled are the same wherever they are named."""

from __future__ import annotations

from seawall.access.projects import GATES
from seawall.features.scan.hook import ScanHook
from seawall.features.trust.hook import TrustHook


def test_virtual_projects_refuse_every_policy_that_a_hook_asks() -> None:
    assert sorted(GATES) == sorted((*ScanHook.policies, *TrustHook.policies))
