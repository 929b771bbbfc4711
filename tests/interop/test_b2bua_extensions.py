"""PRACK, session timers and transfers through greensip-b2bua, with SIPp and pjsua2 phones around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from .sipp_ladder import write_scenario
from .test_phones import Phone, heard

Counts = dict[str, int]


@pytest.fixture
def through(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
            free_port: Callable[..., int]) -> Callable[..., tuple[Counts, Counts]]:
    """``through(uac, uas, *options)`` runs one ladder, or file, against the other; gives the counts of both."""
    needs('sipp')

    def run(uac: str | Path, uas: str | Path, *options: str) -> tuple[Counts, Counts]:
        sides = [side if isinstance(side, Path) else write_scenario(folder, name, side)
                 for name, side in (('uac', uac), ('uas', uas))]
        callee, service = free_port(), free_port()
        answering = peers.answerers(callee, folder, scenario=sides[1])
        running.append(answering)
        running.append(peers.greensip(service, callee, folder, *options))
        calling = peers.callers(service, free_port(), folder, calls=1, rate=10.0, scenario=sides[0])
        running.append(calling)
        calling.wait(30)
        answering.finish()
        return calling.counts(), answering.counts()

    return run


SDP = ('v=0\no=user1 53655765 2353687637 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n'
       'm=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000')


def pracking(folder: Path, *fields: str) -> Path:
    """A caller that acknowledges the 183 with the number that it bears."""
    def send(method: str, cseq: int, to: str, *extra: str, body: str = '') -> str:
        head = [f'{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0',
                'Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]',
                'From: caller <sip:caller@[local_ip]:[local_port]>;tag=[pid]T[call_number]',
                f'To: <sip:[service]@[remote_ip]:[remote_port]>{to}', 'Call-ID: [call_id]',
                f'CSeq: {cseq} {method}',
                'Contact: <sip:caller@[local_ip]:[local_port]>', 'Max-Forwards: 70', *extra,
                *(['Content-Type: application/sdp'] if body else []), 'Content-Length: [len]', '', body]
        text = '\n'.join(head)
        return f'<send><![CDATA[\n\n{text}\n\n]]></send>'

    tag = '[peer_tag_param]'
    path = folder / 'pracking.xml'
    path.write_text('\n'.join((
        '<?xml version="1.0" encoding="ISO-8859-1" ?>', '<scenario name="pracking">',
        send('INVITE', 1, '', *fields, body=SDP), '<recv response="100" optional="true"/>',
        '<recv response="183" rrs="true"><action><ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" '
        'assign_to="5"/><ereg regexp="m=audio" search_in="body" check_it="true" assign_to="6"/></action></recv>',
        send('PRACK', 2, tag, 'RAck: [$5] 1 INVITE'), '<recv response="200"/>',
        send('UPDATE', 3, tag, body=SDP.replace('2353687637', '2353687638')),
        '<recv response="200"><action><ereg regexp="m=audio" search_in="body" check_it="true" assign_to="6"/></action>'
        '</recv>',
        '<recv response="200"/>', send('ACK', 1, tag), '<pause milliseconds="200"/>', send('BYE', 4, tag),
        '<recv response="200"/>', '<timewait milliseconds="300"/>', '<Reference variables="5,6"/>', '</scenario>')))
    return path


@pytest.mark.parametrize('asked', ['Require: 100rel', 'Supported: 100rel'])
def test_prack_and_update_before_the_answer(through: Callable[..., tuple[Counts, Counts]], folder: Path,
                                            asked: str) -> None:
    calling, answering = through(pracking(folder, asked), '''
        < INVITE sdp x:Supported=100rel
        > 183 sdp x:Require=100rel x:RSeq=7
        < PRACK 'x:RAck=7 1 INVITE'
        > 200
        < UPDATE sdp
        > 200 sdp once
        pause 300
        > 200 INVITE
        < ACK
        < BYE
        > 200
    ''', '--prack', 'supported')
    assert (calling['completed'], answering['completed']) == (1, 1)


def test_a_reliable_response_to_a_caller_of_an_older_kind(through: Callable[..., tuple[Counts, Counts]]) -> None:
    """The callee's answer was in its 183, and its 200 has none: the caller gets it with the 200."""
    calling, answering = through('''
        > INVITE sdp
        < 100 ?
        < 183 sdp
        < 200 sdp
        > ACK
        pause 200
        > BYE
        < 200
    ''', '''
        < INVITE sdp x:Require=100rel
        > 183 sdp x:Require=100rel x:RSeq=7
        < PRACK 'x:RAck=7 1 INVITE'
        > 200
        pause 100
        > 200 INVITE final
        < ACK
        < BYE
        > 200
    ''', '--prack', 'required')
    assert (calling['completed'], answering['completed']) == (1, 1)


def test_session_timers_of_each_side(through: Callable[..., tuple[Counts, Counts]]) -> None:
    """The callee wants a longer interval than it is asked for; the caller's refresh is none of its business."""
    calling, answering = through('''
        > INVITE sdp x:Supported=timer 'x:Session-Expires=120;refresher=uac'
        < 100 ?
        < 200 sdp 'x:Session-Expires=120;refresher=uac' x:Require=timer
        > ACK
        pause 100
        > UPDATE x:Supported=timer 'x:Session-Expires=120;refresher=uac'
        < 200 'x:Session-Expires=120;refresher=uac' x:Require=timer
        > BYE
        < 200
    ''', '''
        < INVITE sdp x:Session-Expires=300 x:Supported=timer
        > 422 x:Min-SE=400 final
        < ACK
        < INVITE sdp x:Session-Expires=400 x:Min-SE=400
        > 200 sdp x:Require=timer 'x:Session-Expires=400;refresher=uac'
        < ACK
        < BYE
        > 200
    ''', '--session-timer', '300')
    assert (calling['completed'], answering['completed']) == (1, 1)


def test_an_update_that_the_callee_does_not_know(through: Callable[..., tuple[Counts, Counts]]) -> None:
    calling, answering = through('''
        > INVITE sdp
        < 100 ?
        < 200 sdp
        > ACK
        pause 100
        > UPDATE sdp:sendonly
        < 100 ?
        < 200 sdp:recvonly
        > BYE
        < 200
    ''', '''
        < INVITE sdp
        > 200 sdp
        < ACK
        < UPDATE sdp:sendonly
        > 501
        < INVITE sdp:sendonly
        > 200 sdp:recvonly
        < ACK
        < BYE
        > 200
    ''')
    assert (calling['completed'], answering['completed']) == (1, 1)


# -- phones


@pytest.fixture
def phone(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Callable[..., Phone]:
    """``phone('bob', 1000.0)`` starts one that rings, answers and plays that tone."""
    needs('module:pjsua2')

    def start(name: str, tone: float, *options: str) -> Phone:
        made = Phone(name, tone, folder, free_port, *options)
        running.append(made.peer)
        made.wait_for('"ready"')
        return made

    return start


def confirmed(one: Phone, times: int) -> None:
    """Wait until so many calls of the phone have been answered."""
    def are_there() -> bool:
        return len({event['call_id'] for event in one.events('state') if event['state'] == 'CONFIRMED'}) >= times

    assert peers.wait_until(are_there, 15), one.events()


@pytest.mark.parametrize(('caller', 'callee'), [('1', '2'), ('2', '1'), ('0', '1')])
def test_phones_with_reliable_responses_and_session_timers(
    phone: Callable[..., Phone], running: list[peers.Peer], folder: Path, free_port: Callable[..., int], caller: str,
    callee: str,
) -> None:
    """PJSIP's prackUse: 1 is mandatory, 2 optional."""
    bob = phone('bob', 1000.0, '--prack', callee, '--timer', '90')
    alice = phone('alice', 440.0, '--prack', caller, '--timer', '90', '--answer', '')
    service = free_port()
    running.append(peers.greensip(service, bob.port, folder, '--prack', 'supported', '--session-timer', '90'))
    alice.peer.say(f'call sip:bob@127.0.0.1:{service}')
    for one in (alice, bob):
        one.wait_for_state('CONFIRMED')
    alice.wait_for_a_second_of_sound()
    bob.wait_for_a_second_of_sound()
    alice.peer.say('hangup')
    for one in (alice, bob):
        one.wait_for_state('DISCONNECTED')
        one.quit()
    assert heard(alice.recording, bob.tone) > 0.8 and heard(bob.recording, alice.tone) > 0.8
    request = str(bob.events('incoming')[0]['request'])
    assert 'Session-Expires: 90' in request and '100rel' in request


def test_a_phone_transfers_a_call(phone: Callable[..., Phone], running: list[peers.Peer], folder: Path,
                                  free_port: Callable[..., int]) -> None:
    """Blind: the number goes over the route again, so bob has both ends of what comes of it."""
    bob = phone('bob', 1000.0)
    alice = phone('alice', 440.0, '--answer', '')
    service = free_port()
    running.append(peers.greensip(service, bob.port, folder, '--refer', 'handle'))
    alice.peer.say(f'call sip:bob@127.0.0.1:{service}')
    confirmed(alice, 1)
    alice.peer.say(f'transfer sip:200@127.0.0.1:{service}')
    confirmed(bob, 2)
    alice.wait_for_state('DISCONNECTED')
    incoming = [str(event['request']) for event in bob.events('incoming')]
    assert incoming[1].startswith('INVITE sip:200@')
    bob.peer.say('hangup')
    assert peers.wait_until(lambda: len([event for event in bob.events('state')
                                         if event['state'] == 'DISCONNECTED']) >= 2, 15)
    bob.quit()
    alice.quit()


def test_a_phone_connects_its_two_calls(phone: Callable[..., Phone], running: list[peers.Peer], folder: Path,
                                        free_port: Callable[..., int]) -> None:
    """Attended: bob has two calls with alice, and then one with himself."""
    bob = phone('bob', 1000.0)
    alice = phone('alice', 440.0, '--answer', '')
    service = free_port()
    running.append(peers.greensip(service, bob.port, folder, '--refer', 'handle'))
    for number in (1, 2):
        alice.peer.say(f'call sip:bob{number}@127.0.0.1:{service}')
        confirmed(alice, number)
    alice.peer.say('connect')
    assert peers.wait_until(lambda: len([event for event in alice.events('state')
                                         if event['state'] == 'DISCONNECTED']) >= 2, 15)
    assert not [event for event in bob.events('state') if event['state'] == 'DISCONNECTED']
    bob.peer.say('hangup')
    assert peers.wait_until(lambda: len([event for event in bob.events('state')
                                         if event['state'] == 'DISCONNECTED']) >= 2, 15)
    bob.quit()
    alice.quit()
