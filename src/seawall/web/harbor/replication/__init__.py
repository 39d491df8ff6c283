"""Registries, replication policies, executions and adapters."""

from seawall.web.harbor.deps import ApiRouter
from seawall.web.harbor.replication import executions, policies, registries

router = ApiRouter()
for part in (registries, policies, executions):
    router.include_router(part.router)
