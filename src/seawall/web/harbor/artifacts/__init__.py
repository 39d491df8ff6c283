"""Artifacts of repositories and projects."""

from seawall.web.harbor.artifacts import additions, copy, labels, lists, tags
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter()
for part in (lists, copy, tags, additions, labels):
    router.include_router(part.router)
