"""Keys of blobs that lie in the tree of a CNCF Distribution registry, and stay there.

`tree.ALGORITHM.HEX` is the file or object `docker/registry/v2/blobs/ALGORITHM/HH/HEX/data` below the same
root or prefix as Seawall's own blobs (`seawall adopt-harbor`). Such a key is read as any other; only the
collector treats it differently (`registry.gc`).
"""

from __future__ import annotations

import re

TREE = "docker/registry/v2/blobs"
PREFIX = "tree."
_KEY = re.compile(r"tree\.(?P<algorithm>sha256|sha512)\.(?P<hex>[0-9a-f]{64}|[0-9a-f]{128})")
_PATH = re.compile(
    r"(?P<algorithm>sha256|sha512)/(?P<start>[0-9a-f]{2})/(?P<hex>[0-9a-f]{64}|[0-9a-f]{128})/data"
)


def tree_key(digest: str) -> str:
    """The key under which a blob of the tree is stored."""
    algorithm, _, value = digest.partition(":")
    return f"{PREFIX}{algorithm}.{value}"


def digest_of_tree_key(key: str) -> str:
    """The digest of the blob of such a key; "" for any other key."""
    found = _KEY.fullmatch(key)
    return f"{found['algorithm']}:{found['hex']}" if found else ""


def tree_path(key: str) -> str | None:
    """Where the blob of such a key is, relative to root or prefix; None for any other key."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    return f"{TREE}/{found['algorithm']}/{found['hex'][:2]}/{found['hex']}/data"


def key_at(path: str) -> str | None:
    """The key of the blob at `path` (relative to TREE); None for anything but a blob."""
    found = _PATH.fullmatch(path)
    if found is None or not found["hex"].startswith(found["start"]):
        return None
    return f"{PREFIX}{found['algorithm']}.{found['hex']}"
