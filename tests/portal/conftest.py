"""The built portal, and headless Chromium."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def portal_dist() -> Path:
    """The built portal; built now when its sources are newer."""
    subprocess.run(["make", "-s", "portal"], cwd=ROOT, check=True, capture_output=True, timeout=280)
    dist = ROOT / "src" / "seawall" / "portal_dist"
    assert (dist / "index.html").is_file()
    return dist


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for the test run; each test opens its own contexts."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()
