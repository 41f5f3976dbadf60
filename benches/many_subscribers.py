#!/usr/bin/env python3
"""What nine thousand followers cost: benches/many_subscribers.py [PROGRAM [FOLLOWERS [SECONDS]]]

Starts the simulated Proxmox VE and the service, follows its events from this process, one in a hundred without ever
reading, takes and gives back sandboxes meanwhile, and checks that every reader got every event once and in order.
Times are from an event's decision until this process has read it, so this process's own slowness is in them.
"""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else "target/release/sandbox-pool"
FOLLOWERS = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 60
TOKEN = "sandbox@pve!pool=5a1b0c3d-0000-4000-8000-00000000demo"


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def ask(path, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def until(look):
    for _ in range(600):
        try:
            if look():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("waited a minute in vain")


def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def follow(position, reads):
    it = socket.socket()
    if not reads:
        it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    it.connect(("127.0.0.1", PORT))
    it.sendall(f"GET /events?after={position} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    it.setblocking(False)
    return it


class Follower:
    """Takes the frames of one stream apart: what chunked transfer puts between them has no line with `data: `."""

    __slots__ = ("socket", "rest", "last", "count")

    def __init__(self, it, last):
        self.socket, self.rest, self.last, self.count = it, b"", last, 0

    def read(self, times):
        got = self.socket.recv(65536)
        if not got:
            sys.exit("the service ended a stream")
        now = time.time()
        *lines, self.rest = (self.rest + got).split(b"\n")
        own = False
        for line in lines:
            if line.startswith(b"event: "):
                own = line.startswith(b"event: stream.")
                if line.startswith(b"event: stream.reset"):
                    sys.exit("a stream was reset")
            elif line.startswith(b"data: ") and not own:
                seq = int(line[13 : line.index(b",", 13)])
                if seq != self.last + 1:
                    sys.exit(f"event {seq} came after {self.last}")
                self.last, self.count = seq, self.count + 1
                if seq % 4 == 0:
                    at = line.index(b'"at":"') + 6
                    times.append((now, line[at : at + 24]))


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
data = tempfile.TemporaryDirectory()
pve, PORT = free_port(), free_port()
URL = f"http://127.0.0.1:{PORT}"
settings = {
    "PVE_API_URL": f"http://127.0.0.1:{pve}", "PVE_API_TOKEN": TOKEN, "POOL_DATA_DIR": data.name,
    "POOL_LISTEN": f"127.0.0.1:{PORT}", "POOL_TEMPLATES": "9009:target=3:max=6", "POOL_LOG_LEVEL": "error",
}
quiet = {"stdout": subprocess.DEVNULL}
sim = subprocess.Popen([PROGRAM, "sim", "--listen", f"127.0.0.1:{pve}"], **quiet)
service = subprocess.Popen([PROGRAM, "serve"], env={**os.environ, **settings}, **quiet)
try:
    until(lambda: ask("/ready"))
    until(lambda: ask("/status")["total_ready"] >= 3)
    start = ask("/status")["head"]
    before = rss(service.pid)
    silent = [follow(start, False) for _ in range(FOLLOWERS // 100)]
    readers = {}
    poll = select.epoll()
    for _ in range(FOLLOWERS - len(silent)):
        it = Follower(follow(start, True), start)
        readers[it.socket.fileno()] = it
        poll.register(it.socket, select.EPOLLIN)

    going = True

    def use():
        while going:
            got = ask("/allocate?start=false", "POST", {"template_vmid": 9009})
            ask(f"/release/{got['vmid']}", "POST")
            # Not more than this process can read.
            time.sleep(FOLLOWERS / 3000)

    times, end, user = [], time.time() + SECONDS, threading.Thread(target=use)
    user.start()
    head = None
    while True:
        for number, _ in poll.poll(0.5):
            readers[number].read(times)
        if going and time.time() > end:
            going, during = False, rss(service.pid)
            user.join()
            time.sleep(1)
            head = ask("/status")["head"]
        if head and all(it.last >= head for it in readers.values()):
            break
        if time.time() > end + 120:
            sys.exit("a reader did not get everything")
    waits = sorted(now - datetime.fromisoformat(at.decode().replace("Z", "+00:00")).timestamp() for now, at in times)
    events = head - start
    print(f"{len(readers)} readers got {events} events each once and in order, {len(silent)} never read;")
    print(f"{events / SECONDS:.1f} events/s, {events * len(readers) / SECONDS:.0f} deliveries/s")
    print(f"memory: {before / 1e6:.0f} MB before, {during / 1e6:.0f} MB with them: {(during - before) / FOLLOWERS / 1000:.1f} kB each")
    print("delivery: " + ", ".join(f"p{p} {waits[len(waits) * p // 100] * 1000:.0f} ms" for p in (50, 90, 99)))
finally:
    for it in (service, sim):
        it.send_signal(signal.SIGTERM)
    for it in (service, sim):
        it.wait()
    data.cleanup()
