"""Names to servers without blocking anybody else: the hosts file, then the DNS.

``locate`` answers the question of RFC 3263, where a next hop is, in the greenlet that asks; the steps themselves are
those of ``locating``, and what they ask comes from the hosts file or from ``query``, which knows any type of record.
A name in the hosts file has the addresses that stand there, and neither NAPTR nor SRV records.

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
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent import socket
from gevent.event import AsyncResult

from greensip.dialog.routing import Target, is_numeric
from greensip.errors import ResolveError, TransportError
from greensip.transaction.flow import Hop

from .clock import Clock, RealClock
from .entropy import Entropy
from .locating import RECORD_TYPE, Answer, Enum, Locate, Question, RandomBits, enum, locate

if TYPE_CHECKING:
    # Importing dnspython takes a tenth of a second, which a program that uses addresses only need not spend.
    import dns.message
    import dns.resolver

__all__ = ['Answer', 'Locator', 'Resolver', 'StaticResolver', 'SystemResolver']

#: answers that are kept
CACHE = 4096
#: records of one answer that are taken
RECORDS = 256
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

#: aliases (CNAME) that are followed where a server does not do it
ALIASES = 8

DNS_PORT = 53
ADDRESS_FAMILY = {kind: family for family, kind in RECORD_TYPE.items()}
#: records that are not about addresses: with the search domains only where the name itself is short
SERVICE_TYPES = ('NAPTR', 'SRV')


class Resolver(Protocol):
    """Where an endpoint takes addresses from.  ``transports`` and ``families`` (4, 6) are those that it has, the
    preferred one first."""

    def cached(self, hop: Hop, transports: Sequence[str], families: Sequence[int]) -> Sequence[Target]:
        """What ``locate`` would return, if that is known already, else nothing.  Does not block."""

    def locate(self, hop: Hop, transports: Sequence[str], families: Sequence[int]) -> Sequence[Target]:
        """The servers of ``hop``, best first, at least one.  Blocks; raises TransportError.

        Servers of equal priority are drawn by their weights at each call (RFC 2782).
        """

    def enum(self, number: str, suffix: str) -> Sequence[str]:
        """The SIP URIs of a telephone number (RFC 6116), best first, at least one.  Blocks; raises ResolveError."""

    def addresses(self, host: str, families: Sequence[int] = (4, 6)) -> Sequence[str]:
        """The addresses of a name, at least one.  Blocks; raises ResolveError."""


class Locator:
    """The steps of ``locating`` over whatever answers their questions."""

    random: RandomBits

    def cached(self, hop: Hop, transports: Sequence[str], families: Sequence[int]) -> Sequence[Target]:
        """What is known already; nothing if that is not all."""
        steps = locate(hop, transports, families, self.random)
        try:
            questions = next(steps)
            while True:
                answers: list[Answer] = []
                for question in questions:
                    answer = self.known(question)
                    if answer is None:
                        return []
                    answers.append(answer)
                questions = steps.send(answers)
        except StopIteration as done:
            targets: list[Target] = done.value
            return targets
        except TransportError:
            # ``locate`` will say it again.
            return []

    def locate(self, hop: Hop, transports: Sequence[str], families: Sequence[int]) -> Sequence[Target]:
        """Blocks; raises TransportError."""
        found: Sequence[Target] = self._follow(locate(hop, transports, families, self.random))
        return found

    def enum(self, number: str, suffix: str) -> Sequence[str]:
        """Blocks; raises ResolveError."""
        found: Sequence[str] = self._follow(enum(number, suffix))
        return found

    def _follow(self, steps: Locate | Enum) -> Any:
        try:
            questions = next(steps)
            while True:
                questions = steps.send(self.ask(questions))
        except StopIteration as done:
            return done.value

    def known(self, question: Question) -> Answer | None:
        """The answer to a question, if it is known.  Does not block."""
        raise NotImplementedError

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to some questions.  Blocks; does not raise."""
        raise NotImplementedError


class StaticResolver(Locator):
    """A fixed table: for tests, and for programs that have their addresses from elsewhere.

    ``names`` are addresses by name; ``records`` are other records as the DNS writes them, by name and type:
    ``{('_sip._udp.example.com', 'SRV'): ['0 60 5060 a.example.com']}``.  Both may be changed at any time.  ``delay`` is
    what each look-up takes, in seconds of ``clock``.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None, *,
                 records: Mapping[tuple[str, str], Sequence[str]] | None = None, clock: Clock | None = None,
                 delay: float = 0.0, random: RandomBits | None = None) -> None:
        self.names: dict[str, Sequence[str]] = dict(names or {})
        self.records: dict[tuple[str, str], Sequence[str]] = dict(records or {})
        self.clock = clock or RealClock()
        self.delay = delay
        self.random = random or Entropy()

    def known(self, question: Question) -> Answer | None:
        """None if there is a delay."""
        return None if self.delay else self._answer(question)

    def locate(self, hop: Hop, transports: Sequence[str], families: Sequence[int]) -> Sequence[Target]:
        """Blocks for the delay."""
        self._wait()
        return super().locate(hop, transports, families)

    def enum(self, number: str, suffix: str) -> Sequence[str]:
        """Blocks for the delay."""
        self._wait()
        return super().enum(number, suffix)

    def addresses(self, host: str, families: Sequence[int] = (4, 6)) -> Sequence[str]:
        """Blocks for the delay."""
        self._wait()
        found = by_family(self.names.get(host.lower().rstrip('.'), ()), families)
        if not found:
            raise ResolveError(f'{host} has no address')
        return found

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        return [self._answer(question) for question in questions]

    def _wait(self) -> None:
        if self.delay:
            self.clock.sleep(self.delay)

    def _answer(self, question: Question) -> Answer:
        name = question.name.lower().rstrip('.')
        if question.kind in ADDRESS_FAMILY:
            found = by_family(self.names.get(name, ()), [ADDRESS_FAMILY[question.kind]])
            return Answer(tuple(found), trouble='' if found else f'{question.name} has no address')
        return Answer(tuple(self.records.get((name, question.kind), ())))


class SystemResolver(Locator):
    """The hosts file and the name servers of the machine.

    Both files are read again when they change.  ``servers`` are (address, port) pairs to ask, and ``timeout`` the
    seconds to wait for each, instead of what ``configuration`` says.  ``random`` draws among servers of equal priority.
    """

    def __init__(self, clock: Clock | None = None, *, hosts: str = '/etc/hosts',
                 configuration: str = '/etc/resolv.conf', servers: Sequence[tuple[str, int]] = (),
                 timeout: float | None = None, random: RandomBits | None = None) -> None:
        self.clock = clock or RealClock()
        self.random = random or Entropy()
        self.servers = list(servers)
        self.timeout = timeout
        self._hosts = HostsFile(hosts)
        self._configuration = ConfigurationFile(configuration)
        self._cache: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._asking: dict[tuple[str, str], AsyncResult[Answer]] = {}
        #: packets sent to servers
        self.queries = 0

    def known(self, question: Question) -> Answer | None:
        written = self._written(question)
        return written if written is not None else self._fresh((fold(question.name), question.kind))

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """All of them at the same time."""
        answers = [self.known(question) for question in questions]
        missing = [number for number, answer in enumerate(answers) if answer is None]
        if len(missing) == 1:
            answers[missing[0]] = self.query(*questions[missing[0]])
        elif missing:
            jobs = {number: gevent.spawn(self.query, *questions[number]) for number in missing}
            try:
                gevent.joinall(list(jobs.values()), raise_error=True)
            finally:
                gevent.killall(list(jobs.values()), block=False)
            for number, job in jobs.items():
                answers[number] = job.value
        return [answer for answer in answers if answer is not None]

    def _written(self, question: Question) -> Answer | None:
        """What the hosts file says: addresses, and that a name in it has no other records."""
        host = split_service(question.name)[1]
        found = self._hosts.look_up(host)
        if not found:
            return None
        if question.kind not in ADDRESS_FAMILY:
            return Answer(())
        return Answer(tuple(by_family(found, [ADDRESS_FAMILY[question.kind]])))

    def addresses(self, host: str, families: Sequence[int] = (4, 6)) -> Sequence[str]:
        if is_numeric(host):
            return [host]
        answers = self.ask([Question(host, RECORD_TYPE[family]) for family in families])
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
        for candidate in self._candidates(name, kind):
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

    def _candidates(self, name: str, kind: str) -> list[str]:
        """With the search domains.  The services of a name with dots, which few have, are looked for there only."""
        if kind not in SERVICE_TYPES:
            return self._configuration.candidates(name)
        service, host = split_service(name)
        candidates = [service + candidate for candidate in self._configuration.candidates(host)]
        return candidates[:1] if candidates[0] == name else candidates

    def _ask_servers(self, name: str, kind: str) -> Answer:
        """The first good answer, be it that there is nothing.  Raises ResolveError if no server gives one."""
        target = name
        life = LONGEST_TTL
        for _ in range(ALIASES):
            answer, target = self._ask_all(target, kind)
            life = min(life, answer.expires - self.clock.now())
            if answer.records or not target:
                return answer._replace(expires=self.clock.now() + max(life, 0.0))
        raise ResolveError(f'cannot look up {name}: its aliases lead nowhere')

    def _ask_all(self, name: str, kind: str) -> tuple[Answer, str]:
        """What the first server that knows says, and the name for which it is only an alias, if it said no more."""
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
                    if response.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
                        # RFC 6891 7: that is how a server answers that has never heard of EDNS.
                        response = self._ask(server, dns.message.make_query(name, kind))
                    if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                        return self._read_answer(name, kind, response)
                    trouble = f'cannot look up {name}: {server[0]} says {dns.rcode.to_text(response.rcode())}'
                except TimeoutError:
                    trouble = f'cannot look up {name}: no answer from {server[0]}'
                except (OSError, EOFError, dns.exception.DNSException) as error:
                    trouble = f'cannot look up {name}: {server[0]}: {error}'
        raise ResolveError(trouble)

    def _read_answer(self, name: str, kind: str, response: dns.message.Message) -> tuple[Answer, str]:
        import dns.message
        import dns.rcode

        assert isinstance(response, dns.message.QueryMessage)
        chain = response.resolve_chaining()
        now = self.clock.now()
        if chain.answer is None:
            life = min(max(chain.minimum_ttl, SHORTEST_TTL), LONGEST_NEGATIVE_TTL)
            # A server that is not in charge of both names leaves it to us to go on.
            further = bool(chain.cnames) and not response.authority and response.rcode() == dns.rcode.NOERROR
            alias = chain.canonical_name.to_text() if further else ''
            missing = 'address' if kind in ADDRESS_FAMILY else f'{kind} record'
            return Answer((), now + life, f'{name} has no {missing}'), alias
        life = min(max(chain.minimum_ttl, SHORTEST_TTL), LONGEST_TTL)
        return Answer(tuple(record.to_text() for record in islice(chain.answer, RECORDS)), now + life), ''

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


def split_service(name: str) -> tuple[str, str]:
    """``_sip._udp.example.com`` as ``_sip._udp.`` and ``example.com``."""
    labels = name.split('.')
    length = 0
    for label in labels:
        if not label.startswith('_'):
            break
        length += len(label) + 1
    return name[:length], name[length:]


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
