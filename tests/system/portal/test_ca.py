"""The balancer's authority in the portal: offered by any instance, whenever it comes, changes or goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.portal.site import Site, Visitor
from tests.support.servers.certificates import Authority

Window = Callable[..., Visitor]


@pytest.fixture
def offered(site: Site) -> Iterator[Path]:
    """The file that all instances offer; as it was, afterwards."""
    file = Path(site.cluster.settings["SEAWALL_CA_DOWNLOAD"])
    before = file.read_bytes()
    yield file
    file.write_bytes(before)


def test_authority_comes_changes_and_goes(window: Window, site: Site, offered: Path, tmp_path: Path) -> None:
    first = offered.read_bytes()
    second = Authority(tmp_path / "other").certificate.read_bytes()
    visitors = [window(instance.url, "admin") for instance in site.cluster.instances]
    assert len(visitors) == 3

    def downloads(content: bytes) -> None:
        for visitor in visitors:
            visitor.page.reload()
            link = visitor.page.get_by_role("link", name="CA certificate")
            with visitor.page.expect_download() as download:
                link.click()
            assert download.value.path().read_bytes() == content
            assert download.value.suggested_filename == "ca.crt"

    downloads(first)
    offered.write_bytes(second)
    downloads(second)
    offered.unlink()
    for visitor in visitors:
        visitor.page.reload()
        expect(visitor.page.get_by_role("button", name="Account of admin")).to_be_visible()
        expect(visitor.page.get_by_role("link", name="CA certificate")).to_have_count(0)
    offered.write_bytes(first)
    downloads(first)
