"""A registrar for example.com and the phones of its users, on a network in memory with time that jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greensip import UserAgent
from greensip.message import Response
from greensip.registrar import Database, MemoryUsers, Registrar
from greensip.testing import Network

SDP = (b'v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
       b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')

#: the time of day when a test begins: Sat, 21 Nov 2026 12:00:00 GMT
NOON = 1795262400.0

PASSWORDS = {'alice': 'wonderland', 'bob': 'builder', 'carol': 'carols'}


class Phone:
    """A user agent of a user, which knows where the registrar is."""

    def __init__(self, ua: UserAgent, user: str, registrar: Registrar) -> None:
        self.ua = ua
        self.user = user
        self.route = f'<{registrar.ua.uri};lr>'
        self.aor = f'sip:{user}@example.com'
        self.options: dict[str, Any] = {'from_': self.aor, 'route': self.route}
        if user in PASSWORDS:
            self.options['credentials'] = (user, PASSWORDS[user])

    def register(self, contact: str | None = None, *, params: str = '', uri: str = 'sip:example.com',
                 call_id: str | None = None, cseq: int = 1, headers: Any = (), **options: Any) -> Response:
        """REGISTER, with digest, and the 200; ``contact`` '' for a question.  Raises ResponseError."""
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        if contact != '':
            fields.append(('Contact', contact if contact is not None else f'<{self.ua.uri}>{params}'))
        return self.ua.request('REGISTER', uri, headers=fields, call_id=call_id, cseq=cseq,
                               **{'to': self.aor, **self.options, **options})

    def target(self, user: str) -> str:
        """The address of another user."""
        return user if ':' in user else f'sip:{user}@example.com'

    def invite(self, user: str, **options: Any) -> Any:
        """Call another user."""
        return self.ua.invite(self.target(user), **{'sdp': SDP, **self.options, **options})

    def message(self, user: str, text: str, **options: Any) -> Response:
        """Send a text to another user."""
        return self.ua.message(self.target(user), text, **{**self.options, **options})


@pytest.fixture
def net() -> Iterator[Network]:
    with Network(seed=11, delay=0.01) as made:
        yield made


@pytest.fixture
def users() -> MemoryUsers:
    return MemoryUsers('example.com', PASSWORDS)


@pytest.fixture
def start(net: Network, users: MemoryUsers) -> Iterator[Callable[..., Registrar]]:
    """start(...) makes a registrar; the options are those of ``Registrar``."""
    made: list[Registrar] = []

    def start(**options: Any) -> Registrar:
        ua = net.user_agent(f'registrar{len(made) or ""}', watchdog=None, keep_responses=False)
        registrar = Registrar(ua, **{'domains': ['example.com'], 'users': users, 'wall': NOON, 'store': Database(),
                                     **options})
        made.append(registrar)
        return registrar

    yield start
    for registrar in made:
        registrar.close()
        registrar.ua.close()
        assert registrar._call_ids == set()
        counts = registrar.ua.core.counts()
        assert (counts['calls'], counts['dialogs']) == (0, 0)


@pytest.fixture
def registrar(start: Callable[..., Registrar]) -> Registrar:
    return start()


@pytest.fixture
def phone(net: Network, registrar: Registrar) -> Callable[..., Phone]:
    """phone('alice') is a phone of that user; a second name for one more of the same user's."""
    def make(user: str, name: str = '', **options: Any) -> Phone:
        return Phone(net.user_agent(name or user, **{'watchdog': None, **options}), user, registrar)
    return make
