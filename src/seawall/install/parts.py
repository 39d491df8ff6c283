"""What Seawall's own packages are made of, as CycloneDX: what the portal's files were built from, and needs.

No import of Seawall's: the package build (setup.py) loads this file by itself.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import uuid
from collections.abc import Iterable
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_ALGORITHMS = {"sha512": HashAlgorithm.SHA_512, "sha1": HashAlgorithm.SHA_1}


def portal_components(lock: Path) -> list[Component]:
    """The packages whose code is in the built portal, by npm's lock file; none without such a file."""
    if not lock.is_file():
        return []
    found = {}
    for path, item in json.loads(lock.read_text())["packages"].items():
        # The first is the portal itself; the others that are left out serve the build alone.
        if not path or item.get("dev") or item.get("devOptional") or item.get("link"):
            continue
        name = path.rpartition("node_modules/")[2]
        group, _, short = name.rpartition("/")
        purl = PackageURL("npm", group or None, short, item["version"])
        licence = item.get("license")
        found[purl.to_string()] = Component(
            type=ComponentType.LIBRARY,
            name=short,
            group=group or None,
            version=item["version"],
            purl=purl,
            bom_ref=purl.to_string(),
            licenses=[DisjunctiveLicense(name=licence)] if isinstance(licence, str) else None,
            hashes=_hashes(item.get("integrity", "")),
        )
    return [found[key] for key in sorted(found)]


def _hashes(integrity: str) -> list[HashType] | None:
    """Subresource Integrity (`sha512-<base64>`) in CycloneDX's form."""
    name, _, value = integrity.partition(" ")[0].partition("-")
    if name not in _ALGORITHMS:
        return None
    try:
        return [HashType(alg=_ALGORITHMS[name], content=base64.b64decode(value, validate=True).hex())]
    except binascii.Error:
        return None


def wheel_sbom(version: str, requirements: Iterable[str], bundled: list[Component]) -> bytes:
    """The SBOM of Seawall's own wheel: what is in it, and what it asks for without saying which release."""
    purl = PackageURL("pypi", None, "seawall", version)
    main = Component(
        type=ComponentType.APPLICATION,
        name="seawall",
        version=version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[DisjunctiveLicense(name="Apache-2.0")],
    )
    wanted = sorted(set(requirements))
    needs = [
        Component(
            type=ComponentType.LIBRARY,
            name=requirement,
            bom_ref=f"requirement:{requirement}",
            scope=ComponentScope.EXCLUDED,
            properties=[Property(name="seawall:requirement", value=requirement)],
        )
        for requirement in wanted
    ]
    bom = Bom(components=[*bundled, *needs])
    bom.metadata.component = main
    # Of the content and not of the moment: the same sources have the same SBOM.
    content = json.dumps([version, wanted, [str(item.bom_ref) for item in bundled]])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, content)
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(0, datetime.UTC)
    bom.register_dependency(main, [*bundled, *needs])
    return JsonV1Dot6(bom).output_as_string(indent=2).encode() + b"\n"
