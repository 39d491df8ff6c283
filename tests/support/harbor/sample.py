"""`python -m tests.support.harbor.sample DATABASE-URL TREE`: a Harbor's database for the pages.

It has a user, a robot, and the repositories that the Distribution's folder has in `library`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.harbor.database import Harbor


def main(url: str, tree: Path) -> None:
    harbor = Harbor(url)
    harbor.user("alice", "Password1")
    harbor.robot("ci", "Robot-secret-1", [("/project/*", "repository", "pull")])
    for folder in sorted((tree / "docker/registry/v2/repositories/library").iterdir()):
        harbor.repository(1, f"library/{folder.name}", tree)
    harbor.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
