"""SRV records: calls that are spread over servers, and go on with the next one when a server fails.

    python examples/srv_failover.py

Starts a name server on the loopback, and three servers of example.com beside it with the weights 60, 30 and 10.  Places
``--calls`` calls to sip:bob@example.com and prints which server had how many; then the first server leaves without a
word (nobody listens there), the second is out of order (503), and the next call is answered by the third all the same.
The one after it goes there at once: a server that failed is avoided for a while.

``--dns HOST:PORT URI`` calls ``URI`` instead, with that name server, and prints who answered.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack

from greensip import GreensipError, Leg, UserAgent
from greensip.testing import NameServer
from greensip.transport import SystemResolver


class Server:
    """One of the servers of example.com."""

    def __init__(self, name: str) -> None:
        self.ua = UserAgent('udp:127.0.0.1:0', name=name, user_agent=name)
        self.port = self.ua.points[0].address[1]
        self.broken = False
        self.ua.serve(self.answer, background=True)

    def answer(self, leg: Leg) -> None:
        """The handler of each call."""
        if self.broken:
            leg.reject(503, headers={'Retry-After': '30'})
        else:
            leg.answer()
            leg.wait_ended()


def answered_by(ua: UserAgent, uri: str) -> str:
    """Place a call, hang up, and tell who answered."""
    with ua.call(uri, timeout=20) as leg:
        return leg.headers.get('Server') or str(leg.remote.uri)


def local(calls: int) -> None:
    """The story with servers of our own."""
    with ExitStack() as stack:
        dns = stack.enter_context(NameServer())
        servers = [Server(name) for name in ('one', 'two', 'three')]
        for server, weight in zip(servers, (60, 30, 10)):
            stack.enter_context(server.ua)
            name = server.ua.name
            dns.add(f'_sip._udp.example.com. 60 IN SRV 0 {weight} {server.port} {name}.example.com.',
                    f'{name}.example.com. 60 IN A 127.0.0.1')
        ua = stack.enter_context(UserAgent('udp:127.0.0.1:0', name='alice', resolver=dns.resolver()))
        print('name server at {}:{}'.format(*dns.address))
        shares = Counter(answered_by(ua, 'sip:bob@example.com') for _ in range(calls))
        print('calls answered by', ', '.join(f'{server.ua.name}: {shares[server.ua.name]}' for server in servers))
        servers[0].ua.close()
        servers[1].broken = True
        print('one is gone and two is broken: answered by', answered_by(ua, 'sip:bob@example.com'))
        print('the next call: answered by', answered_by(ua, 'sip:bob@example.com'))
        print(f'questions to the name server: {len(dns.asked)}')


def main() -> int:
    """Parse the command line and place calls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uri', nargs='?', help='call this, with --dns')
    parser.add_argument('--dns', metavar='HOST:PORT', help='the name server to ask')
    parser.add_argument('--calls', type=int, default=20, help='calls to be spread (default %(default)s)')
    parser.add_argument('--listen', default='udp:0.0.0.0:0', help='where to call from (default %(default)s)')
    options = parser.parse_args()
    if (options.uri is None) != (options.dns is None):
        parser.error('URI and --dns go together')
    if options.uri is None:
        local(options.calls)
        return 0
    host, _, port = options.dns.rpartition(':')
    resolver = SystemResolver(servers=[(host.strip('[]'), int(port))])
    with UserAgent(options.listen, name='alice', resolver=resolver) as ua:
        try:
            print('answered by', answered_by(ua, options.uri))
        except GreensipError as error:
            print('no answer:', error)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
