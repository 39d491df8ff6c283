"""Writes Seawall's OpenAPI document, from which `npm run generate` makes the client's types.

Left out is what types do not need: prose, headers, answers to errors.
"""

import json
import sys
from typing import Any

from seawall.web.harbor.app import make_app


def slim(node: Any) -> Any:
    """The node without prose."""
    if isinstance(node, list):
        return [slim(item) for item in node]
    if not isinstance(node, dict):
        return node
    prose = {"description", "title", "summary", "tags", "example", "examples", "headers"}
    kept = {
        key: slim(value) for key, value in node.items() if not (key in prose and not isinstance(value, dict))
    }
    if isinstance(kept.get("responses"), dict):
        kept["responses"] = {code: body for code, body in kept["responses"].items() if code < "300"}
        for body in kept["responses"].values():
            body["description"] = ""
            body.pop("headers", None)
    return kept


document = slim(make_app().openapi())
document["info"] = {"title": "Seawall", "version": "2.0"}
json.dump(document, sys.stdout)
