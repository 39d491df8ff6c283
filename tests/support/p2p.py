"""A receiver that speaks as Dragonfly's manager and Kraken's proxy do.

It fetches each file that a request names, with the headers of that request.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class Network:
    """A peer-to-peer network: remembers jobs and notifications, and pulls what a job names."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.fetched: list[tuple[int, str]] = []
        self.well = True
        # How a job ends: SUCCESS, FAILURE, or PENDING for never.
        self.end = "SUCCESS"
        self.broken = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, status: int, body: Any = None) -> None:
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                if self.path in ("/healthy", "/health"):
                    self.answer(200 if outer.well else 503)
                elif self.path.startswith("/oapi/v1/jobs/"):
                    number = int(self.path.rpartition("/")[2])
                    self.answer(200, outer.state(number))
                else:
                    self.answer(404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                if outer.broken:
                    outer.broken -= 1
                    self.answer(500, {"error": "starting"})
                elif self.path == "/oapi/v1/jobs":
                    outer.jobs.append(body)
                    got = httpx.get(body["args"]["url"], headers=body["args"]["headers"])
                    outer.fetched.append((got.status_code, got.headers.get("docker-content-digest", "")))
                    self.answer(200, {"id": len(outer.jobs), "state": "PENDING"})
                elif self.path == "/registry/notifications":
                    outer.events += body["Events"]
                    self.answer(200)
                else:
                    self.answer(404)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def state(self, number: int) -> dict[str, Any]:
        done = {"url": "blob", "hostname": "peer", "ip": "192.0.2.1"}
        result: dict[str, Any] = {
            "job_states": [{"results": [{"success_tasks": [done], "scheduler_cluster_id": 1}]}]
        }
        if self.end == "FAILURE":
            result = {"job_states": [{"error": "no space", "results": []}]}
        return {"id": number, "state": self.end, "result": result}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
