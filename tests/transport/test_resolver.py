"""Names: the hosts file, and the DNS against a name server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rrset
import gevent
import pytest

from greensip.dialog.routing import Target
from greensip.errors import ResolveError
from greensip.testing import NameServer, VirtualClock
from greensip.transaction.flow import Hop
from greensip.transport import StaticResolver, SystemResolver
from greensip.transport import resolver as resolver_module


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    clock = VirtualClock()
    yield clock
    clock.close()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / 'hosts').write_text('127.0.0.1 localhost\n10.0.0.9 pbx PBX.example.com # ours\n'
                                    '2001:db8::9 pbx\nnonsense here\n10.0.0.8\n')
    (tmp_path / 'resolv.conf').write_text('nameserver 127.0.0.1\nsearch example.net\n')
    return {'hosts': str(tmp_path / 'hosts'), 'configuration': str(tmp_path / 'resolv.conf')}


@pytest.fixture
def resolver(server: NameServer, clock: VirtualClock, files: dict[str, str]) -> SystemResolver:
    return SystemResolver(clock, servers=[server.address], timeout=2.0, **files)


def test_the_hosts_file(resolver: SystemResolver, server: NameServer) -> None:
    assert resolver.addresses('PBX') == ['10.0.0.9', '2001:db8::9']
    assert resolver.addresses('pbx', [6, 4]) == ['2001:db8::9', '10.0.0.9']
    assert resolver.addresses('pbx.example.COM.') == ['10.0.0.9']
    assert resolver.cached(Hop('pbx', 5070, 'UDP'), ['UDP'], [4]) == [Target('UDP', '10.0.0.9', 5070)]
    # and nothing else of such a name is looked for
    assert resolver.locate(Hop('pbx', None, None), ['UDP'], [4]) == [Target('UDP', '10.0.0.9', 5060)]
    assert server.asked == []


def test_the_hosts_file_is_read_again_when_it_changes(resolver: SystemResolver, files: dict[str, str]) -> None:
    assert resolver.addresses('pbx', [4]) == ['10.0.0.9']
    Path(files['hosts']).write_text('10.0.0.77 pbx moved\n')
    assert resolver.addresses('pbx', [4]) == ['10.0.0.77']
    Path(files['hosts']).unlink()
    assert resolver.addresses('localhost') == ['127.0.0.1', '::1']


def test_an_address_is_its_own_answer(resolver: SystemResolver, server: NameServer) -> None:
    assert resolver.addresses('2001:db8::1') == ['2001:db8::1']
    assert server.asked == []


def test_addresses_of_both_families_in_the_order_of_preference(resolver: SystemResolver, server: NameServer) -> None:
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1',
                                                  'bob.example.com. 60 IN A 10.0.0.2'],
                      ('bob.example.com.', 'AAAA'): ['bob.example.com. 60 IN AAAA 2001:db8::1']}
    hop = Hop('bob.example.com', 5080, None)
    assert resolver.cached(hop, ['UDP'], [4, 6]) == []
    found = resolver.locate(hop, ['UDP'], [6, 4])
    assert [(host, port) for _, host, port in found] == [('2001:db8::1', 5080), ('10.0.0.1', 5080), ('10.0.0.2', 5080)]
    assert [target.host for target in resolver.cached(hop, ['UDP'], [4, 6])] == ['10.0.0.1', '10.0.0.2', '2001:db8::1']
    assert resolver.cached(hop._replace(host='BOB.example.com'), ['TCP'], [4])[0] == Target('TCP', '10.0.0.1', 5080)
    assert len(server.asked) == 2


def test_an_answer_is_kept_for_its_time_to_live(resolver: SystemResolver, server: NameServer,
                                                clock: VirtualClock) -> None:
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1']}
    for _ in range(3):
        assert resolver.addresses('bob.example.com', [4]) == ['10.0.0.1']
    assert len(server.asked) == 1
    clock.sleep(59)
    resolver.addresses('bob.example.com', [4])
    assert len(server.asked) == 1
    clock.sleep(1)
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.2']}
    assert resolver.addresses('bob.example.com', [4]) == ['10.0.0.2']
    assert len(server.asked) == 2


def test_aliases_are_followed_and_the_shortest_life_counts(resolver: SystemResolver, server: NameServer,
                                                           clock: VirtualClock) -> None:
    server.records = {('sip.example.com.', 'A'): ['sip.example.com. 10 IN CNAME host.example.com.',
                                                  'host.example.com. 600 IN A 10.0.0.1']}
    assert resolver.addresses('sip.example.com', [4]) == ['10.0.0.1']
    clock.sleep(11)
    resolver.addresses('sip.example.com', [4])
    assert len(server.asked) == 2


def test_that_a_name_does_not_exist_is_kept_too(resolver: SystemResolver, server: NameServer,
                                                clock: VirtualClock) -> None:
    """For as long as the zone says (RFC 2308 5)."""
    server.soa = 'example.com. 3600 ns.example.com. admin.example.com. 1 2 3 4 30'
    for _ in range(3):
        with pytest.raises(ResolveError, match=r'nobody\.example\.com has no address'):
            resolver.addresses('nobody.example.com', [4])
    # the name itself, and with the domain of the configuration
    assert server.asked == [('nobody.example.com.', 'A'), ('nobody.example.com.example.net.', 'A')]
    clock.sleep(31)
    with pytest.raises(ResolveError):
        resolver.addresses('nobody.example.com', [4])
    assert len(server.asked) == 4


def test_a_name_without_dots_is_looked_for_in_the_domain_first(resolver: SystemResolver, server: NameServer) -> None:
    server.records = {('gw.example.net.', 'A'): ['gw.example.net. 60 IN A 10.0.0.5']}
    assert resolver.addresses('gw', [4]) == ['10.0.0.5']
    with pytest.raises(ResolveError):
        resolver.addresses('gw.', [4])
    assert server.asked == [('gw.example.net.', 'A'), ('gw.', 'A')]


def test_a_failure_is_kept_for_a_moment(resolver: SystemResolver, server: NameServer, clock: VirtualClock) -> None:
    server.rcode = 'SERVFAIL'
    for _ in range(3):
        with pytest.raises(ResolveError, match=r'127\.0\.0\.1 says SERVFAIL'):
            resolver.addresses('bob.example.com', [4])
    assert len(server.asked) == resolver_module.ROUNDS
    server.rcode = 'NOERROR'
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1']}
    clock.sleep(resolver_module.FAILURE_TTL)
    assert resolver.addresses('bob.example.com', [4]) == ['10.0.0.1']


def test_the_next_server_is_asked_when_one_is_silent_or_dead(server: NameServer, clock: VirtualClock,
                                                             files: dict[str, str]) -> None:
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1']}
    silent = NameServer()
    silent.silent = True
    dead = NameServer()
    dead.close()
    try:
        resolver = SystemResolver(clock, servers=[dead.address, silent.address, server.address], timeout=0.02, **files)
        assert resolver.addresses('bob.example.com', [4]) == ['10.0.0.1']
        assert resolver.queries == 3
        resolver = SystemResolver(clock, servers=[silent.address], timeout=0.01, **files)
        with pytest.raises(ResolveError, match=r'no answer from 127\.0\.0\.1'):
            resolver.addresses('bob.example.com', [4])
    finally:
        silent.close()


def test_forged_and_broken_answers_are_passed_over(resolver: SystemResolver, server: NameServer) -> None:
    forged = dns.message.make_response(dns.message.make_query('bob.example.com', 'A'))
    forged.answer.append(dns.rrset.from_text('bob.example.com.', 60, 'IN', 'A', '6.6.6.6'))
    server.noise = [b'', b'\0' * 40, forged.to_wire()]
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1']}
    assert resolver.addresses('bob.example.com', [4]) == ['10.0.0.1']


def test_a_long_answer_comes_over_tcp(resolver: SystemResolver, server: NameServer) -> None:
    server.truncate = True
    server.records = {('bob.example.com.', 'A'): [f'bob.example.com. 60 IN A 10.0.0.{n}' for n in range(1, 100)]}
    assert len(resolver.addresses('bob.example.com', [4])) == 99


def test_a_server_that_has_never_heard_of_edns(resolver: SystemResolver, server: NameServer) -> None:
    server.edns = False
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1']}
    assert resolver.addresses('bob.example.com', [4]) == ['10.0.0.1']
    assert resolver.queries == 2


def test_look_ups_of_one_name_are_merged_and_block_nobody_else(resolver: SystemResolver, server: NameServer) -> None:
    server.records = {('bob.example.com.', 'A'): ['bob.example.com. 60 IN A 10.0.0.1']}
    jobs = [gevent.spawn(resolver.addresses, 'bob.example.com', [4]) for _ in range(5)]
    ran: list[int] = []
    gevent.spawn(lambda: [(ran.append(n), gevent.sleep(0)) for n in range(3)])
    gevent.joinall(jobs, timeout=5)
    assert [job.value for job in jobs] == [['10.0.0.1']] * 5
    assert len(server.asked) == 1
    assert ran == [0, 1, 2]


def test_whoever_waits_with_one_who_is_killed_does_not_wait_for_ever(resolver: SystemResolver,
                                                                     server: NameServer) -> None:
    server.silent = True
    resolver.timeout = 0.02
    first = gevent.spawn(resolver.addresses, 'bob.example.com', [4])
    gevent.sleep(0)
    second = gevent.spawn(resolver.addresses, 'bob.example.com', [4])
    gevent.sleep(0)
    first.kill()
    second.join(5)
    assert isinstance(second.exception, ResolveError)


def test_the_cache_is_bounded(resolver: SystemResolver, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, 'CACHE', 5)
    for number in range(20):
        name = f'n{number}.example.com.'
        server.records[name, 'A'] = [f'{name} 60 IN A 10.0.0.{number}']
        resolver.addresses(name, [4])
    assert len(resolver._cache) == 5
    assert resolver.cached(Hop('n19.example.com.', 5060, None), ['UDP'], [4]) == [Target('UDP', '10.0.0.19', 5060)]


def test_an_answer_is_bounded(resolver: SystemResolver, server: NameServer) -> None:
    name = 'many.example.com.'
    server.records[name, 'A'] = [f'{name} 60 IN A 10.0.{number // 200}.{number % 200}' for number in range(400)]
    server.truncate = True
    assert len(resolver.addresses(name, [4])) == resolver_module.RECORDS


@pytest.mark.parametrize('name', ['a' * 64 + '.example.com', 'a..b', '.' * 300, 'b\u00fccher.example', 'a' * 300])
def test_what_is_no_name_is_an_error_like_any_other(resolver: SystemResolver, name: str) -> None:
    with pytest.raises(ResolveError):
        resolver.addresses(name, [4])


def test_a_machine_without_a_name_server(clock: VirtualClock, tmp_path: Path) -> None:
    resolver = SystemResolver(clock, hosts=str(tmp_path / 'none'), configuration=str(tmp_path / 'none'))
    with pytest.raises(ResolveError, match='no name server is configured'):
        resolver.addresses('bob.example.com')


def test_a_new_configuration_is_noticed(clock: VirtualClock, server: NameServer, files: dict[str, str],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, 'DNS_PORT', server.address[1])
    resolver = SystemResolver(clock, timeout=0.05, **files)
    server.records = {('gw.example.org.', 'A'): ['gw.example.org. 60 IN A 10.0.0.5']}
    with pytest.raises(ResolveError):
        resolver.addresses('gw', [4])
    Path(files['configuration']).write_text('nameserver 127.0.0.1\nsearch example.org example.info\n')
    clock.sleep(3600)
    assert resolver.addresses('gw', [4]) == ['10.0.0.5']


def test_a_static_table_takes_its_time(clock: VirtualClock) -> None:
    resolver = StaticResolver({'bob': ['10.0.0.1', '2001:db8::1']}, clock=clock)
    hop = Hop('Bob', 5080, None)
    assert [host for _, host, _ in resolver.cached(hop, ['UDP'], [6, 4])] == ['2001:db8::1', '10.0.0.1']
    resolver.delay = 1.5
    assert resolver.cached(hop, ['UDP'], [4]) == []
    assert resolver.locate(hop, ['UDP'], [4]) == [Target('UDP', '10.0.0.1', 5080)]
    assert clock.now() == 1.5
    with pytest.raises(ResolveError, match='carol has no address'):
        resolver.addresses('carol')
