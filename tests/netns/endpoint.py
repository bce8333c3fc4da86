# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""A UDP socket that does what it is told by lines on its standard input, and answers each by a line of JSON.

    bind ADDR PORT          [addr, port]
    send ADDR PORT TEXT     true, or the error's name
    receive                 [text, addr, port], null after two seconds, or the error's name
"""
import errno
import json
import socket
import sys

sock = None


def name_of(error):
    return errno.errorcode.get(error.errno, str(error))


def do(verb, *words):
    global sock
    if verb == "bind":
        sock = socket.socket(socket.AF_INET6 if ":" in words[0] else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((words[0], int(words[1])))
        sock.settimeout(2)
        # IP_RECVERR, IPV6_RECVERR: errors come also to a socket that is not connected.
        sock.setsockopt(*((socket.IPPROTO_IPV6, 25) if ":" in words[0] else (socket.IPPROTO_IP, 11)), 1)
        return list(sock.getsockname()[:2])
    try:
        if verb == "send":
            text = words[2] if len(words) > 2 else ""
            sock.sendto(text.encode(), (words[0], int(words[1])))
            return True
        data, peer = sock.recvfrom(65536)
        return [data.decode(), *peer[:2]]
    except socket.timeout:
        return None
    except OSError as error:
        return name_of(error)


for line in sys.stdin:
    print(json.dumps(do(*line.split())), flush=True)
