# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Chromium without a window, led over its DevTools protocol: JSON between zero bytes, on two pipes.

What was asked for and not kept back, and what the browser complained of, is in Browser.urls and Browser.complaints."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time


class Browser:
    """One browser with one page. `within`: words that its command follows, such as those of ip netns exec."""

    def __init__(self, width=1280, height=800, within=()):
        self.folder = tempfile.mkdtemp(prefix="sluice-browser-")
        self.id = 0
        self.buffer = b""
        self.asked, self.complaints = {}, []
        self.session = None
        self.process = self.start(within)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def start(self, within):
        to_browser, self.output = os.pipe()
        self.input, from_browser = os.pipe()

        def keep_pipes():
            # It reads from descriptor 3 and writes to 4.
            read, write = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read, 3)
            os.dup2(write, 4)

        words = [*within, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
                 "--hide-scrollbars", "--font-render-hinting=none", "--remote-debugging-pipe", f"--user-data-dir={self.folder}",
                 # No name is asked for: pages of this host alone.
                 "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        process = subprocess.Popen(words, close_fds=False, preexec_fn=keep_pipes, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, "HOME": self.folder})
        os.close(to_browser)
        os.close(from_browser)
        return process

    def message(self, end):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.input], [], [], max(0, end - time.monotonic()))
            data = os.read(self.input, 1 << 20) if ready else b""
            assert data, "the browser says nothing" if not ready else "the browser has ended"
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def note(self, event):
        what = event.get("params", {})
        method = event.get("method")
        if method == "Network.requestWillBeSent":
            self.asked[what["requestId"]] = what["request"]["url"]
        elif method == "Network.loadingFailed" and what.get("blockedReason"):
            self.asked.pop(what["requestId"], None)
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(what["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(what["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(what["entry"]["text"])

    @property
    def urls(self):
        return list(self.asked.values())

    def call(self, method, seconds=60, **params):
        self.id += 1
        message = {"id": self.id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + seconds
        while True:
            answer = self.message(end)
            if answer.get("id") == self.id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.note(answer)

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 720)

    def prefer(self, scheme):
        """light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, expression):
        """What a script's expression, or promise, gives."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression, seconds=30):
        """Waits until the expression gives something true; that."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(expression)
            if value:
                return value
            assert time.monotonic() < end, f"{expression}: {value}; on the page: {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, key):
        """A key as the keyboard sends it, to what has the focus."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"windowsVirtualKeyCode": 13} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def picture(self):
        """PNG of what is seen."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"])

    def stop(self):
        with contextlib.suppress(OSError):
            os.close(self.output)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        os.close(self.input)
        shutil.rmtree(self.folder, ignore_errors=True)
