"""Two gevent UDP sockets that copy datagrams: what this I/O costs at least.

usage: relay.py PORT NEXT_PORT, both on 127.0.0.1.  Knows one caller, the last one that sent something.
"""

from __future__ import annotations

import sys

import gevent
from gevent import socket

HOST = '127.0.0.1'


def copy(source: socket.socket, destination: socket.socket, last: dict[socket.socket, tuple[str, int]]) -> None:
    """Copy what arrives at ``source`` to the peer of ``destination``."""
    buffer = bytearray(65535)
    view = memoryview(buffer)
    while True:
        size, last[source] = source.recvfrom_into(buffer)
        address = last.get(destination)
        if address is not None:
            destination.sendto(view[:size], address)


def main(argv: list[str]) -> None:
    """Run until killed."""
    port, next_port = (int(word) for word in argv)
    caller, callee = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (caller, callee):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    callee.bind((HOST, 0))
    caller.bind((HOST, port))
    last = {callee: (HOST, next_port)}
    gevent.joinall([gevent.spawn(copy, caller, callee, last), gevent.spawn(copy, callee, caller, last)])


if __name__ == '__main__':
    main(sys.argv[1:])
