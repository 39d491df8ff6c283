"""`seawall kubelet`: pulls in Kubernetes without imagePullSecrets."""

from __future__ import annotations

import re
from importlib import resources
from typing import Annotated

import typer
import yaml

from seawall.kernel.errors import ConfigError
from seawall.process.commands.common import registry_url

kubelet_app = typer.Typer(no_args_is_help=True, help="Pulls in Kubernetes without imagePullSecrets.")
# The program's name: kubelet finds it by the provider's name.
PROVIDER = "seawall-credential-provider"
# No pattern: tokens would go to every host that fits it.
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?")


@kubelet_app.command("provider")
def kubelet_provider() -> None:
    """Print the credential provider, a shell script that each node needs.

    Example: seawall kubelet provider > /usr/local/lib/seawall/seawall-credential-provider
    """
    print(resources.files("seawall.install").joinpath("data", PROVIDER).read_text(), end="")


@kubelet_app.command("config")
def kubelet_config(
    url: Annotated[str, typer.Option("--url", help="address of this registry, as images name it")],
    audience: Annotated[str, typer.Option("--audience", help="the audience that robots require (aud)")],
    robot: Annotated[
        str | None, typer.Option("--robot", help="the robot of service accounts that name none")
    ] = None,
) -> None:
    """Print kubelet's CredentialProviderConfig; needs Kubernetes 1.34.

    Example: seawall kubelet config --url https://registry.example.com --audience registry.example.com
    """
    print(yaml.safe_dump(provider_config(url, audience, robot), sort_keys=False), end="")


def provider_config(url: str, audience: str, robot: str | None) -> dict[str, object]:
    """A CredentialProviderConfig of kubelet.config.k8s.io/v1. Raises ConfigError."""
    scheme, _, host = registry_url(url).partition("://")
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{url}: must be {scheme}://, then a host, and a port where it has one")
    for name, value in (("--audience", audience), ("--robot", robot or "x")):
        if not value.isprintable() or not value or any(letter in value for letter in '"\\ '):
            raise ConfigError(f"{name} {value[:64]!a}: has no spaces, quotes and backslashes")
    provider = {
        "name": PROVIDER,
        "matchImages": [host.lower()],
        "defaultCacheDuration": "0s",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        **({"args": ["--robot", robot]} if robot else {}),
        "tokenAttributes": {
            "serviceAccountTokenAudience": audience,
            "cacheType": "Token",
            "requireServiceAccount": True,
            # Required ones would keep accounts without it from public images.
            "optionalServiceAccountAnnotationKeys": ["seawall/robot"],
        },
    }
    return {
        "apiVersion": "kubelet.config.k8s.io/v1",
        "kind": "CredentialProviderConfig",
        "providers": [provider],
    }
