"""Preheating: instances of peer-to-peer networks, policies of projects, executions, tasks, logs."""

from seawall.web.harbor.deps import ApiRouter
from seawall.web.harbor.preheat import executions, instances, policies

router = ApiRouter()
for part in (instances, policies, executions):
    router.include_router(part.router)
