# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""proxy_server.py PORT: a backend that insists on the PROXY protocol's header, version 2, and speaks first.
TCP: reads the header, says who the client is, then obeys "put N" (reads N bytes, says their SHA-256) and
"get N" (sends N bytes, then their SHA-256). UDP: reads the header of every datagram, and says who the
client is and the SHA-256 of the rest."""
import hashlib
import os
import socket
import struct
import sys
import threading

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TURN = 1 << 16


def header_length(start):
    """Of the whole header, from its first 16 bytes."""
    if start[:12] != SIGNATURE or start[12] != 0x21:
        raise ValueError(f"no header: {start!r}")
    return 16 + struct.unpack("!H", start[14:16])[0]


def read_header(header, kind):
    """What it says: "client port service port". `kind`: 1 for TCP, 2 for UDP."""
    layout, family = {0x10: ("!4s4sHH", socket.AF_INET), 0x20: ("!16s16sHH", socket.AF_INET6)}[header[13] & 0xf0]
    if header[13] & 0xf != kind or len(header) != 16 + struct.calcsize(layout):
        raise ValueError(f"wrong kind or length: {header!r}")
    client, service, client_port, service_port = struct.unpack(layout, header[16:])
    return f"{socket.inet_ntop(family, client)} {client_port} {socket.inet_ntop(family, service)} {service_port}"


def obey(connection, file, command, size):
    digest = hashlib.sha256()
    while size > 0:
        if command == "put":
            data = file.read(min(size, TURN))
            if not data:
                raise EOFError
        else:
            data = os.urandom(min(size, TURN))
            connection.sendall(data)
        digest.update(data)
        size -= len(data)
    connection.sendall(digest.hexdigest().encode() + b"\n")


def serve(connection):
    try:
        with connection, connection.makefile("rb") as file:
            start = file.read(16)
            said = read_header(start + file.read(header_length(start) - 16), 1)
            connection.sendall(f"{said} {connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}\n".encode())
            for line in file:
                command, size = line.split()
                obey(connection, file, command.decode(), int(size))
    except (OSError, EOFError, ValueError) as error:
        print(f"connection: {error}", flush=True)


def serve_datagrams(server):
    while True:
        data, peer = server.recvfrom(65536)
        try:
            n = header_length(data)
            digest = hashlib.sha256(data[n:]).hexdigest()
            server.sendto(f"{read_header(data[:n], 2)} {digest}".encode(), peer)
        except (OSError, ValueError, IndexError) as error:
            print(f"datagram: {error}", flush=True)


def open_socket(kind):
    server = socket.socket(socket.AF_INET6, kind)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", int(sys.argv[1])))
    return server


listener = open_socket(socket.SOCK_STREAM)
listener.listen(256)
threading.Thread(target=serve_datagrams, args=(open_socket(socket.SOCK_DGRAM),), daemon=True).start()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
