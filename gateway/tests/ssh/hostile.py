# Clients that break the protocol, one by its name in the first argument. In: the server's address. Out: a line that says what became of the connection.
# What is sent in clear is bytes of our own; what is sent encrypted goes through paramiko's transport, below its checks.
import socket, struct, sys, threading, time

HOST = sys.argv[2]
PATIENCE = 25


def packet(payload, padding=None):
    size = padding if padding is not None else 8 - (5 + len(payload)) % 8
    size += 8 if padding is None and size < 4 else 0
    return struct.pack('>IB', 1 + len(payload) + size, size) + payload + b'\0' * size


def text(value):
    return struct.pack('>I', len(value)) + value


def kexinit(kex):
    lists = [kex, b'ssh-ed25519', b'aes128-gcm@openssh.com', b'aes128-gcm@openssh.com', b'hmac-sha2-256', b'hmac-sha2-256', b'none', b'none', b'', b'']
    return packet(b'\x14' + b'c' * 16 + b''.join(map(text, lists)) + b'\0' * 5)


def in_clear(*pieces):
    sock = socket.create_connection((HOST, 22), timeout=PATIENCE)
    try:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.1)
        sock.settimeout(10)
        seen = b''
        while chunk := sock.recv(65536):
            seen += chunk
            # The first packet after both sides' lists: KEX_ECDH_REPLY.
            if len(seen) > 21 and b'\x1f\0\0\0\x33\0\0\0\x0bssh-ed25519' in seen:
                return 'goes on'
        return 'cut'
    except ConnectionError:
        return 'cut'
    except socket.timeout:
        return 'waits'


IDENT = b'SSH-2.0-hostile\r\n'
CURVE = b'curve25519-sha256'
STRICT = b',kex-strict-c-v00@openssh.com'
ECDH = packet(b'\x1e' + text(b'\x09' + b'\0' * 31))
IGNORE = packet(b'\x02' + text(b''))
PLAIN = {
    'no-newline': [b'x' * 300],
    'old-version': [b'SSH-1.5-hostile\r\n'],
    'noise': [IDENT, bytes(range(7, 250)) * 4],
    'length-huge': [IDENT, struct.pack('>IB', 0xffffffff, 4) + b'\0' * 64],
    'length-zero': [IDENT, struct.pack('>IB', 0, 0) + b'\0' * 64],
    'padding-longer-than-packet': [IDENT, struct.pack('>IB', 12, 200) + b'\0' * 64],
    'kexinit-cut': [IDENT, packet(b'\x14' + b'c' * 16 + b'\0\0\xff\xff')],
    'newkeys-first': [IDENT, packet(b'\x15')],
    'login-in-clear': [IDENT, packet(b'\x32' + text(b'deploy') + text(b'ssh-connection') + text(b'none'))],
    'channel-in-clear': [IDENT, kexinit(CURVE), packet(b'\x5a' + text(b'session') + struct.pack('>III', 0, 1, 1))],
    'point-of-no-curve': [IDENT, kexinit(CURVE), packet(b'\x1e' + text(b'\x09' * 31))],
    # What the removal of packets at the start needs (CVE-2023-48795): a message too many before the keys.
    'prefix-strict': [IDENT, kexinit(CURVE + STRICT), IGNORE, ECDH],
    'prefix-of-old-clients': [IDENT, kexinit(CURVE), IGNORE, ECDH],
}


def transport(login=True, window=None):
    import logging, paramiko
    logging.disable(logging.CRITICAL)
    t = paramiko.Transport(socket.create_connection((HOST, 22), timeout=PATIENCE), default_window_size=window or 2097152)
    t.banner_timeout = t.handshake_timeout = t.auth_timeout = 60
    t.start_client(timeout=60)
    if login:
        t.auth_none('deploy')
    return t


def message(number, body):
    import paramiko
    m = paramiko.Message()
    m.add_byte(bytes([number]))
    m.add_bytes(body)
    return m


def sent(t, *messages):
    for m in messages:
        try:
            t._send_message(m)
        except Exception:
            return 'cut'
    end = time.time() + 8
    while t.is_active() and time.time() < end:
        time.sleep(0.05)
    return 'goes on' if t.is_active() else 'cut'


def held(t, *messages):
    """Sends all, or until nothing more is taken for five seconds, however slow the machine is."""
    count = [0]

    def send():
        for m in messages:
            t._send_message(m)
            count[0] += 1

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    before, since, end = 0, time.time(), time.time() + 80
    while sender.is_alive() and time.time() < end:
        time.sleep(0.1)
        if count[0] != before:
            before, since = count[0], time.time()
        elif time.time() - since > 5:
            return 'held'
    return 'taken' if count[0] == len(messages) else '%d of %d taken' % (count[0], len(messages))


def number(value):
    return struct.pack('>I', value)


def encrypted(name):
    if name == 'channel-before-login':
        return sent(transport(False), message(90, text(b'session') + number(0) + number(1 << 20) + number(32768)))
    if name == 'login-cut-short':
        return sent(transport(False), message(5, text(b'ssh-userauth')), message(50, b'\0\0\0\xff'))
    t = transport()
    if name == 'data-for-no-channel':
        return sent(t, message(94, number(77) + text(b'x' * 1000)))
    if name == 'confirms-what-nobody-opened':
        return sent(t, message(91, number(77) + number(1) + number(1) + number(1)))
    if name == 'request-cut-short':
        t.open_session()
        return sent(t, message(98, number(0) + b'\0\0\xff\xff'))
    if name == 'window-overflow':
        t.open_session()
        return sent(t, *[message(93, number(0) + number(0xffffffff))] * 3)
    if name == 'lists-of-keys-again-and-again':
        lists = [b'curve25519-sha256', b'ssh-ed25519', b'aes128-gcm@openssh.com', b'aes128-gcm@openssh.com', b'', b'', b'none', b'none', b'', b'']
        return sent(t, *[message(20, b'c' * 16 + b''.join(map(text, lists)) + b'\0' * 5)] * 50)
    if name == 'unknown-messages':
        return sent(t, *[message(199, b'x' * 1000)] * 200)
    if name == 'two-commands-on-a-channel':
        channel = t.open_session()
        channel.exec_command('sleep 1; echo one')
        try:
            channel.exec_command('echo two > /run/deploy/two')
        except Exception:
            return 'refused'
        return 'goes on'
    if name == 'channels':
        opened = 0
        channels = []
        for _ in range(300):
            try:
                channels.append(t.open_session(timeout=PATIENCE))
                opened += 1
            except Exception:
                pass
        return 'opened %d' % opened
    if name == 'keys-changed':
        channel = t.open_session()
        channel.exec_command('cat')
        for _ in range(40):
            channel.sendall(b'x' * 1000)
            t.renegotiate_keys()
        channel.shutdown_write()
        return 'read %d' % len(channel.makefile().read())
    if name == 'more-than-the-window':
        channel = t.open_session()
        channel.exec_command('sleep 34')
        # What is beyond the window is thrown away, or not taken: both bound it.
        return held(t, *[message(94, number(0) + text(b'x' * 32000))] * 5200).replace('held', 'taken')
    if name in ('requests-that-wait', 'channels-that-wait'):
        # Nothing at the server reads what is sent, so that nothing is taken here either.
        numbers = []
        for _ in range(1 if name == 'requests-that-wait' else 40):
            channel = t.open_session()
            channel.exec_command('sleep 34')
            numbers.append(number(channel.remote_chanid))
        data = [message(94, n + text(b'x' * 32000)) for n in numbers for _ in range(130)]
        if name == 'channels-that-wait':
            return held(t, *data).replace('held', 'taken')
        env = message(98, numbers[0] + text(b'env') + b'\0' + text(b'LANG') + text(b'x' * 30000))
        return held(t, *data, *[env] * 20000)
    if name == 'reads-nothing':
        t.close()
        t = transport(window=0x7fffffff)
        for _ in range(6):
            channel = t.open_session()
            channel.exec_command('head -c 400000000 /dev/zero')
        # Not even from the network: the transport's own thread is held.
        t.packetizer.read_message = lambda: time.sleep(3600)
        time.sleep(6)
        return 'held'
    return 'no such client'


name = sys.argv[1]
print(in_clear(*PLAIN[name]) if name in PLAIN else encrypted(name))
sys.stdout.flush()
import os
os._exit(0)
