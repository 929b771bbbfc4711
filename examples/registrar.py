"""A registrar that keeps its bindings in memory, and sends callers to them (RFC 3261 10.3).

    python examples/registrar.py --listen udp:127.0.0.1:5060

REGISTER adds, refreshes, removes (``expires=0``, or ``Contact: *``) and asks for bindings; an interval of less than
``--shortest`` seconds gets 423.  A call to a registered address is redirected to its contacts, best first, any other
gets 404.  There is no authentication.  Prints a line per change; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import time
from typing import NamedTuple

import gevent
from gevent.event import Event

from greensip import IncomingRequest, Leg, UserAgent
from greensip.message import STAR, NameAddr, Uri

DEFAULT_EXPIRES = 3600


class Binding(NamedTuple):
    """Where an address of record can be reached, until when, and what was said about it."""

    contact: NameAddr
    expires: float
    call_id: str
    cseq: int


class Registrar:
    """Bindings by address of record: user and host."""

    def __init__(self, shortest: int) -> None:
        self.shortest = shortest
        self.bindings: dict[tuple[str, str], dict[Uri, Binding]] = {}

    def lookup(self, uri: Uri) -> list[Binding]:
        """The bindings that have not expired, best first."""
        now = time.monotonic()
        found = self.bindings.get((uri.user, uri.host), {})
        for contact in [contact for contact, binding in found.items() if binding.expires <= now]:
            del found[contact]
        return sorted(found.values(), key=lambda binding: -binding.contact.q)

    def on_register(self, incoming: IncomingRequest) -> None:
        """RFC 3261 10.3, steps 5 to 8; the earlier ones are about authentication and proxies."""
        request = incoming.request
        uri = request.to.uri
        key = (uri.user, uri.host)
        now = time.monotonic()
        found = self.bindings.setdefault(key, {})
        current = {binding.contact.uri: binding for binding in self.lookup(uri)}
        contacts = request.contacts
        # 6. a star removes everything, and stands alone
        if STAR in contacts:
            if len(contacts) > 1 or request.expires != 0:
                incoming.respond(400)
                return
            found.clear()
            contacts = []
        changes: dict[Uri, Binding | None] = {}
        # 7. each contact in turn; all changes are made, or none
        for contact in contacts:
            expires = contact.expires if contact.expires is not None else request.expires
            expires = DEFAULT_EXPIRES if expires is None else expires
            if 0 < expires < self.shortest:
                incoming.respond(423, headers={'Min-Expires': str(self.shortest)})
                return
            before = current.get(contact.uri)
            if before is not None and before.call_id == request.call_id and request.cseq.number <= before.cseq:
                incoming.respond(500, 'Out Of Order')
                return
            binding = Binding(contact, now + expires, request.call_id, request.cseq.number)
            changes[contact.uri] = binding if expires else None
        for contact_uri, change in changes.items():
            if change is None:
                found.pop(contact_uri, None)
            else:
                found[contact_uri] = change
        # 8. the answer tells what is there now
        bindings = self.lookup(uri)
        incoming.respond(200, headers=[
            ('Contact', f'<{binding.contact.uri}>;expires={round(binding.expires - now)}') for binding in bindings])
        print(f'{uri.user}@{uri.host}: {", ".join(str(binding.contact.uri) for binding in bindings) or "nowhere"}',
              flush=True)

    def on_call(self, leg: Leg) -> None:
        """Send the caller to where the callee is."""
        bindings = self.lookup(leg.to.uri)
        if bindings:
            leg.redirect([str(binding.contact.uri) for binding in bindings])
        else:
            leg.reject(404)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--shortest', type=int, default=60, help='shortest interval, seconds (default %(default)s)')
    options = parser.parse_args()
    registrar = Registrar(options.shortest)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    with UserAgent(options.listen, name='registrar') as ua:
        ua.handle('REGISTER', registrar.on_register)
        ua.serve(registrar.on_call, background=True)
        print('listening on', ua.uri, flush=True)
        stop.wait()


if __name__ == '__main__':
    main()
