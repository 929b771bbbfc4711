"""Ladders: drawn, as lines, and compared."""

from __future__ import annotations

import gevent
import pytest

from greensip.errors import UsageError
from greensip.testing import Arrow, Ladder, Network, Note


def message(title: str, call_id: str = 'c1') -> bytes:
    words = title.split()
    start = f'SIP/2.0 {words[0]} Fine' if words[0].isdigit() else f'{words[0]} sip:x SIP/2.0'
    return f'{start}\r\nCall-ID: {call_id}\r\nCSeq: 1 {words[-1]}\r\n\r\n'.encode()


def ladder(*entries: tuple[float, str, str, str] | tuple[float, str, str, str, str] | Note) -> Ladder:
    """A ladder made by hand: (time, source, destination, title[, Call-ID]); ``!`` before the title: lost."""
    made = Ladder()
    for entry in entries:
        if isinstance(entry, Note):
            made.entries.append(entry)
            continue
        time, source, destination, title, *call_id = entry
        name = title.lstrip('!')
        made.entries.append(Arrow(time, source, destination, name, message(name, *call_id), title.startswith('!')))
    return made


CALL = ladder(
    (100.0, 'alice', 'bob', 'INVITE'), (100.01, 'bob', 'alice', '180 INVITE'), Note(102.0, 'bob', 'picks up'),
    (102.01, 'bob', 'alice', '200 INVITE'), (102.02, 'alice', 'bob', '!ACK'), (102.51, 'bob', 'alice', '200 INVITE'),
    (102.52, 'alice', 'bob', 'ACK'),
)


def test_lines() -> None:
    assert CALL.lines() == [
        'alice -> bob: INVITE', 'bob -> alice: 180 INVITE', 'bob: picks up', 'bob -> alice: 200 INVITE',
        'alice -x bob: ACK', 'bob -> alice: 200 INVITE', 'alice -> bob: ACK']
    assert CALL.lines(times=True)[3] == '2.010 bob -> alice: 200 INVITE'


def test_what_was_printed_can_be_expected() -> None:
    CALL.expect('\n'.join(CALL.lines(times=True)))


def test_a_person_may_say_less() -> None:
    CALL.expect("""
        alice -> bob: INVITE
        alice <- bob: 180           # it rings

        alice <- bob: 2xx
        +2.02 alice -x bob: ACK
        bob -> alice: 200 INVITE
        2.520 alice -> bob: ACK
    """)


@pytest.mark.parametrize(('number', 'wrong'), [
    (1, 'bob -> alice: INVITE'), (2, 'bob -> alice: 183'), (2, 'bob -x alice: 180'), (2, '0.02 bob -> alice: 180'),
    (3, 'bob -> carol: 200'), (4, 'alice -> bob: ACK'),
])
def test_a_difference_is_shown_where_it_is(number: int, wrong: str) -> None:
    lines = [line for line in CALL.lines() if 'picks up' not in line]
    lines[number - 1] = wrong
    with pytest.raises(AssertionError) as caught:
        CALL.expect('\n'.join(lines))
    text = str(caught.value)
    assert f'differ in line {number}\n' in text
    assert f'> {wrong}' in text
    assert text.count('\n> ') == 2


def test_too_few_and_too_many() -> None:
    short = ladder((0.0, 'a', 'b', 'INVITE'))
    with pytest.raises(AssertionError, match='differ in line 2'):
        short.expect('a -> b: INVITE\nb -> a: 100')
    with pytest.raises(AssertionError, match='differ in line 1'):
        short.expect('')


def test_notes_count_when_they_are_asked_for() -> None:
    noted = ladder((0.0, 'a', 'b', 'INVITE'), Note(0.01, 'b', 'incoming'), (0.02, 'b', 'a', '486 INVITE'))
    noted.expect('a -> b: INVITE\nb -> a: 486')
    noted.expect('a -> b: INVITE\nb: incoming\nb -> a: 486')
    with pytest.raises(AssertionError):
        noted.expect('a -> b: INVITE\nb: outgoing\nb -> a: 486')


@pytest.mark.parametrize('line', ['alice bob INVITE', 'alice -> bob', 'alice -> bob:', 'INVITE'])
def test_a_line_that_makes_no_sense(line: str) -> None:
    with pytest.raises(UsageError, match='as a line of a ladder'):
        CALL.expect(line)


def test_a_drawing_of_two() -> None:
    assert str(CALL).split('\n') == [
        '          alice              bob',
        '     0.000  |----- INVITE --->|',
        '     0.010  |<-- 180 INVITE --|',
        '     2.000  |                 |  picks up',
        '     2.010  |<-- 200 INVITE --|',
        '     2.020  |------ ACK -----x|',
        '     2.510  |<-- 200 INVITE --|',
        '     2.520  |------ ACK ----->|',
    ]


def test_a_drawing_of_three() -> None:
    three = ladder((0.0, 'a', 'proxy', 'INVITE'), (0.1, 'proxy', 'b', 'INVITE'), (0.2, 'b', 'proxy', '200 INVITE'),
                   (0.3, 'proxy', 'a', '200 INVITE'), (0.4, 'a', 'b', 'ACK'), (0.5, 'b', 'a', '!BYE'))
    assert str(three).split('\n') == [
        '            a               proxy               b',
        '     0.000  |----- INVITE --->|                 |',
        '     0.100  |                 |----- INVITE --->|',
        '     0.200  |                 |<-- 200 INVITE --|',
        '     0.300  |<-- 200 INVITE --|                 |',
        '     0.400  |--------------- ACK -------------->|',
        '     0.500  |x-------------- BYE ---------------|',
    ]


def test_parts() -> None:
    two = ladder((0.0, 'a', 'b', 'INVITE', 'x'), (0.1, 'b', 'c', 'INVITE', 'y'), (0.5, 'a', 'b', 'INVITE', 'x'),
                 (0.6, 'c', 'b', '!486 INVITE', 'y'), (0.7, 'c', 'b', '486 INVITE', 'y'))
    assert two.call_ids == ['x', 'y']
    assert two.part('y').lines(times=True) == [
        '0.000 b -> c: INVITE', '0.500 c -x b: 486 INVITE', '0.600 c -> b: 486 INVITE']
    assert two.part(repeats=False).lines() == ['a -> b: INVITE', 'b -> c: INVITE', 'c -> b: 486 INVITE']


def test_endpoints_are_recorded_and_each_message_once() -> None:
    with Network() as net:
        alice, bob = net.endpoint('alice'), net.endpoint('bob')
        stranger = net.endpoint('stranger')
        recorded = Ladder()
        recorded.add(alice, 'alice')
        recorded.add(bob, 'bob')
        for sender in (alice, stranger):
            sender.core.request('OPTIONS', net.uri('bob'), sender.now(), from_='sip:x@example.com')
            sender.flush()
            net.run(0.1)
        recorded.note('bob', 'is done')
        address = net.address('stranger')
        recorded.expect(f"""
            alice -> bob: OPTIONS
            bob -> alice: 200
            {address}:5060 -> bob: OPTIONS
            bob -> {address}:5060: 200
            bob: is done
        """)
        recorded.clear()
        assert str(recorded) == ''
        gevent.sleep(0)
