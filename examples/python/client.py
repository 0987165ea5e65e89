"""Gets an access token (RFC 6749 section 4.4) and calls an API with it (RFC 6750), twice."""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

MINTAGE_URL = os.environ.get("MINTAGE_URL", "http://127.0.0.1:8080")
API_URL = os.environ.get("API_URL", "http://127.0.0.1:9090")
TIMEOUT = 10  # seconds


class TokenSource:
    """Keeps one token and gets the next one 30 s before it expires."""

    def __init__(self, client_id, client_secret, scope):
        # Id and secret are form-encoded before Basic encodes them (RFC 6749 section 2.3.1).
        pair = ":".join(urllib.parse.quote_plus(part) for part in (client_id, client_secret))
        self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        self._form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode()
        self._token = None
        self._renew_at = 0.0

    def token(self):
        if self._token is None or time.monotonic() >= self._renew_at:
            request = urllib.request.Request(
                MINTAGE_URL + "/token", data=self._form, headers={"Authorization": self._authorization}
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                answer = json.load(response)
            self._token = answer["access_token"]
            self._renew_at = time.monotonic() + answer["expires_in"] - 30
        return self._token

    def forget(self):
        self._token = None


def get_order(tokens, number):
    def call():
        headers = {"Authorization": "Bearer " + tokens.token()}
        request = urllib.request.Request(f"{API_URL}/orders/{number}", headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.read().decode()

    try:
        return call()
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
    # The token may have been revoked: one more try with a new one.
    tokens.forget()
    return call()


def main():
    tokens = TokenSource(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"], "orders:read")
    for _ in range(2):
        print(get_order(tokens, 1))


if __name__ == "__main__":
    try:
        main()
    except KeyError as missing:
        sys.exit(f"set {missing.args[0]}")
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url} answered {error.code}: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"request failed: {error}")
