"""RFC 3261 10.3 step by step, and what RFC 3327, 5626 and 5627 add to it."""

from __future__ import annotations

import random
import re

import pytest

from greensip.errors import ParseError
from greensip.message import parse_message, parse_uri
from greensip.registrar import Database, Location, MemoryStore, Policy, StoreError
from greensip.registrar.guard import Reply
from greensip.transaction.flow import Flow, Point

NOON = 1795262400.0
POINT = Point('UDP', ('192.0.2.1', 5060))
TCP = Point('TCP', ('192.0.2.1', 5060), reliable=True)
PHONE = ('192.0.2.7', 5060)


class Office:
    """A registrar of example.com at noon, and its client alice at 192.0.2.7."""

    def __init__(self, **options):
        self.changes = []
        self.now = NOON
        self.cseq = 0
        self.location = Location(**{'store': Database(), 'random': random.Random(5), 'domains': ['example.com'],
                                    'on_change': self.changes.append, **options})

    def register(self, *fields, to='sip:alice@example.com', uri='sip:example.com', call_id='1', cseq=None,
                 via=('SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1',), flow=None):
        """The reply to a REGISTER with these further header fields."""
        self.cseq = cseq if cseq is not None else self.cseq + 1
        lines = [f'REGISTER {uri} SIP/2.0', *(f'Via: {text}' for text in via), 'Max-Forwards: 70',
                 f'From: <{to}>;tag=1', f'To: <{to}>', f'Call-ID: {call_id}', f'CSeq: {self.cseq} REGISTER', *fields,
                 'Content-Length: 0', '', '']
        request = parse_message('\r\n'.join(lines).encode('utf-8', 'surrogateescape'))
        return self.location.register(request, flow or Flow(POINT, PHONE), self.now)

    def contacts(self, reply=None):
        """What a reply tells of the bindings: their URIs."""
        assert reply is None or reply.code == 200, reply
        fields = (reply or self.register()).headers
        return [text[1:text.index('>')] for name, text in fields if name == 'Contact']

    def why(self):
        return [change.why for change in self.changes]


def values(reply, name):
    return [text for field, text in reply.headers if field == name]


@pytest.fixture
def office():
    return Office()


ALICE = 'Contact: <sip:alice@192.0.2.7>'
OTHER = 'Contact: <sip:alice@192.0.2.8>'


# -- RFC 3261 10.3

def test_add_ask_refresh_remove(office):
    assert office.contacts() == []
    assert values(office.register(ALICE), 'Contact') == ['<sip:alice@192.0.2.7>;expires=3600']
    office.now += 100
    assert values(office.register(), 'Contact') == ['<sip:alice@192.0.2.7>;expires=3500']
    assert values(office.register(f'{ALICE};expires=600'), 'Contact') == ['<sip:alice@192.0.2.7>;expires=600']
    assert office.contacts(office.register(OTHER)) == ['sip:alice@192.0.2.7', 'sip:alice@192.0.2.8']
    assert office.contacts(office.register(f'{ALICE};expires=0')) == ['sip:alice@192.0.2.8']
    assert office.contacts(office.register('Contact: *', 'Expires: 0')) == []
    assert office.why() == ['registered', 'refreshed', 'registered', 'unregistered', 'unregistered']
    assert office.location.counts() == {'aors': 0, 'bindings': 0, 'gruus': 0, 'due': 2}


def test_step_5_the_address_of_record(office):
    for to in ('sip:%61lice@EXAMPLE.com;user=phone', 'sips:alice@example.com.', 'sip:alice:secret@example.com:5060',
               'sip:alice@192.0.2.1', 'sip:alice@[2001:db8::1]'):
        office.register(ALICE, to=to)
    assert [aor for aor, _ in office.location.items()] == ['alice@example.com']
    # 19.1.4: the user part has a case
    office.register(ALICE, to='sip:Alice@example.com')
    assert len(list(office.location.items())) == 2
    for to in ('sip:alice@example.net', 'sip:example.com', 'tel:+1234'):
        assert office.register(ALICE, to=to).code == 404
    assert office.register(ALICE, uri='sip:example.net').code == 404


def test_several_domains_are_several():
    office = Office(domains=['example.com', 'Example.net'])
    office.register(ALICE)
    office.register(OTHER, to='sip:alice@example.NET')
    assert [aor for aor, _ in office.location.items()] == ['alice@example.com', 'alice@example.net']
    assert office.location.aor_of(parse_uri('sip:alice@192.0.2.1')) == 'alice@example.com'


@pytest.mark.parametrize(('fields', 'code'), [
    (['Contact: *'], 400),
    (['Contact: *', 'Expires: 60'], 400),
    (['Contact: *', ALICE, 'Expires: 0'], 400),
    (['Contact: *, <sip:alice@192.0.2.7>', 'Expires: 0'], 400),
    (['Contact: *, *', 'Expires: 0'], 400),
    ([f'{ALICE};expires=59'], 423),
    ([ALICE, 'Expires: 59'], 423),
    ([f'{ALICE};expires=0', f'{OTHER};expires=1'], 423),
    (['Contact: <sip:alice@example.com>'], 403),
    (['Contact: <sip:alice@example.com;gr=urn:uuid:1>'], 403),
    (['Contact: <sip:alice@192.0.2.7>;reg-id=1;+sip.instance="<urn:uuid:1>"', OTHER], 400),
    (['Contact: <sip:alice@192.0.2.7>;reg-id=0;+sip.instance="<urn:uuid:1>"'], 400),
    (['Contact: <sip:alice@192.0.2.7>;reg-id=2147483648;+sip.instance="<urn:uuid:1>"'], 400),
    (['Contact: <sip:alice@192.0.2.7>;reg-id=x;+sip.instance="<urn:uuid:1>"'], 400),
    (['Contact: <mailto:alice@example.com>;+sip.instance="<urn:uuid:1>"'], 403),
    ([ALICE + ';x=\udcff'], 400),
    (['Path: <sip:\udcff@example.net;lr>', ALICE], 400),
], ids=str)
def test_all_or_nothing(office, fields, code):
    office.register('Contact: <sip:first@192.0.2.7>')
    before = office.location.lookup('alice@example.com', office.now)
    reply = office.register('Contact: <sip:new@192.0.2.7>', *fields)
    assert reply.code == code
    assert office.location.lookup('alice@example.com', office.now) == before
    assert office.why() == ['registered']
    assert [binding.contact for _, binding in office.location.store.load()] == ['sip:first@192.0.2.7']


@pytest.mark.parametrize('fields', [
    ['Contact: <sip:alice@192.0.2.7'], ['Contact: alice'], [ALICE, 'Expires: soon'], ['Contact: <sip:a@b:99999>'],
    ['Contact: <sip:a@b>;x="'], ['Path: x', ALICE], ['Supported: ,;', ALICE], ['Contact: '],
], ids=str)
def test_what_cannot_be_read(office, fields):
    with pytest.raises(ParseError):
        office.register(*fields)
    assert office.location.counts()['bindings'] == 0


def test_an_interval_that_is_broken_counts_as_an_hour(office):
    assert values(office.register(f'{ALICE};expires=soon'), 'Contact') == ['<sip:alice@192.0.2.7>;expires=3600']


def test_step_7_the_parameter_goes_before_the_header_field(office):
    """One contact is removed, one says for how long, and the third takes what is said for all."""
    office.register(ALICE, OTHER)
    third = 'Contact: <sip:alice@192.0.2.9>'
    reply = office.register(f'{ALICE};expires=0', f'{OTHER};expires=300', third, 'Expires: 900')
    assert values(reply, 'Contact') == ['<sip:alice@192.0.2.8>;expires=300', '<sip:alice@192.0.2.9>;expires=900']
    assert office.contacts(office.register(f'{third};expires=600', OTHER, 'Expires: 0')) == ['sip:alice@192.0.2.9']


def test_423_is_for_less_than_an_hour():
    office = Office(policy=Policy(min_expires=7200))
    assert office.register(f'{ALICE};expires=3599').code == 423
    assert office.register(f'{ALICE};expires=3600').code == 200
    assert Office(policy=Policy(max_expires=600)).register(f'{ALICE};expires=3600').headers[0] == (
        'Contact', '<sip:alice@192.0.2.7>;expires=600')


def test_out_of_order(office):
    office.register(ALICE, OTHER, cseq=5)
    for fields in ([ALICE], [f'{ALICE};expires=0'], ['Contact: *', 'Expires: 0'],
                   ['Contact: <sip:alice@192.0.2.9>', ALICE]):
        for cseq in (4, 5):
            assert office.register(*fields, cseq=cseq) == Reply(500, 'Out Of Order')
    assert len(office.contacts(office.register(cseq=1))) == 2
    # Another Call-ID: the client was restarted.
    assert office.register(f'{ALICE};expires=0', call_id='2', cseq=1).code == 200
    assert office.register('Contact: *', 'Expires: 0', call_id='2', cseq=1).code == 200
    assert office.contacts() == []


def test_a_star_from_elsewhere_does_not_care_for_the_order(office):
    office.register(ALICE, call_id='a', cseq=9)
    office.register(OTHER, call_id='b', cseq=2)
    assert office.register('Contact: *', 'Expires: 0', call_id='b', cseq=2).code == 500
    assert len(office.contacts(office.register())) == 2
    assert office.register('Contact: *', 'Expires: 0', call_id='b', cseq=3).code == 200


def test_contacts_are_compared_as_uris(office):
    office.register('Contact: <sip:alice@Phone.example.com;transport=tcp>')
    assert len(office.contacts(office.register('Contact: "A" <sip:%61lice@phone.EXAMPLE.com;Transport=TCP;x=1>'))) == 1
    assert len(office.contacts(office.register('Contact: <sip:alice@phone.example.com>'))) == 2
    assert len(office.contacts(office.register('Contact: <sip:alice@phone.example.com:5060;transport=tcp>'))) == 3


def test_the_same_contact_twice_in_a_request(office):
    reply = office.register(f'{ALICE};expires=100', f'{ALICE};expires=200')
    assert values(reply, 'Contact') == ['<sip:alice@192.0.2.7>;expires=200']
    assert values(office.register(f'{ALICE};expires=300', f'{ALICE};expires=0'), 'Contact') == []
    assert list(office.location.store.load()) == []


def test_parameters_of_a_contact_come_back(office):
    reply = office.register('Contact: "A" <sip:alice@192.0.2.7>;q=0.5;methods="INVITE,BYE";x;pub-gruu="x";temp-gruu')
    assert values(reply, 'Contact') == ['<sip:alice@192.0.2.7>;q=0.5;methods="INVITE,BYE";x;expires=3600']


def test_a_store_that_fails_changes_nothing():
    class Broken(MemoryStore):
        broken = False

        def change(self, aor, put, drop):
            if self.broken:
                raise StoreError('the disk is full')

    office = Office(store=Broken())
    office.register(ALICE)
    office.location.store.broken = True
    assert office.register(OTHER) == Reply(500)
    assert office.register(f'{ALICE};expires=0') == Reply(500)
    assert office.register().code == 200
    assert office.contacts() == ['sip:alice@192.0.2.7']
    assert office.why() == ['registered']
    # What runs out is over, whatever the store says.
    office.location.expire(office.now + 3600)
    assert office.contacts() == []


def test_the_date(office):
    assert values(office.register(), 'Date') == ['Sat, 21 Nov 2026 12:00:00 GMT']
    office.now += 61.5
    assert values(office.register(), 'Date') == ['Sat, 21 Nov 2026 12:01:01 GMT']


def test_limits():
    office = Office(policy=Policy(max_contacts=2, max_bindings=3))
    assert office.register(ALICE, OTHER).code == 200
    assert office.register('Contact: <sip:alice@192.0.2.9>') == Reply(403, 'Too Many Contacts')
    # Three in one request are refused unread, two in place of two others are not.
    assert office.register('Contact: <sip:1@h>, <sip:2@h>, <sip:3@h>').code == 403
    assert office.register('Contact: <', 'Contact: <', 'Contact: <').code == 403
    assert office.register('Contact: *', 'Expires: 0').code == 200
    assert office.register(ALICE, OTHER).code == 200
    assert office.register(ALICE, to='sip:bob@example.com').code == 200
    reply = office.register(OTHER, to='sip:bob@example.com')
    assert reply.code == 503 and values(reply, 'Retry-After') == ['60']
    assert office.register(ALICE).code == 200


# -- time

def test_bindings_run_out(office):
    office.register(f'{ALICE};expires=100')
    office.register(f'{OTHER};expires=200')
    assert office.location.next_expiry() == NOON + 100
    office.now += 100
    # Also before anybody has looked.
    assert office.contacts() == ['sip:alice@192.0.2.8']
    office.location.expire(office.now)
    assert office.location.next_expiry() == NOON + 200
    office.now += 100
    office.location.expire(office.now)
    assert office.location.next_expiry() is None
    assert office.why() == ['registered', 'registered', 'expired', 'expired']
    assert office.location.counts() == {'aors': 0, 'bindings': 0, 'gruus': 0, 'due': 0}
    assert list(office.location.store.load()) == []


def test_refreshes_do_not_fill_the_calendar(office):
    for number in range(1000):
        office.now += 1
        office.register(f'{ALICE};expires={3600 if number % 2 else 60}')
        office.location.expire(office.now)
    assert office.location.counts()['due'] < 40


def test_who_comes_and_goes_does_not_fill_the_calendar(office):
    office.register(f'{OTHER};expires=80000', to='sip:bob@example.com')
    for _ in range(5000):
        office.now += 0.01
        office.register(f'{ALICE};expires=86400')
        office.register(f'{ALICE};expires=0')
    assert office.location.counts()['due'] < 1100
    office.location.expire(office.now + 80000)
    assert office.location.counts()['bindings'] == 0


def test_a_binding_that_has_run_out_is_replaced(office):
    office.register(f'{ALICE};expires=60', cseq=9)
    office.now += 60
    # Its Call-ID and CSeq are forgotten with it.
    assert office.contacts(office.register(ALICE, cseq=1)) == ['sip:alice@192.0.2.7']
    assert len(list(office.location.store.load())) == 1


# -- RFC 3327

def test_path(office):
    path = ['Path: <sip:p1.example.net;lr>, "x" <sip:p2.example.net;lr>', 'Path: <sip:p3.example.net;lr>;a=b']
    reply = office.register(ALICE, *path, 'Supported: path')
    assert values(reply, 'Path') == [line[6:] for line in path]
    binding, = office.location.lookup('alice@example.com', office.now)
    assert binding.path == ('<sip:p1.example.net;lr>', '"x" <sip:p2.example.net;lr>', '<sip:p3.example.net;lr>;a=b')
    assert binding.flow is None
    # Another way the next time
    office.register(ALICE)
    assert office.location.lookup('alice@example.com', office.now)[0].path == ()


# -- RFC 5626

INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
FLOW = f'Contact: <sip:line1@192.0.2.7;transport=tcp>;reg-id=1;{INSTANCE}'
OUTBOUND = 'Supported: path, outbound'
PROXIED = ('SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK2', 'SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1')


def test_a_flow(office):
    flow = Flow(TCP, ('198.51.100.7', 40000), 3)
    reply = office.register(FLOW, OUTBOUND, flow=flow)
    assert values(reply, 'Require') == ['outbound'] and values(reply, 'Flow-Timer') == ['120']
    binding, = office.location.lookup('alice@example.com', office.now)
    assert (binding.flow, binding.reg_id, binding.instance) == (
        flow, 1, 'urn:uuid:00000000-0000-1000-8000-000A95A0E128')
    # The same flow again, from another contact and Call-ID: it replaces the binding.
    other = Flow(TCP, ('198.51.100.7', 40001), 4)
    office.register(FLOW.replace('192.0.2.7', '192.0.2.9'), OUTBOUND, flow=other, call_id='2')
    binding, = office.location.lookup('alice@example.com', office.now)
    assert binding.flow == other and binding.contact == 'sip:line1@192.0.2.9;transport=tcp'
    # A second flow with the same contact is one more binding.
    office.register(FLOW.replace('192.0.2.7', '192.0.2.9').replace('reg-id=1', 'reg-id=2'), OUTBOUND, flow=flow)
    assert len(office.location.lookup('alice@example.com', office.now)) == 2
    reply = office.register(f'{FLOW};expires=0', OUTBOUND)
    assert len(values(reply, 'Contact')) == 1 and values(reply, 'Require') == ['outbound']


@pytest.mark.parametrize(('fields', 'via', 'code', 'reg_id', 'required'), [
    ([OUTBOUND], PROXIED, 439, None, []),
    ([OUTBOUND, 'Path: <sip:192.0.2.5;lr>'], PROXIED, 439, None, []),
    ([OUTBOUND, 'Path: <sip:192.0.2.5;lr>, <sip:192.0.2.6;lr;ob>'], PROXIED, 439, None, []),
    ([OUTBOUND, 'Path: <sip:192.0.2.5;lr;ob>'], PROXIED, 200, 1, ['outbound']),
    (['Supported: path', 'Path: <sip:192.0.2.5;lr;ob>'], PROXIED, 200, 1, []),
    ([], PROXIED, 200, 0, []),
    ([OUTBOUND], PROXIED[1:], 200, 1, ['outbound']),
    ([OUTBOUND], (', '.join(PROXIED),), 439, None, []),
])
def test_the_first_hop(office, fields, via, code, reg_id, required):
    reply = office.register(FLOW, *fields, via=via)
    assert reply.code == code
    assert values(reply, 'Require') == required
    assert [binding.reg_id for binding in office.location.lookup('alice@example.com', office.now)] == (
        [] if reg_id is None else [reg_id])


def test_reg_id_without_an_instance_is_ignored(office):
    reply = office.register(f'{ALICE};reg-id=1', OUTBOUND)
    assert reply.code == 200 and values(reply, 'Require') == []
    assert office.location.lookup('alice@example.com', office.now)[0].reg_id == 0


def test_a_flow_and_a_contact_that_goes(office):
    office.register(ALICE)
    reply = office.register(FLOW, f'{ALICE};expires=0', OUTBOUND)
    assert office.contacts(reply) == ['sip:line1@192.0.2.7;transport=tcp']


@pytest.mark.parametrize(('via', 'contact', 'source', 'point', 'kept'), [
    # A phone that listens elsewhere than it sends from, on its own address
    ('192.0.2.7', '192.0.2.7:5070', '192.0.2.7', POINT, False),
    ('192.0.2.7;rport', '192.0.2.7:5070', '192.0.2.7', POINT, False),
    # behind a NAT, and one that cannot be asked for answers to its port
    ('10.0.0.7;rport', '10.0.0.7', '198.51.100.7', POINT, True),
    ('10.0.0.7', '10.0.0.7', '198.51.100.7', POINT, False),
    ('10.0.0.7;rport', 'x.invalid', '198.51.100.7', POINT, True),
    # somewhere else altogether
    ('10.0.0.7;rport', '203.0.113.9', '198.51.100.7', POINT, False),
    # over a connection
    ('192.0.2.7', '192.0.2.7', '192.0.2.7', TCP, True),
])
def test_the_way_back(office, via, contact, source, point, kept):
    flow = Flow(point, (source, 40000))
    office.register(f'Contact: <sip:alice@{contact}>', via=(f'SIP/2.0/UDP {via};branch=z9hG4bK1',), flow=flow)
    binding, = office.location.lookup('alice@example.com', office.now)
    assert binding.flow == (flow if kept else None)


# -- RFC 5627

PHONES = [f'Contact: <sip:a@192.0.2.{n}>;+sip.instance="<urn:uuid:{n}>"' for n in (1, 2)]
GRUU = 'Supported: gruu'


def gruus(reply):
    """The public and the temporary GRUU of each contact."""
    return [re.fullmatch(r'.*;pub-gruu="([^"]*)"(?:;temp-gruu="([^"]*)")?', text).groups()
            for text in values(reply, 'Contact')]


def resolved(office, uri):
    found = office.location.resolve(parse_uri(uri), office.now)
    return found.code if isinstance(found, Reply) else [binding.contact for binding in found[1]]


def test_gruus(office):
    office.register(PHONES[0], GRUU)
    reply = office.register(PHONES[1], GRUU, call_id='b')
    (public, temporary), (public_2, temporary_2) = gruus(reply)
    assert (public, public_2) == ('sip:alice@example.com;gr=urn:uuid:1', 'sip:alice@example.com;gr=urn:uuid:2')
    assert resolved(office, public) == resolved(office, temporary) == ['sip:a@192.0.2.1']
    assert resolved(office, public_2) == resolved(office, temporary_2) == ['sip:a@192.0.2.2']
    assert len(resolved(office, 'sip:alice@example.com')) == 2
    # A refresh makes others, and those before stay.
    again = gruus(office.register(PHONES[0], GRUU))
    assert again[1][1] != temporary
    assert resolved(office, temporary) == resolved(office, again[1][1]) == ['sip:a@192.0.2.1']
    # Who does not ask does not get them.
    assert all('gruu' not in text for text in values(office.register(), 'Contact'))


def test_another_call_id_ends_the_temporary_gruus(office):
    (public, temporary), = gruus(office.register(PHONES[0], GRUU))
    (_, other), = gruus(office.register(PHONES[0], GRUU, call_id='2'))
    assert resolved(office, temporary) == 404
    assert resolved(office, other) == resolved(office, public) == ['sip:a@192.0.2.1']


def test_the_flows_of_an_instance_share_their_gruus(office):
    first, second = (f'{PHONES[0]};reg-id={n}' for n in (1, 2))
    (_, temporary), = gruus(office.register(first, f'{GRUU}, outbound', call_id='1'))
    reply = office.register(second, f'{GRUU}, outbound', call_id='2')
    assert len(gruus(reply)) == 2
    assert resolved(office, temporary) == ['sip:a@192.0.2.1'] * 2
    # The second flow begins anew: the GRUUs of both do.
    office.register(second, f'{GRUU}, outbound', call_id='3')
    assert resolved(office, temporary) == 404
    assert office.location.counts()['gruus'] == 1


def test_a_gruu_without_contacts(office):
    (public, temporary), = gruus(office.register(PHONES[0], GRUU))
    office.register(PHONES[1])
    office.register(f'{PHONES[0]};expires=0')
    # 5.3: the public one is good for ever, the temporary one ends with the last contact.
    assert resolved(office, public) == []
    assert resolved(office, temporary) == 404


@pytest.mark.parametrize('user', ['tgruu.', 'tgruu.x', 'tgruu.' + 'a' * 53, 'tgruu.' + '1' * 53, 'tgruu.%ff', 'bob',
                                  'tgruu.' + 'a' * 5000])
def test_what_is_no_gruu_of_ours(office, user):
    office.register(PHONES[0], GRUU)
    assert resolved(office, f'sip:{user}@example.com;gr') == 404


def test_a_gruu_is_no_contact_of_its_own_address(office):
    (public, temporary), = gruus(office.register(PHONES[0], GRUU))
    for uri in (public, temporary):
        assert office.register(f'Contact: <{uri}>;+sip.instance="<urn:uuid:3>"').code == 403
    # of another one it is
    assert office.register(f'Contact: <{public}>', to='sip:bob@example.com').code == 200


def test_gruus_of_a_broken_instance_are_escaped(office):
    reply = office.register('Contact: <sip:a@192.0.2.1>;+sip.instance="<x;y=\\"z\\">"', GRUU)
    (public, _), = gruus(reply)
    assert public == 'sip:alice@example.com;gr=x%3By%3D%22z%22'
    assert resolved(office, public) == ['sip:a@192.0.2.1']
