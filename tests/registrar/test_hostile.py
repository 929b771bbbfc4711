"""Clients that mean harm: each gets its refusal, in bounded time and memory, and everybody else goes on."""

from __future__ import annotations

import logging
import random
import sys

import pytest

from greensip.errors import ParseError
from greensip.message import HEADERS, Request, Response, parse_message
from greensip.message.digest import DigestClient, Login
from greensip.registrar import Database, MemoryUsers, Policy, Registrar
from greensip.testing import Network
from greensip.transaction.flow import Flow

from .conftest import NOON

SQL = ["alice'--", "'; DROP TABLE user; --", '" OR "1"="1', "a' UNION SELECT hash FROM user --", '%', '_%', '\\',
       'é\x00']

LINES = ('REGISTER {uri} SIP/2.0', 'Via: SIP/2.0/UDP 10.0.0.66;branch=z9hG4bK{number}', 'Max-Forwards: 70',
         'From: <{to}>;tag=1', 'To: <{to}>', 'Call-ID: {call_id}', 'CSeq: {cseq} REGISTER')


class Enemy:
    """Octets to the registrar, and what it answers."""

    def __init__(self, **options) -> None:
        self.net = Network(seed=2)
        self.ua = self.net.user_agent('registrar', watchdog=None)
        self.users = options.pop('users', MemoryUsers('example.com', {'mallory': 'm'}))
        self.registrar = Registrar(self.ua, **{'domains': ['example.com'], 'wall': NOON, 'users': self.users,
                                               'store': Database(), **options})
        self.flow = Flow(self.ua.points[0], ('10.0.0.66', 5060))
        self.sent = []
        self.ua.endpoint._senders[self.ua.points[0]] = lambda data, flow: self.sent.append(data)
        self.number = 0
        self.random = random.Random(3)

    def say(self, data):
        """The answer to one message, None for none."""
        self.sent.clear()
        self.ua.endpoint.received(data, self.flow)
        self.net.settle()
        return parse_message(self.sent[-1]) if self.sent else None

    def request(self, *fields, to='sip:mallory@example.com', uri='sip:example.com', call_id='1', cseq=None, without=''):
        """The octets of a REGISTER."""
        self.number += 1
        lines = [line.format(uri=uri, to=to, call_id=call_id, number=self.number, cseq=cseq or self.number)
                 for line in LINES if not without or not line.startswith(f'{without}:')]
        return '\r\n'.join([*lines, *fields, '', '']).encode('utf-8', 'surrogateescape')

    def ask(self, *fields, **options):
        """The answer to a REGISTER."""
        return self.say(self.request(*fields, **options))

    def proof(self, challenge, name='mallory', password='m', again=False):
        """Credentials that answer a 401; ``again``: further ones for the nonce of the latest."""
        if not again:
            self.client = DigestClient(Login(name, password))
            found = self.client.answer('REGISTER', 'sip:example.com', b'', challenge, self.random)
        else:
            found = self.client.preempt('REGISTER', 'sip:example.com')
        return [f'{field}: {text}' for field, text in found]

    def register(self, *fields, name='mallory', password='m', **options):
        """The answer to a REGISTER with credentials."""
        return self.ask(*fields, *self.proof(self.ask(), name, password), **options)

    def close(self):
        self.registrar.close()
        self.net.close()
        assert self.ua.endpoint.counters.failures == 0


@pytest.fixture
def make(caplog):
    made = []

    def make(**options):
        made.append(Enemy(**options))
        return made[-1]

    with caplog.at_level(logging.WARNING, 'greensip'):
        yield make
        for enemy in made:
            enemy.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def enemy(make):
    return make()


CONTACT = 'Contact: <sip:mallory@10.0.0.66>'


def test_a_proper_one(enemy):
    assert enemy.register(CONTACT).code == 200


@pytest.mark.parametrize('fields', [
    [f'Contact: {", ".join(f"<sip:mallory@10.0.0.{n}>" for n in range(1000))}'],
    [f'Contact: <sip:mallory@10.0.0.{n}>' for n in range(1000)],
    [f'Contact: <sip:mallory@10.0.0.{n % 250}>;expires=0' for n in range(1000)],
    [f'm: <sip:mallory@10.0.0.{n}>' for n in range(11)],
    ['Contact: ' + ','.join('*' for _ in range(50)), 'Expires: 0'],
], ids=['list', 'lines', 'removed', 'compact', 'stars'])
def test_a_thousand_contacts(enemy, fields):
    # Without credentials they are not even looked at, or the message has too many lines for anybody.
    assert enemy.ask(*fields).code in (400, 401)
    assert enemy.register(*fields).code in (400, 403)
    assert enemy.registrar.location.counts()['bindings'] == 0


def test_a_thousand_registrations_of_one_user(enemy):
    challenge = enemy.ask()
    codes = [enemy.ask(f'Contact: <sip:mallory@10.0.{n // 250}.{n % 250}>', *enemy.proof(challenge, again=n > 0)).code
             for n in range(300)]
    assert codes == [200] * 10 + [403] * 290
    assert enemy.registrar.location.counts() == {'aors': 1, 'bindings': 10, 'gruus': 0, 'due': 1}
    assert len(list(enemy.registrar.store.load())) == 10


def test_contacts_that_come_and_go(enemy):
    """Adding and removing by turns leaves nothing behind."""
    challenge = enemy.ask()
    for n in range(300):
        gone = f'Contact: <sip:mallory@10.0.0.{n % 250}>;expires=0'
        reply = enemy.ask(f'Contact: <sip:mallory@10.0.0.{(n + 1) % 250}>;expires={60 + n}', gone, 'Supported: gruu',
                          *enemy.proof(challenge, again=n > 0))
        assert reply.code == 200
    counts = enemy.registrar.location.counts()
    assert counts['bindings'] == 1 and counts['due'] < 5
    assert len(list(enemy.registrar.store.load())) == 1


def test_instances_and_call_ids_without_end(enemy):
    challenge = enemy.ask()
    for n in range(200):
        reply = enemy.ask(f'{CONTACT};+sip.instance="<urn:uuid:{n % 5}>"', 'Supported: gruu',
                          *enemy.proof(challenge, again=n > 0), call_id=str(n))
        assert reply.code == 200
    assert enemy.registrar.location.counts() == {'aors': 1, 'bindings': 1, 'gruus': 1, 'due': 1}


def test_users_without_end(make):
    """Where everybody may register there is a limit for all."""
    enemy = make(users=None, policy=Policy(max_bindings=50))
    codes = [enemy.ask(CONTACT, to=f'sip:user{n}@example.com').code for n in range(60)]
    assert codes == [200] * 50 + [503] * 10
    # Those who are in may refresh.
    assert enemy.ask(CONTACT, to='sip:user7@example.com', cseq=1000).code == 200


@pytest.mark.parametrize('name', SQL)
@pytest.mark.parametrize('kind', ['memory', 'database'])
def test_names_with_sql(make, tmp_path, name, kind):
    database = Database(tmp_path / 'db', 'example.com')
    database.add_user('alice', 'wonderland')
    enemy = make(users=database, store=database)
    challenge = enemy.ask()
    assert enemy.ask(CONTACT, *enemy.proof(challenge, name, 'x')).code == 401
    assert enemy.ask(CONTACT, *enemy.proof(challenge, name, 'wonderland')).code == 401
    assert database.usernames() == ['alice'] and database.hashes('alice')
    # With a user of that name, and as the address of record
    database.add_user(name, 'x')
    user = ''.join(f'%{octet:02x}' for octet in name.encode())
    reply = enemy.ask(f'Contact: <sip:{user}@10.0.0.66>', *enemy.proof(enemy.ask(), name, 'x'),
                      to=f'sip:{user}@example.com')
    assert reply.code == 200
    assert [aor for aor, _ in database.load()] == [f'{name}@example.com']
    assert database.usernames() == sorted(['alice', name])


# -- digest

def test_a_flood_of_nonces(enemy):
    """Challenges take no memory, and no transaction."""
    for _ in range(2000):
        assert enemy.ask(CONTACT).code == 401
    digest = enemy.registrar.guard.digest
    assert len(digest._seen) == 0
    assert enemy.ua.core.counts()['transactions'] == 0


def test_nonces_in_use_have_a_limit(enemy):
    digest = enemy.registrar.guard.digest
    digest.limit = 20
    first = enemy.ask()
    assert enemy.ask(CONTACT, *enemy.proof(first)).code == 200
    client = enemy.client
    for _ in range(50):
        assert enemy.register(CONTACT).code == 200
    assert len(digest._seen) == 20
    # One that was forgotten is stale, and good for nothing.
    enemy.client = client
    reply = enemy.ask(CONTACT, *enemy.proof(first, again=True))
    assert reply.code == 401 and 'stale=true' in reply.get('WWW-Authenticate')


def test_credentials_are_good_once(enemy):
    challenge = enemy.ask()
    proof = enemy.proof(challenge)
    assert enemy.ask(CONTACT, *proof).code == 200
    again = enemy.ask(f'{CONTACT};expires=0', *proof)
    assert again.code == 401 and 'stale=true' in again.get('WWW-Authenticate')
    assert enemy.registrar.location.counts()['bindings'] == 1
    # and only for so long
    late = enemy.proof(enemy.ask())
    enemy.net.run(301)
    assert 'stale=true' in enemy.ask(CONTACT, *late).get('WWW-Authenticate')


@pytest.mark.parametrize(('uri', 'code'), [
    ('sip:example.com', 200), ('sip:EXAMPLE.com;transport=udp', 200), ('sip:10.0.0.1', 200),
    ('sip:bob@example.com', 400), ('sip:example.net', 400), ('tel:+1', 400)])
def test_credentials_for_another_uri(enemy, uri, code):
    """RFC 7616 3.4.6: what was proved for one resource opens no other one."""
    client = DigestClient(Login('mallory', 'm'))
    proof = [f'{field}: {text}' for field, text in client.answer('REGISTER', uri, b'', enemy.ask(), enemy.random)]
    assert enemy.ask(CONTACT, *proof).code == code


def test_repeated_requests_are_answered_once(enemy):
    """The same octets again are the same request, whatever was done about it."""
    data = enemy.request(CONTACT, *enemy.proof(enemy.ask()))
    assert enemy.say(data).code == 200
    assert enemy.say(data).code == 200


@pytest.mark.parametrize('text', [
    'Digest', 'Basic bTpt', 'Digest realm="example.com"', 'Digest username="mallory", realm="example.com", nonce="x"',
    'Digest username="mallory", realm="example.com", nonce="1-1-x", uri="sip:example.com", response="0"',
    'Digest username="mallory", realm="other", nonce="x", uri="sip:example.com", response="0"',
    'Digest username="mallory", realm="example.com", nonce="x", uri="sip:example.com", response="' + 'f' * 30000 + '"',
    'Digest username="\udcff", realm="example.com", nonce="x", uri="sip:example.com", response="0"',
    'Digest username="mallory", realm="example.com", nonce="-", uri="<>", response="\udcff", algorithm=MD4',
    'Digest username="' + "'" * 5000 + '", realm="example.com", nonce="x", uri="x", response="0", qop=auth, nc=1',
    'Digest username*=UTF-8\'\'%ff, realm="example.com", nonce="x", uri="x", response="0", qop=auth, cnonce=""',
    'Digest ' + ','.join(f'a{n}=1' for n in range(3000)), ',,,', '"', 'Digest username=,',
])
def test_credentials_that_make_no_sense(enemy, text):
    assert enemy.ask(CONTACT, f'Authorization: {text}').code in (400, 401)
    assert enemy.registrar.location.counts()['bindings'] == 0


def test_many_credentials(enemy):
    line = 'Authorization: Digest username="m", realm="example.com", nonce="x", uri="x", response="0"'
    assert enemy.ask(CONTACT, *[line] * 200).code in (400, 401)


# -- broken values

NONSENSE = ('', ';', '<', '"', '<sip:', 'sip:a@[::1', '-1', '99999999999999999999', ';;=', '@@@', 'a/b/c;q=', '\x01',
            'é\udcff', '*', '<sip:%@h>', '<tel:>', '0')
OF_REGISTER = ('Contact', 'Expires', 'Path', 'Supported', 'Require', 'Authorization', 'User-Agent', 'Date', 'Route',
               'Record-Route', 'Call-ID', 'CSeq', 'From', 'To', 'Via', 'Max-Forwards', 'Proxy-Require', 'Content-Type')


def broken(name):
    found = []
    for text in NONSENSE:
        try:
            HEADERS[name].type.parse(text)
        except ParseError:
            found.append(text)
    return found


@pytest.mark.parametrize('name', OF_REGISTER)
def test_each_value_broken(make, name):
    """A 4xx where it matters, no matter where it does not; nothing is registered by a broken Contact."""
    enemy = make(users=None)
    for text in (*broken(name), *NONSENSE):
        fields = [] if name == 'Contact' else [CONTACT]
        reply = enemy.ask(*fields, f'{name}: {text}', without=name)
        assert reply is None or isinstance(reply, Response)
        if reply is not None:
            assert reply.code == 200 or 400 <= reply.code < 500, (text, reply)
    # It lives.
    assert enemy.ask(CONTACT, call_id='after').code == 200


def test_parameters_of_contacts(make):
    enemy = make(users=None)
    for tail in (';q=x', ';q=9', ';expires=x', ';expires=-1', ';expires=99999999999999', ';reg-id', ';reg-id=1',
                 ';+sip.instance', ';+sip.instance="', ';+sip.instance="<>";reg-id=1', ';+sip.instance=x;reg-id=-1',
                 ';+sip.instance=x;reg-id=0000000001' + '0' * 5000, ';+sip.instance=x;reg-id=²',
                 ';pub-gruu="sip:x"', f';x={"y" * 20000}', ';expires=100;expires=0', ';Q=0.5;EXPIRES=60'):
        reply = enemy.ask(CONTACT + tail, 'Supported: gruu, outbound')
        assert reply.code in (200, 400), tail
        for value in reply.contacts if reply.code == 200 else ():
            assert 0 < value.expires <= 86400
    assert enemy.registrar.location.counts()['bindings'] <= 4


@pytest.mark.parametrize('uri', ['sip:example.com;gr', 'sip:@example.com', 'sip:a@example.com;gr=%00', 'tel:1', 'http://x',
                                 'sip:tgruu.aaaa@example.com;gr', 'sip:a@example.com:0', 'sip:[::1]', 'sip:a@[::]',
                                 'sip:999.999.999.999', 'sip:%ff@example.com', 'sip:%00@example.com',
                                 'sip:a%40b@example.com', 'sip:' + 'a' * 5000 + '@example.com'])
def test_odd_addresses(make, uri):
    enemy = make(users=None)
    for options in ({'to': uri}, {'uri': uri}):
        assert enemy.ask(CONTACT, **options).code in (200, 400, 403, 404, 416)
    enemy.say((f'INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.66;branch=z9hG4bKx\r\nFrom: <sip:x@y>;tag=1\r\n'
               f'To: <sip:x@z>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n\r\n').encode())
    # refused, or on its way to who has just registered there
    heard = [parse_message(data) for data in enemy.sent]
    assert any(one.method == 'INVITE' if isinstance(one, Request) else 400 <= one.code < 500 for one in heard)


def test_anything_at_all(make):
    """Messages with pieces exchanged at random: an answer or none, and no failure."""
    enemy = make(users=None)
    draw = random.Random(9)
    base = enemy.request(f'{CONTACT};+sip.instance="<urn:uuid:1>";reg-id=1', 'Supported: gruu, outbound, path',
                         'Path: <sip:p;lr;ob>', 'Expires: 600')
    for _ in range(1500):
        data = bytearray(base)
        for _ in range(draw.randrange(1, 4)):
            place = draw.randrange(len(data))
            data[place:place + draw.randrange(3)] = bytes(draw.choice(b' ;,<>"=:@*\r\n\x00\xff0aZ%') for _ in range(
                draw.randrange(3)))
        enemy.say(bytes(data))
    assert sys.getsizeof(enemy.registrar.location._bindings) < 100_000
    assert enemy.ask(CONTACT, call_id='after', to='sip:after@example.com').code == 200
