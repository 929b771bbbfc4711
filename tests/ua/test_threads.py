"""Other OS threads: refused at the leg itself, served through post() and from_thread()."""

from __future__ import annotations

import dataclasses
import enum
import threading

import gevent
import pytest

import greensip
import greensip.ua
from greensip.errors import Busy, UsageError, WaitTimeout, WrongState, WrongThread, response_error
from greensip.registrar import Registrar
from greensip.ua.agent import UserAgent
from greensip.ua.deadline import deadline
from greensip.ua.engine import Engine
from greensip.ua.group import LegGroup
from greensip.ua.later import NotThere
from greensip.ua.mailbox import Notice, after, wait_any
from greensip.ua.threads import BOUND, Carrier, Proxy, Seen, ThreadBound, unwrap, wrap

from .conftest import Line, answering


class Switchboard(Engine):
    """An engine with something to do."""

    def invite(self, uri, **options):
        self.line = Line(self, uri)
        return self.line

    def pair(self):
        return [Line(self, 'a'), Line(self, 'b')]

    def group(self, leg=None):
        return LegGroup(leg, engine=self)


@pytest.fixture
def board(clock):
    made = Switchboard(clock)
    yield made
    made.close()


def turns(count=5):
    """Let the hub go round."""
    for _ in range(count):
        gevent.sleep(0)


def in_thread(fn, *args):
    """Run fn in an OS thread while this thread's hub goes on; return what it returned or raised."""
    result = []

    def run():
        try:
            result.append(fn(*args))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        gevent.sleep(0.001)
    return result[0]


def test_a_leg_refuses_a_foreign_thread(board):
    line = Line(board)
    for verb in (lambda: line.wait_for('200'), line.wait_ended, line.check, lambda: line.spawn(print),
                 lambda: wait_any(line.on('200')), lambda: LegGroup(line).add(Line(board)), board.check_thread):
        error = in_thread(verb)
        assert isinstance(error, WrongThread) and 'from_thread' in str(error)


def test_post_gives_a_future(board, clock):
    def job(x):
        clock.sleep(5)
        return x + 1

    assert in_thread(lambda: board.post(job, 1).result()) == 2
    assert isinstance(in_thread(lambda: board.post(lambda: 1 / 0).result()), ZeroDivisionError)


def test_post_from_the_own_thread_works_as_well(board):
    future = board.post(lambda: 7)
    turns()
    assert future.result(timeout=0) == 7


def test_cancelling_the_future_kills_what_it_waits_for(board, clock):
    line = Line(board)
    future = board.post(line.wait_for, '200')
    turns()
    assert len(line._gates) == 1
    assert in_thread(future.cancel)
    turns()
    assert line._gates == []


def test_post_to_a_closed_engine(board):
    future = board.post(lambda: 7)
    board.close()
    turns()
    assert isinstance(future.exception(timeout=0), WrongState)
    with pytest.raises(WrongState):
        board.post(lambda: 7)


def test_a_thread_calls_as_a_script_does(board, later):
    safe = board.from_thread()

    def script():
        with safe.invite('sip:carol@example.com') as leg:
            assert isinstance(leg, Proxy) and leg.name == 'sip:carol@example.com'
            board.post(later, 1, board.line.happen, 180, 200)
            return leg.wait_for('200', timeout=20).label, leg.ended

    assert in_thread(script) == (200, False)
    assert board.line.closed == 1


def test_errors_come_back(board, later):
    def script():
        leg = board.from_thread().invite('sip:carol@example.com')
        board.post(later, 1, board.line.end, response_error(486))
        leg.wait_for('200', timeout=20)

    assert isinstance(in_thread(script), Busy)


def test_an_exception_in_the_threads_block_reaches_the_leg(board):
    def script():
        with board.from_thread().invite('sip:carol@example.com'):
            raise KeyError('oops')

    assert isinstance(in_thread(script), KeyError)
    assert isinstance(board.line.aborted, KeyError)


def test_only_the_calling_thread_blocks(board, later, clock):
    beats = []
    for second in (1, 2):
        later(second, lambda: beats.append(clock.now()))
    assert isinstance(in_thread(lambda: board.from_thread().invite('x').wait_for('200', timeout=5)), WaitTimeout)
    assert beats == [1001, 1002]


def test_a_deadline_of_the_thread_holds(board, clock):
    def script():
        leg = board.from_thread().invite('x')
        with deadline(3, clock=clock):
            leg.wait_for('200', timeout=20)

    error = in_thread(script)
    assert 'deadline of 3 s' in str(error) and clock.now() == 1003


def test_lists_of_legs_groups_and_wait_any(board, later):
    def script():
        safe = board.from_thread()
        a, b = safe.pair()
        with safe.group(a) as group:
            assert group.add(b) == b
            board.post(later, 1, a._target.happen, 'INFO')
            event = wait_any(b.on('200'), a.on('INFO'), after(9))
        return event.label, b.ended, a.ended, b.error

    label, b_ended, a_ended, _ = in_thread(script)
    assert (label, b_ended, a_ended) == ('INFO', True, False)


def test_a_proxy_in_its_own_thread_is_the_thing_itself(board):
    leg = board.from_thread().invite('x')
    assert leg.name == 'x'


def test_a_proxy_hides_what_is_private(board):
    with pytest.raises(AttributeError):
        board.from_thread()._open  # noqa: B018


def test_wait_any_refuses_a_proxy_of_something_else(board):
    error = in_thread(lambda: wait_any(board.from_thread().invite('x')))
    assert isinstance(error, UsageError)


# -- everything that is public has its proxy

#: the pure layers: what they export knows no hub
PURE = ('message', 'sdp', 'body', 'transaction', 'dialog')
#: what else other threads get as it is: what blocks nobody, and what works on proxies as on what they stand for
VALUES = {'After', 'Hunt', 'Identity', 'deadline'}
#: the door itself
DOORS = {'Proxy'}


def is_value(cls):
    return (issubclass(cls, (tuple, enum.Enum, BaseException, Carrier)) or dataclasses.is_dataclass(cls)
            or cls.__module__.split('.')[1] in PURE or cls.__name__ in VALUES | DOORS)


@pytest.mark.parametrize('module', [greensip, greensip.ua])
def test_every_public_class_is_bound_to_its_thread_or_a_value(module):
    undecided, both = [], []
    for name in module.__all__:
        cls = getattr(module, name)
        if isinstance(cls, type):
            (both if is_value(cls) else undecided).append((name, issubclass(cls, BOUND)))
    assert [name for name, bound in undecided if not bound] == [], (
        'derive them from ThreadBound, or name them in VALUES if they are plain data')
    assert [name for name, bound in both if bound] == []


def test_a_registrar_is_bound_to_its_thread():
    assert issubclass(Registrar, ThreadBound)


def test_what_objects_show_to_another_thread_are_proxies_or_values(alice, bob, net, to_bob):
    """Every attribute of what a script can have in its hands, in use: none comes out raw."""
    notifier = greensip.Notifier('message-summary')
    bob.events('message-summary', notifier)
    notifier.publish(to_bob, b'Messages-Waiting: no\r\n')
    bob.presence = 'busy'
    bob.serve(answering, background=True)
    leg = alice.call(to_bob, timeout=5)
    events = alice.subscribe(to_bob, 'message-summary')
    notify = events.next(timeout=5)
    buddy = alice.buddy(to_bob)
    buddy.subscribe(timeout=5)
    account = alice.account('sip:alice@10.9.9.9')
    shown = [(alice, alice), (alice, leg), (bob, bob.legs[0]), (alice, LegGroup(leg, engine=alice)), (alice, events),
             (alice, notify), (bob, notifier.subscribers()[0]), (alice, buddy), (alice, account),
             (alice, alice.messages)]

    def look():
        found, raw = 0, []
        for owner, target in shown:
            proxy = wrap(owner, target)
            for name in dir(proxy):
                try:
                    value = getattr(proxy, name)
                except (NotThere, AttributeError, UsageError):
                    continue
                found += 1
                items = value if isinstance(value, (list, tuple)) else [value]
                raw += [f'{type(target).__name__}.{name}' for item in items if isinstance(item, BOUND)]
        return found, raw

    with net.clock.held():
        found, raw = in_thread(look)
    buddy.close()
    account.close()
    events.close()
    leg.close()
    assert found > 300 and raw == []


def test_iteration_of_events_from_another_thread():
    """``for notify in events`` and ``for message in ua.messages`` run outside of the hub."""
    def script(safe, bob, inbox, uri):
        with safe.subscribe(uri, 'message-summary') as events:
            bodies = []
            for notify in events:
                bodies.append(notify.body)
                if len(bodies) == 2:
                    break
                bob.post(notifier.publish, uri, b'two')
        return bodies, next(iter(inbox)).text

    with UserAgent('udp:127.0.0.1:0') as alice, UserAgent('udp:127.0.0.1:0', name='bob') as bob:
        notifier = greensip.Notifier('message-summary')
        bob.events('message-summary', notifier)
        notifier.publish(bob.uri, b'one')
        inbox = bob.messages
        alice.message(bob.uri, 'hello', timeout=5)
        assert in_thread(script, alice.from_thread(), bob, Proxy(bob, inbox), bob.uri) == ([b'one', b'two'], 'hello')


def test_iterating_indexing_and_assigning(board):
    class Presence(ThreadBound):
        """Something that gives one thing after the other."""

        def __init__(self):
            self.mood = 'idle'

        def __iter__(self):
            for number in range(3):
                board.check_thread()
                yield Line(board, f'{self.mood} {number}')

        def __len__(self):
            return 3

        def __getitem__(self, key):
            board.check_thread()
            return {'a': 1}[key]

    target = Presence()

    def script():
        proxy = Proxy(board, target)
        proxy.mood = 'busy'
        lines = list(proxy)
        return lines, len(proxy), bool(proxy), proxy['a'], proxy.mood

    lines, length, true, item, mood = in_thread(script)
    assert [type(line) for line in lines] == [Proxy] * 3 and [unwrap(line).name for line in lines][2] == 'busy 2'
    assert (length, true, item, mood, target.mood) == (3, True, 1, 'busy', 'busy')


def test_what_was_spawned_is_a_proxy_too(board, clock):
    def script():
        leg = board.from_thread().invite('x')
        with leg:
            task = leg.spawn(lambda leg: clock.now())
            return type(task), task.get(), task.dead

    assert in_thread(script) == (Proxy, 1000.0, True)


def test_the_leg_of_an_event_is_a_proxy(board, later):
    def script():
        one, two = board.from_thread().pair()
        board.post(later, 1, unwrap(two).happen, 180)
        event = wait_any(one.on('180'), two.on('180'), timeout=5)
        return type(event), event.label, type(event.leg), event.leg == two, event.leg == one, unwrap(event) == event

    assert in_thread(script) == (Seen, 180, Proxy, True, False, True)
    assert Seen(Notice('x', time=0.0), repr) != Seen(Notice('x', time=0.0), repr)
    with pytest.raises(AttributeError):
        _ = Seen(Notice('x', time=0.0), repr)._engine


def test_mappings_of_legs_are_proxies_too(board):
    line = Line(board)
    assert in_thread(lambda: Proxy(board, board).post) is not None
    assert type(wrap(board, {'a': line})['a']) is Proxy
