"""The MCP SDK as a client of an API that names its authorization server (RFC 9728)."""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import httpx2
import jwt
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider

issuer, client_id, client_secret, port = sys.argv[1:]
origin = f"http://127.0.0.1:{port}"
audience = f"{origin}/mcp"


def is_valid(token):
    with urlopen(f"{issuer}/.well-known/openid-configuration") as response:
        metadata = json.load(response)
    key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token)
    algorithms = metadata["id_token_signing_alg_values_supported"]
    claims = jwt.decode(token, key, algorithms=algorithms, issuer=issuer, audience=audience)
    return claims["client_id"] == client_id


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/.well-known/oauth-protected-resource"):
            return self.answer(200, {"resource": audience, "authorization_servers": [issuer]})
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if self.path == "/mcp" and scheme == "Bearer" and is_valid(token):
            return self.answer(200, {})
        return self.answer(401, {})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        if status == 401:
            metadata = f"{origin}/.well-known/oauth-protected-resource/mcp"
            self.send_header("WWW-Authenticate", f'Bearer resource_metadata="{metadata}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Storage:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def call():
    provider = ClientCredentialsOAuthProvider(
        server_url=audience,
        storage=Storage(),
        client_id=client_id,
        client_secret=client_secret,
        issuer=issuer,
    )
    async with httpx2.AsyncClient(auth=provider) as client:
        return (await client.get(audience)).status_code


api = ThreadingHTTPServer(("127.0.0.1", int(port)), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()
status = asyncio.run(call())
assert status == 200, status
print("the token is valid")
