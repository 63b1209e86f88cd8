#!/usr/bin/python3
"""A real ClickHouse on loopback, out of the shared library of its engine.

    clickhouse.py LIBRARY DIRECTORY PORT [with-parent]

In: libchdb.so, a folder for all it keeps, a free port. Out: HTTP on 127.0.0.1:PORT until it is killed, or, `with-parent`,
until its standard input ends. Its users are those of DIRECTORY/config.xml where there is one; else `default` may do all,
without a password. It must never listen beyond this host.
"""
import ctypes
import os
import sys
import threading

SERVE = "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM system.numbers FORMAT Null SETTINGS max_block_size = 1"


def end_with_parent():
    while os.read(0, 4096):
        pass
    # The engine's call below never returns: nothing to unwind.
    os._exit(0)


library, directory, port = sys.argv[1:4]
if sys.argv[4:] == ["with-parent"]:
    threading.Thread(target=end_with_parent, daemon=True).start()
data = os.path.join(directory, "data")
os.makedirs(data, exist_ok=True)
config = os.path.join(directory, "config.xml")
arguments = ["clickhouse", f"--path={data}", f"--http_port={port}", "--listen_host=127.0.0.1"]
if os.path.exists(config):
    arguments.append(f"--config-file={config}")
arguments.append(f"--query={SERVE}")
engine = ctypes.CDLL(library)
engine.query_stable_v2.restype = ctypes.c_void_p
engine.query_stable_v2(len(arguments), (ctypes.c_char_p * len(arguments))(*[word.encode() for word in arguments]))
sys.exit("ClickHouse ended: see what it said above")
