"""Images made by umoci: pushed with skopeo, pulled back and unpacked."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.oci.client import Client, unique
from tests.support.oci.clients import Shell, Team
from tests.support.oci.layout import top_digest

PROGRAMS = ("umoci", "skopeo")


def test_umoci_image(shell: Shell, team: Team, admin: Client, tmp_path: Path) -> None:
    made, back, bundle = tmp_path / "made", tmp_path / "back", tmp_path / "bundle"
    text = unique("text")
    (tmp_path / "greeting").write_text(text)
    shell("umoci", "init", "--layout", made)
    shell("umoci", "new", "--image", f"{made}:v1")
    shell("umoci", "insert", "--image", f"{made}:v1", tmp_path / "greeting", "/greeting")
    shell("umoci", "config", "--image", f"{made}:v1", "--config.label", "made-by=umoci")
    name = team.name("umoci/image:v1")
    who = ":".join(team.developer)
    shell(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", who, f"oci:{made}:v1", f"docker://{name}"
    )
    shell(
        "skopeo", "copy", "--src-tls-verify=false", "--src-creds", who, f"docker://{name}", f"oci:{back}:v1"
    )
    assert (
        top_digest(back)
        == admin.repo(f"{team.private}/umoci/image").head_manifest("v1").headers["Docker-Content-Digest"]
    )
    shell("umoci", "unpack", "--image", f"{back}:v1", bundle)
    assert (bundle / "rootfs" / "greeting").read_text() == text
    config = json.loads(
        shell("skopeo", "inspect", "--config", "--tls-verify=false", "--creds", who, f"docker://{name}")
    )
    assert config["config"]["Labels"] == {"made-by": "umoci"}
