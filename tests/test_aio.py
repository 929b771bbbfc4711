"""greensip from real asyncio programs: each test is one, with its own event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import gevent
import pytest

import greensip
from greensip import Busy, ConnectError, RemoteHangup, UsageError, WaitTimeout, WrongState, after, aio, deadline
from greensip.registrar import MemoryUsers, Registrar


def program(main: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[[], None]:
    """Run the coroutine as ``asyncio.run`` does, with two user agents; afterwards no thread may be left."""
    def test() -> None:
        async def run() -> None:
            async with (asyncio.timeout(20), aio.UserAgent('udp:127.0.0.1:0', name='alice') as alice,
                        aio.UserAgent('udp:127.0.0.1:0', name='bob') as bob):
                await main(alice, bob)

        before = threading.active_count()
        asyncio.run(run(), debug=True)
        end = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.01)
        assert threading.active_count() <= before, 'a thread is left'

    test.__name__ = main.__name__
    test.__doc__ = main.__doc__
    return test


async def answering(leg: Any) -> None:
    await leg.ring()
    await leg.answer()
    await leg.wait_ended()


@program
async def test_a_call(alice: Any, bob: Any) -> None:
    await bob.serve(answering, background=True)
    async with alice.invite(await bob.uri) as leg:
        assert (await leg.wait_for('18x', timeout=5)).code == 180
        assert (await leg.wait_for('200', timeout=5)).message.code == 200
        assert await leg.state == 'confirmed'
        assert (await leg.remote).uri.user == 'bob'
        assert await leg.ua == alice and leg != alice
        await leg.hold(timeout=5)
        assert await leg.state == 'held'
    assert (await leg.wait_ended(timeout=5)).label == 'ended'


@program
async def test_the_loop_goes_on_while_a_verb_waits(alice: Any, bob: Any) -> None:
    await bob.serve(ringing, background=True)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    task = asyncio.create_task(beat())
    async with alice.invite(await bob.uri) as leg:
        with pytest.raises(WaitTimeout, match=r'no 200 within 0\.3 s'):
            await leg.wait_for('200', timeout=0.3)
    task.cancel()
    assert beats > 10


async def ringing(leg: Any) -> None:
    await leg.ring()
    await leg.wait_ended()


@program
async def test_errors_come_as_they_are(alice: Any, bob: Any) -> None:
    async def handler(leg: Any) -> None:
        await leg.reject(486)

    await bob.serve(handler, background=True)
    with pytest.raises(Busy):
        await alice.call(await bob.uri, timeout=5)
    with pytest.raises(AttributeError):
        await alice.nothing_of_that_name
    with pytest.raises(UsageError):
        alice.name = 'x'


@program
async def test_a_handler_that_fails_gives_its_caller_500(alice: Any, bob: Any) -> None:
    async def handler(leg: Any) -> None:
        raise KeyError('oops')

    await bob.serve(handler, background=True)
    with pytest.raises(greensip.ServerFailure):
        await alice.call(await bob.uri, timeout=5)


@program
async def test_cancelling_a_task_ends_the_wait_and_the_scope_the_call(alice: Any, bob: Any) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def handler(leg: Any) -> None:
        await leg.ring()
        ended.set_result((await leg.wait_ended()).error)

    await bob.serve(handler, background=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), alice.invite(await bob.uri) as leg:
            await leg.wait_for('200')
    assert isinstance(await asyncio.wait_for(ended, 5), greensip.RemoteCancel)


@program
async def test_closing_cancels_the_handlers(alice: Any, bob: Any) -> None:
    cancelled = asyncio.Event()

    async def handler(leg: Any) -> None:
        try:
            await leg.answer()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await bob.serve(handler, background=True)
    leg = await alice.call(await bob.uri, timeout=5)
    await bob.close()
    assert isinstance((await leg.wait_ended(timeout=5)).error, RemoteHangup)
    await asyncio.wait_for(cancelled.wait(), 5)
    with pytest.raises(WrongState):
        await bob.uri


@program
async def test_requests_and_their_handlers(alice: Any, bob: Any) -> None:
    texts = []

    async def handler(incoming: Any) -> int:
        texts.append((await incoming.request).body)
        return 202

    await bob.handle('MESSAGE', handler)
    assert (await alice.message(await bob.uri, 'hello', timeout=5)).code == 202
    assert texts == [b'hello']
    assert (await alice.options(await bob.uri, timeout=5)).code == 200


@program
async def test_deadlines_and_many_tasks(alice: Any, bob: Any) -> None:
    await bob.serve(answering, background=True)
    uri = await bob.uri

    async def one() -> str:
        async with alice.invite(uri) as leg:
            await leg.wait_for('200', timeout=5)
            with deadline(0.1), pytest.raises(WaitTimeout, match=r'deadline of 0\.1 s'):
                await leg.wait_for('BYE', timeout=5)
            return str(await leg.call_id)

    assert len(set(await asyncio.gather(*(one() for _ in range(20))))) == 20


@program
async def test_a_script_runs_in_the_hub_with_the_real_objects(alice: Any, bob: Any) -> None:
    def handler(leg: greensip.IncomingLeg) -> None:
        leg.answer()
        leg.wait_ended()

    def script(ua: greensip.UserAgent, uri: str) -> str:
        with ua.call(uri, timeout=5) as leg:
            return leg.state

    await bob.serve(handler, background=True)
    assert await alice.run(script, await bob.uri) == 'confirmed'
    async with alice.invite(await bob.uri) as leg:
        await leg.wait_for('200', timeout=5)
        await leg.set(data=7)
        assert await leg.data == 7
        assert await leg.run(lambda leg: leg.data + 1) == 8


@program
async def test_what_runs_at_the_side_of_a_call(alice: Any, bob: Any) -> None:
    await bob.serve(answering, background=True)

    async def aside(leg: Any, word: str) -> str:
        await asyncio.sleep(0.05)
        return f'{word} {await leg.state}'

    async with alice.call(await bob.uri, timeout=5) as leg:
        task = await leg.spawn(aside, 'still')
        assert isinstance(task, aio.AsyncProxy) and await task.get() == 'still confirmed'


@program
async def test_groups_bridges_and_waiting_for_any(alice: Any, bob: Any) -> None:
    hub = aio.Hub()
    async with aio.UserAgent('udp:127.0.0.1:0', name='middle', hub=hub) as middle:
        async def b2bua(a: Any) -> None:
            async with aio.LegGroup(a) as group:
                b = await group.invite(await bob.uri, sdp=await a.offer, progress_to=a)
                await b.wait_for('2xx', timeout=5)
                await a.answer(sdp=await b.answer)
                bridge = await aio.Bridge(a, b)
                await bridge.wait()

        await middle.serve(b2bua, background=True)
        await bob.serve(answering, background=True)
        async with alice.call(await middle.uri, timeout=5) as leg:
            assert (await aio.wait_any(await leg.on('BYE'), after(0.1))).label == 'after'
            assert (await aio.wait_any(leg.on('BYE'), after(0.1))).label == 'after'
            assert len(await middle.legs) == 2
            legs = [one async for one in IterateLegs(middle)]
            assert all(isinstance(one, aio.AsyncProxy) for one in legs)
        await leg.wait_ended(timeout=5)
    assert not hub.closed
    hub.close()
    hub.close()


@program
async def test_routes_are_tried_in_order(alice: Any, bob: Any) -> None:
    async def busy(leg: Any) -> None:
        await leg.reject(486)

    await alice.serve(busy, background=True)
    await bob.serve(answering, background=True)
    hunt = aio.Hunt([await alice.uri, await bob.uri], timeout=5)
    async with hunt.call(alice) as leg:
        assert (await leg.remote).uri.user == 'bob' and isinstance(hunt.errors[0], Busy)
    async with alice.group() as group:
        leg = await hunt.call(group)
        assert (await group.legs)[-1] == leg
    assert repr(hunt).startswith('<Hunt sip:alice@')


@program
async def test_accounts(alice: Any, bob: Any) -> None:
    hub = aio.Hub()
    async with aio.UserAgent('udp:127.0.0.1:0', hub=hub) as server:
        users = MemoryUsers('greensip', {'alice': 'a', 'bob': 'b'})
        registrar = await server.run(lambda ua: Registrar(ua, users=users))
        host = (await server.uri).partition('@')[2]
        await bob.serve(answering, background=True)
        async with (alice.account(f'sip:alice@{host}', password='a') as one,
                    bob.account(f'sip:bob@{host}', password='b') as two):
            assert (await one.register(timeout=5)).code == 200
            await two.register(timeout=5)
            assert await one.state == 'registered'
            assert str((await one.aor).uri) == f'sip:alice@{host}'
            async with one.invite('bob') as leg:
                await leg.wait_for('200', timeout=5)
            with pytest.raises(greensip.NotFound):
                await one.call('carol', timeout=5)
            await one.unregister(timeout=5)
        assert len((await registrar.ua).__dir__()) > 10 and not await registrar.closed
        await registrar.close()
    hub.close()


@program
async def test_events_are_iterated(alice: Any, bob: Any) -> None:
    notifier = greensip.Notifier('message-summary')
    resource = f'sip:bob@{(await bob.uri).partition("@")[2]}'
    await bob.events('message-summary', notifier)
    await bob.run(lambda ua: notifier.publish(resource, b'Messages-Waiting: no'))
    heard = []
    async with alice.subscribe(resource, 'message-summary') as events:
        async for notify in events:
            heard.append(notify.body)
            if len(heard) == 2:
                break
            await bob.run(lambda ua: notifier.publish(resource, b'Messages-Waiting: yes'))
        assert await events.state == 'active'
        await events.unsubscribe(timeout=5)
        assert [notify async for notify in events] == []
    assert heard == [b'Messages-Waiting: no', b'Messages-Waiting: yes']


@program
async def test_texts_and_transfers(alice: Any, bob: Any) -> None:
    inbox = await bob.messages
    await alice.message(await bob.uri, 'hello', timeout=5)
    async for message in inbox:
        assert await message.text == 'hello'
        break

    async with (aio.UserAgent('udp:127.0.0.1:0', name='carol') as carol,
                aio.UserAgent('udp:127.0.0.1:0', name='dave', refer='ask') as dave):
        async def handler(leg: Any) -> None:
            await leg.answer()
            transfer = await leg.wait_for('REFER', timeout=5)
            new = await transfer.accept()
            await new.wait_for('200', timeout=5)
            await leg.wait_ended(timeout=5)
            await new.hangup()

        await dave.serve(handler, background=True)
        await carol.serve(answering, background=True)
        async with alice.call(await dave.uri, timeout=5) as leg:
            outcome = await leg.transfer(await carol.uri, timeout=5)
            assert (outcome.ok, outcome.code) == (True, 200)


class IterateLegs:
    """The legs, one by one."""

    def __init__(self, ua: Any) -> None:
        self.ua = ua

    async def __aiter__(self) -> Any:
        for leg in await self.ua.legs:
            yield leg


def test_nobody_waits_for_a_hub_that_is_gone() -> None:
    async def main() -> None:
        hub = aio.Hub()
        ua = await aio.UserAgent('udp:127.0.0.1:0', hub=hub)
        waits = [asyncio.ensure_future(wait(pending)) for pending in (ua.run(lambda ua: gevent.sleep(60)), ua.accept())]
        await asyncio.sleep(0.05)
        hub.close()
        with pytest.raises(WrongState):
            await ua.uri
        for outcome in await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 5):
            assert isinstance(outcome, WrongState)
        await asyncio.to_thread(hub.thread.join, 5)
        assert not hub.thread.is_alive()

    async def wait(pending: Any) -> Any:
        return await pending

    asyncio.run(main(), debug=True)


def test_what_cannot_be_opened_says_so_and_leaves_no_thread() -> None:
    async def main() -> None:
        with pytest.raises(UsageError):
            await aio.UserAgent('carrier pigeon')
        with pytest.raises(greensip.TransportError):
            async with aio.UserAgent('udp:192.0.2.77:5060'):
                pass
        threads = threading.active_count()
        ua = aio.UserAgent('udp:127.0.0.1:0')
        with pytest.raises(WrongState, match='not open yet'):
            ua.invite('sip:bob@127.0.0.1')
        await ua.close()
        assert threading.active_count() == threads
        async with aio.UserAgent('udp:127.0.0.1:0') as ua:
            with pytest.raises(ConnectError):
                await ua.call('sip:bob@127.0.0.1:9;transport=tcp', timeout=5)

    before = threading.active_count()
    asyncio.run(main(), debug=True)
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_hub_that_ends_while_something_is_asked_of_it():
    hub = aio.Hub()

    class Slow(dict):
        """The hub ends between the look whether it is closed and the note of what was asked for."""

        def __setitem__(self, future, task):
            hub.close()
            hub.thread.join(5)
            super().__setitem__(future, task)

    hub._pending = Slow()
    with pytest.raises(WrongState, match='closed meanwhile'):
        hub.submit(lambda: 1).result(timeout=5)
