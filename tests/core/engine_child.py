"""A stand-in for vLLM as a process: serves /health on a Unix socket, and misbehaves when told to.

    python engine_child.py SOCKET [WISH ...]

Wishes: `load=SECONDS` before it listens; `crash=SECONDS` after it listens, with status 3; `refuse` ends at once with a
reason; `deaf` ignores SIGTERM; `child` starts a grandchild in a session of its own that ignores SIGTERM, too; `sick`
answers 503 from the second question on; `pids=FILE` writes the process ids of itself and the grandchild there.
"""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

GRANDCHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """http.server wants a host name of its server; a socket file has none."""

    daemon_threads = True
    sick = False
    asked = 0


class Health(BaseHTTPRequestHandler):
    """GET /health, as vLLM answers it."""

    def do_GET(self) -> None:
        assert isinstance(self.server, UnixServer)
        self.server.asked += 1
        self.send_response(503 if self.server.sick and self.server.asked > 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # the base class's name
        """Silent, as vLLM is with --disable-uvicorn-access-log."""


def main(socket: str, wishes: dict[str, str]) -> None:
    if "deaf" in wishes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pids = [os.getpid()]
    if "child" in wishes:
        grandchild = subprocess.Popen(
            [sys.executable, "-S", "-c", GRANDCHILD], start_new_session=True, stdout=subprocess.PIPE
        )
        assert grandchild.stdout is not None
        grandchild.stdout.readline()
        pids.append(grandchild.pid)
    if "pids" in wishes:
        whole = Path(wishes["pids"] + ".part")
        whole.write_text(" ".join(str(pid) for pid in pids))
        whole.rename(wishes["pids"])
    print("loading weights\r50 %\rdone", flush=True)
    if "refuse" in wishes:
        sys.exit("ValueError: the model is no good")
    time.sleep(float(wishes.get("load", "0")))
    with UnixServer(socket, Health) as server:
        server.sick = "sick" in wishes
        if "crash" in wishes:
            threading.Timer(float(wishes["crash"]), os._exit, [3]).start()
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], {name: value for name, _, value in (wish.partition("=") for wish in sys.argv[2:])})
