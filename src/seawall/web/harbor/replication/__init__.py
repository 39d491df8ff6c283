"""Registries, replication policies, executions and adapters."""

from seawall.web.harbor.replication import executions, policies, registries
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter()
for part in (registries, policies, executions):
    router.include_router(part.router)
