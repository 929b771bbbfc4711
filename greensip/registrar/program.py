"""The registrar as a program: what ``greensip registrar`` runs."""

from __future__ import annotations

import dataclasses
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gevent

from greensip.errors import SetupError, TransportError, UsageError
from greensip.ua import UserAgent

from .app import Registrar
from .location import Change, Policy
from .sqlite import Database
from .store import StoreError
from .users import FileUsers, MemoryUsers, Users

__all__ = ['Options', 'open_registrar', 'serve']

log = logging.getLogger('greensip.registrar')


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How a registrar is to run.  Times in seconds.

    ``listen``: places as ``UserAgent`` takes them.  ``domains``: those that it is responsible for; none for every host,
    which are then one.  ``realm``: that of the passwords, by default the first domain, or ``greensip``.
    ``database``: the SQLite file of bindings and users, ``:memory:`` for none.

    Users are those of the database, unless ``users`` (pairs of name and password) or ``users_file`` (as ``htdigest``
    writes it) name some; ``anybody`` lets everyone register without a password.
    """

    listen: Sequence[str] = ('udp:0.0.0.0:5060', 'tcp:0.0.0.0:5060')
    domains: Sequence[str] = ()
    realm: str = ''
    database: str = ':memory:'
    users: Sequence[tuple[str, str]] = ()
    users_file: str = ''
    anybody: bool = False
    #: digest algorithms in the order of preference; none for those that the users have
    algorithms: Sequence[str] = ()
    #: whether who is no user may call users
    strangers: bool = True
    #: interval for who asks for none, the least before a 423, the most
    expires: int = 3600
    min_expires: int = 60
    max_expires: int = 86400
    #: contacts of one address of record
    max_contacts: int = 10
    #: calls at a time; None for any number
    max_calls: int | None = None
    #: how long the phones of one q value ring before those of the next are called
    ring_time: float = 20.0
    #: take what phones publish of presence, calls and waiting messages, and tell users who watch
    presence: bool = False
    pcap: str | None = None
    hep: str | None = None

    @property
    def effective_realm(self) -> str:
        """The realm of the passwords."""
        return self.realm or (self.domains[0] if self.domains else 'greensip')


def open_registrar(options: Options, *, on_change: Callable[[Change], object] | None = None,
                   **ua_options: Any) -> Registrar:
    """A running registrar with a user agent and a store of its own; ``close_registrar`` gives all back.

    ``on_change(change)`` is told of every change of a registration, and must not block.  ``ua_options`` are for the
    user agent.  Raises SetupError, a sentence, when something cannot be had.
    """
    realm = options.effective_realm
    database = Database(options.database, realm)
    try:
        users: Users | None = database
        if options.anybody:
            users = None
        elif options.users:
            users = MemoryUsers(realm, dict(options.users))
        elif options.users_file:
            users = FileUsers(options.users_file, realm)
        try:
            ua = UserAgent(*options.listen, **{
                'name': 'registrar', 'keep_responses': False, 'watchdog': None, 'expect_keep_alives': 0,
                'pcap': options.pcap, 'hep': options.hep, **ua_options})
        except (TransportError, UsageError) as error:
            raise SetupError(str(error)) from None
        try:
            if not any(getattr(transport, 'listens', True) for transport in ua.endpoint.transports):
                raise UsageError('nobody can register: tls and wss take connections with ?cert=FILE&key=FILE only')
            return Registrar(
                ua, domains=options.domains, realm=realm, users=users, store=database,
                algorithms=options.algorithms, strangers=options.strangers, ring_time=options.ring_time,
                max_calls=options.max_calls, presence=options.presence, on_change=on_change,
                policy=Policy(expires=options.expires, min_expires=options.min_expires,
                              max_expires=options.max_expires, max_contacts=options.max_contacts))
        except (UsageError, StoreError) as error:
            ua.close()
            raise SetupError(str(error)) from None
    except BaseException:
        database.close()
        raise


def serve(options: Options, *, ready: Callable[[Registrar], object] | None = None,
          on_change: Callable[[Change], object] | None = None, signals: bool = True, **ua_options: Any) -> None:
    """Run a registrar.  Blocks until SIGINT or SIGTERM, or ``registrar.stop()``.

    ``ready(registrar)`` is called once it runs: ``registrar.ua.points`` has the real ports.  ``signals=False`` leaves
    the signals alone.  Raises SetupError, a sentence, when something cannot be had.
    """
    registrar = open_registrar(options, on_change=on_change, **ua_options)
    watchers = []
    try:
        if signals:
            watchers = [gevent.signal_handler(number, registrar.stop) for number in (signal.SIGINT, signal.SIGTERM)]
        for point in registrar.ua.points:
            log.info('= listening on %s', point)
        if ready is not None:
            ready(registrar)
        registrar.run()
    finally:
        for watcher in watchers:
            with suppress(AttributeError):
                watcher.cancel()
        registrar.ua.close()
        registrar.close()
