"""Microseconds per transaction from its birth to its death, and the memory of one that lingers.

The messages are parsed and checked before the clock starts.  Each case is run twice: once as it is, once with its
messages only (those that the transaction makes or turns into bytes); the difference is what the transaction itself
costs.  The figures are the best of several rounds; compare them within one run only.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections import deque
from collections.abc import Callable

from greensip.fsm import Machine, Row
from greensip.message import (
    Request,
    Response,
    check_request,
    check_response,
    make_ack_for_failure,
    make_response,
    parse_message,
)
from greensip.transaction import Flow, Point, Settings, Timers, TransactionLayer

POINT = Point('UDP', ('192.0.2.1', 5060))
FLOW = Flow(POINT, ('192.0.2.9', 5060))
SDP = (b'v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n'
       b'm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')


def incoming(method: str, branch: str, to_tag: str = '') -> Request:
    body = SDP if method == 'INVITE' else b''
    text = (f'{method} sip:service@192.0.2.1:5060 SIP/2.0\r\n'
            f'Via: SIP/2.0/UDP 192.0.2.9:5060;branch={branch}\r\n'
            f'From: sipp <sip:sipp@192.0.2.9:5060>;tag=1SIPpTag00{branch}\r\n'
            f'To: service <sip:service@192.0.2.1:5060>{";tag=x" if to_tag else ""}\r\n'
            f'Call-ID: {branch}@192.0.2.9\r\n'
            f'CSeq: 1 {method}\r\n'
            'Contact: sip:sipp@192.0.2.9:5060\r\n'
            'Max-Forwards: 70\r\n'
            'Subject: Performance Test\r\n'
            'Content-Type: application/sdp\r\n'
            f'Content-Length: {len(body)}\r\n\r\n')
    request = parse_message(text.encode() + body)
    assert isinstance(request, Request)
    check_request(request)
    return request


def outgoing(method: str, branch: str) -> Request:
    request = Request(method, 'sip:service@192.0.2.9:5060', [
        ('Via', f'{POINT.via_prefix}{branch}'), ('Max-Forwards', '70'), ('From', f'<sip:us@192.0.2.1>;tag={branch}'),
        ('To', '<sip:service@192.0.2.9:5060>'), ('Call-ID', f'{branch}@192.0.2.1'), ('CSeq', f'1 {method}'),
        ('Contact', '<sip:us@192.0.2.1:5060>'), ('Content-Type', 'application/sdp'),
    ], SDP if method == 'INVITE' else b'')
    _ = request.branch, request.cseq
    return request


def answer(request: Request, code: int) -> Response:
    response = parse_message(make_response(request, code, to_tag='theirs').to_bytes())
    assert isinstance(response, Response)
    check_response(response)
    return response


class Bench:
    """A layer whose queues are emptied like a core would empty them."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.outgoing: deque[tuple[bytes, Flow]] = deque()
        self.layer = TransactionLayer(Settings(), self.timers, self.outgoing)

    def drain(self) -> None:
        self.layer.events.clear()
        self.outgoing.clear()

    def finish(self) -> None:
        """Let everything end, a timer at a time as it would."""
        now = 0.0
        while (deadline := self.timers.next_timer()) is not None:
            now = max(deadline, now + 0.005)
            self.timers.handle(now)
            self.drain()
        for transaction in self.layer.spent:
            transaction.release()
        self.layer.spent.clear()


#: the whole case, and its messages alone
Runs = tuple[Callable[[], object], Callable[[], object]]


def client(method: str, number: int, codes: tuple[int, ...]) -> Runs:
    """A request of ours that gets these responses."""
    cases = []
    for index in range(number):
        request = outgoing(method, f'z9hG4bK-{method}-{index}')
        cases.append((request, [answer(request, code) for code in codes]))
    bench = Bench()

    def whole() -> None:
        layer = bench.layer
        now = 0.0
        for request, responses in cases:
            now += 0.001
            layer.request(request, FLOW, now, cases)
            for response in responses:
                layer.receive(response, FLOW, now)
                layer.events.popleft()
            bench.outgoing.clear()
        bench.finish()

    def messages() -> None:
        for request, responses in cases:
            request.to_bytes()
            for response in responses:
                if method == 'INVITE' and response.code >= 300:
                    make_ack_for_failure(request, response).to_bytes()

    return whole, messages


def server(method: str, number: int, codes: tuple[int, ...]) -> Runs:
    """A request of the peer's that we give these responses."""
    cases = [(incoming(method, f'z9hG4bK-{method}-{index}', 'x' if method == 'BYE' else ''),
              incoming('ACK', f'z9hG4bK-{method}-{index}', 'x')) for index in range(number)]
    fails = method == 'INVITE' and codes[-1] >= 300
    bench = Bench()

    def whole() -> None:
        layer = bench.layer
        now = 0.0
        for request, ack in cases:
            now += 0.001
            layer.receive(request, FLOW, now)
            _, transaction, _ = layer.events.popleft()
            for code in codes:
                layer.respond(transaction, make_response(request, code, to_tag='ours'), now)
            if fails:
                layer.receive(ack, FLOW, now)
            bench.outgoing.clear()
        bench.finish()

    def messages() -> None:
        for request, _ in cases:
            for code in codes:
                make_response(request, code, to_tag='ours').to_bytes()

    return whole, messages


CASES = {
    'INVITE client, 100 180 200': lambda number: client('INVITE', number, (100, 180, 200)),
    'INVITE client, 100 486': lambda number: client('INVITE', number, (100, 486)),
    'INVITE server, 180 200': lambda number: server('INVITE', number, (180, 200)),
    'INVITE server, 486 and ACK': lambda number: server('INVITE', number, (486,)),
    'BYE client': lambda number: client('BYE', number, (200,)),
    'BYE server': lambda number: server('BYE', number, (200,)),
}


def best(run: Callable[[], object], rounds: int) -> float:
    """The shortest of several runs, in seconds."""
    shortest = float('inf')
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def fires(number: int) -> Callable[[], object]:
    def act(machine: Machine, message: object, now: float) -> None:
        pass

    class Switch(Machine):
        __slots__ = ()
        initial = 'off'
        rows = (Row('off', 'press', 'on', act), Row('on', 'press', 'off', act))

    def run() -> None:
        fire = Switch().fire
        for _ in range(number):
            fire('press', None, 0.0)
    return run


def timer_cells(number: int) -> Callable[[], object]:
    class Nobody:
        def on_timer(self, name: str, now: float) -> None:
            pass

    def run() -> None:
        timers, nobody = Timers((32.0,)), Nobody()
        for _ in range(number):
            timers.add(32.0, 0.0, nobody, 'Timer B').cancel()
        timers.handle(33.0)
    return run


def lingering(method: str, code: int, ours: bool, number: int) -> float:
    """Bytes per transaction that has had its final response and only waits for its last timer."""
    bench = Bench()
    layer = bench.layer
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index in range(number):
        branch = f'z9hG4bK{index:020x}'
        if ours:
            request = outgoing(method, branch)
            layer.request(request, FLOW, 0.0, layer)
            layer.receive(answer(request, code), FLOW, 0.0)
        else:
            request = incoming(method, branch, 'x' if method == 'BYE' else '')
            layer.receive(request, FLOW, 0.0)
            layer.respond(layer.events.popleft()[1], make_response(request, code, to_tag='ours'), 0.0)
        bench.drain()
    layer.receive(incoming('ACK', 'z9hG4bK-last'), FLOW, 0.0)
    bench.drain()
    del request
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(layer) == number
    return (after - before) / number


LINGERING = {
    'INVITE client, 200': ('INVITE', 200, True),
    'INVITE client, 486': ('INVITE', 486, True),
    'INVITE server, 200': ('INVITE', 200, False),
    'INVITE server, 486': ('INVITE', 486, False),
    'BYE client': ('BYE', 200, True),
    'BYE server': ('BYE', 200, False),
}


def main(argv: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog='scripts/bench transaction', description='Microseconds per transaction.')
    parser.add_argument('--number', type=int, default=2000, help='transactions per round (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=7, help='rounds, of which the best counts (default: %(default)s)')
    options = parser.parse_args(argv)
    number, rounds = options.number, options.rounds

    print(f'{"":32} {"us":>7} {"of which messages":>18} {"transaction":>12}')
    for name, make in CASES.items():
        whole, messages = make(number)
        gc.collect()
        gc.freeze()
        total = best(whole, rounds) / number * 1e6
        part = best(messages, rounds) / number * 1e6
        print(f'{name:32} {total:7.2f} {part:18.2f} {total - part:12.2f}')
        gc.unfreeze()
    print()
    for name, run in {'fire': fires(number * 10), 'timer added, cancelled, dropped': timer_cells(number * 10)}.items():
        print(f'{name:32} {best(run, rounds) / number / 10 * 1e6:7.2f}')
    print()
    print(f'{"lingering":32} {"bytes":>7}')
    for name, case in LINGERING.items():
        print(f'{name:32} {lingering(*case, number):7.0f}')
    return 0


if __name__ == '__main__':
    import sys
    sys.exit(main(sys.argv[1:]))
