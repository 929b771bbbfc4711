"""An account: an address-of-record that we register, and calls in its name (RFC 3261 10.2).

    with ua.account('sip:alice@example.com', password='s3cret') as alice:
        alice.register()                                # 401, 423 handled; refreshed while the block lasts
        with alice.call('sip:bob@example.com') as leg:
            leg.wait_for('BYE')

An account is a mailbox as a leg is: ``wait_for('registered', 'lost')`` tells when others can reach us and when they no
longer can, ``'refreshed'`` waits for the next refresh, ``'failed'`` tells of an attempt that failed (``.error``).  What
keeps it registered happens by itself, in no greenlet of its own: refreshes, the next registrar when one fails, further
attempts after a while when none answers.

It has one registration, or with ``outbound=`` one for each proxy of the list (RFC 5626): they share the
address-of-record and the instance, each has a flow and a ``reg-id`` of its own.
"""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import ENDED, FAILED, LOST, REFRESHED, REGISTERED, Event
from greensip.dialog.register import own_contact
from greensip.dialog.registration import Place, Registration
from greensip.dialog.routing import is_sips
from greensip.dialog.soft_state import Backoff
from greensip.errors import GreensipError, ParseError, UsageError, WrongState, response_error
from greensip.message import NameAddr, Request, Response, SipUri, Uri, parse_name_addr, parse_uri
from greensip.message.digest import DigestClient
from greensip.native import mypyc_attr
from greensip.transaction.flow import Flow, Point
from greensip.transport.keepalive import KeepAlive

from .addresses import (
    aor_of,
    contact_of,
    loose_route,
    next_hop,
    registrar_of,
    routes_of,
    same_hop,
    target_of,
)
from .buddy import Buddy
from .fields import Body, Extra, fields_of
from .keeping import interval_of
from .mailbox import Mailbox, Notice, Watch, fresh, wait_on
from .messages import Inbox, switchboard_of
from .outgoing import OutgoingLeg
from .pattern import NOTHING, Matcher
from .presence import Presentity, presentity_of
from .reply import Reply, wait_reply

if TYPE_CHECKING:
    from .agent import UserAgent
    from .incoming_subscription import IncomingSubscription
    from .publication import Publication
    from .referral import Referral
    from .subscription import OutgoingSubscription

__all__ = ['Account']

log: Final = logging.getLogger('greensip.ua')

#: the states of the core's registrations as a script sees them, the one that says most first
STATES: Final = (
    ('registered', ('registered', 'refreshing')), ('registering', ('registering',)), ('waiting', ('waiting',)),
    ('unregistering', ('stopping', 'leaving')),
)



class Attempt(Mailbox):
    """What happens while somebody waits in ``register()`` or ``unregister()``."""

    __slots__ = ('name',)

    def __init__(self, ua: UserAgent, name: str) -> None:
        super().__init__(ua)
        self.name = name

    @property
    def peer_name(self) -> str:
        return self.name


@mypyc_attr(allow_interpreted_subclasses=True)
class Account(Mailbox):
    """An address-of-record of ours.  ``ua.account()`` returns it.

    ``aor`` is such as ``sip:alice@example.com``, also with a display name.  ``password``, and ``username`` where that
    is not the user part of the address; ``credentials`` instead of both for several realms.
    ``registrar``: the URI to register at, or several that are tried in turn; the host of ``aor`` without it.  What goes
    to the own domain, such as ``call('100')``, goes there as well, if there is neither ``route`` nor Service-Route.
    ``expires``: for how many seconds we ask.  ``contacts``: addresses to register instead of our own, or beside it
    (None stands for our own).  ``params``: header parameters of our own contact, such as ``{'q': '0.7'}``.
    ``contact_user``: its user part.  ``headers``: further header fields of REGISTER.
    ``route``: the Route of REGISTER and of everything that the account sends, such as an outbound proxy.
    ``outbound``: RFC 5626, True or the URIs of outbound proxies, each of which gets a flow; None asks for it where
    the registrar is reached over TCP, TLS or WebSocket.  ``flows``: how many of the proxies are used at most.
    ``instance``: the URN that this device is known by, the same after each start (RFC 5626 4.1); without it one that is
    made of the machine's name, our address and ``aor``; ``''`` for none.  ``reg_id``: that of the first flow.
    ``gruu``: True, or ``'temporary'``, asks for a GRUU and uses it as the Contact of calls (RFC 5627); see that the
    proxies of the domain know what to do with it.
    ``nat``: register the address from which the registrar hears us (RFC 3581) instead of our own, for those that reach
    nobody behind a NAT otherwise; not over WebSocket.
    ``keep_alive``: ``'stun'`` or ``'crlf'`` keeps the flow alive though nobody has said that the peer wants it
    (RFC 5626 4.4 asks for it only where outbound is granted, RFC 6223 where the peer says ``keep``).
    ``backoff``: how long to wait after failures (RFC 5626 4.5), a ``Backoff``.

    Raises UsageError or ParseError for arguments that make no registration, WrongState when the user agent is closed,
    WrongThread.
    """

    __slots__ = ('_attempts', '_credentials', '_keep_alives', '_left', '_persistent', '_presentity', '_registered',
                 'aor', 'contact_user', 'data', 'gruu_kind', 'keep_alive', 'registrations', 'ua')

    def __init__(self, ua: UserAgent, aor: NameAddr | Uri | str, password: str | None = None, *,
                 username: str | None = None, credentials: Any = None,
                 registrar: Uri | str | Sequence[Uri | str] | None = None, expires: int = 3600,
                 contacts: Sequence[NameAddr | Uri | str | None] = (), params: Mapping[str, str | None] | None = None,
                 contact_user: str | None = None, headers: Extra = None, route: Sequence[str] | str = (),
                 outbound: bool | str | Sequence[str] | None = None, flows: int | None = None,
                 instance: str | None = None, reg_id: int = 1, gruu: bool | str = False,
                 nat: bool = False, keep_alive: str | None = None, backoff: Backoff | None = None) -> None:
        super().__init__(ua)
        ua.check_thread()
        if ua.closed:
            raise WrongState('the user agent is closed')
        if keep_alive not in (None, 'stun', 'crlf'):
            raise UsageError(f'keep_alive={keep_alive!r}: flows are kept alive by stun or crlf')
        if gruu not in (True, False, 'public', 'temporary'):
            raise UsageError(f'gruu={gruu!r}: a GRUU is public or temporary')
        if password is None and username is not None and credentials is None:
            raise UsageError('username= without a password: give both, or credentials=')
        name, home = aor_of(aor)
        #: the address-of-record, with the display name if there is one
        self.aor: NameAddr = name
        self.ua = ua
        #: free for the script
        self.data: Any = None
        own: Any = name.uri
        user = own.user or ''
        if credentials is None and password is not None:
            credentials = (username if username is not None else user, password)
        self._credentials = credentials
        self.contact_user = contact_user if contact_user is not None else _free_user(user, ua)
        self.gruu_kind = 'public' if gruu is True else gruu or ''
        self.keep_alive = keep_alive
        several = [home] if registrar is None else [registrar] if isinstance(registrar, (str, Uri)) else [*registrar]
        registrars = [registrar_of(one) for one in several]
        if not registrars:
            raise UsageError('register where? Give at least one registrar')
        given = routes_of(route)
        if isinstance(outbound, bool) or outbound is None:
            wanted = _is_stream(registrars[0], given, ua) if outbound is None else outbound
            routes = [given or tuple(ua.core.route)]
        else:
            proxies = [outbound] if isinstance(outbound, str) else [*outbound]
            if not proxies or given:
                raise UsageError('outbound= takes one or more proxies, and takes the place of route=')
            wanted, routes = True, [(loose_route(proxy),) for proxy in proxies]
        if flows is not None and not flows >= 1:
            raise UsageError(f'flows={flows!r}: at least one is needed')
        if instance is None:
            instance = _instance_of(ua, str(own)) if wanted or gruu else ''
        if not instance and (wanted or gruu):
            raise UsageError('outbound and gruu need an instance (RFC 5626 4.2.1, RFC 5627 4.1)')
        addresses = [None if contact is None else contact_of(contact) for contact in contacts] or [None]
        #: one for each flow
        self.registrations: list[Registration] = []
        peers: list[Registration] = []
        for number, hops in enumerate(routes[:flows]):
            registration = Registration(
                ua.core, str(name), [Place(text, hops) for text in registrars], credentials=credentials,
                expires=expires, contacts=addresses, user=self.contact_user, params=params,
                headers=fields_of(headers), instance=instance, reg_id=reg_id + number if wanted else 0,
                gruu=bool(gruu), keep=ua.core.offers_keep, nat=nat, backoff=backoff, peers=peers)
            registration.owner = self
            self.registrations.append(registration)
        self._attempts: list[Attempt] = []
        self._keep_alives: dict[Registration, KeepAlive] = {}
        self._registered = False
        #: to be tried again and again, though the first attempt fails
        self._persistent = False
        self._left = False
        self._presentity: Presentity | None = None
        ua.accounts.append(self)
        ua._account_users.setdefault(self.contact_user, self)

    def __repr__(self) -> str:
        return f'<Account {self.aor.uri} {self.state}>'

    @property
    def peer_name(self) -> str:
        return str(self.aor.uri)

    # -- what is known

    @property
    def state(self) -> str:
        """``unregistered``, ``registering``, ``registered``, ``waiting`` (for the next attempt), ``unregistering``."""
        states = {registration.state for registration in self.registrations}
        return next((name for name, those in STATES if states.intersection(those)), 'unregistered')

    @property
    def registered(self) -> bool:
        """Whether the registrar knows us, over any flow."""
        return self._registered

    @property
    def response(self) -> Response | None:
        """The latest 2xx to a REGISTER; None before the first."""
        return self._leading.response

    @property
    def expires(self) -> int:
        """For how many seconds the latest registration was granted; 0 before the first."""
        return self._leading.granted

    @property
    def bindings(self) -> list[NameAddr]:
        """All contacts of the address-of-record, those of others too, as the latest 2xx listed them."""
        return list(self._leading.bindings)

    @property
    def contact(self) -> str:
        """Our own contact as it was registered, in angle brackets; '' before that."""
        return self._leading.contact

    @property
    def service_route(self) -> tuple[str, ...]:
        """The Service-Route of the latest 2xx (RFC 3608): what the account sends takes it."""
        return self._leading.service_route

    @property
    def associated_uris(self) -> list[NameAddr]:
        """The other addresses that the registrar gives us: P-Associated-URI (RFC 7315 4.1)."""
        return list(self._leading.associated)

    @property
    def gruu(self) -> str:
        """The GRUU of this device (RFC 5627) while it is registered: what the account's calls have for a Contact.

        ''  if there is none."""
        first = self._leading
        order = (first.temporary_gruu, first.public_gruu) if self.gruu_kind == 'temporary' else (
            first.public_gruu, first.temporary_gruu)
        return order[0] or order[1]

    @property
    def flow(self) -> Flow | None:
        """The flow of the registration, the first one that lives; None if there is none."""
        return self._leading.flow

    @property
    def failure(self) -> Exception | None:
        """Why it is not registered: what the latest attempt failed with; None while all is well."""
        return self._leading.error

    @property
    def _leading(self) -> Registration:
        """The first registration that is in force, else the first."""
        return next((one for one in self.registrations if one.is_bound), self.registrations[0])

    # -- registering

    def register(self, timeout: float | None = None, *,
                 contacts: Sequence[NameAddr | Uri | str | None] | None = None) -> Response:
        """Register, block until the 2xx, and return that; from then on it is refreshed by itself.

        What it returns or raises is not seen by ``wait_for()`` behind it again: that tells of later changes.
        With several flows one that is registered is enough.  ``contacts`` are registered from now on instead of the
        earlier ones, which are removed.  If we are registered already it is refreshed.  Raises what the last registrar
        answered (ResponseError), TransactionTimeout or TransportError if none did, WaitTimeout after ``timeout``
        seconds, WrongState when the account is closed or about to be unregistered, WrongThread.  Who was not
        registered before, is not tried further after that: see ``start()``.
        """
        self.check()
        now = self.ua.clock.now()
        if contacts is not None:
            addresses = [None if contact is None else contact_of(contact) for contact in contacts]
            for registration in self.registrations:
                registration.change_contacts(addresses)
        attempt = self._begin()
        try:
            for registration in self.registrations:
                registration.register(now)
            self.ua.endpoint.flush()
            budget = None if timeout is None else now + timeout
            while True:
                left = None if budget is None else budget - self.ua.clock.now()
                event = self._wait(attempt, OUTCOMES, left, timeout)
                if event.label in (REGISTERED, REFRESHED):
                    self._persistent = True
                    response: Any = event.message
                    message: Response = response
                    return message
                if not any(registration.state in ('registering', 'refreshing') for registration in self.registrations):
                    raise fresh(event.error or WrongState('it was unregistered meanwhile'))
        finally:
            self._attempts.remove(attempt)
            if not self._persistent:
                self._give_up()

    def start(self) -> None:
        """Register, and keep at it: whatever fails is tried again after a while (RFC 5626 4.5).  Does not block:
        ``wait_for('registered')`` does.

        A refusal that time does not change, such as 403 or 404, ends it: ``wait_for('failed')`` tells (``.error``).
        """
        self.check()
        self._persistent = True
        now = self.ua.clock.now()
        for registration in self.registrations:
            registration.register(now)
        self.ua.endpoint.flush()

    def unregister(self, timeout: float | None = None, *, everything: bool = False) -> None:
        """Remove our contacts from the registrar, and block until that is answered.  Nothing if there are none.

        ``everything`` removes all contacts of the address-of-record, whoever has registered them (``*``).  Raises what
        the registrar answered, or that it did not; WaitTimeout after ``timeout`` seconds, WrongThread.  In any case
        it is over: nothing is refreshed or tried any more.
        """
        self.check()
        now = self.ua.clock.now()
        attempt = self._begin()
        self._persistent = False
        try:
            wanted = self.registrations[:1] if everything else self.registrations
            if not [registration for registration in wanted if registration.unregister(now, everything)]:
                return
            for registration in self.registrations:
                if registration not in wanted:
                    registration.unregister(now)
            self.ua.endpoint.flush()
            event = self._wait(attempt, GONE, timeout, timeout)
            if event.error is not None:
                raise fresh(event.error)
        finally:
            self._attempts.remove(attempt)
            self.ua.endpoint.flush()

    def query(self, timeout: float | None = None) -> list[NameAddr]:
        """Ask the registrar for all contacts of the address-of-record, and block until it answers (RFC 3261 10.2.3).

        Raises as ``ua.request``.
        """
        self.check()
        exchange = self._leading.query(self.ua.clock.now())
        reply = Reply(self.ua, exchange, self.peer_name)
        self.ua.endpoint.flush()
        response = wait_reply(reply, timeout, self)
        if response.code >= 300:
            raise response_error(response.code, response.reason, response)
        return list(response.contacts)

    def close(self) -> None:
        """Un-register, if it is registered, and be done with it.  Does not block; the user agent sees to it that the
        REGISTER arrives.  The end of a ``with`` block does it."""
        if self._ending is not None:
            return
        now = self.ua.clock.now()
        if self._presentity is not None:
            self._presentity.close()
        for buddy in tuple(self.ua.buddies):
            if buddy.account is self:
                buddy.close()
        self._persistent = False
        for registration in self.registrations:
            registration.unregister(now)
        ending = Notice('ended', time=now, leg=self, error=WrongState('the account is closed'))
        self.finish(ending)
        for attempt in self._attempts:
            attempt.finish(ending)
        self._leave()
        self.ua.endpoint.flush()

    def _leave(self) -> None:
        """Closed: once nothing is under way nobody needs us any more."""
        if self._left or any(registration.state != 'unregistered' for registration in self.registrations):
            return
        self._left = True
        for keep_alive in self._keep_alives.values():
            keep_alive.stop()
        self._keep_alives.clear()
        if self in self.ua.accounts:
            self.ua.accounts.remove(self)
            if self.ua._account_users.get(self.contact_user) is self:
                del self.ua._account_users[self.contact_user]
        self.ua.on_leg_ended()

    def _give_up(self) -> None:
        """The first attempt has failed, or nobody waits for it any more."""
        now = self.ua.clock.now()
        for registration in self.registrations:
            registration.unregister(now)
        self.ua.endpoint.flush()

    def _begin(self) -> Attempt:
        attempt = Attempt(self.ua, self.peer_name)
        self._attempts.append(attempt)
        return attempt

    def _wait(self, attempt: Attempt, matcher: Matcher, left: float | None, timeout: float | None) -> Any:
        """Wait for what comes of an attempt, or for the account's end."""
        watch = Watch(attempt, matcher)
        ending = Watch(self, NOTHING)
        ending.strict = False
        wait_on([watch, ending], left, asked=timeout)
        return watch.event

    # -- what the core reports

    def on_event(self, event: Event) -> None:
        """An event of one of our registrations.  Called while the endpoint flushes: must not block."""
        kind = event.kind
        registration: Registration = event.subject
        if kind == ENDED:
            self._on_left(event)
            return
        for attempt in self._attempts:
            attempt.deliver(event)
        if kind in (REGISTERED, REFRESHED):
            self._keep_flow_alive(registration)
        elif not self._attempts and self.state == 'unregistered':
            # Refused: who registers again begins anew.
            self._persistent = False
        bound = any(one.is_bound for one in self.registrations)
        changed = bound is not self._registered
        self._registered = bound
        # Another flow that comes up or goes down changes nothing for those who call us.
        if (kind in (REFRESHED, FAILED) or changed) and self._ending is None:
            if kind in (FAILED, LOST):
                log.debug('! %r: %s: %s', self, kind, event.error)
            if self._attempts or kind == REFRESHED:
                # A refresh is seen by those who wait for one: nobody wants to read of all that were.
                self.show(event)
            else:
                self.deliver(event)

    def _on_left(self, event: Event) -> None:
        """A registration was removed."""
        if any(registration.state != 'unregistered' for registration in self.registrations):
            return
        self._registered = False
        notice = Notice('unregistered', time=event.time, leg=self, error=event.error)
        for attempt in self._attempts:
            attempt.deliver(notice)
        if self._ending is not None:
            self._leave()
        elif self._attempts:
            self.show(notice)
        else:
            self.deliver(notice)

    # -- keep-alives

    def _keep_flow_alive(self, registration: Registration) -> None:
        """RFC 5626 4.4, RFC 6223: where the peer has agreed, or the script says so."""
        wanted = registration.outbound_active or registration.kept is not None or self.keep_alive is not None
        present = self._keep_alives.get(registration)
        seconds = registration.flow_timer or registration.kept or 0
        interval = interval_of(seconds)
        if present is not None:
            span = None if interval is None else (0.8 * interval, interval)
            if wanted and present.interval == span:
                return
            present.stop()
            del self._keep_alives[registration]
        if wanted:
            def flow() -> Flow | None:
                return registration.flow if registration.is_bound else None

            self._keep_alives[registration] = self.ua.keeping.keep_alives.begin(
                flow, interval, method=self.keep_alive or 'stun', at_once=False,
                on_failed=lambda keep_alive: self._on_flow_failed(registration, keep_alive))

    def _on_flow_failed(self, registration: Registration, keep_alive: KeepAlive) -> None:
        registration.flow_failed(keep_alive.error or GreensipError('the flow has failed'), self.ua.clock.now())
        self.ua.endpoint.flush()

    # -- calls and requests in its name

    def invite(self, uri: NameAddr | Uri | str, **options: Any) -> OutgoingLeg:
        """``ua.invite(uri, ...)`` in the account's name: its From, credentials and Route; the Contact is its own.

        A bare user, such as ``'100'``, is one of the account's own domain.  Does not block; raises as ``ua.invite``.
        """
        self.check()
        target = self.target(uri)
        leg = self.ua.invite(target, **self._options(target, options, dialog=True))
        leg._account = self
        return leg

    def call(self, uri: NameAddr | Uri | str, *, timeout: float | None = None, **options: Any) -> OutgoingLeg:
        """``ua.call(uri, ...)`` in the account's name: ``invite``, and block until a 2xx comes.  Raises as ``ua.call``.
        """
        leg = self.invite(uri, **options)
        try:
            leg.wait_for('2xx', timeout=timeout)
        except BaseException:
            leg.close()
            raise
        return leg

    def request(self, method: str, uri: NameAddr | Uri | str, *, timeout: float | None = None,
                **options: Any) -> Response:
        """``ua.request(method, uri, ...)`` in the account's name.  Blocks and raises as that."""
        self.check()
        target = self.target(uri)
        return self.ua.request(method, target, timeout=timeout, **self._options(target, options, dialog=False))

    def options(self, uri: NameAddr | Uri | str, *, timeout: float | None = None, **options: Any) -> Response:
        """``ua.options(uri, ...)`` in the account's name.  Blocks and raises as that."""
        self.check()
        target = self.target(uri)
        return self.ua.options(target, timeout=timeout, **self._options(target, options, dialog=False))

    def message(self, uri: NameAddr | Uri | str, text: Body, *, timeout: float | None = None,
                **options: Any) -> Response:
        """``ua.message(uri, text, ...)`` in the account's name.  Blocks and raises as that."""
        self.check()
        target = self.target(uri)
        return self.ua.message(target, text, timeout=timeout, **self._options(target, options, dialog=False))

    def subscribe(self, uri: NameAddr | Uri | str, package: str, **options: Any) -> OutgoingSubscription:
        """``ua.subscribe(uri, package, ...)`` in the account's name.  Does not block; raises as that."""
        self.check()
        target = self.target(uri)
        return self.ua.subscribe(target, package, **self._options(target, options, dialog=True))

    def refer(self, uri: NameAddr | Uri | str, target: Any, **options: Any) -> Referral:
        """``ua.refer(uri, target, ...)`` in the account's name.  Does not block; raises as that."""
        self.check()
        who = self.target(uri)
        return self.ua.refer(who, target, **self._options(who, options, dialog=True))

    def publish(self, package: str, body: Any, **options: Any) -> Publication:
        """``ua.publish`` of the account's own state, at its own address.  Blocks and raises as that."""
        self.check()
        target: Any = self.aor.uri
        return self.ua.publish(target, package, body, **self._options(target, options, dialog=False))

    @property
    def messages(self) -> Inbox:
        """The texts that come in for this account, as ``ua.messages``: they are no longer there then."""
        return switchboard_of(self.ua).inbox(self)

    def buddy(self, uri: NameAddr | Uri | str) -> Buddy:
        """Somebody to watch and to write to in the account's name; ``'bob'`` is one of its own domain.

        Does not block.  Raises ParseError, the account's ending, WrongThread.
        """
        self.check()
        return Buddy(self.ua, uri, self)

    @property
    def presence(self) -> Any:
        """Our own presence: None, or what it was set to as a document.

        Set it to ``'online'``, ``'busy'``, ``'away'``, ``'offline'``, an activity of RFC 4480, a ``Status`` with a
        note, or a ``Presence``; None tells nothing any more.  Setting it does not block; it raises as ``ua.presence``.
        """
        return presentity_of(self, self.ua, self).document

    @presence.setter
    def presence(self, presence: Any) -> None:
        self.check()
        presentity_of(self, self.ua, self).set(presence)

    @property
    def authorize_watcher(self) -> Any:
        """Who may see it, as ``ua.authorize_watcher``."""
        return presentity_of(self, self.ua, self).authorize

    @authorize_watcher.setter
    def authorize_watcher(self, verdict: Any) -> None:
        presentity_of(self, self.ua, self).authorize = verdict

    @property
    def watchers(self) -> list[IncomingSubscription]:
        """Who watches our presence, and who waits to be allowed to."""
        return presentity_of(self, self.ua, self).watchers

    def publish_presence(self, *, expires: int = 3600, timeout: float | None = None, **options: Any) -> Publication:
        """Publish our presence at the domain's presence server (RFC 3903), now and whenever it changes.

        Blocks and raises as ``ua.publish``; UsageError where there is no presence.
        """
        self.check()
        return presentity_of(self, self.ua, self).publish(expires=expires, timeout=timeout, **options)

    def target(self, uri: NameAddr | Uri | str) -> Uri:
        """The URI to call: ``'100'`` is ``sip:100@example.com`` for ``sip:alice@example.com``.  Raises ParseError."""
        if isinstance(uri, str) and ':' not in uri and '@' not in uri and '<' not in uri:
            own: Any = self.aor.uri
            return SipUri(uri.strip(), own.host, own.port, scheme=own.scheme)
        return target_of(uri)

    def options_for(self, uri: NameAddr | Uri | str, *, dialog: bool = True) -> dict[str, Any]:
        """What a request to ``uri`` in the account's name needs, as arguments of ``ua.invite`` or ``ua.request``.

        ``dialog``: it makes a dialog, and so has a Contact.
        """
        return self._options(self.target(uri), {}, dialog=dialog)

    def _options(self, target: Uri, options: dict[str, Any], *, dialog: bool) -> dict[str, Any]:
        """RFC 3261 8.1.2, RFC 3608 6.1, RFC 5626 4.3, RFC 5627 4.4: the Route, the flow and the Contact that the
        registration gave."""
        first = self._leading
        made: dict[str, Any] = {'from_': self.aor}
        if self._credentials is not None:
            made['credentials'] = self._credentials
        if options.get('flow') is None and not options.get('route'):
            route = self._route(first, target)
            if route:
                made['route'] = route
            if first.is_bound and first.outbound_active and first.flow is not None:
                made['flow'] = first.flow
        if dialog and options.get('contact') is None:
            made['contact'] = self._contact_for(target, options.get('route') or made.get('route') or (),
                                                options.get('flow') or made.get('flow'))
            if first.options:
                made['headers'] = [('Supported', ', '.join(first.options)), *fields_of(options.pop('headers', None))]
        return {**made, **{name: value for name, value in options.items() if value is not None}}

    def _route(self, first: Registration, target: Uri) -> tuple[str, ...]:
        """RFC 3608 6.1: the Service-Route, behind the proxy through which the registrar is reached.

        Without either our own domain is reached where it was said to be: at the registrar.
        """
        hops = tuple(text if '<' in text else f'<{text}>' for text in (first.route if first.is_bound
                                                                       else first.place.route))
        service = first.service_route
        if not service and not hops:
            own: Any = self.aor.uri
            registrar: Any = parse_uri(first.place.registrar)
            inside = isinstance(target, SipUri) and (target.host.lower(), target.port) == (own.host.lower(), own.port)
            if inside and (registrar.host, registrar.port, registrar.params) != (own.host, own.port, {}):
                return (loose_route(registrar),)
        if not service or not hops:
            return service or hops
        return service if same_hop(hops[-1], service[0]) else (*hops, *service)

    def _contact_for(self, target: Uri, route: Sequence[str] | str, flow: Flow | None) -> str:
        """The Contact of a request that makes a dialog."""
        uri = next_hop(target, routes_of(route))
        point: Point = flow.point if flow is not None else self.ua._point(uri)
        return self.contact_at(point, is_sips(str(target)) or is_sips(uri))

    def contact_at(self, point: Point, sips: bool = False) -> str:
        """The account's Contact for messages that leave from ``point``: its GRUU, if it has one.  ``sips`` where the
        peer wants that (RFC 3261 8.1.1.8, 12.1.1)."""
        gruu = self.gruu
        return f'<{gruu}>' if gruu else own_contact(self._leading, point, sips and point.secure)

    # -- calls that come in

    def digest(self) -> DigestClient | None:
        """What answers challenges to requests inside a call that came in; None without a password."""
        return DigestClient(self._credentials) if self._credentials is not None else None

    def is_at(self, uri: Uri) -> bool:
        """Whether ``uri`` is the contact that we have registered, but for what its parameters say."""
        contact = self.contact
        own: Any = parse_name_addr(contact).uri if contact else None
        return isinstance(uri, SipUri) and own is not None and (uri.host, uri.port) == (own.host, own.port)

    def match(self, request: Request) -> int:
        """How well a request that came in fits this account: 0 not at all.

        Its Request-URI is what we have registered, or a GRUU (RFC 5627 4.4.1); its To is whom the caller meant.
        """
        points = 0
        uri = request.uri
        own: Any = self.aor.uri
        if isinstance(uri, SipUri):
            first = self._leading
            gruus = [text for text in (first.public_gruu, first.temporary_gruu) if text]
            ours = (uri.user, uri.host.lower()) == (own.user, own.host.lower())
            if any(parse_uri(text) == uri for text in gruus):
                points += 4
            elif ours or (self.contact_user and uri.user == self.contact_user):
                points += 2
        try:
            to: Any = request.to.uri
        except ParseError:
            return points
        if isinstance(to, SipUri) and (to.user, to.host.lower()) == (own.user, own.host.lower()):
            points += 1
        return points


OUTCOMES: Final = Matcher(('registered', 'refreshed', 'failed', 'lost', 'unregistered'), 'answer to REGISTER')
GONE: Final = Matcher(('unregistered',), 'answer to REGISTER')


def _free_user(user: str, ua: UserAgent) -> str:
    """The user part of our contact: that of the address-of-record, with a number if another account has it."""
    plain = str(SipUri(user, 'x'))[len('sip:'):-len('@x')]
    number, name = 1, plain
    while name in ua._account_users:
        number += 1
        name = f'{plain}-{number}'
    return name


def _is_stream(registrar: str, route: Sequence[str], ua: UserAgent) -> bool:
    """Whether the registrar is reached over a connection, as far as that can be told without a look-up."""
    routes = route or ua.core.route
    uri = parse_uri(next_hop(registrar, routes))
    if not isinstance(uri, SipUri):
        return False
    transport = (uri.params.get('transport') or '').lower()
    if transport:
        return transport in ('tcp', 'tls', 'ws', 'wss')
    return uri.scheme == 'sips' or all(point.reliable for point in ua.points)


def _instance_of(ua: UserAgent, aor: str) -> str:
    """RFC 5626 4.1: the same after each start, and another one for each device."""
    point = ua.points[0]
    return uuid.uuid5(uuid.NAMESPACE_URL, f'{socket.gethostname()} {point.address} {aor}').urn
