"""SIPp as notifier and as subscriber: orders of messages that real peers seldom make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from benchmarks import peers

from greensip import Notifier, ResponseError, UserAgent

from .conftest import aside

#: from the SUBSCRIBE or REFER: From, To, CSeq, Via
STORE = ''.join(f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{number}"/>'
                for number, name in enumerate(('From', 'To', 'CSeq', 'Via'), 1))


def begun(method: str) -> str:
    """What begins it has come."""
    return f'<recv request="{method}"><action>{STORE}</action></recv>'


def answer(code: int, *fields: str) -> str:
    """The response to what began it, whatever came since."""
    return message(f'SIP/2.0 {code} Answer', 'Via:[$4]', 'From:[$1]', 'To:[$2];tag=n[call_number]', 'CSeq:[$3]',
                   *fields)


def notify(number: int, state: str, *fields: str, tag: str = 'n', body: str = '', expect: int = 200) -> str:
    """A NOTIFY from a branch of ours, and its answer."""
    head = ['NOTIFY sip:[$5] SIP/2.0', 'Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]',
            f'From:[$2];tag={tag}[call_number]', 'To:[$1]', f'CSeq: {number} NOTIFY', 'Max-Forwards: 70',
            f'Subscription-State: {state}', *fields]
    return message(*head, body=body, retransmitted=True) + f'<recv response="{expect}"/>'


def respond(code: int, *fields: str) -> str:
    """The response to the last request."""
    return message(f'SIP/2.0 {code} Answer', '[last_Via:]', '[last_From:]', '[last_To:]', '[last_CSeq:]', *fields)


def message(*lines: str, body: str = '', retransmitted: bool = False) -> str:
    """A message that SIPp sends."""
    text = '\n'.join([*lines, 'Call-ID: [call_id]', 'Contact: <sip:peer@[local_ip]:[local_port]>',
                      'Content-Length: [len]', '', body])
    again = ' retrans="500"' if retransmitted else ''
    return f'<send{again}><![CDATA[\n\n{text}\n\n  ]]></send>'


#: the address in their Contact, without brackets
TARGET = ('<nop><action><ereg regexp="sip:([^;&gt; ]*)" search_in="var" variable="6" assign_to="7,5"/></action></nop>')


def scenario(folder: Path, name: str, *elements: str) -> Path:
    """Write the file that SIPp reads."""
    path = folder / f'{name}.xml'
    text = '\n'.join(elements).replace(STORE, STORE + '<ereg regexp=".*" search_in="hdr" header="Contact:" '
                                       'assign_to="6"/>', 1)
    path.write_text('<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
                    f'<scenario name="{name}">\n{text}\n<Reference variables="1,2,3,4,5,6,7"/>\n</scenario>\n',
                    encoding='latin-1')
    return path


@pytest.fixture
def notifier(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
             free_port: Callable[..., int]) -> Callable[..., str]:
    """``notifier(*elements)``: SIPp that does so, and its URI."""
    needs('sipp')

    def start(*elements: str, calls: int = 1) -> str:
        port = free_port()
        path = scenario(folder, f'notifier{port}', *elements)
        running.append(peers.answerers(port, folder, scenario=path, options=('-m', calls)))
        return f'sip:n@127.0.0.1:{port}'
    return start


def finished(running: list[peers.Peer]) -> dict[str, int]:
    """What SIPp counted; it ends by itself after its calls."""
    sipp = running[-1]
    assert isinstance(sipp, peers.Sipp)
    aside(sipp.wait, 20)
    return sipp.counts()


PRESENCE = 'Event: presence'
LAST = '<recv request="SUBSCRIBE"/>' + respond(200, 'Expires: 0')


def test_a_notify_before_the_200(notifier: Callable[..., str], running: list[peers.Peer]) -> None:
    """RFC 6665 4.1.2.4."""
    uri = notifier(begun('SUBSCRIBE'), TARGET, notify(1, 'active;expires=600', PRESENCE, body='first'),
                   notify(2, 'active;expires=600', PRESENCE, body='second'), answer(200, 'Expires: 600'), LAST,
                   notify(3, 'terminated;reason=timeout', PRESENCE))
    with UserAgent('udp:127.0.0.1:0') as ua:
        with ua.subscribe(uri, 'presence') as events:
            assert events.next(timeout=10).text.strip() == 'first'
            assert events.next(timeout=10).text.strip() == 'second'
            assert events.wait_for('200', timeout=10)
            assert events.state == 'active'
            assert events.unsubscribe(timeout=10).reason == 'timeout'
        assert finished(running) == {'completed': 1, 'failed': 0, 'retransmissions': 0}


def test_a_notify_without_any_200(notifier: Callable[..., str], running: list[peers.Peer]) -> None:
    """The response is lost for ever: the NOTIFY makes the subscription."""
    uri = notifier(begun('SUBSCRIBE'), TARGET, notify(1, 'active;expires=600', PRESENCE),
                   '<pause milliseconds="250"/>',
                   notify(2, 'terminated;reason=noresource', PRESENCE))
    with UserAgent('udp:127.0.0.1:0', timeouts={'t1': 0.1}) as ua, ua.subscribe(uri, 'presence') as events:
        assert [event.state for event in events] == ['active', 'terminated']
        assert events.error.reason == 'noresource'
        assert finished(running)['failed'] == 0


def test_the_other_branch_of_a_fork(notifier: Callable[..., str], running: list[peers.Peer]) -> None:
    """RFC 6665 4.1.4: one that nobody wants gets a 481; another event as well."""
    uri = notifier(begun('SUBSCRIBE'), TARGET, answer(200, 'Expires: 600'), notify(1, 'active', PRESENCE),
                   notify(1, 'active', PRESENCE, tag='m', expect=481), notify(2, 'active', 'Event: dialog', expect=481),
                   notify(3, 'active', 'Event: presence;id=7', expect=481), notify(4, 'pending', PRESENCE), LAST,
                   notify(5, 'terminated;reason=timeout', PRESENCE))
    with UserAgent('udp:127.0.0.1:0') as ua:
        with ua.subscribe(uri, 'presence') as events:
            assert events.wait_for('active', timeout=10)
            assert events.wait_for('pending', timeout=10)
            events.unsubscribe(timeout=10)
        assert finished(running)['failed'] == 0


def test_a_notifier_that_moves_on(notifier: Callable[..., str], running: list[peers.Peer]) -> None:
    """RFC 6665 4.4.2: deactivated means to subscribe anew at once, with another Call-ID."""
    uri = notifier(begun('SUBSCRIBE'), TARGET, answer(200, 'Expires: 600'), notify(1, 'active', PRESENCE),
                   notify(2, 'terminated;reason=deactivated', PRESENCE), calls=2)
    with UserAgent('udp:127.0.0.1:0') as ua:
        with ua.subscribe(uri, 'presence') as events:
            states = [events.next(timeout=10).state for _ in range(4)]
            assert states == ['active', 'terminated'] * 2
        assert finished(running)['completed'] == 2


def test_a_refer_whose_notify_comes_first(notifier: Callable[..., str], running: list[peers.Peer]) -> None:
    """RFC 3515 2.4.4, with the 202 of old (RFC 7647 5)."""
    kind = 'Content-Type: message/sipfrag;version=2.0'
    uri = notifier(begun('REFER'), TARGET,
                   notify(1, 'active;expires=60', 'Event: refer', kind, body='SIP/2.0 100 Trying'), answer(202),
                   notify(2, 'terminated;reason=noresource', 'Event: refer', kind, body='SIP/2.0 486 Busy Here'))
    with UserAgent('udp:127.0.0.1:0') as ua:
        seen = []

        class Watcher:
            def on_event(self, event: object) -> None:
                seen.append(event)

        sub = ua.core.refer('sip:carol@127.0.0.1:9', ua.clock.now(), uri=uri, from_=ua.uri)
        sub.owner = Watcher()
        ua.endpoint.flush()
        assert finished(running)['failed'] == 0
        for _ in range(100):
            if sub.over:
                break
            gevent.sleep(0.02)
        assert [getattr(event, 'name', '') for event in seen] == ['NOTIFY', '202', 'NOTIFY', 'ended']


def test_489(notifier: Callable[..., str]) -> None:
    uri = notifier(begun('SUBSCRIBE'), TARGET, answer(489, 'Allow-Events: dialog'))
    with UserAgent('udp:127.0.0.1:0') as ua, ua.subscribe(uri, 'presence') as events, \
            pytest.raises(ResponseError) as caught:
        events.next(timeout=10)
    assert caught.value.code == 489


SUBSCRIBERS = 300


def test_many_subscribers(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                          free_port: Callable[..., int]) -> None:
    """SIPp subscribes, is notified, refreshes and unsubscribes, some hundred times at once."""
    needs('sipp')
    head = ['Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]',
            'From: <sip:s@[local_ip]:[local_port]>;tag=[call_number]', 'Max-Forwards: 70', PRESENCE]
    steps = []
    for number, expires in enumerate((600, 600, 0), 1):
        first = number == 1
        uri = 'sip:bob@[remote_ip]:[remote_port]' if first else '[next_url]'
        to = 'To: <sip:bob@[remote_ip]:[remote_port]>' + ('' if first else '[peer_tag_param]')
        steps.append(message(f'SUBSCRIBE {uri} SIP/2.0', *head, to, f'CSeq: {number} SUBSCRIBE', f'Expires: {expires}',
                             retransmitted=True))
        steps.append('<recv response="200" rrs="true"/><recv request="NOTIFY"/>')
        steps.append(respond(200))
    path = folder / 'subscriber.xml'
    path.write_text('<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
                    '<scenario name="subscriber">\n' + '\n'.join(steps) + '\n</scenario>\n', encoding='latin-1')
    with UserAgent('udp:127.0.0.1:0', name='bob') as ua:
        presence = Notifier('presence')
        ua.events('presence', presence)
        presence.publish('bob', '<presence/>')
        sipp = peers.Sipp(path, free_port(), folder, '-m', SUBSCRIBERS, '-r', 100, '-l', SUBSCRIBERS,
                          target=ua.points[0].address[1])
        running.append(sipp)
        aside(sipp.wait, 40)
        counts = sipp.counts()
        assert (counts['completed'], counts['failed']) == (SUBSCRIBERS, 0)
        assert presence.count == 0
        assert ua.core.counts()['dialogs'] == 0
        assert ua.endpoint.counters.failures == 0
