"""An API that asks Mintage about each token (RFC 7662) before it answers."""

import base64
import json
import os
import sys
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MINTAGE_URL = os.environ.get("MINTAGE_URL", "http://127.0.0.1:8080")
SCOPE = "orders:read"
TIMEOUT = 5  # seconds


def introspect(token):
    """What Mintage says of a token; raises OSError when Mintage cannot answer."""
    pair = ":".join(urllib.parse.quote_plus(os.environ[name]) for name in ("API_CLIENT_ID", "API_CLIENT_SECRET"))
    request = urllib.request.Request(
        MINTAGE_URL + "/introspect",
        data=urllib.parse.urlencode({"token": token}).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        return json.load(response)


class Orders(BaseHTTPRequestHandler):
    timeout = 10  # seconds a caller may take to send its request

    def do_GET(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return self.deny(401, "Bearer")
        try:
            answer = introspect(token)
        except OSError as error:
            print(f"introspection failed: {error}", file=sys.stderr)
            # Unknown, which does not mean "inactive".
            return self.answer(503, {"error": "temporarily_unavailable"}, {"Retry-After": "1"})
        if not answer["active"]:
            return self.deny(401, 'Bearer error="invalid_token"')
        if SCOPE not in answer["scope"].split(" "):
            return self.deny(403, f'Bearer error="insufficient_scope", scope="{SCOPE}"')
        if not self.path.startswith("/orders/"):
            return self.answer(404, {"error": "not_found"}, {})
        self.answer(200, {"order": self.path[len("/orders/") :], "read_by": answer["client_id"]}, {})

    def deny(self, status, challenge):
        self.answer(status, {"error": "access_denied"}, {"WWW-Authenticate": challenge})

    def answer(self, status, document, headers):
        body = json.dumps(document, separators=(",", ":")).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing: paths may be confidential."""


if __name__ == "__main__":
    for name in ("API_CLIENT_ID", "API_CLIENT_SECRET"):
        if name not in os.environ:
            sys.exit(f"set {name}")
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("API_PORT", "9090"))), Orders)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
