"""The real program under scripts: a simulated PVE, the service, and what is asked of both.

For the scripts in this folder; the standard library only. Nothing here asserts anything by itself.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("SANDBOX_POOL", ROOT / "target/debug/sandbox-pool"))
TOKEN = "sandbox@pve!pool=5a1b0c3d-0000-4000-8000-00000000demo"
# Another of the simulated PVE's, which may only look: what it asks is not held against the service.
AUDITOR = "auditor@pve!eyes=5a1b0c3d-0000-4000-8000-00000000eyes"
TEMPLATE = 9009
# The demo's own guests, which nobody may touch.
STRANGERS = {100, 101, 200, 9009, 9010}


def build():
    """Builds the program, unless SANDBOX_POOL names one."""
    if "SANDBOX_POOL" not in os.environ:
        subprocess.run(["cargo", "build", "--locked", "--quiet"], cwd=ROOT, check=True)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ask(port, method, path, body=None, headers=None, timeout=150.0):
    """One request; the status, the headers and the JSON. OSError or HTTPException without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = dict(headers or {})
        if body is not None:
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        try:
            value = json.loads(text)
        except ValueError:
            value = text.decode(errors="replace")
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), value
    finally:
        connection.close()


GONE = (OSError, http.client.HTTPException)


class Process:
    """A process that ends with its `with`."""

    def __init__(self, command, env=None, output=None):
        self.command = [str(part) for part in command]
        self.output = open(output, "ab") if output else subprocess.DEVNULL
        environment = {"PATH": os.environ["PATH"], **(env or {})}
        self.child = subprocess.Popen(
            self.command, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait()

    def end(self, timeout=60):
        """Tells it to stop; the exit code."""
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout)


class Pve:
    """`sandbox-pool sim`."""

    def __init__(self, work, hurry=1, trouble=0):
        self.port = free_port()
        self.said = Path(work) / "pve.txt"
        options = ["--listen", f"127.0.0.1:{self.port}", "--hurry", hurry, "--trouble", trouble]
        self.process = Process([PROGRAM, "sim", *options], output=self.said)
        wait_for("the simulated PVE", lambda: listens(self.port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()

    def get(self, path):
        headers = {"Authorization": f"PVEAPIToken={AUDITOR}"}
        status, _, value = ask(self.port, "GET", f"/api2/json{path}", headers=headers)
        return value["data"] if status == 200 else None

    def containers(self):
        """Hostname of every container that is not the demo's own, by VMID."""
        rows = self.get("/cluster/resources?type=vm") or []
        found = {}
        for vmid in sorted(row["vmid"] for row in rows):
            config = None if vmid in STRANGERS else self.get(f"/nodes/pve1/lxc/{vmid}/config")
            if config:
                found[vmid] = config.get("hostname")
        return found

    def verdict(self):
        """Ends it; what its client did that a good one does not, as text."""
        code = self.process.end()
        return "" if code == 0 else self.said.read_text()


class Pool:
    """`sandbox-pool serve` over one data directory; it may be started again and again."""

    def __init__(self, work, pve_port, settings=None, data_dir=None):
        self.work = Path(work)
        self.data_dir = Path(data_dir or self.work / "data")
        self.port = free_port()
        self.said = self.work / "pool.txt"
        self.settings = {
            "PVE_API_URL": f"http://127.0.0.1:{pve_port}",
            "PVE_API_TOKEN": TOKEN,
            "POOL_LISTEN": f"127.0.0.1:{self.port}",
            "POOL_DATA_DIR": str(self.data_dir),
            "POOL_TEMPLATES": str(TEMPLATE),
            **(settings or {}),
        }
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()

    def start(self, under=(), ready=True):
        self.process = Process([*under, PROGRAM, "serve"], self.settings, self.said)
        if ready:
            self.wait_until_it_answers()
        return self

    def wait_until_it_answers(self):
        def answers():
            if not self.process.alive():
                raise Failed(f"it ended with {self.process.child.returncode}: {self.tail()}")
            try:
                return ask(self.port, "GET", "/health", timeout=5)[0] == 200
            except GONE:
                return False

        wait_for("the service", answers)

    def tail(self, lines=5):
        return "\n".join(self.said.read_text(errors="replace").splitlines()[-lines:]) if self.said.exists() else ""

    def ask(self, method, path, body=None, **more):
        return ask(self.port, method, path, body, **more)

    def allocate(self, instance, start=True, **more):
        body = {"template_vmid": TEMPLATE, "instance_id": instance, "metadata": {"teamId": "t", "userId": instance}}
        return self.ask("POST", f"/allocate?start={str(start).lower()}", body, **more)

    def rows(self):
        return {row["vmid"]: row for row in self.ask("GET", "/containers")[2]["containers"]}

    def is_settled(self, target):
        """Nobody waits, nothing is under way, and inventory is at its target."""
        status, _, value = self.ask("GET", "/status")
        if status != 200:
            return False
        states = [row["state"] for row in self.rows().values()]
        ready = states.count("ready")
        return ready >= target and value["clone_queue_length"] == 0 and set(states) <= {"ready", "allocated"}

    def check_held(self, acked, what):
        """Each instance has the container that was acknowledged to it."""
        rows = self.rows()
        for instance, vmid in acked.items():
            row = rows.get(vmid)
            check(row and row["allocated_to"] == instance, f"{what}: {vmid} of {instance} is {row}")

    def remove_all(self):
        """Takes every container away, for whoever comes next at the same PVE."""
        for vmid in self.rows():
            self.ask("DELETE", f"/containers/{vmid}")

    def verify(self):
        """`log verify`: nothing, or what is wrong."""
        command = [PROGRAM, "log", "verify", "--data-dir", self.data_dir]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr or done.stdout


class Failed(Exception):
    """A promise is broken, or something never came."""


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what, reached, patience=120.0):
    """Waits until something is so."""
    end = time.monotonic() + patience
    while not reached():
        if time.monotonic() > end:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.02)


def check(holds, words):
    if not holds:
        raise Failed(words)


class Workspace:
    """A directory that is removed when all went well, and named when not."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="sandbox-pool-"))
        return self.path

    def __exit__(self, kind, *_):
        if kind is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            print(f"what was left: {self.path}", file=sys.stderr)


def log_lines(data_dir):
    """Every line of the log's records, in order."""
    for path in sorted(Path(data_dir).glob("log-*.jsonl")):
        yield from path.read_bytes().splitlines()[1:]


def resident_bytes(pid):
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    # A process that ended has none.
    return int(found.group(1)) * 1024 if found else 0


def in_threads(jobs):
    """Runs all at once and waits for their ends."""
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def main(body):
    """Runs a script; a broken promise is one line and exit code 1."""
    try:
        build()
        body()
    except Failed as failed:
        print(f"FAIL  {failed}", file=sys.stderr)
        sys.exit(1)
