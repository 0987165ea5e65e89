"""Authlib as a client, with requests and with httpx, and as a resource server (RFC 9068)."""

import sys

import requests
from authlib.integrations.httpx_client import OAuth2Client
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

issuer, client_id, client_secret, audience, *given = sys.argv[1:]
metadata = requests.get(f"{issuer}/.well-known/openid-configuration").json()


class TokenValidator(JWTBearerTokenValidator):
    def get_jwks(self):
        return requests.get(metadata["jwks_uri"]).json()


def tokens():
    for library in (OAuth2Session, OAuth2Client):
        session = library(client_id, client_secret, scope="orders:read", token_endpoint=metadata["token_endpoint"])
        yield session.fetch_token(grant_type="client_credentials", audience=audience)["access_token"]


validator = TokenValidator(issuer=issuer, resource_server=audience)
for token in given or tokens():
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, ["orders:read"], None)
    assert claims["client_id"] == client_id
print("the token is valid")
