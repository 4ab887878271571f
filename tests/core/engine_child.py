"""A stand-in for vLLM as a process: serves /health, /metrics and a token on a Unix socket, and misbehaves when told to.

    python engine_child.py SOCKET [WISH ...]

Wishes: `load=SECONDS` before it listens; `crash=SECONDS` after it listens, with status 3 and the words in the file of
`last=`; `refuse` ends at once with a reason; `deaf` ignores SIGTERM; `child` starts a grandchild in a session of its
own that ignores SIGTERM, too; `sick` answers 503 from the second question on; `pids=FILE` writes the process ids of
itself and the grandchild there; `say=FILE` prints that file and ends with status 1; `kill=FILE` writes there that the
kernel killed once more, and is gone by SIGKILL; `mute` makes no token; `reading` neither, but its other numbers move;
`writing` makes five between two looks; `broken` answers each call with 500; `unmeasured` has no /metrics. It prints
`looked` and `asked` when it is.
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
    wishes: dict[str, str]
    asked = looked = made = 0


class Answers(BaseHTTPRequestHandler):
    """The three addresses, as vLLM answers them."""

    server: UnixServer

    def do_GET(self) -> None:
        server, wishes = self.server, self.server.wishes
        if self.path == "/metrics":
            print("looked", flush=True)
            server.looked += 1
            made = server.made + (5 * server.looked if "writing" in wishes else 0)
            used = server.looked if "reading" in wishes else 0
            text = f'vllm:generation_tokens_total{{engine="0"}} {made}.0\nvllm:kv_cache_usage_perc 0.{used}\n'
            self.answer(*((404, "") if "unmeasured" in wishes else (200, f"process_seconds {time.time()}\n{text}")))
        else:
            server.asked += 1
            self.answer(503 if "sick" in wishes and server.asked > 1 else 200, "")

    def do_POST(self) -> None:
        assert self.path == "/v1/completions"
        assert b'"max_tokens": 1' in self.rfile.read(int(self.headers["Content-Length"]))
        print("asked", flush=True)
        if {"mute", "reading"} & self.server.wishes.keys():
            threading.Event().wait()
        self.server.made += 1
        self.answer(500 if "broken" in self.server.wishes else 200, "{}")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # the base class's name
        """Silent, as vLLM is with --disable-uvicorn-access-log."""


def crash(wishes: dict[str, str]) -> None:
    if "last" in wishes:
        print(Path(wishes["last"]).read_text(), flush=True)
    os._exit(3)


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
    print("with", *sys.argv[-2:], flush=True)
    if "refuse" in wishes:
        sys.exit("ValueError: the model is no good")
    if "say" in wishes:
        print(Path(wishes["say"]).read_text(), flush=True)
        sys.exit(1)
    if "kill" in wishes:
        Path(wishes["kill"]).write_text("oom 1\noom_kill 1\n")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(wishes.get("load", "0")))
    with UnixServer(socket, Answers) as server:
        server.wishes = wishes
        if "crash" in wishes:
            threading.Timer(float(wishes["crash"]), crash, [wishes]).start()
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], {name: value for name, _, value in (wish.partition("=") for wish in sys.argv[2:])})
