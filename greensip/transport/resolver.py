"""Names to addresses without blocking anybody else: the hosts file, then the DNS, A and AAAA.

``locate`` answers the question of RFC 3263, where a next hop is, in the linear code of the greenlet that asks.  So far
that is section 4.2 for a hop with a port, or without NAPTR and SRV records: addresses of the host itself.  The steps
of 4.1 and 4.2 that need those records belong in ``locate`` too, on top of ``query``, which asks for any type of record.

dnspython makes and reads the packets and the system's configuration; the waiting is done on gevent's sockets, each
query with a port and an id of its own (RFC 5452).  Answers are kept for their time to live, negative ones too
(RFC 2308), failures for a moment, so that a dead server is not waited for at each call.  Queries for the same thing
are merged.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import gevent
from gevent import socket
from gevent.event import AsyncResult

from greensip.dialog.routing import is_numeric
from greensip.errors import ResolveError
from greensip.transaction.flow import Address, Hop

from .clock import Clock, RealClock

if TYPE_CHECKING:
    # Importing dnspython takes a tenth of a second, which a program that uses addresses only need not spend.
    import dns.message
    import dns.resolver

__all__ = ['Answer', 'Resolver', 'StaticResolver', 'SystemResolver']

#: answers that are kept
CACHE = 4096
#: seconds that an answer is kept at least and at most, whatever its time to live
SHORTEST_TTL = 1.0
LONGEST_TTL = 86400.0
#: seconds that "there is no such name" is kept at most (RFC 2308 5 allows hours; people mend their DNS sooner)
LONGEST_NEGATIVE_TTL = 300.0
#: seconds until a query that no server answered is asked again
FAILURE_TTL = 5.0
#: rounds through the servers
ROUNDS = 2
#: what we take in a datagram (the size on which the DNS operators agreed in 2020)
PAYLOAD = 1232

DNS_PORT = 53
RECORD_TYPE = {4: 'A', 6: 'AAAA'}


class Resolver(Protocol):
    """Where an endpoint takes addresses from."""

    def cached(self, hop: Hop, families: Sequence[int]) -> Sequence[Address]:
        """What ``locate`` would return, if that is known already, else nothing.  Does not block."""

    def locate(self, hop: Hop, families: Sequence[int]) -> Sequence[Address]:
        """Addresses with ports for ``hop``, best first; port 0 is the transport's default.

        ``families`` are those wanted, 4 and 6, the preferred one first.  Blocks; raises ResolveError.
        """

    def addresses(self, host: str, families: Sequence[int] = (4, 6)) -> Sequence[str]:
        """The addresses of a name, at least one.  Blocks; raises ResolveError."""


class Answer(NamedTuple):
    """What is known about a name and a type of record: ``records``, or in ``trouble`` why there are none."""

    records: tuple[str, ...]
    expires: float
    trouble: str = ''


class StaticResolver:
    """A fixed table: for tests, and for programs that have their addresses from elsewhere.

    ``names`` may be changed at any time; ``delay`` is what each look-up takes, in seconds of ``clock``.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None, *, clock: Clock | None = None,
                 delay: float = 0.0) -> None:
        self.names: dict[str, Sequence[str]] = dict(names or {})
        self.clock = clock or RealClock()
        self.delay = delay

    def cached(self, hop: Hop, families: Sequence[int]) -> Sequence[Address]:
        """Nothing, if there is a delay."""
        return [] if self.delay else self._known(hop, families)

    def locate(self, hop: Hop, families: Sequence[int]) -> Sequence[Address]:
        """Blocks for the delay."""
        if self.delay:
            self.clock.sleep(self.delay)
        known = self._known(hop, families)
        if not known:
            raise ResolveError(f'{hop.host} has no address')
        return known

    def addresses(self, host: str, families: Sequence[int] = (4, 6)) -> Sequence[str]:
        """Blocks for the delay."""
        return [address for address, _ in self.locate(Hop(host, None, None), families)]

    def _known(self, hop: Hop, families: Sequence[int]) -> list[Address]:
        found = self.names.get(hop.host.lower().rstrip('.'), ())
        return [(address, hop.port or 0) for address in by_family(found, families)]


class SystemResolver:
    """The hosts file and the name servers of the machine.

    Both files are read again when they change.  ``servers`` are (address, port) pairs to ask, and ``timeout`` the
    seconds to wait for each, instead of what ``configuration`` says.
    """

    def __init__(self, clock: Clock | None = None, *, hosts: str = '/etc/hosts',
                 configuration: str = '/etc/resolv.conf', servers: Sequence[tuple[str, int]] = (),
                 timeout: float | None = None) -> None:
        self.clock = clock or RealClock()
        self.servers = list(servers)
        self.timeout = timeout
        self._hosts = HostsFile(hosts)
        self._configuration = ConfigurationFile(configuration)
        self._cache: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._asking: dict[tuple[str, str], AsyncResult[Answer]] = {}
        #: packets sent to servers
        self.queries = 0

    def cached(self, hop: Hop, families: Sequence[int]) -> Sequence[Address]:
        found = self._hosts.look_up(hop.host)
        if not found:
            for family in families:
                answer = self._fresh((fold(hop.host), RECORD_TYPE[family]))
                if answer is None:
                    return []
                found.extend(answer.records)
        return [(address, hop.port or 0) for address in by_family(found, families)]

    def locate(self, hop: Hop, families: Sequence[int]) -> Sequence[Address]:
        # RFC 3263 4.2: "If the TARGET was not a numeric IP address, but a port is present in the URI, the client
        # performs an A or AAAA record lookup of the domain name."  Without a port, NAPTR and SRV come first one day.
        return [(address, hop.port or 0) for address in self.addresses(hop.host, families)]

    def addresses(self, host: str, families: Sequence[int] = (4, 6)) -> Sequence[str]:
        if is_numeric(host):
            return [host]
        found = by_family(self._hosts.look_up(host), families)
        if found:
            return found
        if len(families) == 1:
            answers = [self.query(host, RECORD_TYPE[families[0]])]
        else:
            jobs = [gevent.spawn(self.query, host, RECORD_TYPE[family]) for family in families]
            try:
                gevent.joinall(jobs, raise_error=True)
            finally:
                gevent.killall(jobs, block=False)
            answers = [job.value for job in jobs if job.value is not None]
        found = [address for answer in answers for address in answer.records]
        if not found:
            raise ResolveError(next((answer.trouble for answer in answers if answer.trouble), f'{host} has no address'))
        return found

    # -- the cache

    def query(self, name: str, kind: str) -> Answer:
        """The records of type ``kind`` that ``name`` has, as text.  Blocks; does not raise."""
        key = fold(name), kind
        answer = self._fresh(key)
        if answer is not None:
            return answer
        asking = self._asking.get(key)
        if asking is not None:
            merged = asking.get()
            assert merged is not None
            return merged
        asking = self._asking[key] = AsyncResult()
        answer = Answer((), 0.0, f'cannot look up {name}: given up')
        try:
            answer = self._search(*key)
            self._keep(key, answer)
        finally:
            # Also when this greenlet is killed: the others must not wait for ever.
            del self._asking[key]
            asking.set(answer)
        return answer

    def _fresh(self, key: tuple[str, str]) -> Answer | None:
        answer = self._cache.get(key)
        if answer is None:
            return None
        if answer.expires <= self.clock.now():
            del self._cache[key]
            return None
        return answer

    def _keep(self, key: tuple[str, str], answer: Answer) -> None:
        self._cache[key] = answer
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE:
            self._cache.popitem(last=False)

    # -- the DNS

    def _search(self, name: str, kind: str) -> Answer:
        """Ask for ``name``, and with the domains of the configuration appended where that is customary."""
        before = self._configuration.read
        self._configuration.refresh()
        if self._configuration.read != before:
            self._cache.clear()
        answers: dict[str, Answer] = {}
        for candidate in self._configuration.candidates(name):
            try:
                answer = self._ask_servers(candidate, kind)
            except ResolveError as error:
                # Another candidate would fare no better, and take as long.
                return Answer((), self.clock.now() + FAILURE_TTL, str(error))
            if answer.records:
                return answer
            answers[candidate] = answer
        # What was asked for is what a person wants to hear of; any of the others may come into being earlier.
        return answers[name]._replace(expires=min(answer.expires for answer in answers.values()))

    def _ask_servers(self, name: str, kind: str) -> Answer:
        """The first good answer, be it that there is nothing.  Raises ResolveError if no server gives one."""
        import dns.exception
        import dns.message
        import dns.rcode

        trouble = f'cannot look up {name}: no name server is configured'
        try:
            query = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD)
        except (dns.exception.DNSException, ValueError) as error:
            raise ResolveError(f'cannot look up {name}: {error}') from error
        for _ in range(ROUNDS):
            for server in self.servers or self._configuration.servers():
                try:
                    response = self._ask(server, query)
                    if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                        return self._read_answer(name, response)
                    trouble = f'cannot look up {name}: {server[0]} says {dns.rcode.to_text(response.rcode())}'
                except TimeoutError:
                    trouble = f'cannot look up {name}: no answer from {server[0]}'
                except (OSError, EOFError, dns.exception.DNSException) as error:
                    trouble = f'cannot look up {name}: {server[0]}: {error}'
        raise ResolveError(trouble)

    def _read_answer(self, name: str, response: dns.message.Message) -> Answer:
        import dns.message

        assert isinstance(response, dns.message.QueryMessage)
        chain = response.resolve_chaining()
        now = self.clock.now()
        if chain.answer is None:
            life = min(max(chain.minimum_ttl, SHORTEST_TTL), LONGEST_NEGATIVE_TTL)
            return Answer((), now + life, f'{name} has no address')
        life = min(max(chain.minimum_ttl, SHORTEST_TTL), LONGEST_TTL)
        return Answer(tuple(record.to_text() for record in chain.answer), now + life)

    def _ask(self, server: tuple[str, int], query: dns.message.Message) -> dns.message.Message:
        """One server, once, over UDP, and over TCP if the answer does not fit.  Raises OSError, DNSException."""
        import dns.exception
        import dns.flags
        import dns.message

        self.queries += 1
        family = socket.AF_INET6 if ':' in server[0] else socket.AF_INET
        patience = self.timeout if self.timeout is not None else self._configuration.timeout()
        with gevent.Timeout(patience, TimeoutError):
            with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
                datagrams.connect(server)
                datagrams.send(query.to_wire())
                while True:
                    try:
                        response = dns.message.from_wire(datagrams.recv(65535), ignore_trailing=True)
                    except dns.exception.DNSException:
                        # Somebody guesses, or the network is noisy: the answer may still come.
                        continue
                    if query.is_response(response):
                        break
            if response.flags & dns.flags.TC:
                return self._ask_over_tcp(server, family, query)
            return response

    def _ask_over_tcp(self, server: tuple[str, int], family: int, query: dns.message.Message) -> dns.message.Message:
        import dns.message

        wire = query.to_wire()
        with socket.socket(family, socket.SOCK_STREAM) as stream:
            stream.connect(server)
            stream.sendall(struct.pack('!H', len(wire)) + wire)
            size, = struct.unpack('!H', receive_exactly(stream, 2))
            response = dns.message.from_wire(receive_exactly(stream, size))
        if not query.is_response(response):
            raise EOFError('it answers another question')
        return response


def receive_exactly(stream: socket.socket, size: int) -> bytes:
    """``size`` octets; raises EOFError if the stream ends before."""
    data = b''
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise EOFError('the connection was closed')
        data += more
    return data


def fold(name: str) -> str:
    """Names are compared without regard to case.  A dot at the end stays: it says that the name is complete."""
    return name.lower()


def by_family(addresses: Iterable[str], families: Sequence[int]) -> list[str]:
    """Those of the wanted families, in the order of preference."""
    known = list(addresses)
    return [address for family in families for address in known if (':' in address) == (family == 6)]


class SystemFile:
    """A file that is read again when it has changed."""

    def __init__(self, path: str) -> None:
        self.path = path
        #: how often it was read
        self.read = 0
        self._stamp: tuple[int, int] | None = (-1, -1)

    def refresh(self) -> None:
        try:
            status = os.stat(self.path)
            stamp: tuple[int, int] | None = (status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp = stamp
            self.read += 1
            self.load()

    def load(self) -> None:
        raise NotImplementedError


class HostsFile(SystemFile):
    """hosts(5).  ``localhost`` has its addresses also where the file does not say so (RFC 6761 6.3)."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._names: dict[str, list[str]] = {}

    def look_up(self, host: str) -> list[str]:
        """The addresses of a name, perhaps none."""
        self.refresh()
        name = host.lower().rstrip('.')
        found = self._names.get(name)
        if found is None and (name == 'localhost' or name.endswith('.localhost')):
            return ['127.0.0.1', '::1']
        return list(found or ())

    def load(self) -> None:
        self._names = {}
        try:
            with open(self.path, encoding='utf-8', errors='replace') as lines:
                for line in lines:
                    address, *names = line.partition('#')[0].split() or ['']
                    if is_numeric(address):
                        for name in names:
                            self._names.setdefault(name.lower(), []).append(address)
        except OSError:
            pass


class ConfigurationFile(SystemFile):
    """resolv.conf(5), as dnspython reads it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._system: dns.resolver.Resolver | None = None

    def load(self) -> None:
        import dns.exception
        import dns.resolver

        self._system = None
        try:
            self._system = dns.resolver.Resolver(self.path)
        except (dns.exception.DNSException, OSError, ValueError):
            pass

    def servers(self) -> list[tuple[str, int]]:
        """Addresses and ports of the name servers."""
        if self._system is None:
            return []
        return [(server, DNS_PORT) for server in self._system.nameservers
                if isinstance(server, str) and is_numeric(server)]

    def timeout(self) -> float:
        """Seconds to wait for one server."""
        return 2.0 if self._system is None else float(self._system.timeout)

    def candidates(self, name: str) -> list[str]:
        """What to ask for ``name``: itself, and with the search domains; the other way round if it has few dots."""
        if name.endswith('.') or self._system is None:
            return [name]
        domains = [domain.to_text(omit_final_dot=True) for domain in self._system.search]
        longer = [f'{name}.{domain}' for domain in domains if domain]
        enough = 1 if self._system.ndots is None else self._system.ndots
        return [name, *longer] if name.count('.') >= enough else [*longer, name]
