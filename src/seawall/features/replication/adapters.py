"""Kinds of registries: how each lists what it has, logs in, and makes room for what comes.

Tested against real servers: seawall, docker-registry. The cloud registries' forms of logging in follow
their documentation and are tested as far as that goes without an account (see docs/replication.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from seawall.features.replication.adapter import Adapter, RemoteRegistry
from seawall.features.replication.clouds import DockerHubAdapter, EcrAdapter
from seawall.features.replication.harbor import HarborAdapter, OriginalHarborAdapter
from seawall.features.replication.limiter import Limiter
from seawall.features.replication.session import Patience
from seawall.kernel.errors import InvalidError
from seawall.kernel.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What a kind of registry can do, and its usual addresses as (name, URL)."""

    type: str
    description: str
    endpoints: tuple[tuple[str, str], ...] = ()
    label_filter: bool = False
    # Name and secret are fixed or of a special kind, as Harbor's pages show them.
    key_type: str = "AccessKeyTypeStandard"
    key_data: str = "No Change"
    secret_type: str = "AccessSecretTypeStandard"  # noqa: S105 - a form's name
    secret_data: str = "No Change"  # noqa: S105


_AWS_REGIONS = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "eu-south-1",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-east-1",
    "sa-east-1",
    "me-south-1",
    "af-south-1",
]

ADAPTERS: dict[str, AdapterInfo] = {
    item.type: item
    for item in (
        AdapterInfo("seawall", "Seawall", label_filter=True),
        AdapterInfo("harbor", "Harbor", label_filter=True),
        AdapterInfo("docker-registry", "Any registry that speaks OCI Distribution"),
        AdapterInfo("docker-hub", "Docker Hub", (("hub.docker.com", "https://hub.docker.com"),)),
        AdapterInfo(
            "aws-ecr",
            "Amazon Elastic Container Registry",
            tuple((region, f"https://api.ecr.{region}.amazonaws.com") for region in _AWS_REGIONS),
        ),
        AdapterInfo(
            "google-gcr",
            "Google Container Registry and Artifact Registry",
            tuple((host, f"https://{host}") for host in ("gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io")),
            key_type="AccessKeyTypeFix",
            key_data="_json_key",
            secret_type="AccessSecretTypeFile",  # noqa: S106
        ),
        AdapterInfo("azure-acr", "Azure Container Registry"),
        AdapterInfo("github-ghcr", "GitHub Container Registry", (("ghcr.io", "https://ghcr.io"),)),
        AdapterInfo("quay", "Quay", (("quay.io", "https://quay.io"),)),
        AdapterInfo("gitlab", "GitLab Container Registry", (("gitlab.com", "https://registry.gitlab.com"),)),
        AdapterInfo("jfrog-artifactory", "JFrog Artifactory"),
        AdapterInfo("ali-acr", "Alibaba Cloud Container Registry"),
        AdapterInfo("huawei-SWR", "Huawei SWR"),
        AdapterInfo("tencent-tcr", "Tencent Container Registry"),
    )
}


_CLASSES: dict[str, type[Adapter]] = {
    "harbor": OriginalHarborAdapter,
    "seawall": HarborAdapter,
    "docker-hub": DockerHubAdapter,
    "aws-ecr": EcrAdapter,
}


def unknown_type(kind: str) -> InvalidError:
    """What to raise for a kind of registry that there is no adapter for."""
    hint = did_you_mean(kind, ADAPTERS) or f"; there are {', '.join(sorted(ADAPTERS))}"
    return InvalidError(f"no adapter for registries of type {kind[:64]!r}{hint}")


def open_adapter(
    registry: RemoteRegistry, limiter: Limiter | None = None, patience: Patience | None = None
) -> Adapter:
    """The adapter of a registry. Raises InvalidError for an unknown kind or unusable address."""
    if registry.type not in ADAPTERS:
        raise unknown_type(registry.type)
    return _CLASSES.get(registry.type, Adapter)(registry, limiter, patience)
