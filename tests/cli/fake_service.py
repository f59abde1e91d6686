"""A service for supervisor tests, as a program: answers /health on a port, may be stubborn or fail at once."""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"status": "ok", "service": "mesh", "validatorId": "fake", "state": "validating"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


def serve(port: int, manner: str) -> None:
    if manner == "broken":
        print("error: the flux is misaligned\n  → align it", file=sys.stderr)
        sys.exit(2)
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if manner == "silent":
        signal.pause()
    if manner == "once":
        # Well for two answers, then it gives up: what a supervisor sees of a crash.
        server = HTTPServer(("127.0.0.1", port), Handler)
        server.handle_request()
        server.handle_request()
        print("error: it was too much\n  → ask for less", file=sys.stderr)
        sys.exit(1)
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
