"""The balancer's authority, downloaded in the portal of each instance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.support.portal.site import Site, Visitor


def test_authority_is_offered_by_each_instance(
    visit: Callable[..., Visitor], window: Callable[..., Visitor], site: Site, tmp_path: Path
) -> None:
    authority = (site.cluster.root / "c.pem").read_bytes()
    visitors = [visit("dev"), *(window(instance.url, "dev") for instance in site.cluster.instances)]
    for number, visitor in enumerate(visitors):
        link = visitor.page.get_by_role("link", name="CA certificate")
        expect(link).to_be_visible()
        with visitor.page.expect_download() as started:
            link.click()
        assert started.value.suggested_filename == "ca.crt"
        file = tmp_path / f"{number}.crt"
        started.value.save_as(file)
        assert file.read_bytes() == authority
