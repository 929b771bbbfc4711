"""Which servers a request goes to: RFC 3263 4 and 5, with RFC 2782 for the order of SRV records; ENUM, RFC 6116.

Everything here is steps without a network.  ``locate`` and ``enum`` are generators that yield the questions that they
have for the DNS, all those that may be asked at the same time together, and are sent the answers; what they return is
what was sought.  So the same steps serve a cache that may not block, a resolver that does, and a table in a test.

The response side (RFC 3263 5) asks the same of the sent-by of a Via: its transport is given, its port perhaps.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeAlias

from greensip.dialog.routing import DEFAULT_PORT, Target, is_numeric
from greensip.errors import ConnectError, ResolveError
from greensip.transaction.flow import Hop

__all__ = ['MAX_SERVERS', 'MAX_URIS', 'RECORD_TYPE', 'SECURE', 'Answer', 'Enum', 'Locate', 'Question', 'RandomBits',
           'Service', 'Srv', 'enum', 'enum_name', 'in_order', 'locate', 'parse_service', 'parse_srv']

#: servers of one name that are tried at most
MAX_SERVERS = 16
#: URIs of one number that are kept
MAX_URIS = 8
#: digits of a telephone number (ITU-T E.164 6.2.1); what somebody's regular expression may take for longer ones grows
#: with their sixth power
MAX_DIGITS = 15
#: how often one number may lead to another name (RFC 6116 2.2)
MAX_STEPS = 5

#: the records that hold addresses of a family (RFC 1035, RFC 3596)
RECORD_TYPE = {4: 'A', 6: 'AAAA'}
#: what a sips URI may go over
SECURE = frozenset({'TLS', 'WSS'})
#: NAPTR services (RFC 3263 4.1, RFC 7118 10.2) and the transports that they stand for
SERVICES = {'SIP+D2U': 'UDP', 'SIP+D2T': 'TCP', 'SIPS+D2T': 'TLS', 'SIP+D2W': 'WS', 'SIPS+D2W': 'WSS'}
#: under what the SRV records of a transport are found (RFC 3263 4.2)
PREFIX = {'UDP': '_sip._udp.', 'TCP': '_sip._tcp.', 'TLS': '_sips._tcp.', 'WS': '_sip._ws.', 'WSS': '_sips._ws.'}
#: transports for which there are SRV records to be found without anybody having named them (4.1)
ORDINARY = ('UDP', 'TCP', 'TLS')

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPE = re.compile(r'\\(\d{3}|.)')
#: a group that is repeated as a whole, or many things that are: nobody needs it, and it can be made to take for ever
_COSTLY = re.compile(r'\)[*+?{]|(?:[*+?{][^*+?{]*){7}')


class RandomBits(Protocol):
    """Where the draw among servers of equal priority comes from."""

    def getrandbits(self, k: int, /) -> int: ...


class Question(NamedTuple):
    """What the DNS is asked: ``kind`` is the type of record."""

    name: str
    kind: str


class Answer(NamedTuple):
    """What is known about a name and a type of record: ``records``, or in ``trouble`` why there are none.

    ``expires`` is when that is to be asked again, in seconds of the resolver's clock.
    """

    records: tuple[str, ...]
    expires: float = 0.0
    trouble: str = ''


class Service(NamedTuple):
    """A NAPTR record (RFC 3403 4.1)."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


Locate: TypeAlias = Generator[list[Question], list[Answer], list[Target]]
Enum: TypeAlias = Generator[list[Question], list[Answer], list[str]]


def locate(hop: Hop, transports: Sequence[str], families: Sequence[int], random: RandomBits) -> Locate:
    """Where ``hop`` is: the servers to be tried, best first, at least one.

    ``transports`` are those that we have, the preferred one first, and so are ``families`` (4, 6).  Raises ConnectError
    for a transport that we do not have, ResolveError when there is no server.
    """
    host, port = hop.host, hop.port
    wanted = suitable(hop, transports)
    # 4.2: "If TARGET is a numeric IP address, the client uses that address"; 4.1: over UDP, or TLS for sips, unless
    # the URI says otherwise.
    if is_numeric(host):
        return [Target(wanted[0], host, port or DEFAULT_PORT.get(wanted[0], 5060))]
    servers: list[Target] = []
    transport = wanted[0]
    # 4.1: with an explicit port neither NAPTR nor SRV records are looked at
    if port is None:
        # NAPTR, where the transport is not given
        sources: list[tuple[str, str, str]] = []
        if hop.transport is None:
            answer, = yield [Question(host, 'NAPTR')]
            sources = services_of(answer.records, wanted)
            if sources:
                transport = sources[0][0]
        # "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports";
        # 4.2: and for the given one
        if not sources:
            sources = [(name, 's', PREFIX[name] + host) for name in ordinary(wanted) if name in PREFIX]
        # 4.2: the SRV records, in the order of RFC 2782
        questions = [Question(name, 'SRV') for _, flag, name in sources if flag == 's']
        answers = iter((yield questions) if questions else [])
        refused = False
        for kind, flag, name in sources:
            if flag == 'a':
                servers.append(Target(kind, name, DEFAULT_PORT[kind]))
                continue
            records = [parse_srv(text) for text in next(answers).records]
            for record in in_order([record for record in records if record is not None], random):
                # RFC 2782: "A Target of '.' means that the service is decidedly not available at this domain."
                if record.target == '.':
                    refused = True
                else:
                    servers.append(Target(kind, record.target, record.port))
        if refused and not servers:
            raise ResolveError(f'{host} says that it offers no such service')
    # "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name."
    if not servers:
        servers = [Target(transport, host, port or DEFAULT_PORT[transport])]
    del servers[MAX_SERVERS:]
    names = [name for name in dict.fromkeys(server.host for server in servers) if not is_numeric(name)]
    questions = [Question(name, RECORD_TYPE[family]) for name in names for family in families]
    answers_now = (yield questions) if questions else []
    addresses: dict[str, list[str]] = {}
    trouble = ''
    for question, answer in zip(questions, answers_now):
        addresses.setdefault(question.name, []).extend(answer.records)
        trouble = trouble or answer.trouble
    targets = [server._replace(host=address) for server in servers
               for address in addresses.get(server.host, [server.host])]
    if not targets:
        raise ResolveError(trouble or f'{host} has no address')
    return list(dict.fromkeys(targets))[:MAX_SERVERS]


def suitable(hop: Hop, transports: Sequence[str]) -> list[str]:
    """The transports of ours that a hop may be reached over, at least one; raises ConnectError."""
    if hop.transport is not None:
        wanted = [hop.transport] if hop.transport in transports else []
    else:
        wanted = [name for name in transports if not hop.secure or name in SECURE]
    if not wanted:
        raise ConnectError(f'no listening point for {hop.transport or ("TLS" if hop.secure else "UDP")} '
                           f'to reach {hop.host}')
    return wanted


def ordinary(wanted: Sequence[str]) -> list[str]:
    """The transports whose SRV records are asked for without a NAPTR record: UDP, TCP, and TLS for sips.

    4.1: "the service identifier "_sip" for SIP URIs".  Who has nothing else, or prefers it, wants TLS for them too.
    """
    first = wanted[0]
    if first in ('UDP', 'TCP'):
        return [name for name in wanted if name in ('UDP', 'TCP')]
    return [first, *(name for name in wanted if name != first and name in ORDINARY)]


def services_of(records: Iterable[str], wanted: Sequence[str]) -> list[tuple[str, str, str]]:
    """4.1: transport, flag and replacement of the NAPTR records that are for us, the preferred one first.

    "The resource record will contain an empty regular expression and a replacement value"; with the flag ``s`` that has
    SRV records, with ``a`` addresses.  Each asks another question, so there are no more than ``MAX_SERVERS``.
    """
    found = [service for text in records if (service := parse_service(text)) is not None]
    usable: dict[tuple[str, str, str], None] = {}
    for service in sorted(found):
        transport = SERVICES.get(service.service.upper())
        flag = service.flags.lower()
        if transport in wanted and flag in ('s', 'a') and not service.regexp and service.replacement != '.':
            usable[transport or '', flag, service.replacement] = None
    return list(usable)[:MAX_SERVERS]


def in_order(records: Iterable[Srv], random: RandomBits) -> list[Srv]:
    """RFC 2782: by priority; within one, drawn by weight.  The first ``MAX_SERVERS``, for the rest is never tried."""
    # "arrange all SRV RRs (that have not been ordered yet) in any order, except that all those with weight 0 are
    # placed at the beginning of the list"
    left = sorted(records, key=lambda record: (record.priority, record.weight > 0))
    ordered: list[Srv] = []
    while left and len(ordered) < MAX_SERVERS:
        group = [record for record in left if record.priority == left[0].priority]
        del left[:len(group)]
        while len(group) > 1 and len(ordered) < MAX_SERVERS:
            # "choose a uniform random number between 0 and the sum computed (inclusive), and select the RR whose
            # running sum value is the first in the selected order which is greater than or equal to the random number"
            drawn = random.getrandbits(48) % (sum(record.weight for record in group) + 1)
            chosen = 0
            running = group[0].weight
            while running < drawn:
                chosen += 1
                running += group[chosen].weight
            ordered.append(group.pop(chosen))
        ordered += group
    return ordered[:MAX_SERVERS]


@lru_cache(1024)
def parse_srv(text: str) -> Srv | None:
    """``0 60 5060 server1.example.com.``; None for what is none."""
    words = text.split()
    if len(words) != 4 or not all(word.isdigit() for word in words[:3]):
        return None
    port = int(words[2])
    if port > 65535:
        return None
    return Srv(int(words[0]), int(words[1]), port, words[3] if words[3] == '.' else words[3].rstrip('.').lower())


@lru_cache(1024)
def parse_service(text: str) -> Service | None:
    """``50 50 "s" "SIP+D2U" "" _sip._udp.example.com.``; None for what is none."""
    words = [_ESCAPE.sub(unescape, quoted) if match.end(1) >= 0 else bare for match in _TOKEN.finditer(text)
             for quoted, bare in [(match[1], match[2])]]
    if len(words) != 6 or not words[0].isdigit() or not words[1].isdigit():
        return None
    name = words[5] if words[5] == '.' else words[5].rstrip('.').lower()
    return Service(int(words[0]), int(words[1]), words[2], words[3], words[4], name)


def unescape(match: re.Match[str]) -> str:
    """RFC 1035 5.1: ``\\DDD`` is an octet, ``\\x`` the character itself."""
    escaped = match[1]
    return chr(int(escaped)) if len(escaped) == 3 else escaped


# ENUM


def enum_name(number: str, suffix: str) -> str:
    """RFC 6116 3.2: the digits in reverse, with dots between them, before the suffix."""
    return f"{'.'.join(reversed([digit for digit in number if digit.isdigit()]))}.{suffix.strip('.')}"


def enum(number: str, suffix: str) -> Enum:
    """The SIP URIs of a telephone number ``+15551234``, best first, at least one.  Raises ResolveError."""
    name = enum_name(number, suffix)
    trouble = ''
    if sum(digit.isdigit() for digit in number) > MAX_DIGITS:
        error = ResolveError(f'{number} is too long for a telephone number')
        error.status = 404
        raise error
    for _ in range(MAX_STEPS):
        answer, = yield [Question(name, 'NAPTR')]
        trouble = answer.trouble
        services = sorted(service for text in answer.records if (service := parse_service(text)) is not None)
        found: list[str] = []
        rules = [service.regexp for service in services if service.flags.lower() == 'u' and is_sip(service.service)]
        for regexp in rules[:MAX_SERVERS]:
            uri = rewritten(regexp, number)
            if uri is not None and uri not in found:
                found.append(uri)
        if found:
            return found[:MAX_URIS]
        # A record without a flag says where to look on (RFC 6116 2.2: "non-terminal").
        further = [service.replacement for service in services
                   if not service.flags and not service.regexp and service.replacement != '.']
        if not further:
            break
        name = further[0]
    error = ResolveError(f'{number} has no SIP address' + (f': {trouble}' if trouble else ''))
    if not trouble or trouble.endswith('has no NAPTR record'):
        # The number is not known there, which is nobody's failure.
        error.status = 404
    raise error


def is_sip(service: str) -> bool:
    """``E2U+sip``, perhaps among others (RFC 3764 4); ``SIP+E2U`` is how RFC 2916 wrote it."""
    words = service.lower().split('+')
    if words == ['sip', 'e2u']:
        return True
    return words[0] == 'e2u' and any(word.partition(':')[0] == 'sip' for word in words[1:])


def rewritten(regexp: str, number: str) -> str | None:
    """RFC 3403 4.1, RFC 6116 2.4.3: ``!^(.*)$!sip:\\1@example.com!`` applied to a number; None if it does not fit."""
    if len(regexp) < 3:
        return None
    delimiter = regexp[0]
    parts = re.split(rf'(?<!\\){re.escape(delimiter)}', regexp[1:])
    if delimiter.isalnum() or delimiter == '\\' or len(parts) != 3 or parts[2].lower() not in ('', 'i'):
        return None
    if _COSTLY.search(parts[0]):
        return None
    try:
        match = re.search(parts[0], number, re.IGNORECASE if parts[2] else 0)
    except re.error:
        return None
    if match is None:
        return None
    groups = match.groups()
    references = [int(digit) for digit in re.findall(r'\\(\d)', parts[1])]
    if any(not 1 <= reference <= len(groups) for reference in references):
        return None
    uri = re.sub(r'\\(\d)', lambda found: groups[int(found[1]) - 1] or '', parts[1])
    return uri if uri.lower().startswith(('sip:', 'sips:')) else None
