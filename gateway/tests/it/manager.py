# A service manager as far as descriptors go (sd_pid_notify_with_fds(3), sd_listen_fds(3)). In: where it listens, and a
# command. Out: `started PID`, `ready` and `ended`; it starts the command anew for each line that it reads.
import fcntl, os, select, socket, sys

path, command = sys.argv[1], sys.argv[2:]
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.bind(path)
held, stored = {}, 0


def say(text):
    print(text, flush=True)


def start():
    pid = os.fork()
    if pid == 0:
        high = [fcntl.fcntl(held[name], fcntl.F_DUPFD, 500) for name in held]
        for number, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + number)
        os.closerange(3 + len(high), 1000)
        listening = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": ":".join(held)}
        os.execve(command[0], command, {**os.environ, **listening, "NOTIFY_SOCKET": path})
    say(f"started {pid}")
    return pid


def noticed():
    global stored
    text, descriptors, _, _ = socket.recv_fds(notices, 4096, 4)
    lines = dict(line.split("=", 1) for line in text.decode().split("\n") if line)
    if "FDSTORE" in lines:
        held[lines["FDNAME"]] = descriptors[0]
        stored += 1
    elif "FDSTOREREMOVE" in lines:
        os.close(held.pop(lines["FDNAME"]))
    elif "READY" in lines:
        say(f"ready {stored}")
        stored = 0


pid = start()
while True:
    readable, _, _ = select.select([notices, sys.stdin], [], [], 0.02)
    if notices in readable:
        noticed()
    elif pid and os.waitpid(pid, os.WNOHANG)[0]:
        pid = None
        say("ended")
    elif sys.stdin in readable:
        if not sys.stdin.readline():
            break
        pid = start()
