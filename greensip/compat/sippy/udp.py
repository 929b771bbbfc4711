"""What moves the datagrams of sippy's ``Udp_server``: no thread, and in order.

sippy starts three sending and three receiving threads per socket.  The senders share one queue, so a 180 and the 200
after it go out in either order, which costs calls.  Here ``Udp_server`` stays sippy's, constructor and all; only the
two classes of threads that it makes are replaced:

``Sender``
    puts an ``Outlet`` in the place of the server's send queue.  What is put into it is sent at once, by whoever puts
    it.  Only what cannot be sent at once waits: for a host name to be looked up, for room in the system's buffer.  Then
    a thread of the system is made that sends what has to wait, in order, and ends.
``Receiver``
    reads the socket when the hub finds it readable, and brings the datagrams to ``ED2`` with the time of their arrival.
    A server with ``direct_dispatch``, whose callback runs outside of the loop, has one thread for that.

Servers that were made before sippy was patched keep their threads, and work as they always have.
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections import deque
from typing import Any

from sippy.Core.EventDispatcher import ED2
from sippy.Core.Exceptions import dump_exception
from sippy.Network_server import Remote_address
from sippy.Time.MonoTime import MonoTime

from .natives import allocate_lock, get_ident, getaddrinfo, sleep, start_new_thread

__all__ = ['BACKLOG', 'DRAIN', 'LARGEST', 'REMEMBERED', 'TARGETS', 'TRIES', 'DirectReceiver', 'Outlet', 'Receiver',
           'Sender', 'forget_lanes', 'make_receiver']

#: datagrams that are read at most before the loop gets its turn
DRAIN = 32
#: datagrams that wait at most for the loop; beyond, they wait in the system's buffer
BACKLOG = 20_000
#: no datagram is larger
LARGEST = 65535
#: addresses that are remembered at most
TARGETS = 4096
#: seconds for which the address of a name is good
REMEMBERED = 5.0
#: times that a datagram is tried when the system has no room, a hundredth of a second apart, as sippy does
TRIES = 20

READ = 1

Target = tuple[str, int] | tuple[str, int, int, int]
Datagram = tuple[bytes, Any]

_NO_ROOM = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}
_CLOSED = {errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.EBADF}


def bare(skt: Any) -> Any:
    """The socket of the system, also within a patched one."""
    return getattr(skt, '_sock', skt)


class Lane:
    """Datagrams that have to wait, and why: for the address of ``host``, or, if that is None, for room."""

    def __init__(self, host: str | None) -> None:
        self.host = host
        self.waiting: deque[Datagram] = deque()


#: the lanes of all outlets, so that a child process can forget those whose threads it has not inherited
_lanes: dict[tuple[Outlet, str | None], Lane] = {}
_lock = allocate_lock()


def forget_lanes() -> None:
    """After a fork, in the child: its parent sends what waits."""
    global _lock
    _lock = allocate_lock()
    for outlet, _ in _lanes:
        outlet.lanes.clear()
    _lanes.clear()


class Outlet:
    """Takes the place of a server's send queue: ``put((data, (host, port)))`` sends, ``put(None)`` closes."""

    def __init__(self, userv: Any) -> None:
        self.skt = bare(userv.skt)
        self.family = userv.uopts.family
        self.closed = False
        self.targets: dict[Any, Target] = {}
        #: host name: (address, when to ask again)
        self.names: dict[str, tuple[Any, float]] = {}
        #: what waits, by host; never empty lanes
        self.lanes: dict[str | None, Lane] = {}

    def put(self, item: tuple[bytes, Any] | None) -> None:
        """Send a datagram, after what was put before for the same host.  Never blocks, in whatever thread."""
        if item is None:
            self.closed = True
            return
        if self.closed:
            return
        data, address = item
        try:
            if self.lanes and self._line_up(None, item, join=True):
                return
            target = self.targets.get(address) or self._target(address)
            if target is None:
                self._line_up(address[0], item)
                return
            self.skt.sendto(data, socket.MSG_DONTWAIT, target)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._line_up(None, item)
            # Anything else is a datagram lost; SIP sends it again.
        except Exception:
            dump_exception(f'Udp_server: unhandled exception when sending to {address}')

    def _target(self, address: Any) -> Target | None:
        """What sendto takes for an address; None if its name has to be looked up."""
        host, port = address
        try:
            found = getaddrinfo(host, None, self.family, 0, 0, socket.AI_NUMERICHOST)[0][4]
        except (OSError, UnicodeError):
            found, until = self.names.get(host, (None, 0.0))
            return with_port(found, port) if until > time.monotonic() else None
        if len(self.targets) >= TARGETS:
            self.targets.clear()
        target = self.targets[address] = with_port(found, port)
        return target

    def _line_up(self, host: str | None, item: Datagram, join: bool = False) -> bool:
        """Have a thread send ``item`` later; with ``join``, only if others wait that it must not overtake."""
        with _lock:
            lane = self.lanes.get(item[1][0]) or self.lanes.get(None)
            if lane is None:
                if join:
                    return False
                lane = self.lanes[host] = _lanes[self, host] = Lane(host)
                start_new_thread(self._run, (lane,))
            lane.waiting.append(item)
        return True

    def _run(self, lane: Lane) -> None:
        """The thread that sends what waits in a lane."""
        found = None
        if lane.host is not None:
            try:
                found = getaddrinfo(lane.host, None, self.family)[0][4]
            except Exception:
                pass   # what was for this host is lost
            else:
                self.names[lane.host] = found, time.monotonic() + REMEMBERED
        while True:
            with _lock:
                if not lane.waiting or self.closed:
                    if self.lanes.get(lane.host) is lane:
                        del self.lanes[lane.host]
                    _lanes.pop((self, lane.host), None)
                    return
                data, address = lane.waiting.popleft()
            try:
                if lane.host is None:
                    target = self.targets.get(address) or self._target(address)
                else:
                    target = with_port(found, address[1]) if found else None
                if target is not None:
                    self._send_patiently(data, target)
            except Exception:
                dump_exception(f'Udp_server: unhandled exception when sending to {address}')

    def _send_patiently(self, data: bytes, target: Target) -> None:
        for _ in range(TRIES):
            try:
                self.skt.sendto(data, socket.MSG_DONTWAIT, target)
            except OSError as error:
                if error.errno not in _NO_ROOM or self.closed:
                    return
            else:
                return
            sleep(0.01)


def with_port(found: Any, port: int) -> Target:
    """An address of getaddrinfo with its port filled in."""
    target: Target = (found[0], port, *found[2:])
    return target


class Sender:
    """In the place of one of sippy's sending threads.  The first of a server's does it all."""

    def __init__(self, userv: Any) -> None:
        if not isinstance(userv.sendqueue, Outlet):
            userv.sendqueue = Outlet(userv)

    def join(self) -> None:
        """Nothing to wait for: what was put is sent."""


def make_receiver(userv: Any) -> Receiver | DirectReceiver | Idle:
    """In the place of one of sippy's receiving threads.  The first of a server's does it all."""
    if userv.areceivers:
        return Idle()
    return DirectReceiver(userv) if userv.uopts.direct_dispatch else Receiver(userv)


class Idle:
    """The second and third receiver of a server, who have nothing to do."""

    def join(self) -> None:
        """Nothing to wait for."""


class Receiver:
    """Brings the datagrams of a server to the loop."""

    def __init__(self, userv: Any) -> None:
        self.userv = userv
        self.skt = bare(userv.skt)
        self.family = userv.uopts.family
        self.watcher: Any = None
        ED2.receivers[self] = None
        if ED2._greenlet is not None:
            ED2.enter(self._opened)

    def _opened(self) -> None:
        if ED2._greenlet is not None:
            self.watch(ED2._hub)

    def watch(self, hub: Any) -> None:
        """Have the hub watch the socket: the loop begins, or has made the calls that waited."""
        if self.watcher is None and self in ED2.receivers:
            self.watcher = hub.loop.io(self.skt.fileno(), READ)
            self.watcher.start(self._readable)

    def unwatch(self) -> None:
        """The loop ends."""
        if self.watcher is not None:
            self.watcher.stop()
            self.watcher.close()
            self.watcher = None

    def _readable(self) -> None:
        """The hub says so."""
        self.read()
        if ED2._asleep:
            ED2._wake()
        elif len(ED2._calls) > BACKLOG:
            # A callback has been blocking for long.
            self.unwatch()
            ED2.held.append(self)

    def read(self) -> None:
        """Take what is there, without waiting."""
        userv = self.userv
        receive = self.skt.recvfrom
        deliver = ED2._calls.append
        handle = userv.handle_read
        ipv6 = self.family == socket.AF_INET6
        try:
            for _ in range(DRAIN):
                data, address = receive(LARGEST, socket.MSG_DONTWAIT)
                rtime = MonoTime()
                if address is None:
                    self.unwatch()   # somebody shut the socket down
                    return
                address = (f'[{address[0]}]', address[1]) if ipv6 else address
                deliver((handle, (data, Remote_address(address, userv.transport), rtime)))
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _CLOSED:
                self.unwatch()
            elif error.errno != errno.EINTR:
                dump_exception('Udp_server: unhandled exception when receiving incoming data')
        except Exception:
            dump_exception('Udp_server: unhandled exception when receiving incoming data')

    def join(self) -> None:
        """Stop receiving, for good.  The caller closes the socket then."""
        ED2.receivers.pop(self, None)
        if self.watcher is None:
            return
        if get_ident() == ED2.my_ident:
            self.unwatch()
        else:
            # The hub must not be left watching a descriptor that is closed: it gets one of its own to be closed there.
            skt = self.userv.skt
            self.userv.skt = skt.dup()
            ED2.enter(self._part, skt)

    def _part(self, skt: Any) -> None:
        self.unwatch()
        skt.close()


class DirectReceiver(threading.Thread):
    """The thread of a server with ``direct_dispatch``: its callback gets ``(host, port)`` for an address."""

    def __init__(self, userv: Any) -> None:
        super().__init__(daemon=True)
        self.userv = userv
        self.closed = False
        self.start()

    def run(self) -> None:
        """Read until the socket is shut down."""
        userv = self.userv
        skt = userv.skt
        ipv6 = userv.uopts.family == socket.AF_INET6
        poll = select.poll()
        poll.register(skt.fileno(), select.POLLIN)
        while not self.closed:
            try:
                if poll.poll()[0][1] & (select.POLLHUP | select.POLLNVAL | select.POLLERR):
                    return
                data, address = bare(skt).recvfrom(LARGEST, socket.MSG_DONTWAIT)
                rtime = MonoTime()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _CLOSED:
                    return
                dump_exception('Udp_server: unhandled exception when receiving incoming data')
                continue
            if address is None:
                return
            userv.handle_read(data, (f'[{address[0]}]', address[1]) if ipv6 else address, rtime)

    def join(self, timeout: float | None = None) -> None:
        """End the thread, whose socket has been shut down, and wait for it."""
        self.closed = True
        super().join(timeout)
