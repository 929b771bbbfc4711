"""What a command of ``greensip`` shows while it is at work: a ladder that grows, in text, in colours, or as JSON.

A view gets every message that the user agent sends and receives (a tap of its endpoint) and what the command says about
them.  ``Plain`` prints text, ``Coloured`` the same with rich and a line below that counts the seconds, ``Json`` one
object a line, for programs::

    {"event": "message", "time": 0.0, "direction": "sent", "peer": "127.0.0.1:5080", "transport": "UDP",
     "method": "INVITE", "code": null, "reason": null, "call_id": "...", "cseq": "1 INVITE", "body": "application/sdp",
     "repeated": false}
    {"event": "note", "time": 0.012, "text": "it rings", ...}
    {"event": "outcome", "time": 9.5, "status": 10, "outcome": "busy", "code": 486, "text": "busy: 486 Busy Here"}
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Protocol

import gevent

from greensip.errors import SetupError
from greensip.transaction.flow import Flow, hostport
from greensip.transport.wire import masked, readable

from .outcome import Outcome
from .terminal import harmless

__all__ = ['Coloured', 'Json', 'Plain', 'Sighted', 'View', 'make_view', 'sight']

#: the two lines of the ladder are so far apart, and as far from the left
WIDTH = 34
LEFT = 12
#: messages that are remembered to tell when one is repeated
REMEMBERED = 200

_START = re.compile(rb'\s*(?:SIP/2\.0 +(\d{3}) ?([^\r\n]*)|([!-~]{1,64}) +([^\r\n]*?) +SIP/2\.0)')
_FIELD = re.compile(rb'^(call-id|i|cseq|content-type|c)[ \t]*:[ \t]*([^\r\n]*)', re.IGNORECASE | re.MULTILINE)
_LONG = {'i': 'call-id', 'c': 'content-type'}


class Sighted:
    """A message as far as a view looks at it."""

    __slots__ = ('body', 'call_id', 'code', 'cseq', 'data', 'method', 'reason', 'uri')

    def __init__(self, data: bytes) -> None:
        self.data = data
        head, _, body = data.partition(b'\r\n\r\n')
        start = _START.match(head)
        fields: dict[str, str] = {}
        for name, text in _FIELD.findall(head):
            key = name.decode('ascii').lower()
            fields.setdefault(_LONG.get(key, key), clean(text))
        self.call_id = fields.get('call-id', '')
        self.cseq = fields.get('cseq', '')
        self.code = int(start[1]) if start is not None and start[1] else None
        self.reason = clean(start[2]) if start is not None and start[1] else None
        self.method = clean(start[3]) if start is not None and start[3] else (self.cseq.split() or ['?'])[-1]
        self.uri = clean(masked(start[4])) if start is not None and start[3] else None
        #: the type of the body; empty if there is none
        self.body = fields.get('content-type', '?').partition(';')[0].strip().lower() if body else ''

    @property
    def title(self) -> str:
        """``INVITE``, ``200 INVITE``, ``486 Busy Here``."""
        if self.code is None:
            return self.method
        return f'{self.code} {self.reason if self.code >= 300 and self.reason else self.method}'


def clean(data: bytes) -> str:
    """Text of a peer's that cannot fool a terminal."""
    return harmless(data.decode('utf-8', 'backslashreplace').strip())


def sight(data: bytes) -> Sighted:
    """Look at a message."""
    return Sighted(data)


class View(Protocol):
    """What commands talk to."""

    def tap(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        """A message; for ``Endpoint.taps``."""

    def note(self, text: str, **facts: Any) -> None:
        """Say something about what happens; ``facts`` are for programs, the text has them too."""

    def state(self, text: str) -> None:
        """What is being waited for, until somebody says something else; an empty text for nothing."""

    def finish(self, outcome: Outcome) -> None:
        """The last word."""


class Plain:
    """Text, a line for each message."""

    def __init__(self, out: IO[str] | None = None, *, messages: bool = False, quiet: bool = False,
                 now: Callable[[], float] = time.monotonic) -> None:
        self.out = out if out is not None else sys.stdout
        #: show every message in full, with what is secret masked; show none
        self.messages = messages
        self.quiet = quiet
        self.now = now
        #: called when nobody reads any more
        self.on_unread: Callable[[], object] | None = None
        self._start: float | None = None
        self._peer = ''
        self._headed = False
        self._seen: deque[int] = deque(maxlen=REMEMBERED)

    # -- what commands say

    def tap(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        """A message; for ``Endpoint.taps``.  Keep-alives are none."""
        if not data.strip():
            return
        key = hash((direction, data))
        repeated = key in self._seen
        self._seen.append(key)
        self.message(sight(data), direction, flow, self.since(now), repeated)

    def since(self, now: float | None = None) -> float:
        """Seconds since the first thing that happened."""
        if now is None:
            now = self.now()
        if self._start is None:
            self._start = now
        return max(0.0, now - self._start)

    def message(self, seen: Sighted, direction: str, flow: Flow, at: float, repeated: bool) -> None:
        """Draw an arrow, and the message itself if that is asked for."""
        if self.quiet:
            return
        peer = hostport(*flow.remote)
        if not self._headed:
            self._headed = True
            self.write(f'{"we":>{LEFT + 1}}{"peer":>{WIDTH + 2}}', 'dim')
        beside = f'  {flow.point.transport} {peer}' if peer != self._peer else ''
        self._peer = peer
        self.write(f'{at:{LEFT - 2}.3f}  |{arrow(direction, seen, repeated)}|{beside}', style_of(seen))
        if self.messages:
            self.write(readable(seen.data) + '\n', 'dim')

    def note(self, text: str, **facts: Any) -> None:
        """Say it in the column of the times."""
        at = self.since()
        self.write(f'{at:{LEFT - 2}.3f}  {harmless(text)}', 'bold')

    def state(self, text: str) -> None:
        """A line that stays is not for this view."""

    def finish(self, outcome: Outcome) -> None:
        """The outcome's sentence; what cannot start says so on the standard error."""
        if outcome.status == 2:
            sys.stderr.write(f'greensip: {harmless(outcome.text)}\n')
            return
        self.write(f'{self.since():{LEFT - 2}.3f}  {harmless(outcome.text)}',
                   'bold green' if outcome.status == 0 else 'bold red')

    def write(self, text: str, style: str = '') -> None:
        """Print a line at once."""
        try:
            self.out.write(f'{text}\n')
            self.out.flush()
        except OSError as error:
            self.unread(error)

    def unread(self, error: OSError) -> None:
        """Nobody reads any more, or nothing can be written: the command ends, as with Ctrl-C."""
        if not isinstance(error, BrokenPipeError):
            # A terminal that is gone takes this one with it.
            with suppress(OSError):
                sys.stderr.write(f'greensip: the output cannot be written: {error.strerror}\n')
        # Whoever read it has seen enough; neither we nor the end of the interpreter shall try again.
        self.out = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115
        os.dup2(self.out.fileno(), 1)
        if self.on_unread is not None:
            self.on_unread()


class Json(Plain):
    """An object a line, as the module's description has them."""

    def message(self, seen: Sighted, direction: str, flow: Flow, at: float, repeated: bool) -> None:
        """The facts of the message; all of it, masked, if that is asked for."""
        if self.quiet:
            return
        facts: dict[str, Any] = {
            'direction': 'sent' if direction == '>' else 'received', 'peer': hostport(*flow.remote),
            'transport': flow.point.transport, 'method': seen.method, 'uri': seen.uri, 'code': seen.code,
            'reason': seen.reason, 'call_id': seen.call_id, 'cseq': seen.cseq, 'body': seen.body or None,
            'repeated': repeated}
        if self.messages:
            facts['text'] = masked(seen.data).decode('utf-8', 'backslashreplace')
        self.put('message', at, facts)

    def note(self, text: str, **facts: Any) -> None:
        """The text, and the facts in it by their names."""
        self.put('note', self.since(), {'text': text, **facts})

    def finish(self, outcome: Outcome) -> None:
        """The outcome: the last line, whatever happened."""
        self.put('outcome', self.since(), {'status': outcome.status, 'outcome': outcome.word,
                                           'code': outcome.code or None, 'text': outcome.text})

    def put(self, event: str, at: float, facts: dict[str, Any]) -> None:
        """Write one object."""
        self.write(json.dumps({'event': event, 'time': round(at, 6), **facts}, default=str))


class Coloured(Plain):
    """The text in colours, by rich, with what is waited for in a line below.  Raises SetupError without rich."""

    def __init__(self, console: Any = None, **options: Any) -> None:
        super().__init__(**options)
        try:
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text
        except ImportError:
            raise SetupError("colours need rich: pip install 'greensip[cli]'") from None
        self.console = console if console is not None else Console(highlight=False)
        self._text = Text
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._state = ''
        self._since_state = 0.0
        self._ticker: gevent.Greenlet[..., Any] | None = None

    def write(self, text: str, style: str = '') -> None:
        """Print above the line that stays."""
        try:
            self.console.print(self._text(text, style=style), soft_wrap=True)
        except OSError as error:
            self.unread(error)

    def state(self, text: str) -> None:
        """What is waited for, and since when."""
        if not self.console.is_terminal:
            return
        self._state, self._since_state = harmless(text), self.now()
        if not text:
            self.end_state()
            return
        if self._ticker is None:
            with suppress(OSError):
                self._live.start()
            self._ticker = gevent.spawn(self._tick)
        self._show()

    def end_state(self) -> None:
        """Take the line away."""
        if self._ticker is not None:
            self._ticker.kill(block=False)
            self._ticker = None
            with suppress(OSError):
                self._live.stop()

    def finish(self, outcome: Outcome) -> None:
        """The outcome, and nothing below it."""
        self.end_state()
        super().finish(outcome)

    def _tick(self) -> None:
        while True:
            self._show()
            gevent.sleep(0.25)

    def _show(self) -> None:
        seconds = self.now() - self._since_state
        line = self._text(f'{"":{LEFT - 2}}  {self._state}  {seconds:.0f} s', style='yellow')
        # What cannot be written is told by ``write``.
        with suppress(OSError):
            self._live.update(line, refresh=True)


def arrow(direction: str, seen: Sighted, repeated: bool) -> str:
    """The message between the two lines of the ladder."""
    text = seen.title
    if seen.body:
        text += f' ({seen.body.rpartition("/")[2]})'
    if repeated:
        text += ' again'
    room = WIDTH - 1
    if len(text) > room - 6:
        text = text[:room - 9] + '...'
    line = f' {text} '.center(room, '-')
    return line[:-1] + '>' if direction == '>' else '<' + line[1:]


def style_of(seen: Sighted) -> str:
    """The colour of a message."""
    if seen.code is None:
        return 'cyan'
    return {1: 'yellow', 2: 'green', 3: 'blue'}.get(seen.code // 100, 'red')


def make_view(*, as_json: bool = False, plain: bool = False, messages: bool = False, quiet: bool = False) -> Plain:
    """The view that suits: JSON if it is asked for, colours in a terminal where there is rich, plain text otherwise."""
    if as_json:
        return Json(messages=messages, quiet=quiet)
    if not plain and sys.stdout.isatty():
        try:
            return Coloured(messages=messages, quiet=quiet)
        except SetupError:
            pass
    return Plain(messages=messages, quiet=quiet)
