"""What each client is called with, by operation: the table that tests/clients runs.

A command is split as a shell would; `< FILE` at its end is its standard input. An operation that a client
does not have is absent, and `ABSENT` says why.
"""

from __future__ import annotations

CLIENTS: dict[str, dict[str, str]] = {
    "crane": {
        "login": "crane auth login {host} -u {user} --password-stdin < {secret}",
        # `auth login` keeps what it is told; the first request is what finds a wrong password.
        "check login": "crane ls {repository}",
        "push": "crane push {layout} {image}",
        "pull": "crane pull --format=oci {image} {out}",
        "copy": "crane -v copy {image} {target}",
        "tags": "crane ls {repository}",
        "delete": "crane delete {repository}@{digest}",
        "big": "crane append --new_layer {file} --new_tag {image}",
    },
    "regctl": {
        "set up": "regctl registry set --tls disabled {host}",
        "login": "regctl registry login {host} -u {user} --pass-stdin < {secret}",
        "check login": "regctl tag ls {repository}",
        "push": "regctl image copy ocidir://{layout}:latest {image}",
        "pull": "regctl image copy {image} ocidir://{out}:latest",
        "copy": "regctl -v trace image copy {image} {target}",
        "tags": "regctl tag ls {repository}",
        "delete tag": "regctl tag delete {image}",
        "delete": "regctl manifest delete {repository}@{digest}",
        "attach": "regctl artifact put --subject {image} --artifact-type {type} --file {file}",
        "discover": "regctl artifact list {image}",
        "big": "regctl blob put {repository} < {file}",
    },
    "oras": {
        "login": "oras login --plain-http {host} -u {user} --password-stdin < {secret}",
        "check login": "oras repo tags --plain-http {repository}",
        "push": "oras cp --from-oci-layout {layout}:latest --to-plain-http {image}",
        "pull": "oras cp --from-plain-http {image} --to-oci-layout {out}:latest",
        "copy": "oras cp --debug --from-plain-http --to-plain-http {image} {target}",
        "tags": "oras repo tags --plain-http {repository}",
        "delete": "oras manifest delete --force --plain-http {repository}@{digest}",
        "attach": "oras attach --plain-http --artifact-type {type} {image} {name}:text/plain",
        "discover": "oras discover --plain-http --format json {image}",
        "big": "oras blob push --plain-http {repository} {name}",
    },
}

ABSENT = {
    ("crane", "attach and discover"): "it has no command for what is attached",
    ("crane", "delete tag"): "it deletes by digest, or whatever a tag names",
    ("oras", "delete tag"): "it deletes whatever a tag names",
}
