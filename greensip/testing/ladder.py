"""Ladders: what went over the wire, as text that a person reads and a test compares.

``str(ladder)`` draws it::

            alice               bob
      0.000   |----- INVITE ---->|
      0.010   |<-- 180 INVITE ---|
      2.010   |<-- 200 INVITE ---|
      2.020   |------- ACK ----->|

``ladder.lines()`` says the same a message a line, ``alice -> bob: 200 INVITE``, and ``ladder.expect(text)`` compares
with such lines, most simply pasted from an earlier output.  ``-x`` instead of ``->`` is a message that was lost.
Times are in seconds since the first message, ``0.500 alice -> bob: ACK``; a line without one may happen at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from greensip.errors import UsageError
from greensip.transaction.flow import Address, Flow, hostport
from greensip.transport.endpoint import Endpoint
from greensip.transport.memory import MemoryNetwork, Packet, title_matches
from greensip.transport.wire import title

__all__ = ['Arrow', 'Ladder', 'Note']

#: two times that differ by less are equal
TOLERANCE = 0.001

#: a drawn column is as wide as its names and messages need, and at least this
NARROWEST = 16

_CALL_ID = re.compile(rb'^(?:call-id|i)[ \t]*:[ \t]*([^\s]+)', re.IGNORECASE | re.MULTILINE)
_LINE = re.compile(
    r'(?:\+?(?P<time>\d+(?:\.\d+)?)\s+)?'
    r'(?:(?P<source>\S+)\s+(?P<arrow>->|-x|<-|x-)\s+(?P<destination>\S+):\s*(?P<what>.*?)'
    r'|(?P<name>[^\s:]+):\s*(?P<note>.*?))')


class Arrow(NamedTuple):
    """One message: who sent it to whom, and when, in seconds of the clock."""

    time: float
    source: str
    destination: str
    title: str
    data: bytes
    lost: bool = False

    @property
    def call_id(self) -> str:
        """Its Call-ID, an empty string if it has none."""
        match = _CALL_ID.search(self.data)
        return str(match[1], 'utf-8', 'replace') if match else ''

    def __str__(self) -> str:
        return f"{self.source} {'-x' if self.lost else '->'} {self.destination}: {self.title}"


class Note(NamedTuple):
    """Something that was told to somebody, or that somebody did, between the messages."""

    time: float
    name: str
    text: str

    def __str__(self) -> str:
        return f'{self.name}: {self.text}'


class Ladder:
    """Records messages, from a ``MemoryNetwork`` or from any endpoints: ``network=`` or ``add(endpoint, name)``."""

    def __init__(self, network: MemoryNetwork | None = None) -> None:
        self.entries: list[Arrow | Note] = []
        self._names: dict[Address, str] = {}
        self._order: list[str] = []
        #: addresses of endpoints that are recorded where they send
        self._own: set[Address] = set()
        self._now: Callable[[], float] | None = None
        if network is not None:
            network.taps.append(self._on_packet)
            self._now = network.clock.now

    # -- recording

    def name(self, address: Address, name: str) -> None:
        """Call who is at ``address`` by ``name``.  Columns are in the order of naming, then of appearance."""
        self._names[address] = name
        if name not in self._order:
            self._order.append(name)

    def add(self, endpoint: Endpoint, name: str = '') -> None:
        """Record what ``endpoint`` sends and receives; what it gets from another recorded endpoint only once."""
        for point in endpoint.points:
            host, port = point.address
            # Who listens on every address is known by those of this machine.
            hosts = [host, point.advertised[0], '127.0.0.1', '::1'] if host in ('0.0.0.0', '::') else [host]
            for known in hosts:
                if name:
                    self.name((known, port), name)
                self._own.add((known, port))
        self._now = endpoint.now
        endpoint.taps.append(self._on_message)

    def note(self, name: str, text: str) -> None:
        """Write something between the messages: what ``name`` did or was told."""
        self.entries.append(Note(self._now() if self._now is not None else 0.0, name, text))

    def clear(self) -> None:
        """Forget what happened; the next message is at 0.000 again."""
        self.entries.clear()

    def _on_packet(self, packet: Packet) -> None:
        self.entries.append(Arrow(packet.time, self._name(packet.source), self._name(packet.destination), packet.title,
                                  packet.data, packet.lost))

    def _on_message(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        local, remote = self._name(flow.point.address), self._name(flow.remote)
        if direction == '>':
            self.entries.append(Arrow(now, local, remote, title(data), data))
        elif flow.remote not in self._own and not (flow.point.reliable and self._is_known(data, flow)):
            self.entries.append(Arrow(now, remote, local, title(data), data))

    def _is_known(self, data: bytes, flow: Flow) -> bool:
        """Whether a recorded endpoint has sent this; then the address is its end of a connection."""
        for entry in reversed(self.entries):
            if isinstance(entry, Arrow) and entry.data == data and entry.source in self._order:
                self._names[flow.remote] = entry.source
                self._own.add(flow.remote)
                return True
        return False

    def _name(self, address: Address) -> str:
        return self._names.get(address) or hostport(*address)

    # -- looking at it

    @property
    def arrows(self) -> list[Arrow]:
        """The messages."""
        return [entry for entry in self.entries if isinstance(entry, Arrow)]

    @property
    def call_ids(self) -> list[str]:
        """The Call-IDs, in the order of their appearance."""
        return list(dict.fromkeys(arrow.call_id for arrow in self.arrows if arrow.call_id))

    def part(self, *call_ids: str, repeats: bool = True) -> Ladder:
        """The messages with these Call-IDs (all, if none is given) as a ladder of their own.

        ``repeats=False`` leaves out messages that were sent before, octet by octet, and those that were lost.
        """
        part = Ladder()
        part._names, part._order = self._names, self._order
        seen = set()
        for entry in self.entries:
            if isinstance(entry, Arrow):
                if call_ids and entry.call_id not in call_ids:
                    continue
                key = entry.source, entry.destination, entry.data
                if not repeats and (entry.lost or key in seen):
                    continue
                seen.add(key)
            part.entries.append(entry)
        return part

    def lines(self, *, times: bool = False) -> list[str]:
        """A line for each message and note: ``alice -> bob: INVITE``, ``alice: hung up``."""
        return [f'{time:.3f} {entry}' if times else str(entry) for time, entry in self._relative()]

    def expect(self, text: str) -> None:
        """Compare with lines as ``lines()`` writes them; raises AssertionError, which shows both.

        A message may be given less exactly: ``200`` or ``2xx`` for ``200 INVITE``; ``<-`` points the other way.
        Notes are compared only if ``text`` has any.  Empty lines, and what follows a ``#``, do not count.
        """
        wanted = [parse_line(line) for line in text.splitlines() if line.partition('#')[0].strip()]
        notes = any(line.note for line in wanted)
        have = [(time, entry) for time, entry in self._relative() if notes or isinstance(entry, Arrow)]
        for number in range(max(len(wanted), len(have))):
            if number >= len(wanted) or number >= len(have) or not wanted[number].fits(*have[number]):
                raise AssertionError(describe(wanted, have, number))

    def _relative(self) -> Iterator[tuple[float, Arrow | Note]]:
        start = next((entry.time for entry in self.entries if isinstance(entry, Arrow)), 0.0)
        for entry in self.entries:
            yield entry.time - start, entry

    def __str__(self) -> str:
        return draw(self._columns(), list(self._relative()))

    def _columns(self) -> list[str]:
        seen = dict.fromkeys(name for arrow in self.arrows for name in (arrow.source, arrow.destination))
        return [name for name in self._order if name in seen] + [name for name in seen if name not in self._order]


class Line(NamedTuple):
    """A line of an expected ladder."""

    text: str
    time: float | None
    source: str
    destination: str
    lost: bool
    what: str
    note: bool

    def fits(self, time: float, entry: Arrow | Note) -> bool:
        """Whether this is what happened."""
        if self.time is not None and abs(time - self.time) > TOLERANCE:
            return False
        if isinstance(entry, Note):
            return self.note and (entry.name, entry.text) == (self.source, self.what)
        return (not self.note and (entry.source, entry.destination) == (self.source, self.destination)
                and entry.lost == self.lost and title_matches(entry.title, self.what))


def parse_line(text: str) -> Line:
    """A line of an expected ladder; raises UsageError."""
    text = text.partition('#')[0].strip()
    match = _LINE.fullmatch(text)
    if match is None or not (match['what'] or match['note']):
        raise UsageError(f"cannot read {text!r} as a line of a ladder: write 'alice -> bob: 200 INVITE'")
    time = float(match['time']) if match['time'] else None
    if match['arrow'] is None:
        return Line(text, time, match['name'], '', False, match['note'], True)
    source, destination = match['source'], match['destination']
    if match['arrow'] in ('<-', 'x-'):
        source, destination = destination, source
    return Line(text, time, source, destination, 'x' in match['arrow'], match['what'], False)


def describe(wanted: Sequence[Line], have: Sequence[tuple[float, Arrow | Note]], number: int) -> str:
    """Where two ladders part."""
    def section(title: str, texts: Iterable[str]) -> str:
        lines = [f"{'>' if index == number else ' '} {text}" for index, text in enumerate(texts)]
        if number >= len(lines):
            lines.append('> (no more)')
        return '\n'.join([title, *lines])

    happened = section('what happened:', (f'{time:.3f} {entry}' for time, entry in have))
    expected = section('what was expected:', (line.text for line in wanted))
    return f'the ladders differ in line {number + 1}\n{happened}\n{expected}'


def draw(names: Sequence[str], entries: Sequence[tuple[float, Arrow | Note]]) -> str:
    """The picture.  A column is as wide as the longest message between neighbours needs."""
    if not names:
        return ''
    column = {name: index for index, name in enumerate(names)}
    longest = max((len(entry.title) for _, entry in entries if isinstance(entry, Arrow)), default=0)
    width = max(NARROWEST, longest + 8, *(len(name) + 2 for name in names))
    left = max(12, 10 + len(names[0]) // 2)
    rows = []
    head = [' '] * (left + width * len(names) + max(map(len, names)))
    for name, index in column.items():
        start = left + width * index - len(name) // 2
        head[start:start + len(name)] = name
    rows.append(''.join(head).rstrip())
    for time, entry in entries:
        row = list(f'{time:10.3f}'.ljust(left) + ('|' + ' ' * (width - 1)) * len(names))
        if isinstance(entry, Note):
            row[left + width * column.get(entry.name, 0) + 2:] = f' {entry.text}'
        else:
            put_arrow(row, left + width * column[entry.source], left + width * column[entry.destination], entry)
        rows.append(''.join(row).rstrip())
    return '\n'.join(rows)


def put_arrow(row: list[str], start: int, end: int, arrow: Arrow) -> None:
    """Draw an arrow between two columns of a row."""
    text = f' {arrow.title} '
    if start == end:
        row[start + 1:start + 1 + len(text) + 2] = f'<-{text}'
        return
    low, high = sorted((start, end))
    room = high - low - 1
    line = text.center(room, '-') if len(text) < room else text[:room]
    head = 'x' if arrow.lost else '>' if end > start else '<'
    line = line[:-1] + head if end > start else head + line[1:]
    row[low + 1:high] = line
