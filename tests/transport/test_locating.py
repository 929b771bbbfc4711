"""Locating servers: RFC 3263 4 and 2782 as tables of records and what follows from them, then a real DNS server."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from greensip.dialog import Core
from greensip.dialog.routing import Target, next_hop
from greensip.errors import ConnectError, ResolveError, TransportError
from greensip.testing import NameServer, VirtualClock
from greensip.transaction.flow import Hop
from greensip.transport import Endpoint, StaticResolver, SystemResolver
from greensip.transport.locating import (
    MAX_DIGITS,
    MAX_SERVERS,
    MAX_STEPS,
    Answer,
    Srv,
    enum_name,
    in_order,
    locate,
    parse_service,
    parse_srv,
    rewritten,
)

Records = dict[tuple[str, str], list[str]]

ALL = ['UDP', 'TCP', 'TLS', 'WS', 'WSS']
UDP = ['UDP']

#: the example of RFC 3263 4.1
NAPTR = ['50 50 "s" "SIPS+D2T" "" _sips._tcp.example.com.', '90 50 "s" "SIP+D2T" "" _sip._tcp.example.com.',
         '100 50 "s" "SIP+D2U" "" _sip._udp.example.com.']
SRV = {('_sips._tcp.example.com', 'SRV'): ['0 0 5061 tls.example.com.'],
       ('_sip._tcp.example.com', 'SRV'): ['0 0 5060 tcp.example.com.'],
       ('_sip._udp.example.com', 'SRV'): ['0 0 5070 udp.example.com.', '1 0 5080 spare.example.com.']}
NAMES = {'example.com': ['10.0.0.9'], 'tls.example.com': ['10.0.0.1'], 'tcp.example.com': ['10.0.0.2'],
         'udp.example.com': ['10.0.0.3', 'fd00::3'], 'spare.example.com': ['10.0.0.4']}
UDP_TARGETS = ['UDP 10.0.0.3:5070', 'UDP 10.0.0.4:5080']


def found(uri: str, transports: list[str], records: Records, *,
          names: dict[str, list[str]] | None = None, families: tuple[int, ...] = (4,)) -> list[str]:
    resolver = StaticResolver(NAMES if names is None else names, records=records, random=random.Random(1))
    return [f'{transport} {host}:{port}' for transport, host, port
            in resolver.locate(next_hop(uri), transports, families)]


@pytest.mark.parametrize('uri,transports,records,expected', [
    # 4.1: the transport parameter says which; numeric: default port of the transport, or the URI's
    ('sip:b@192.0.2.1', ALL, {}, ['UDP 192.0.2.1:5060']),
    ('sip:b@192.0.2.1:5070', ALL, {}, ['UDP 192.0.2.1:5070']),
    ('sip:b@192.0.2.1;transport=tcp', ALL, {}, ['TCP 192.0.2.1:5060']),
    ('sips:b@192.0.2.1', ALL, {}, ['TLS 192.0.2.1:5061']),
    ('sips:b@192.0.2.1:5070', ALL, {}, ['TLS 192.0.2.1:5070']),
    ('sip:b@[fd00::1]', ALL, {}, ['UDP fd00::1:5060']),
    ('sip:b@192.0.2.1;transport=ws', ALL, {}, ['WS 192.0.2.1:80']),
    # maddr is the TARGET
    ('sip:b@example.com;maddr=192.0.2.7', ALL, {}, ['UDP 192.0.2.7:5060']),
    ('sip:b@192.0.2.1;maddr=example.com', UDP, SRV, UDP_TARGETS),
    # an explicit port: no NAPTR, no SRV; UDP, or TLS for sips
    ('sip:b@example.com:5090', ALL, {('example.com', 'NAPTR'): NAPTR, **SRV}, ['UDP 10.0.0.9:5090']),
    ('sips:b@example.com:5090', ALL, {('example.com', 'NAPTR'): NAPTR, **SRV}, ['TLS 10.0.0.9:5090']),
    ('sip:b@example.com:5060', UDP, SRV, ['UDP 10.0.0.9:5060']),
    ('sip:b@example.com:5090;transport=tcp', ALL, SRV, ['TCP 10.0.0.9:5090']),
    # NAPTR: what we have of it, in its order
    ('sip:b@example.com', ALL, {('example.com', 'NAPTR'): NAPTR, **SRV},
     ['TLS 10.0.0.1:5061', 'TCP 10.0.0.2:5060', *UDP_TARGETS]),
    ('sip:b@example.com', ['UDP', 'TCP'], {('example.com', 'NAPTR'): NAPTR, **SRV},
     ['TCP 10.0.0.2:5060', *UDP_TARGETS]),
    ('sip:b@example.com', UDP, {('example.com', 'NAPTR'): NAPTR, **SRV}, UDP_TARGETS),
    # "A client resolving a SIPS URI MUST discard any services that do not contain SIPS"
    ('sips:b@example.com', ALL, {('example.com', 'NAPTR'): NAPTR, **SRV}, ['TLS 10.0.0.1:5061']),
    # order before preference
    ('sip:b@example.com', ALL, {('example.com', 'NAPTR'): ['2 1 "s" "SIP+D2U" "" _sip._udp.example.com.',
                                                           '1 9 "s" "SIP+D2T" "" _sip._tcp.example.com.'], **SRV},
     ['TCP 10.0.0.2:5060', *UDP_TARGETS]),
    ('sip:b@example.com', ALL, {('example.com', 'NAPTR'): ['1 9 "s" "SIP+D2U" "" _sip._udp.example.com.',
                                                           '1 1 "S" "sip+d2t" "" _sip._tcp.example.com.'], **SRV},
     ['TCP 10.0.0.2:5060', *UDP_TARGETS]),
    # "It is not necessary for the domain suffixes in the NAPTR replacement field to match"
    ('sip:b@school.example', UDP, {('school.example', 'NAPTR'): ['1 1 "s" "SIP+D2U" "" _sip._udp.example.com.'], **SRV},
     UDP_TARGETS),
    # the flag a: addresses
    ('sip:b@example.com', ALL, {('example.com', 'NAPTR'): ['1 1 "a" "SIP+D2T" "" tcp.example.com.']},
     ['TCP 10.0.0.2:5060']),
    # not for us: another service, a regular expression, another flag, text that is none; then as if there were none
    ('sip:b@example.com', UDP, {('example.com', 'NAPTR'): [
        '1 1 "u" "E2U+sip" "!.*!sip:x@y!" .', '1 1 "s" "SIP+D2S" "" x.', '1 1 "s" "SIP+D2U" "!a!b!" .',
        '1 1 "" "SIP+D2U" "" x.', 'nonsense'], **SRV}, UDP_TARGETS),
    # NAPTR leads to no SRV: addresses of the domain, over the transport that it said
    ('sip:b@example.com', ALL, {('example.com', 'NAPTR'): ['1 1 "s" "SIP+D2T" "" _sip._tcp.nowhere.example.']},
     ['TCP 10.0.0.9:5060']),
    # no NAPTR: SRV of what we have, our favourite first
    ('sip:b@example.com', ['UDP', 'TCP'], SRV, [*UDP_TARGETS, 'TCP 10.0.0.2:5060']),
    ('sip:b@example.com', ['TCP', 'UDP'], SRV, ['TCP 10.0.0.2:5060', *UDP_TARGETS]),
    ('sips:b@example.com', ALL, SRV, ['TLS 10.0.0.1:5061']),
    # "_sip" for a SIP URI: TLS only who has nothing else, or prefers it
    ('sip:b@example.com', ['TLS'], SRV, ['TLS 10.0.0.1:5061']),
    ('sip:b@example.com', ['TLS', 'UDP'], SRV, ['TLS 10.0.0.1:5061', *UDP_TARGETS]),
    # a given transport: SRV of that one, no NAPTR
    ('sip:b@example.com;transport=tcp', ALL, {('example.com', 'NAPTR'): NAPTR, **SRV}, ['TCP 10.0.0.2:5060']),
    ('sip:b@example.com;transport=tls', ALL, SRV, ['TLS 10.0.0.1:5061']),
    ('sips:b@example.com;transport=tcp', ALL, SRV, ['TLS 10.0.0.1:5061']),
    ('sips:b@example.com;transport=ws', ALL, {}, ['WSS 10.0.0.9:443']),
    # no SRV: addresses, default port; UDP, or TLS for sips
    ('sip:b@example.com', ALL, {}, ['UDP 10.0.0.9:5060']),
    ('sips:b@example.com', ALL, {}, ['TLS 10.0.0.9:5061']),
    ('sip:b@example.com;transport=tcp', ALL, {}, ['TCP 10.0.0.9:5060']),
    ('sip:b@example.com', ['TCP'], {}, ['TCP 10.0.0.9:5060']),
    # an SRV whose target is an address, which it should not be; one twice
    ('sip:b@example.com', UDP, {('_sip._udp.example.com', 'SRV'): ['0 0 5060 10.0.0.5', '1 0 5060 10.0.0.5']},
     ['UDP 10.0.0.5:5060']),
    # RFC 2782: one that has no address is passed over
    ('sip:b@example.com', UDP, {('_sip._udp.example.com', 'SRV'): ['0 0 5060 gone.example.', '1 0 1 udp.example.com.',
                                                                   '0 0 99999 udp.example.com.', 'x']},
     ['UDP 10.0.0.3:1']),
])
def test_servers(uri: str, transports: list[str], records: Records, expected: list[str]) -> None:
    assert found(uri, transports, records) == expected


def test_addresses_of_both_families_for_each_server() -> None:
    assert found('sip:b@example.com', UDP, SRV, families=(6, 4)) == [
        'UDP fd00::3:5070', 'UDP 10.0.0.3:5070', 'UDP 10.0.0.4:5080']
    assert found('sip:b@example.com', UDP, SRV, families=(6,)) == ['UDP fd00::3:5070']


@pytest.mark.parametrize('uri,transports,records,error,text', [
    ('sip:b@nowhere.example', UDP, {}, ResolveError, 'nowhere.example has no address'),
    ('sip:b@example.com', UDP, {('_sip._udp.example.com', 'SRV'): ['0 0 0 .']}, ResolveError, 'offers no such service'),
    ('sip:b@example.com;transport=sctp', ALL, {}, ConnectError, 'no listening point for SCTP'),
    ('sips:b@example.com', UDP, {}, ConnectError, 'no listening point for TLS'),
    ('sips:b@example.com;transport=tcp', UDP, {}, ConnectError, 'no listening point for TLS'),
    ('sips:b@example.com;transport=udp', ALL, {}, ConnectError, 'sips does not go over UDP'),
])
def test_there_is_no_server(uri: str, transports: list[str], records: Records,
                            error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        found(uri, transports, records)


def test_what_may_be_asked_together_is() -> None:
    steps = locate(Hop('example.com', None, None), ['UDP', 'TCP'], [4, 6], random.Random(1))
    resolver = StaticResolver(NAMES, records=SRV)
    rounds = []
    questions = next(steps)
    with pytest.raises(StopIteration):
        while True:
            rounds.append([f'{kind} {name}' for name, kind in questions])
            questions = steps.send(resolver.ask(questions))
    assert rounds == [
        ['NAPTR example.com'],
        ['SRV _sip._udp.example.com', 'SRV _sip._tcp.example.com'],
        ['A udp.example.com', 'AAAA udp.example.com', 'A spare.example.com', 'AAAA spare.example.com',
         'A tcp.example.com', 'AAAA tcp.example.com']]


def test_the_servers_of_a_name_are_bounded() -> None:
    names = {f's{number}.example.com': [f'10.1.0.{number}'] for number in range(100)}
    records = {('_sip._udp.example.com', 'SRV'): [f'{number} 0 5060 s{number}.example.com' for number in range(100)]}
    assert found('sip:b@example.com', UDP, records, names=names) == [
        f'UDP 10.1.0.{number}:5060' for number in range(MAX_SERVERS)]


def test_the_addresses_of_a_server_are_bounded() -> None:
    names = {'example.com': [f'10.1.{number}.{host}' for number in range(20) for host in range(20)]}
    assert len(found('sip:b@example.com:5060', UDP, {}, names=names)) == MAX_SERVERS


def test_the_questions_that_one_answer_leads_to_are_bounded() -> None:
    """Each is a socket for seconds, and who has a domain may write into it what he likes."""
    steps = locate(Hop('example.com', None, None), UDP, [4, 6], random.Random(1))
    next(steps)
    records = [f'1 1 "s" "SIP+D2U" "" _sip{number}._udp.example.com.' for number in range(200)]
    services = steps.send([Answer(tuple(records))])
    assert len(services) == MAX_SERVERS
    many = tuple(f'1 1 5060 s{number}.example.com.' for number in range(200))
    assert len(steps.send([Answer(many)] * len(services))) == 2 * MAX_SERVERS


# RFC 2782


def test_weights() -> None:
    """60, 30, 10: over 1000 calls each server gets its share, within five percentage points."""
    records = {('_sip._udp.example.com', 'SRV'): ['1 60 5060 a', '1 30 5060 b', '1 10 5060 c', '2 99 5060 d']}
    resolver = StaticResolver({name: [f'10.0.0.{n}'] for n, name in enumerate('abcd')}, records=records,
                              random=random.Random(2782))
    hop = Hop('example.com', None, None)
    orders = [[target.host[-1] for target in resolver.locate(hop, UDP, [4])] for _ in range(1000)]
    first = Counter(order[0] for order in orders)
    assert abs(first['0'] - 600) <= 50 and abs(first['1'] - 300) <= 50 and abs(first['2'] - 100) <= 50
    assert all(sorted(order) == list('0123') and order[3] == '3' for order in orders)


def test_weight_zero_is_drawn_now_and_then() -> None:
    """RFC 2782: "In the presence of records containing weights greater than 0, records with weight 0 should have a very
    small chance of being selected"."""
    records = [Srv(0, 0, 1, 'a'), Srv(0, 9, 1, 'b')]
    first = Counter(in_order(records, random.Random(seed))[0].target for seed in range(1000))
    assert 50 < first['a'] < 150
    equal = Counter(in_order([Srv(0, 5, 1, 'a'), Srv(0, 5, 1, 'b')], random.Random(seed))[0].target
                    for seed in range(1000))
    assert 400 < equal['a'] < 600


def test_records_as_text() -> None:
    assert parse_srv('0 60 5060 A.Example.com.') == (0, 60, 5060, 'a.example.com')
    assert parse_srv('0 60 70000 a.') is None
    assert parse_srv('0 60 5060') is None
    assert parse_service(r'50 51 "u" "E2U+sip" "!^\\+(.*)$!sip:\\1@e.com;a=\"b\"!" .') == (
        50, 51, 'u', 'E2U+sip', r'!^\+(.*)$!sip:\1@e.com;a="b"!', '.')
    assert parse_service(r'1 2 "\115" "x" "" y.') == (1, 2, 's', 'x', '', 'y')
    assert parse_service('1 x "s" "x" "" y.') is None


# ENUM


def numbers(*records: str, number: str = '+15551234', more: Records | None = None) -> list[str]:
    resolver = StaticResolver(records={('4.3.2.1.5.5.5.1.e164.arpa', 'NAPTR'): list(records), **(more or {})})
    return list(resolver.enum(number, 'e164.arpa'))


@pytest.mark.parametrize('records,expected', [
    ([r'100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .'], ['sip:info@example.com']),
    # order, then preference; other services are not ours
    ([r'100 20 "u" "E2U+sip" "!^.*$!sip:b@example.com!" .', r'100 10 "U" "e2u+SIP" "!^.*$!sips:a@example.com!" .',
      r'1 1 "u" "E2U+mailto" "!^.*$!mailto:x@example.com!" .'], ['sips:a@example.com', 'sip:b@example.com']),
    ([r'1 1 "u" "E2U+voice:tel+sip" "!^\\+1(.*)$!sip:\\1@gw.example.com;user=phone!" .'],
     ['sip:5551234@gw.example.com;user=phone']),
    ([r'1 1 "u" "sip+E2U" "!^(.+)$!sip:\\1@old.example.com!i" .'], ['sip:+15551234@old.example.com']),
])
def test_numbers(records: list[str], expected: list[str]) -> None:
    assert numbers(*records) == expected


def test_a_number_may_lead_to_another_name() -> None:
    more = {('n.example.com', 'NAPTR'): [r'1 1 "u" "E2U+sip" "!^.*$!sip:x@example.com!" .']}
    assert numbers('1 1 "" "" "" n.example.com.', more=more) == ['sip:x@example.com']


def test_a_number_without_an_address() -> None:
    for records in ([], ['1 1 "" "" "" 4.3.2.1.5.5.5.1.e164.arpa.'] * MAX_STEPS):
        with pytest.raises(ResolveError, match=r'\+15551234 has no SIP address') as caught:
            numbers(*records)
        assert caught.value.status == 404


def test_a_number_that_is_too_long_is_not_asked_for() -> None:
    """Over a hundred digits the regular expression of a stranger takes seconds, in which nobody else gets a turn."""
    resolver = StaticResolver()
    for length in (MAX_DIGITS, MAX_DIGITS + 1):
        number = '+' + '1' * length
        resolver.records = {(enum_name(number, 'e164.arpa'), 'NAPTR'): ['1 1 "u" "E2U+sip" "!^.*$!sip:x@e.com!" .']}
        if length == MAX_DIGITS:
            assert resolver.enum(number, 'e164.arpa') == ['sip:x@e.com']
        else:
            with pytest.raises(ResolveError, match='too long') as caught:
                resolver.enum(number, 'e164.arpa')
            assert caught.value.status == 404


def test_the_name_of_a_number() -> None:
    assert enum_name('+44-207-9460-148', 'e164.arpa.') == '8.4.1.0.6.4.9.7.0.2.4.4.e164.arpa'


@pytest.mark.parametrize('regexp', [
    '', '!', '!^.*$!', '!(!sip:x@y!', '!^9!sip:x@y!', r'!^.*$!sip:\\1@y!', '!^.*$!mailto:x@y!', '!^.*$!sip:x@y!g',
    'a^.*$asip:x@ya', '!^((1*)*)*x$!sip:x@y!',
    '!' + '.*' * 60 + 'x!sip:x@y!'])
def test_regular_expressions_that_give_nothing(regexp: str) -> None:
    assert rewritten(regexp.replace('\\\\', '\\'), '+15551234') is None


def test_whatever_the_dns_says() -> None:
    """Servers, or a TransportError; and no time is lost."""
    draw = random.Random(7)
    pieces = ['0', '65536', '-1', '10', '.', '"', '""', '"s"', '"a"', '"u"', '"SIP+D2U"', '"E2U+sip"', '\\', '\\300',
              '_sip._udp.example.com', 'udp.example.com.', '10.0.0.5', '::1', '"!^.*$!sip:x@y!"',
              '"!(.+)+$!sip:\\\\1@y!"', 'x' * 300]
    number = '4.3.2.1.5.5.5.1.e164.arpa'
    names = [('example.com', 'NAPTR'), (number, 'NAPTR'), *SRV]
    outcomes: Counter[bool] = Counter()
    for _ in range(3000):
        records = {name: [' '.join(draw.choices(pieces, k=draw.choice((4, 6, 6, 7)))) for _ in range(draw.randrange(4))]
                   for name in names}
        resolver = StaticResolver(NAMES, records=records, random=draw)
        for ask, question in ((resolver.locate, (next_hop('sip:b@example.com'), draw.choice((ALL, UDP)), [4])),
                              (resolver.enum, ('+15551234', 'e164.arpa'))):
            try:
                assert ask(*question)
                outcomes[True] += 1
            except TransportError:
                outcomes[False] += 1
    assert outcomes[True] and outcomes[False]


# A real DNS server


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with NameServer() as server:
        server.add('example.com. 60 IN NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
                   'example.com. 60 IN NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.example.com.',
                   'example.com. 60 IN NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.example.com.',
                   '_sips._tcp.example.com. 60 IN SRV 0 0 5061 tls.example.com.',
                   '_sip._tcp.example.com. 60 IN SRV 0 0 5060 tcp.example.com.',
                   '_sip._udp.example.com. 60 IN SRV 0 0 5070 udp.example.com.',
                   '_sip._udp.example.com. 60 IN SRV 1 0 5080 spare.example.com.',
                   'example.com. 60 IN A 10.0.0.9', 'tls.example.com. 60 IN A 10.0.0.1',
                   'tcp.example.com. 60 IN A 10.0.0.2', 'udp.example.com. 60 IN A 10.0.0.3',
                   'udp.example.com. 60 IN AAAA fd00::3', 'spare.example.com. 60 IN A 10.0.0.4',
                   'bare.example. 60 IN A 10.0.0.8')
        yield server


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    clock = VirtualClock()
    yield clock
    clock.close()


@pytest.fixture
def resolver(dns: NameServer, clock: VirtualClock) -> SystemResolver:
    return dns.resolver(clock)


def asked(resolver: SystemResolver, uri: str, transports: list[str] = ALL,
          families: tuple[int, ...] = (4,)) -> list[str]:
    return [f'{transport} {host}:{port}' for transport, host, port
            in resolver.locate(next_hop(uri), transports, families)]


def test_each_branch_over_the_wire(resolver: SystemResolver, dns: NameServer) -> None:
    everything = ['TLS 10.0.0.1:5061', 'TCP 10.0.0.2:5060', *UDP_TARGETS]
    assert asked(resolver, 'sip:b@192.0.2.1') == ['UDP 192.0.2.1:5060']
    assert asked(resolver, 'sips:b@[fd00::1]') == ['TLS fd00::1:5061']
    assert dns.asked == []
    assert asked(resolver, 'sip:b@example.com') == everything
    assert asked(resolver, 'sips:b@example.com') == everything[:1]
    assert asked(resolver, 'sip:b@example.com', UDP, (6, 4)) == ['UDP fd00::3:5070', *UDP_TARGETS]
    assert asked(resolver, 'sip:b@example.com;transport=tcp') == ['TCP 10.0.0.2:5060']
    assert asked(resolver, 'sip:b@example.com:5099') == ['UDP 10.0.0.9:5099']
    assert asked(resolver, 'sip:b@192.0.2.1;maddr=bare.example') == ['UDP 10.0.0.8:5060']
    assert asked(resolver, 'sips:b@bare.example') == ['TLS 10.0.0.8:5061']
    del dns.records['example.com.', 'NAPTR']
    fresh = dns.resolver()
    assert asked(fresh, 'sip:b@example.com', ['UDP', 'TCP']) == [*UDP_TARGETS, 'TCP 10.0.0.2:5060']
    assert asked(fresh, 'sips:b@example.com') == everything[:1]


def test_answers_are_kept_for_their_time_and_so_is_that_there_is_none(resolver: SystemResolver, dns: NameServer,
                                                                      clock: VirtualClock) -> None:
    dns.soa = 'example. 3600 ns.example. admin.example. 1 2 3 4 30'
    hop = next_hop('sip:b@bare.example')
    assert resolver.cached(hop, UDP, [4]) == []
    assert asked(resolver, 'sip:b@bare.example', UDP) == ['UDP 10.0.0.8:5060']
    assert dns.asked == [('bare.example.', 'NAPTR'), ('_sip._udp.bare.example.', 'SRV'), ('bare.example.', 'A')]
    assert resolver.cached(hop, UDP, [4]) == [Target('UDP', '10.0.0.8', 5060)]
    clock.sleep(31)
    # What was not there is asked for again; the address has its minute.
    assert resolver.cached(hop, UDP, [4]) == []
    assert asked(resolver, 'sip:b@bare.example', UDP) == ['UDP 10.0.0.8:5060']
    assert dns.asked[3:] == [('bare.example.', 'NAPTR'), ('_sip._udp.bare.example.', 'SRV')]


def test_look_ups_of_one_name_are_merged_at_each_step(resolver: SystemResolver, dns: NameServer) -> None:
    jobs = [gevent.spawn(asked, resolver, 'sip:b@example.com', UDP) for _ in range(10)]
    gevent.joinall(jobs, timeout=5)
    assert [job.value for job in jobs] == [UDP_TARGETS] * 10
    assert len(dns.asked) == len(set(dns.asked)) == 4


def test_a_truncated_answer_comes_over_tcp(resolver: SystemResolver, dns: NameServer) -> None:
    dns.truncate = True
    dns.add(*(f'_sip._udp.big.example. 60 IN SRV {number} 0 5060 s{number}.big.example.' for number in range(60)),
            *(f's{number}.big.example. 60 IN A 10.2.0.{number}' for number in range(60)))
    assert asked(resolver, 'sip:b@big.example', UDP) == [f'UDP 10.2.0.{number}:5060' for number in range(MAX_SERVERS)]


@pytest.mark.parametrize('kind', ['NAPTR', 'SRV'])
@pytest.mark.parametrize('way', ['SERVFAIL', 'REFUSED', 'NOTIMP', 'NXDOMAIN', 'silent'])
def test_a_server_that_knows_addresses_only(dns: NameServer, clock: VirtualClock, kind: str, way: str) -> None:
    """Some know nothing of NAPTR or SRV and say it in all ways there are: then it is as if there were none."""
    name = {'NAPTR': 'bare.example.', 'SRV': '_sip._udp.bare.example.'}[kind]
    if way == 'silent':
        dns.silent = [kind]
    else:
        dns.failing[name, kind] = way
    resolver = dns.resolver(clock, timeout=0.05)
    assert asked(resolver, 'sip:b@bare.example', UDP) == ['UDP 10.0.0.8:5060']


@pytest.mark.parametrize('way,text', [('SERVFAIL', 'says SERVFAIL'), ('NXDOMAIN', 'has no address'),
                                      ('silent', 'no answer from')])
def test_a_server_that_knows_nothing(dns: NameServer, clock: VirtualClock, way: str, text: str) -> None:
    dns.silent = way == 'silent'
    dns.rcode = 'NOERROR' if dns.silent else way
    with pytest.raises(ResolveError, match=text):
        asked(dns.resolver(clock, timeout=0.02), 'sip:b@example.com')


def test_aliases(resolver: SystemResolver, dns: NameServer) -> None:
    dns.add('alias.example. 60 IN CNAME bare.example.', '_sip._udp.alias.example. 60 IN CNAME _sip._udp.example.com.')
    assert asked(resolver, 'sip:b@alias.example:5060', UDP) == ['UDP 10.0.0.8:5060']
    assert asked(resolver, 'sip:b@alias.example', UDP) == UDP_TARGETS


@pytest.mark.parametrize('length', [1, 2, 30])
def test_a_loop_of_aliases_ends(resolver: SystemResolver, dns: NameServer, length: int) -> None:
    dns.add(*(f'a{n}.loop. 60 IN CNAME a{(n + 1) % length}.loop.' for n in range(length)))
    with pytest.raises(ResolveError):
        asked(resolver, 'sip:b@a0.loop:5060', UDP)
    assert len(dns.asked) < 40


def test_aliases_that_the_server_does_not_follow_are_followed(resolver: SystemResolver, dns: NameServer) -> None:
    dns.follow = False
    dns.add('c0.example. 60 IN CNAME c1.example.', 'c1.example. 30 IN CNAME bare.example.',
            'l0.example. 60 IN CNAME l1.example.', 'l1.example. 60 IN CNAME l0.example.')
    assert asked(resolver, 'sip:b@c0.example:5060', UDP) == ['UDP 10.0.0.8:5060']
    assert asked(resolver, 'sip:b@c0.example:5060', UDP) == ['UDP 10.0.0.8:5060']
    assert len(dns.asked) == 3
    with pytest.raises(ResolveError, match=r'cannot look up l0\.example: its aliases lead nowhere'):
        asked(resolver, 'sip:b@l0.example:5060', UDP)


def test_a_short_name_has_services_in_the_search_domain(dns: NameServer, clock: VirtualClock, tmp_path) -> None:
    (tmp_path / 'resolv.conf').write_text('nameserver 127.0.0.1\nsearch example.com\n')
    resolver = dns.resolver(clock, configuration=str(tmp_path / 'resolv.conf'))
    dns.add('gw.example.com. 60 IN A 10.0.0.7', '_sip._udp.gw.example.com. 60 IN SRV 0 0 5077 gw.example.com.')
    assert asked(resolver, 'sip:b@gw', UDP) == ['UDP 10.0.0.7:5077']


def test_numbers_over_the_wire(resolver: SystemResolver, dns: NameServer) -> None:
    dns.add(r'4.3.2.1.5.5.5.1.e164.arpa. 60 IN NAPTR 100 10 "u" "E2U+sip" "!^\\+(.*)$!sip:\\1@example.com!" .')
    assert resolver.enum('+15551234', 'e164.arpa') == ['sip:15551234@example.com']
    with pytest.raises(ResolveError, match='has no SIP address') as caught:
        resolver.enum('+15559999', 'e164.arpa')
    assert caught.value.status == 404
    dns.rcode = 'SERVFAIL'
    with pytest.raises(ResolveError, match='SERVFAIL') as caught:
        resolver.enum('+15550000', 'e164.arpa')
    assert caught.value.status == 503


def test_a_thousand_requests_at_once_spread_by_weight(dns: NameServer) -> None:
    """Though they wait for the same answer, each draws for itself."""
    farm = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for server in farm:
        server.bind(('127.0.0.1', 0))
    ports = [server.getsockname()[1] for server in farm]
    dns.add(*(f'_sip._udp.farm.example. 60 IN SRV 1 {weight} {port} farm.example.'
              for weight, port in zip((60, 30, 10), ports)), 'farm.example. 60 IN A 127.0.0.1')
    core = Core(random=random.Random(1))
    endpoint = Endpoint(core, ['udp:127.0.0.1:0'], resolver=dns.resolver(random=random.Random(3)))
    sent: Counter[int] = Counter()
    endpoint.taps.append(lambda way, data, flow, now: sent.update([flow.remote[1]]))
    try:
        for number in range(1000):
            core.request('OPTIONS', f'sip:{number}@farm.example', endpoint.now(), from_='sip:a@a')
        endpoint.flush()
        with gevent.Timeout(10):
            while sum(sent.values()) < 1000:
                gevent.sleep(0.01)
    finally:
        endpoint.close()
        for server in farm:
            server.close()
    assert [abs(sent[port] - share) <= 50 for port, share in zip(ports, (600, 300, 100))] == [True] * 3, sent
    assert endpoint.counters.lookups == 1
