"""Media types and rules of artifacts."""

from __future__ import annotations

import io
import tarfile


def chart(files: dict[str, bytes]) -> bytes:
    """A packed Helm chart."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


CHART = chart(
    {
        "web/charts/db/values.yaml": b"inner: true\n",
        "web/Chart.yaml": b"name: web\ndependencies:\n- {name: db, version: 1.2.3, repository: 'file://x'}\n",
        "web/values.yaml": b"replicas: 2\n",
        "web/README.md": b"# Web\n",
    }
)


def rule(pattern: str, repository: str = "**", **extra: object) -> dict[str, object]:
    """An immutable tag rule."""
    return {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": pattern}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repository}]
        },
        **extra,
    }
