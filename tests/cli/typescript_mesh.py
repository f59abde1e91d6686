"""A mesh that answers with the fields of the TypeScript one and no others: one status per list, no genesis."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


class TypeScriptMesh:
    """Nodes by id, as such a mesh keeps them, and every body it was sent."""

    def __init__(self) -> None:
        self.nodes: dict[str, Json] = {}
        self.bodies: list[Json] = []
        self.url = ""

    def answer(self, method: str, path: str, query: Json, body: Json) -> tuple[int, Json]:
        self.bodies.append(body)
        match method, path.strip("/").split("/"):
            case "POST", ["register"]:
                return self._register(body)
            case "POST", [("approve" | "deny") as verb, node_id]:
                node = self.nodes[node_id]
                node["status"] = "active" if verb == "approve" else "denied"
                return 200, {"success": True, "nodeId": node_id, "status": node["status"]}
            case "GET", ["nodes"]:
                wanted = query.get("status", ["active"])[0]
                return 200, {"nodes": [node for node in self.nodes.values() if node["status"] == wanted]}
            case "GET", ["nodes", node_id]:
                found = self.nodes.get(node_id)
                return (200, {"node": found}) if found else (404, {"error": "Node not found"})
            case "GET", ["topology"]:
                return 200, {
                    "nodes": [_show_topology(node) for node in self.nodes.values() if node["status"] == "active"]
                }
            case "GET", ["health"]:
                return 200, {"status": "ok", "service": "mesh"}
            case "GET", ["info"]:
                return 200, {"service": "mesh", "nodes": {"active": 1, "pending": 1}}
        return 404, {"error": "Not Found"}

    def _register(self, body: Json) -> tuple[int, Json]:
        if body["nodeId"] in self.nodes:
            return 409, {"error": "Node already registered"}
        self.nodes[body["nodeId"]] = {
            "id": body["nodeId"],
            "public_key": body["publicKey"],
            "tailscale_hostname": body["tailscaleHostname"],
            "tailscale_ip": body.get("tailscaleIP"),
            "status": "pending",
            "registered_at": 1_763_424_000_000,
            "approved_at": None,
            "approved_by": None,
            "last_heartbeat": None,
            "registration_signature": body["signature"],
            "services": [
                {"service_type": row["type"], "port": row["port"], "public_key": row["publicKey"], "healthy": 1}
                for row in body["services"]
            ],
        }
        return 201, {"success": True, "nodeId": body["nodeId"], "status": "pending", "message": "Awaiting approval"}


def _show_topology(node: Json) -> Json:
    services = [
        {"type": row["service_type"], "port": row["port"], "publicKey": row["public_key"]} for row in node["services"]
    ]
    return {
        "id": node["id"],
        "publicKey": node["public_key"],
        "tailscaleHostname": node["tailscale_hostname"],
        "tailscaleIP": node["tailscale_ip"],
        "services": services,
    }


@contextlib.contextmanager
def serve_typescript_mesh() -> Iterator[TypeScriptMesh]:
    """Such a mesh on a free port, for as long as the block lasts."""
    mesh = TypeScriptMesh()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            status, answer = mesh.answer(self.command, parts.path, parse_qs(parts.query), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mesh.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mesh
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
