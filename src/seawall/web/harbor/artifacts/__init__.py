"""Artifacts of repositories and projects."""

from seawall.web.harbor.artifacts import additions, copy, holders, labels, lists, tags
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter()
for part in (lists, copy, tags, additions, labels, holders):
    router.include_router(part.router)
