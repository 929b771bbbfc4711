"""Messages outside of calls: who gets them, what is refused, envelopes, reports, who is writing."""

from __future__ import annotations

import zlib

import gevent
import pytest

from greensip.body import Imdn, IsComposing, ask, report
from greensip.errors import ResponseError, Unavailable, UsageError, WaitTimeout, WrongState
from greensip.message import parse_uri
from greensip.ua import messages as module
from greensip.ua.messages import IncomingMessage, key_of


def test_a_text_comes_in(alice, bob, net, to_bob):
    inbox = bob.messages
    assert bob.messages is inbox and inbox.unread == 0
    assert alice.message(to_bob, 'grüße').code == 200
    message = inbox.next(timeout=1)
    assert isinstance(message, IncomingMessage) and message.message is message.request and message.leg is inbox
    assert (message.text, message.content_type, message.body) == ('grüße', 'text/plain', 'grüße'.encode())
    assert message.from_.uri.user == 'alice' and message.to.uri.host == net.address('bob')
    assert message.source == (net.address('alice'), 5060) and message.time == pytest.approx(net.clock.now(), abs=0.1)
    assert (message.account, message.cpim, message.document, message.message_id) == (None, None, None, None)
    assert message.wants == frozenset() and message.headers['CSeq'] == '1 MESSAGE'
    assert (repr(message), repr(inbox)) == ('<IncomingMessage MESSAGE 7>', '<Inbox  0>')


def test_nobody_asked_for_messages(alice, bob, to_bob):
    with pytest.raises(ResponseError) as caught:
        alice.message(to_bob, 'hello')
    assert caught.value.code == 405


def test_messages_are_iterated_and_answered(alice, bob, net, to_bob):
    def echo():
        for message in bob.messages:
            assert message.reply(f're: {message.text}').code == 200

    task = gevent.spawn(echo)
    net.clock.sleep(0.1)
    replies = alice.messages
    for text in ('one', 'two'):
        alice.message(to_bob, text)
        assert replies.next(timeout=5).text == f're: {text}'
    net.clock.sleep(1)
    bob.close()
    task.get(timeout=1)


def test_an_inbox_that_is_closed(alice, bob, to_bob):
    bob.messages.close()
    with pytest.raises(Unavailable):
        alice.message(to_bob, 'hello')
    inbox = bob.messages
    alice.message(to_bob, 'hello')
    assert inbox.next(timeout=1).text == 'hello'
    inbox.close()
    inbox.close()
    with pytest.raises(WrongState, match='the inbox is closed'):
        inbox.next()
    assert list(inbox) == []


def test_a_time_out_says_what_was_waited_for(bob):
    with pytest.raises(WaitTimeout, match='no MESSAGE within 3 s from anybody'):
        bob.messages.next(timeout=3)


def test_the_script_takes_the_messages_itself(alice, bob, to_bob):
    bob.handle('MESSAGE', lambda incoming: 202)
    with pytest.raises(WrongState, match='takes the messages'):
        bob.messages  # noqa: B018
    assert alice.message(to_bob, 'hello').code == 202


def test_a_closed_user_agent_has_no_messages(bob):
    bob.close()
    with pytest.raises(WrongState):
        bob.messages  # noqa: B018


def test_an_account_has_an_inbox_of_its_own(alice, bob, net):
    sales, support = bob.account('sip:sales@example.com'), bob.account('sip:support@example.com')
    others = bob.messages
    mine = sales.messages
    address = net.address('bob')
    for user in ('sales', 'support', 'nobody'):
        alice.message(f'sip:{user}@{address}', user, to=f'sip:{user}@example.com')
    message = mine.next(timeout=1)
    assert (message.text, message.account) == ('sales', sales) and mine.unread == 0
    assert [others.next(timeout=1).account for _ in range(2)] == [support, None]
    inbox = alice.messages
    message.reply('from sales')
    assert str(inbox.next(timeout=1).from_.uri) == 'sip:sales@example.com'
    mine.close()
    alice.message(f'sip:sales@{address}', 'sales')
    assert others.next(timeout=1).account is sales


# what, content type, body, further fields, code
REFUSED = [
    ('a broken document', 'application/im-iscomposing+xml', b'<isComposing>', {}, 400),
    ('a document type', 'message/imdn+xml', b'<!DOCTYPE a [<!ENTITY b "c">]><imdn/>', {}, 400),
    ('a broken envelope', 'message/cpim', b'no colon\r\n\r\n', {}, 400),
    ('a broken inside', 'message/cpim', b'To: a\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n<x', {}, 400),
    ('a type that cannot be read', 'nonsense', b'hello', {}, 400),
    ('packed by nobody knows what', 'text/plain', b'x', {'Content-Encoding': 'br'}, 415),
    ('packed badly', 'text/plain', b'\x1f\x8b', {'Content-Encoding': 'gzip'}, 400),
    ('a great deal, packed', 'text/plain', zlib.compress(bytes(1_000_000)), {'Content-Encoding': 'deflate'}, 413),
    ('html', 'text/html', b'<b>hello</b>', {}, 415),
]


@pytest.mark.parametrize(('content_type', 'body', 'headers', 'code'), [row[1:] for row in REFUSED],
                         ids=[row[0] for row in REFUSED])
def test_what_is_refused(alice, bob, to_bob, content_type, body, headers, code):
    inbox = bob.messages
    inbox.accept = ['text/plain', 'message/cpim']
    with pytest.raises(ResponseError) as caught:
        alice.message(to_bob, body, content_type=content_type, headers=headers)
    assert caught.value.code == code and inbox.unread == 0
    if code == 415 and headers:
        assert caught.value.response.get('Accept-Encoding') == 'gzip, deflate, identity'
    if content_type == 'text/html':
        assert caught.value.response.get('Accept') == 'text/plain, message/cpim'
    assert alice.message(to_bob, 'hello').code == 200


def test_who_does_not_read_gets_no_more(alice, bob, net, to_bob, monkeypatch):
    monkeypatch.setattr(module, 'UNREAD', 3)
    inbox = bob.messages
    for number in range(3):
        alice.message(to_bob, str(number))
    with pytest.raises(Unavailable) as caught:
        alice.message(to_bob, '3')
    assert caught.value.response.get('Retry-After') == '30'
    assert [inbox.next(timeout=1).text for _ in range(3)] == ['0', '1', '2']
    alice.message(to_bob, '4')
    assert inbox.next(timeout=1).text == '4'


@pytest.mark.parametrize(('content_type', 'body', 'text'), [
    ('text/plain;charset=iso-8859-1', 'grüße'.encode('latin-1'), 'grüße'),
    ('text/plain;charset=klingon', 'grüße'.encode(), 'grüße'),
    ('text/plain;charset=punycode', b'gre-ka0b', 'gre-ka0b'),
    ('text/plain', b'\xff', '�'),
    ('text/html', b'<b>x</b>', '<b>x</b>'),
    ('application/octet-stream', b'x', ''),
    ('multipart/mixed;boundary=b', b'--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\n'
     b'Content-Type: text/plain\r\n\r\nhi\r\n--b--\r\n', 'hi'),
    ('multipart/mixed;boundary=b', b'--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n', ''),
])
def test_texts(alice, bob, to_bob, content_type, body, text):
    inbox = bob.messages
    alice.message(to_bob, body, content_type=content_type)
    assert inbox.next(timeout=1).text == text


def test_a_packed_message(alice, bob, to_bob):
    inbox = bob.messages
    alice.message(to_bob, zlib.compress('grüße'.encode()), headers={'Content-Encoding': 'deflate'})
    assert inbox.next(timeout=1).text == 'grüße'


def test_an_empty_message(alice, bob, to_bob):
    inbox = bob.messages
    alice.message(to_bob, '')
    message = inbox.next(timeout=1)
    assert (message.text, message.content_type, message.document) == ('', 'text/plain', None)


def test_documents_bring_their_type(alice, bob, to_bob):
    inbox = bob.messages
    alice.message(to_bob, Imdn('1', 'displayed'))
    report = inbox.wait_for('report:displayed', timeout=1)
    assert (report.content_type, report.document, report.message_id) == (
        'message/imdn+xml', Imdn('1', 'displayed'), '1')
    assert repr(report).startswith('<IncomingMessage report:displayed')


# -- reports

WANTED = ['positive-delivery', 'negative-delivery', 'processing', 'display']


def ask_for(alice, to_bob, wanted, text=b'hello'):
    return ask('sip:alice@example.com', to_bob, text, 'x1', wanted)


def test_reports_are_sent_to_who_asked(alice, bob, net, to_bob):
    inbox, reports = bob.messages, alice.messages
    alice.message(to_bob, ask_for(alice, to_bob, ['positive-delivery', 'display']))
    message = inbox.next(timeout=1)
    assert (message.text, message.message_id) == ('hello', 'x1') and message.wants == {'positive-delivery', 'display'}
    delivered = reports.wait_for('report', timeout=1)
    assert (delivered.detail, delivered.message_id, delivered.document.kind) == ('delivered', 'x1', 'delivery')
    assert delivered.cpim.get('To') == '<sip:alice@example.com>' and delivered.from_.uri.user == 'bob'
    assert message.report('displayed')
    assert reports.wait_for('report:displayed', timeout=1).message_id == 'x1'
    assert not message.report('processed') and not message.report('failed')
    net.clock.sleep(1)
    assert reports.unread == 0 and inbox.unread == 0, 'nobody reports on reports'


@pytest.mark.parametrize(('status', 'wanted'), [
    ('processed', 'processing'), ('stored', 'processing'), ('failed', 'negative-delivery'),
    ('forbidden', 'negative-delivery'), ('error', 'negative-delivery'), ('displayed', 'display'),
])
def test_each_report_has_to_be_asked_for(alice, bob, net, to_bob, status, wanted):
    inbox, reports = bob.messages, alice.messages
    for asked in ([wanted], [other for other in WANTED if other not in (wanted, 'positive-delivery')]):
        alice.message(to_bob, ask_for(alice, to_bob, asked))
        assert inbox.next(timeout=1).report(status) is (wanted in asked)
    assert reports.wait_for('report', timeout=1).detail == status
    net.clock.sleep(1)
    assert reports.unread == 0


def test_no_report_without_need(alice, bob, net, to_bob):
    inbox, reports = bob.messages, alice.messages
    inbox.reports = False
    alice.message(to_bob, ask_for(alice, to_bob, WANTED))
    message = inbox.next(timeout=1)
    with pytest.raises(UsageError):
        message.report('eaten')
    alice.message(to_bob, 'plain')
    assert not inbox.next(timeout=1).report('displayed')
    alice.message(to_bob, report(ask_for(alice, to_bob, WANTED), 'delivered', 'y2'))
    answer = inbox.wait_for('report', timeout=1)
    assert answer.wants == frozenset() and not answer.report('displayed')
    net.clock.sleep(1)
    assert reports.unread == 0


def test_a_report_that_cannot_be_sent_harms_nobody(alice, bob, net, to_bob):
    inbox = bob.messages
    alice.message(to_bob, ask_for(alice, to_bob, WANTED), from_='tel:+123')
    assert inbox.next(timeout=1).text == 'hello'
    net.clock.sleep(40)
    alice.message(to_bob, 'still there')
    assert inbox.next(timeout=1).text == 'still there'


# -- who is writing

def test_who_waits_sees_that_somebody_writes(alice, bob, net, to_bob):
    inbox = bob.messages
    task = gevent.spawn(inbox.wait_for, 'composing', timeout=5)
    net.clock.sleep(0.1)
    for active in (True, False):
        alice.message(to_bob, IsComposing(active, refresh=60))
    composing = task.get(timeout=1)
    assert (composing.detail, composing.document.active, composing.text) == ('active', True, '')
    assert inbox.unread == 0, 'nobody waits for the second one'
    alice.message(to_bob, 'hello')
    assert inbox.next(timeout=1).text == 'hello'


@pytest.mark.parametrize(('one', 'other', 'same'), [
    ('sip:a@H', 'sip:a@h;transport=tcp', True), ('sips:a@h', 'sip:a@h:5070', True), ('sip:a@h', 'sip:b@h', False),
    ('sip:h', 'sip:a@h', False), ('tel:+1', 'tel:+1', True), ('tel:+1', 'tel:+2', False),
])
def test_who_is_the_same(one, other, same):
    assert (key_of(parse_uri(one)) == key_of(parse_uri(other))) is same
