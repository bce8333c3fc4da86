# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Starts sluice-memory and sluiced in a temporary folder and speaks JSON-RPC to the latter."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", "build"))


def find_program(name):
    """The program in the build folder, wherever the build put it below."""
    for path in [BUILD / name, *sorted(BUILD.glob(f"**/{name}"))]:
        if path.is_file() and os.access(path, os.X_OK):
            return str(path.resolve())
    raise FileNotFoundError(f"{name}: not in {BUILD.resolve()}; set SLUICE_BUILD")


class Refused(Exception):
    """An error object of the API."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]
        self.message = error["message"]
        self.data = error.get("data", {})


class Connection:
    """One connection to control.sock."""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.buffer = b""
        self.id = 0

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next answer, or None at the end of the connection."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def call(self, method, **params):
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}
        self.send(json.dumps(request).encode() + b"\n")
        answer = self.line()
        if answer is None:
            raise ConnectionError("closed without an answer")
        if "error" in answer:
            raise Refused(answer["error"])
        assert answer["id"] == self.id
        return answer["result"]


class Sluice:
    """A dataplane and a daemon in one folder."""

    def __init__(self, folder, config="services: []\n"):
        self.run_dir = folder / "run"
        self.state_dir = folder / "state"
        self.config = folder / "sluice.yaml"
        self.log = folder / "log"
        for path in (self.run_dir, self.state_dir):
            path.mkdir(mode=0o755, exist_ok=True)
        self.config.write_text(self.preamble() + config)
        self.programs = {}

    def preamble(self):
        return f"run_dir: {self.run_dir}\ndataplane:\n  ports:\n    - vdev: net_null0\n"

    def write_services(self, text):
        self.config.write_text(self.preamble() + text)

    def start(self, name, *arguments):
        command = [find_program(name), "-c", str(self.config), *arguments]
        with open(self.log, "ab") as log:
            self.programs[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def start_dataplane(self):
        self.start("sluice-memory")

    def start_daemon(self, *arguments):
        user = ["--user", "root"] if os.geteuid() == 0 else []
        self.start("sluiced", "--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir),
                   *user, *arguments)

    def kill(self, name, number=signal.SIGKILL):
        program = self.programs.pop(name)
        program.send_signal(number)
        return program.wait(timeout=30)

    def connect(self, seconds=20, **options):
        """A connection, as soon as the daemon serves the socket."""
        end = time.monotonic() + seconds
        while True:
            try:
                return Connection(self.run_dir / "control.sock", **options)
            except OSError:
                daemon = self.programs.get("sluiced")
                if time.monotonic() > end or (daemon and daemon.poll() is not None):
                    raise AssertionError(f"sluiced is not there:\n{self.log.read_text()}")
                time.sleep(0.01)

    def await_step(self, connection=None, seconds=20):
        """Waits until the dataplane holds the daemon's state; the status."""
        connection = connection or self.connect()
        end = time.monotonic() + seconds
        while True:
            status = connection.call("status")
            if status["in_step"] and status["digest"] == status["dataplane_digest"]:
                return status
            assert time.monotonic() < end, f"not in step: {status}\n{self.log.read_text()}"
            time.sleep(0.02)

    def stop(self):
        for name in list(self.programs):
            program = self.programs.pop(name)
            program.terminate()
            try:
                program.wait(timeout=10)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


class Metrics(Sluice):
    """Serving metrics on a port of its own."""

    def preamble(self):
        self.port = getattr(self, "port", None) or free_port()
        return super().preamble() + f"metrics: {{listen: 127.0.0.1:{self.port}}}\n"

    def get(self, path="/metrics", method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, body

    def samples(self):
        status, _, body = self.get()
        assert status == 200
        found = [re.fullmatch(r"(sluice_[a-z0-9_]+(?:\{[^}]*\})?) (\S+)", line)
                 for line in body.splitlines() if not line.startswith("#")]
        assert all(found), body
        return {match[1]: float(match[2]) for match in found}

    def fresh(self, name, value, seconds=20):
        """Waits for a sample: a text is good for a second."""
        end = time.monotonic() + seconds
        while self.samples().get(name) != value:
            assert time.monotonic() < end, f"{name} is not {value}: {self.samples().get(name)}"
            time.sleep(0.1)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def running(instance):
    """Both programs of a Sluice, up and in step; what they leave is stopped at the end."""
    try:
        instance.start_dataplane()
        instance.start_daemon()
        instance.await_step()
        yield instance
    finally:
        instance.stop()
