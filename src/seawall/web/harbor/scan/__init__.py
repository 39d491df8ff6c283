"""Scans, scanners, the security hub and exports of findings."""

from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.scan import exports, reports, scan_all, scanners, security_hub

router = ApiRouter()
for part in (reports, scan_all, scanners, security_hub, exports):
    router.include_router(part.router)
