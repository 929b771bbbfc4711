"""A DNS server on the loopback, for tests of what looks names up.

    with NameServer() as dns:
        dns.add('_sip._udp.example.com. 60 IN SRV 0 60 5060 a.example.com.', 'a.example.com. 60 IN A 127.0.0.1')
        ua = UserAgent(resolver=dns.resolver())

It answers over UDP and TCP on one port, and can be made to fail in the ways in which servers do.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import gevent
from gevent import socket

from greensip.transport.clock import Clock
from greensip.transport.locating import RandomBits
from greensip.transport.resolver import SystemResolver

if TYPE_CHECKING:
    import dns.message

__all__ = ['NameServer']

#: ports that are tried before it is given up to find one that is free for UDP and TCP
ATTEMPTS = 20


class NameServer:
    """Serves what ``add`` was given until it is closed; its greenlets run from the beginning.

    ``records`` are the lines of text by name and type.  ``failing`` are response codes by name and type, such as
    ``SERVFAIL``, and ``rcode`` is the one for all others.  ``edns=False``: it has never heard of EDNS (RFC 6891 7).
    ``silent``: True, or the types of record for which no answer is sent.  ``truncate``: over UDP only that there is
    more.  ``soa``: the zone's, which says for how long "there is no such name" is kept (RFC 2308).  ``follow=False``:
    an alias is all that is said of a name that has one.  ``noise``: datagrams sent before each answer.  ``asked`` is
    what was asked, in order.
    """

    def __init__(self, address: tuple[str, int] = ('127.0.0.1', 0)) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing: dict[tuple[str, str], str] = {}
        self.rcode = 'NOERROR'
        self.edns = True
        self.silent: bool | Iterable[str] = False
        self.truncate = False
        self.follow = True
        self.soa = ''
        self.noise: list[bytes] = []
        self.asked: list[tuple[str, str]] = []
        self._datagrams, self._streams = bind_both(address)
        #: where it listens
        self.address: tuple[str, int] = self._datagrams.getsockname()
        self._greenlets = [gevent.spawn(self._serve_datagrams), gevent.spawn(self._serve_streams)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving.  Does not block for longer than its greenlets take to end."""
        gevent.killall(self._greenlets)
        self._datagrams.close()
        self._streams.close()

    def add(self, *lines: str) -> None:
        """Add records as a zone file has them: ``name TTL IN TYPE data``, names complete, with their final dot."""
        for line in lines:
            name, _, _, kind, _ = line.split(None, 4)
            self.records.setdefault((name.lower(), kind), []).append(line)

    def resolver(self, clock: Clock | None = None, *, timeout: float = 2.0, random: RandomBits | None = None,
                 hosts: str = '', configuration: str = '') -> SystemResolver:
        """A resolver that asks this server only; without a hosts file and search domains unless they are named."""
        return SystemResolver(clock, hosts=hosts, configuration=configuration, servers=[self.address], timeout=timeout,
                              random=random)

    # -- serving

    def _serve_datagrams(self) -> None:
        import dns.flags
        import dns.message

        while True:
            data, client = self._datagrams.recvfrom(4096)
            query = dns.message.from_wire(data)
            for noise in self.noise:
                self._datagrams.sendto(noise, client)
            response = self._answer(query)
            if response is None:
                continue
            if self.truncate:
                response = dns.message.make_response(query)
                response.flags |= dns.flags.TC
            self._datagrams.sendto(response.to_wire(), client)

    def _serve_streams(self) -> None:
        import dns.message

        while True:
            stream, _ = self._streams.accept()
            with stream:
                size, = struct.unpack('!H', stream.recv(2))
                response = self._answer(dns.message.from_wire(stream.recv(size)))
                if response is None:
                    continue
                wire = response.to_wire(max_size=65535)
                # in pieces, as streams come
                for octet in struct.pack('!H', len(wire)) + wire:
                    stream.send(bytes([octet]))

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        import dns.message
        import dns.rcode
        import dns.rdatatype
        import dns.rrset

        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        key = question.name.to_text().lower(), kind
        self.asked.append(key)
        if self.silent is True or (self.silent and kind in self.silent):
            return None
        response = dns.message.make_response(query)
        rcode = self.failing.get(key, self.rcode)
        if query.edns >= 0 and not self.edns:
            rcode = 'FORMERR'
        response.set_rcode(dns.rcode.from_text(rcode))
        if rcode != 'NOERROR':
            return response
        self._fill(response, key)
        if not response.answer:
            if all(name != key[0] for name, _ in self.records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            if self.soa:
                name, ttl, value = self.soa.split(None, 2)
                response.authority.append(dns.rrset.from_text(name, int(ttl), 'IN', 'SOA', value))
        return response

    def _fill(self, response: dns.message.Message, key: tuple[str, str]) -> None:
        """The records of a name, and its aliases as far as we know them."""
        import dns.rrset

        name, kind = key
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            lines = self.records.get((name, kind)) or self.records.get((name, 'CNAME')) or []
            for line in lines:
                owner, ttl, class_, type_, value = line.split(None, 4)
                response.answer.append(dns.rrset.from_text(owner, int(ttl), class_, type_, value))
            if not lines or lines[0].split()[3] != 'CNAME' or kind == 'CNAME' or not self.follow:
                return
            name = lines[0].split()[4].lower()


def bind_both(address: tuple[str, int]) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port; with port 0 on one that is free for both.  Raises OSError."""
    for attempt in range(ATTEMPTS):
        datagrams, streams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            datagrams.bind(address)
            streams.bind(datagrams.getsockname())
            streams.listen()
        except OSError:
            datagrams.close()
            streams.close()
            if address[1] or attempt == ATTEMPTS - 1:
                raise
        else:
            return datagrams, streams
    raise AssertionError
