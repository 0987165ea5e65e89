"""librdkafka as a client of a broker with SASL/OAUTHBEARER, which shows the token that it was sent."""

import socket
import struct
import sys
import threading

from confluent_kafka import Producer

issuer, client_id, client_secret = sys.argv[1:4]
listener = socket.create_server(("127.0.0.1", 0))
MECHANISM = b"OAUTHBEARER"
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
tokens = []
errors = []


def frame(connection):
    size = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))[0]
    return connection.recv(size, socket.MSG_WAITALL)


def broker():
    connection, _ = listener.accept()
    while not tokens:
        request = frame(connection)
        key, version, correlation = struct.unpack(">hhi", request[:8])
        if key == API_VERSIONS:
            # UNSUPPORTED_VERSION, with the versions that this broker has.
            ranges = [(SASL_HANDSHAKE, 0, 1), (API_VERSIONS, 0, 0), (SASL_AUTHENTICATE, 0, 0), (3, 0, 1)]
            error = 35 if version > 0 else 0
            answer = struct.pack(">hi", error, len(ranges)) + b"".join(struct.pack(">hhh", *each) for each in ranges)
        elif key == SASL_HANDSHAKE:
            answer = struct.pack(">hih", 0, 1, len(MECHANISM)) + MECHANISM
        else:
            assert key == SASL_AUTHENTICATE, request
            # RFC 7628 §3.1: n,,^Aauth=Bearer TOKEN^A^A
            tokens.append(request.split(b"\x01auth=Bearer ")[1].split(b"\x01")[0].decode())
            return
        connection.sendall(struct.pack(">ii", 4 + len(answer), correlation) + answer)


thread = threading.Thread(target=broker, daemon=True)
thread.start()
with open("docs/resource-servers.md") as document:
    block = document.read().split("\n```properties\n")[3].split("```")[0]
block = block.replace("https://auth.example", issuer)
block = block.replace("=ID\n", f"={client_id}\n").replace("=SECRET\n", f"={client_secret}\n")
recipe = dict(line.split("=", 1) for line in block.splitlines())
# The broker above has no TLS.
recipe["security.protocol"] = "SASL_PLAINTEXT"
recipe["bootstrap.servers"] = f"127.0.0.1:{listener.getsockname()[1]}"
producer = Producer({**recipe, "error_cb": lambda error: errors.append(error.str())})
for _ in range(100):
    producer.poll(0.1)
    if tokens or errors:
        break
if not tokens:
    sys.exit("; ".join(errors) or "no token")
print(tokens[0])
