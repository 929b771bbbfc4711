"""An echo for browsers: SIP over secure WebSocket (RFC 7118), and a page that calls it.

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout key.pem -out cert.pem
    python examples/wss_echo.py --listen 'wss:127.0.0.1:8443?cert=cert.pem&key=key.pem'

Then open https://127.0.0.1:8443/ once, to have the browser accept that certificate (it shows a line of text), and
``examples/wss_echo.html``, which says where it has JsSIP from.  Press its button, and hear yourself.

The page registers, and then calls.  A browser cannot be connected to: the server keeps the flow on which the REGISTER
came, and calls the page back over it.  It joins the two calls, so the page's voice comes back to the page; the audio
goes from browser to browser, the server never sees it.  Other programs that register over WebSocket are called back in
the same way.  Prints a line per registration and call; ends with status 0 on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal

import gevent
from gevent.event import Event

from greensip import Bridge, Flow, GreensipError, IncomingRequest, Leg, LegGroup, UserAgent
from greensip.message import STAR


class Echo:
    """Calls back who has registered."""

    def __init__(self) -> None:
        #: who has registered: where he wants to be called, and the way there
        self.phones: dict[str, tuple[str, Flow]] = {}

    def on_register(self, incoming: IncomingRequest) -> None:
        """Note the Contact, and the flow that leads to it (RFC 5626 5.3); there is no authentication."""
        request = incoming.request
        contacts = request.contacts
        name = str(request.to.uri)
        if not contacts or STAR in contacts or 0 in (contacts[0].expires, request.expires):
            self.phones.pop(name, None)
            incoming.respond(200)
        else:
            self.phones[name] = (str(contacts[0].uri), incoming.flow)
            incoming.respond(200, headers={'Contact': f'<{contacts[0].uri}>;expires=600'})
        print(f'{name} is {"here" if name in self.phones else "gone"}', flush=True)

    def on_call(self, caller: Leg) -> None:
        """Call the caller back, with his own offer, and join the two."""
        name = str(caller.remote.uri)
        phone = self.phones.get(name)
        if phone is None:
            caller.reject(403, 'Register First')
            return
        contact, flow = phone
        with LegGroup(caller) as group:
            back = group.invite(contact, flow=flow, from_=caller.local, sdp=caller.offer, progress_to=caller)
            try:
                back.wait_for('2xx', timeout=20)
                caller.answer(sdp=back.answer)
                print(f'{name} hears himself', flush=True)
                Bridge(caller, back).wait()
            except GreensipError as error:
                print(f'{name}: {error}', flush=True)
                raise
        print(f'{name} has hung up', flush=True)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='wss:127.0.0.1:8443?cert=cert.pem&key=key.pem',
                        help='where to listen (default %(default)s); behind a reverse proxy that does the TLS '
                             'ws:127.0.0.1:8080?forwarded=1')
    options = parser.parse_args()
    try:
        ua = UserAgent(options.listen, name='echo')
    except GreensipError as error:
        # Such as a port in use, or no certificate: a sentence, and status 2.
        parser.error(str(error))
    echo = Echo()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    with ua:
        ua.handle('REGISTER', echo.on_register)
        ua.serve(echo.on_call, background=True)
        print('listening on', ua.uri, flush=True)
        stop.wait()


if __name__ == '__main__':
    main()
