"""SBOMs of an inventory: CycloneDX 1.6 and SPDX 2.3, both JSON.

Sources: the CycloneDX specification (through cyclonedx-python-lib), SPDX 2.3 (JSON schema), the purl
specification.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from seawall import __version__
from seawall.features.scan.model import Inventory, Package

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

CYCLONEDX = "application/vnd.cyclonedx+json"
SPDX = "application/spdx+json"
# Harbor's artifact type of SBOM accessories.
ACCESSORY = "application/vnd.goharbor.harbor.sbom.v1"
FORMATS = (SPDX, CYCLONEDX)
_NAMESPACE = uuid.UUID("5f1c9f0e-6a4c-5d3e-9d0a-8f6b1f3c2a77")


def make(media_type: str, inventory: Inventory, name: str, digest: str, at: float) -> bytes:
    """The SBOM of image `name`@`digest` in the format of `media_type`, as of `at` (Unix seconds).

    The same arguments give the same bytes.
    """
    builder = cyclonedx if media_type == CYCLONEDX else spdx
    return builder(inventory, name, digest, at)


def cyclonedx(inventory: Inventory, name: str, digest: str, at: float) -> bytes:
    """CycloneDX 1.6 JSON."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, digest), version=1)
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(int(at), datetime.UTC)
    bom.metadata.tools.components.add(
        Component(name="seawall", version=__version__, type=ComponentType.APPLICATION)
    )
    bom.metadata.component = Component(
        name=name, version=digest, type=ComponentType.CONTAINER, bom_ref=f"image:{digest}"
    )
    system = inventory.distribution
    if system.id:
        bom.components.add(
            Component(
                name=system.id,
                version=system.version or None,
                description=system.name or None,
                type=ComponentType.OPERATING_SYSTEM,
                bom_ref=f"os:{system.id}",
            )
        )
    for number, package in enumerate(inventory.packages):
        bom.components.add(_component(number, package))
    return str(JsonV1Dot6(bom).output_as_string()).encode()


def _component(number: int, package: Package) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    found = package.found
    properties = [Property(name="seawall:layer", value=package.layer)]
    properties += [Property(name="seawall:path", value=path) for path in package.paths]
    if found.source and found.source != found.name:
        properties.append(Property(name="seawall:source", value=f"{found.source} {found.source_version}"))
    purl = None
    if package.purl:
        try:
            purl = PackageURL.from_string(package.purl)
        except ValueError:
            purl = None
    return Component(
        name=found.name,
        group=found.namespace or None,
        version=found.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=f"package:{number}",
        properties=properties,
    )


def spdx(inventory: Inventory, name: str, digest: str, at: float) -> bytes:
    """SPDX 2.3 JSON."""
    created = datetime.datetime.fromtimestamp(int(at), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    algorithm, _, value = digest.partition(":")
    image: dict[str, Any] = {
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "versionInfo": digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": algorithm.upper(), "checksumValue": value}],
    }
    packages = [image]
    relationships = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")]
    system = inventory.distribution
    if system.id:
        packages.append(
            {
                "SPDXID": "SPDXRef-OperatingSystem",
                "name": system.id,
                "versionInfo": system.version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "primaryPackagePurpose": "OPERATING-SYSTEM",
            }
        )
        relationships.append(_relation("SPDXRef-Image", "CONTAINS", "SPDXRef-OperatingSystem"))
    for number, package in enumerate(inventory.packages):
        found = package.found
        identifier = f"SPDXRef-Package-{number}-" + re.sub(r"[^A-Za-z0-9.-]+", "-", found.name)[:80]
        entry: dict[str, Any] = {
            "SPDXID": identifier,
            "name": f"{found.namespace}:{found.name}" if found.namespace else found.name,
            "versionInfo": found.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            # Licence texts of packages are not SPDX expressions, so they are given as found.
            "licenseDeclared": "NOASSERTION",
            "licenseConcluded": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "sourceInfo": f"{', '.join(package.paths)} in layer {package.layer}",
        }
        if found.licenses:
            entry["licenseComments"] = ", ".join(found.licenses)
        if package.purl:
            entry["externalRefs"] = [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": package.purl,
                }
            ]
        packages.append(entry)
        relationships.append(_relation("SPDXRef-Image", "CONTAINS", identifier))
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{name}@{digest}')}",
        "creationInfo": {"created": created, "creators": [f"Tool: seawall-{__version__}"]},
        "packages": packages,
        "relationships": relationships,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _relation(subject: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": other}
