"""Icons of artifact kinds and accessory types: small drawings of our own, named by their digest."""

from __future__ import annotations

from seawall.kernel.names import digest_of

_SHAPES = {
    "IMAGE": ("#2563a8", "<path d='M4 9l8-5 8 5v7l-8 5-8-5z'/><path d='M4 9l8 5 8-5M12 14v7'/>"),
    "CHART": ("#0f6f6f", "<circle cx='12' cy='12' r='5'/><path d='M12 3v4M12 17v4M3 12h4M17 12h4'/>"),
    "CNAB": ("#7a4b9a", "<rect x='4' y='7' width='16' height='13'/><path d='M4 7l4-4h8l4 4M12 3v4'/>"),
    "WASM": ("#5a45b5", "<rect x='4' y='4' width='16' height='16'/><path d='M8 9l2 6 2-5 2 5 2-6'/>"),
    "CNAI": ("#9a4b6a", "<circle cx='7' cy='7' r='2'/><circle cx='17' cy='12' r='2'/><path d='M9 8l6 3'/>"),
    "SBOM": ("#8a5a00", "<path d='M6 3h9l4 4v14H6z'/><path d='M9 11h7M9 15h7'/>"),
    "signature": ("#1f7a3d", "<path d='M12 3l7 3v6c0 5-3 8-7 9-4-1-7-4-7-9V6z'/><path d='M9 12l2 2 4-4'/>"),
    "accessory": ("#555555", "<path d='M8 12V7a4 4 0 018 0v9a3 3 0 01-6 0V9'/>"),
    "": ("#555555", "<path d='M6 3h9l4 4v14H6z'/>"),
}


def _draw(color: str, shape: str) -> bytes:
    return (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' width='24' height='24' fill='none' "
        f"stroke='{color}' stroke-width='1.6' stroke-linejoin='round'>{shape}</svg>"
    ).encode()


_DRAWN = {name: _draw(*shape) for name, shape in _SHAPES.items()}
_BY_DIGEST = {digest_of(drawn): drawn for drawn in _DRAWN.values()}
_DIGESTS = {name: digest_of(drawn) for name, drawn in _DRAWN.items()}
MEDIA_TYPE = "image/svg+xml"


def digest_of_kind(name: str) -> str:
    """The icon's digest for an artifact kind or accessory type."""
    if name.startswith("signature."):
        name = "signature"
    elif name == "sbom.harbor":
        name = "SBOM"
    elif "." in name:
        name = "accessory"
    return _DIGESTS.get(name, _DIGESTS[""])


def drawing(digest: str) -> bytes | None:
    """The drawing of that digest."""
    return _BY_DIGEST.get(digest)
