"""Preheating: instances of peer-to-peer networks, policies of projects, executions, tasks, logs."""

from seawall.web.harbor.preheat import executions, instances, policies
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter()
for part in (instances, policies, executions):
    router.include_router(part.router)
