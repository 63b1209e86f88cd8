"""Opens 300 connections that never say a word, and one whose request never ends; prints what became of them."""
import select, socket, ssl, sys, time

to = (sys.argv[1], int(sys.argv[2]))
mute = [socket.create_connection(to, 20) for _ in range(300)]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
request = context.wrap_socket(socket.create_connection(to, 20))
request.sendall(b"POST /api/v1/namespaces/a/configmaps HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n")
deadline = time.monotonic() + 90
for one in mute:
    one.settimeout(max(1, deadline - time.monotonic()))
    # A reset is an end too.
    try:
        assert one.recv(1) == b""
    except ConnectionResetError:
        pass
print(f"{len(mute)} without a handshake: closed")
request.settimeout(1)
answer = b""
while time.monotonic() < deadline and not answer:
    try:
        request.sendall(b" ")
        answer = request.recv(4096)
    except TimeoutError:
        continue
print("a body that never ends:", answer.decode())
