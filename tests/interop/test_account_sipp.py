"""SIPp as a registrar that asks for all that one may ask: two passwords, another nonce, a longer time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

from benchmarks import peers

from greensip import UserAgent

from .conftest import aside

#: expressions that each REGISTER must match, and what it is answered
STORY = (
    ((), '407 Proxy Authentication Required', 'Proxy-Authenticate: Digest realm="edge", nonce="e1", qop="auth"'),
    (('nonce="e1"',), '401 Unauthorized',
     'WWW-Authenticate: Digest realm="home", nonce="h1", qop="auth", algorithm=MD5'),
    # Both passwords at once from now on.
    (('nonce="e1"', 'nonce="h1"'), '401 Unauthorized',
     'WWW-Authenticate: Digest realm="home", nonce="h2", qop="auth", algorithm=MD5, stale=true'),
    (('nonce="e1"', 'nonce="h2"', 'Expires: 60'), '423 Interval Too Brief', 'Min-Expires: 120'),
    # Another phone of hers has longer to live.
    (('nonce="h2"', 'Expires: 120'), '200 OK',
     '[last_Contact:];expires=119\nContact: <sip:alice@192.0.2.4>;expires=3600'),
    (('nonce="h2"', 'Expires: 0'), '200 OK', 'X: 1'),
)

RECEIVE = '''<recv request="REGISTER"><action>
  {checks}
</action></recv>'''
SEND = '''<send><![CDATA[

SIP/2.0 {status}
[last_Via:]
[last_From:]
[last_To:];tag=sipp
[last_Call-ID:]
[last_CSeq:]
{field}
Content-Length: 0

]]></send>'''


def test_all_that_a_registrar_may_ask(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                                      free_port: Callable[..., int]) -> None:
    needs('sipp')
    parts = []
    for checks, status, field in STORY:
        actions = '\n  '.join(f'<ereg regexp={quoteattr(expression)} search_in="msg" check_it="true" assign_to="1"/>'
                              for expression in checks)
        parts += [RECEIVE.format(checks=actions) if checks else '<recv request="REGISTER"/>',
                  SEND.format(status=status, field=field)]
    body = '\n'.join(parts)
    scenario = folder / 'registrar.xml'
    scenario.write_text('<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
                        f'<scenario name="registrar">\n{body}\n<Reference variables="1"/>\n</scenario>\n')
    port = free_port()
    registrar = peers.answerers(port, folder, scenario=scenario)
    running.append(registrar)
    with UserAgent('udp:127.0.0.1:0') as ua:
        alice = ua.account(f'sip:alice@127.0.0.1:{port}', expires=60,
                           credentials=[('alice', 'one', 'edge'), ('alice', 'two', 'home')])
        response = alice.register(timeout=10)
        assert response.cseq.number == 5
        assert (alice.expires, len(alice.bindings)) == (119, 2)
        alice.unregister(timeout=10)
        aside(registrar.finish)
    counts = registrar.counts()
    assert (counts['completed'], counts['failed']) == (1, 0), re.sub(r'\s+', ' ', registrar.printed()[-500:])
