# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""A pseudo terminal for what people type to `sluice` and see of it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pyte

from sluice_api import find_program


class Screen:
    """`sluice` with these words on a terminal of its own, which pyte draws."""

    def __init__(self, path, *words, term="screen", size=(24, 120)):
        self.master, self.slave = pty.openpty()
        self.drawn = pyte.Screen(size[1], size[0])
        self.stream = pyte.ByteStream(self.drawn)
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        self.said = b""
        self.process = subprocess.Popen(
            [find_program("sluice"), "-s", str(path), *words], env={**os.environ, "TERM": term},
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # so that its keys make signals

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.drawn.resize(rows, columns)

    def read(self, seconds):
        """What comes within `seconds`."""
        said, end = b"", time.monotonic() + seconds
        while select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
            some = os.read(self.master, 1 << 16)
            self.stream.feed(some)
            said += some
        self.said += said
        return said

    def shows(self, text):
        return any(text in line for line in self.drawn.display)

    def expect(self, text, seconds=15):
        """Waits until `text` stands in a line of the screen."""
        end = time.monotonic() + seconds
        while not self.shows(text):
            assert time.monotonic() < end and self.process.poll() is None, (text, self.drawn.display)
            self.read(0.02)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def ended(self):
        """The exit status, the terminal being as it was."""
        end = time.monotonic() + 15
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.02)
        self.read(0.05)
        assert termios.tcgetattr(self.slave) == self.before
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
