"""One call through the B2BUA.

``carry`` is the linear program; a script given with ``--script`` takes its place.  ``Call`` is what is known about the
call meanwhile: what the command socket shows, and in the end the call's record.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from greensip.b2bua.hunt import Hunt
from greensip.b2bua.routes import SOURCE_HOST, Route
from greensip.b2bua.takeover import go_on_with, take_over
from greensip.dialog.reliable import asks_reliability
from greensip.dialog.routing import DEFAULT_PORT
from greensip.errors import (
    GreensipError,
    LegEnded,
    LocalHangup,
    Redirected,
    RemoteCancel,
    RemoteHangup,
    Replaced,
    ResponseError,
    TransactionTimeout,
    TransportError,
    Unauthorized,
    WaitTimeout,
)
from greensip.message import SipUri
from greensip.message.grammar import quote, remember
from greensip.transaction.flow import Flow, hostport
from greensip.ua import Bridge, IncomingLeg, Leg, LegGroup, OutgoingLeg
from greensip.ua.fields import fields_of

if TYPE_CHECKING:
    from greensip.b2bua.app import B2bua

__all__ = ['Call', 'carry']

#: what makes a route fail, so that the next one may be tried
FAILURES: Final = (ResponseError, WaitTimeout, TransactionTimeout, TransportError)

#: header fields that go from leg to leg only on a route that lets them
CREDENTIALS: Final = ('Authorization', 'Proxy-Authorization')


def carry(call: Call) -> None:
    """A call, from the caller's INVITE to its end.  Blocks as long as it lasts."""
    caller = call.caller
    if call.max_forwards <= 0:
        caller.reject(483)
        return
    if call.comes_from_us():
        # A route leads back to us: each round would try all routes anew, so do not wait for Max-Forwards.
        caller.reject(482)
        return
    if call.b2bua.prack == 'required' and call.prack == 'off':
        # 21.4.16
        caller.reject(421, headers=(('Require', '100rel'),))
        return
    if call.b2bua.replaces and caller.replaces is not None:
        take_over(call, caller.replaces)
        return
    with LegGroup(caller) as group:
        while (route := call.next_route()) is not None:
            callee = group.invite(**call.invitation(route), progress_to=caller)
            call.placed(callee)
            bridge = None
            if call.b2bua.prack is not None:
                bridge = Bridge(caller, callee, refer=call.b2bua.refer)
                bridge.begin()
            try:
                answer = wait_for_answer(callee, call)
            except Replaced:
                if bridge is not None:
                    bridge.end()
                if call.successor is None:
                    raise
                go_on_with(call, call.successor, route)
                return
            except FAILURES as error:
                if bridge is not None:
                    bridge.end()
                if caller.ended:
                    # It is the caller that was lost, say as unreachable: no route has failed, and nobody is refused.
                    raise
                call.failed(error)
                if call.ends_with(error):
                    refuse(caller, error, route, call.b2bua.follow > 0)
                    return
                group.remove(callee).close()
                continue
            if bridge is None:
                caller.answer(like=answer)
            else:
                # What was said reliably on the one side is not repeated there, and missing on the other.
                caller.answer(like=answer, body=call.untold(answer.message))
            call.answered(route)
            call.join(bridge or Bridge(caller, callee, refer=call.b2bua.refer))
            return
        caller.reject(500, 'No Route')


def wait_for_answer(callee: OutgoingLeg, call: Call) -> Any:
    """Block until the callee answers with a 2xx, and return that event.

    Raises what a wait raises; WaitTimeout also when the patience of the route, or that of its group, has ended.
    """
    hunt = call.hunt
    until = hunt.deadline(0)
    if until is None:
        return callee.wait_for('2xx')
    code = 0
    while True:
        try:
            event = callee.wait_for('1xx', '2xx', timeout=None if until is None else max(0.0, until - call.now()))
        except WaitTimeout:
            if until is None or hunt.is_over(code, call.now()):
                raise
        else:
            if event.code >= 200:
                return event
            code = max(code, event.code)
        until = hunt.deadline(code)


def refuse(caller: IncomingLeg, error: GreensipError, route: Route, follows: bool = False) -> None:
    """Tell the caller how the last route failed."""
    if follows and isinstance(error, Redirected):
        # It leads nowhere that we could go: in a circle, or too far.
        caller.reject(480, headers=(('Reason', f'SIP;cause={error.code}'),))
        return
    if isinstance(error, Unauthorized) and not route.pass_auth:
        # Our credentials were at fault, and the caller's would not help: it gets no challenge.
        caller.reject(403, headers=(('Reason', f'SIP;cause={error.code}'),))
    else:
        caller.reject(error.status, like=getattr(error, 'response', None))


class Call:
    """What is known about a call.  ``number`` counts the calls of the program from 1."""

    __slots__ = ('attempts', 'b2bua', 'call_id', 'callee', 'caller', 'cld', 'cli', 'code', 'hunt',
                 'max_forwards', 'name', 'number', 'released_by', 'sent', 'successor', 'time_limit', 'timers', 'trying')

    def __init__(self, b2bua: B2bua, caller: IncomingLeg, number: int) -> None:
        invite = caller.invite
        assert invite is not None
        from_ = caller.from_
        self.b2bua = b2bua
        self.number = number
        self.caller = caller
        self.callee: OutgoingLeg | None = None
        self.call_id = caller.call_id
        #: numbers of caller and called, and the caller's name, as they came in; the called one is translated
        self.cli: str | None = from_.uri.user
        self.name: str | None = from_.display
        self.cld: str | None = invite.uri.user
        if b2bua.trunks is not None:
            self.cld = b2bua.trunks.dialled(caller) or self.cld
        if b2bua.translate_in is not None:
            self.cld = b2bua.translate_in(self.cld)
        max_forwards = invite.max_forwards
        #: what is left for the callee (RFC 3261 8.1.1.6 where the caller says nothing)
        self.max_forwards = 70 if max_forwards is None else max_forwards
        self.hunt = Hunt(b2bua.routes)
        #: cli, cld, Call-ID of the attempt under way
        self.sent: tuple[str | None, str | None, str] = (None, None, '')
        #: how the routes before it ended: host and status
        self.attempts: list[str] = []
        self.trying = False
        #: seconds that the answered call may last, None for ever
        self.time_limit: float | None = None
        #: the status of a call that nobody answered, where the caller's leg does not tell
        self.code = 0
        self.released_by = ''
        #: the leg that has taken the place of one of ours (Replaces)
        self.successor: Leg | None = None
        #: keep-alive timers
        self.timers: dict[Any, Any] | None = None

    def now(self) -> float:
        """The user agent's time."""
        return self.b2bua.ua.clock.now()

    # -- what the program tells us

    def next_route(self) -> Route | None:
        """The route to try now; None when there is none left."""
        return self.hunt.next(self.now())

    def invitation(self, route: Route) -> dict[str, Any]:
        """The arguments of the INVITE for ``route``."""
        b2bua, caller, invite = self.b2bua, self.caller, self.caller.invite
        assert invite is not None
        cld = route.cld if route.cld_given else self.cld
        if b2bua.translate_out is not None:
            cld = b2bua.translate_out(cld)
        cli = route.cli if route.cli_given else self.cli
        name = route.cnam if route.cnam_given else self.name
        address, host = route.address, route.host
        host_is_source = host == SOURCE_HOST
        if host_is_source:
            host = caller.source[0]
            address = hostport(*caller.source)
        call_id = f'{hidden(self.call_id) if b2bua.hide_call_id else self.call_id}-b2b_{self.hunt.number}'
        self.sent = cli, cld, call_id
        user = user_part(cld)
        proxy = route.op if route.op is not None and not self._came_from(*route.op, route.transport) else None
        by = f';transport={route.transport}' if route.transport else ''
        options: dict[str, Any] = {
            'uri': f'sip:{user}{address}{by if proxy is None else ""}',
            'from_': f'{display_part(name)}<sip:{user_part(cli)}{b2bua.host}>',
            'to': f'<sip:{user}{hostport(host, None)}>',
            'call_id': call_id,
            'headers': self._passed(route),
            'body': invite.body,
            'content_type': invite.get('Content-Type'),
            'max_forwards': self.max_forwards - 1,
        }
        if proxy is not None:
            options['route'] = f'<sip:{hostport(*proxy)}{by};lr>'
        elif host_is_source and self.caller.flow.point.reliable:
            # The port that a connection came from is nobody's to call.
            options['flow'] = self.caller.flow
        if route.user is not None:
            options['credentials'] = (route.user, route.password)
        if b2bua.trunks is not None:
            self._in_name_of_trunk(route, options)
        if b2bua.prack is not None:
            options['prack'] = self.prack
        if b2bua.follow:
            options['follow'] = b2bua.follow
        return options

    def _in_name_of_trunk(self, route: Route, options: dict[str, Any]) -> None:
        """Give the INVITE what a trunk wants of those who have registered there."""
        trunks = self.b2bua.trunks
        account = trunks.account_of(route) if trunks is not None else None
        if account is None:
            return
        found = account.options_for(options['uri'])
        own: Any = account.aor.uri
        cli, _, _ = self.sent
        name = route.cnam if route.cnam_given else self.name
        found['from_'] = f'{display_part(name)}<sip:{user_part(cli or own.user)}{hostport(own.host, own.port)}>'
        found['headers'] = [*fields_of(found.get('headers')), *options['headers']]
        if 'route' in options or 'flow' in options:
            # The route has a way of its own.
            found.pop('route', None)
            found.pop('flow', None)
        if route.user is not None:
            found.pop('credentials', None)
        options.update(found)

    @property
    def prack(self) -> str:
        """What the callee is told of reliable provisional responses: nothing where its offer in one could not be passed
        to the caller, whose PRACK has to answer it."""
        mode, invite = self.b2bua.prack, self.caller.invite
        return 'off' if mode is None or (not self.caller.offer and not asks_reliability(invite)) else mode

    def _passed(self, route: Route) -> list[tuple[str, str]]:
        """The header fields that go from the caller to the callee, and those that the route adds."""
        invite = self.caller.invite
        assert invite is not None
        fields = list(route.headers)
        for name in (*self.b2bua.pass_headers, *(CREDENTIALS if route.pass_auth else ()), 'Reason'):
            for text in invite.get_all(name):
                fields.append((name, text))
        return fields

    def comes_from_us(self) -> bool:
        """Whether it is one of our own INVITEs that a route has led back.

        A connection comes from a port of its own: there the top Via tells.
        """
        own = self.b2bua.own_addresses
        return self.caller.source in own or self._sent_by() in own

    def _sent_by(self) -> tuple[str, int] | None:
        """Where the other end of the connection says that it listens; None for a datagram."""
        flow, invite = self.caller.flow, self.caller.invite
        if not flow.point.reliable or invite is None:
            return None
        via = invite.via
        return via.host.strip('[]'), via.port or DEFAULT_PORT.get(via.transport, 5060)

    def _came_from(self, host: str, port: int | None, transport: str) -> bool:
        """Whether that is where the INVITE came from: it is not sent back to an outbound proxy."""
        place = host, port or DEFAULT_PORT.get(transport.upper(), 5060)
        return place in (self.caller.source, self._sent_by())

    def for_transfer(self, number: str, transferee: Leg) -> Call:
        """What the INVITE of a transfer is made from: the transferee calls ``number``, over all routes."""
        b2bua = self.b2bua
        attempt = Call(b2bua, self.caller, self.number)
        attempt.call_id = b2bua.ua.core.new_call_id()
        attempt.cld = number if b2bua.translate_in is None else b2bua.translate_in(number)
        if self.side_of(transferee) == 'callee':
            attempt.cli, attempt.name = self.cld, None
        return attempt

    def placed(self, callee: OutgoingLeg) -> None:
        """An INVITE is on its way to ``callee``."""
        self.trying = True
        self.callee = callee

    def failed(self, error: GreensipError) -> None:
        """The attempt under way has failed."""
        route = self.hunt.route
        self.trying = False
        if route is not None and not route.forward_on_fail:
            self.attempts.append(f'{route.address} {error.status}')

    def ends_with(self, error: GreensipError) -> bool:
        """Whether the hunt is over after this failure; a redirection is the caller's business, as in sippy, unless we
        follow it."""
        return (isinstance(error, Redirected) and not self.b2bua.follow) or self.hunt.stops_at(error.status)

    def answered(self, route: Route) -> None:
        """The caller has been told that the callee has answered."""
        b2bua = self.b2bua
        self.trying = False
        self.time_limit = route.time_limit(maximum=b2bua.max_time)
        if b2bua.keep_alive is not None:
            b2bua.keep_alive.begin(self)
        if b2bua.start_records:
            b2bua.write_record(self.record('start'))

    def untold(self, response: Any) -> bytes | None:
        """The callee's session description, if its 2xx has none as a reliable response had it.  What the caller has had
        reliably is not told again; another one is offered to it (``IncomingLeg.answer``)."""
        callee = self.callee
        if response.body or callee is None:
            return None
        return callee.remote_sdp or None

    def join(self, bridge: Bridge) -> None:
        """Relay between the two sides of the answered call.  Blocks until it is over."""
        try:
            self.left(bridge.wait(timeout=self.time_limit))
        except WaitTimeout:
            self.hang_up('credit-time')

    def left(self, leg: Any) -> None:
        """One side has hung up, or lost the call."""
        if not self.released_by:
            side, error = self.side_of(leg), leg.error
            if error is None or isinstance(error, LocalHangup):
                self.released_by = 'shutdown' if self.b2bua.stopping else 'b2bua'
            else:
                self.released_by = side if isinstance(error, (RemoteHangup, RemoteCancel)) else f'{side}-lost'

    def side_of(self, leg: Any) -> str:
        """Whether a leg is the caller's or the callee's, or stands in its place."""
        if leg is self.successor:
            return 'caller' if isinstance(self.caller.error, Replaced) else 'callee'
        return 'caller' if leg is self.caller else 'callee'

    def ended(self, error: BaseException) -> None:
        """The program was left with ``error``."""
        if isinstance(error, LegEnded):
            self.left(self.caller if self.caller.ended or self.callee is None else self.callee)
        self.code = error.status if isinstance(error, GreensipError) else 500

    def hang_up(self, released_by: str) -> None:
        """End both sides.  Does not block; the program that carries the call is woken by it."""
        if not self.released_by:
            self.released_by = released_by
        callee = self.callee
        if callee is not None:
            callee.hangup()
        if self.successor is not None:
            self.successor.hangup()
        self.caller.hangup()

    # -- what others want to know

    @property
    def state(self) -> str:
        """The state of the call as sippy names it."""
        if self.released_by:
            return 'Disconnecting'
        if self.caller.timings.answered is not None:
            return 'Connected'
        return 'ARComplete' if self.trying else 'WaitRoute'

    def line(self) -> str:
        """How the command socket shows the call."""
        usage: Any = self.caller.usage
        peer = address_of(usage.transaction.flow)
        ingress = f'{leg_state(self.caller)} {peer} {printable(self.cld)} {printable(self.cli)}'
        egress = 'N/A'
        if self.callee is not None:
            cli, cld, _ = self.sent
            usage = self.callee.usage
            egress = f'{leg_state(self.callee)} {address_of(usage.invite.flow)} {printable(cli)} {printable(cld)}'
        return f'{printable(self.call_id)}: {self.state} ({ingress} -> {egress})'

    def record(self, event: str) -> dict[str, Any]:
        """The call's record: ``event`` is ``start`` or ``stop``.  Times are seconds since 1970."""
        caller, callee, wall = self.caller, self.callee, self.b2bua.wall
        began, _, ringing, answered, _ = caller.timings
        now = self.now()
        response = caller.response
        cli, cld, call_id = self.sent
        route = self.hunt.route
        record: dict[str, Any] = {
            'event': event,
            'number': self.number,
            'call_id': self.call_id,
            'cli': self.cli,
            'name': self.name,
            'cld': self.cld,
            'source': hostport(*caller.source),
            'transport': caller.flow.point.transport.lower(),
            'setup': round(wall + began, 3),
            'ringing': None if ringing is None else round(wall + ringing, 3),
            'answered': None if answered is None else round(wall + answered, 3),
            'route': route.address if route is not None and callee is not None else None,
            'cli_out': cli,
            'cld_out': cld,
            'call_id_out': call_id,
            'transport_out': transport_of(callee),
        }
        if event == 'stop':
            record['ended'] = round(wall + now, 3)
            record['duration'] = 0.0 if answered is None else round(now - answered, 3)
            record['code'] = response.code if response is not None else self.code
            record['released_by'] = self.released_by or self._refused_by()
            record['reason'] = self._reason()
            record['attempts'] = self.attempts
        if route is not None and route.params:
            for name in ('bill-to', 'bill-cli', 'bill-cld'):
                if name in route.params:
                    record[name.replace('-', '_')] = route.params[name]
        return record

    def _reason(self) -> str | None:
        """The reason phrase of a refusal; else what the side that left had in its Reason header field."""
        response = self.caller.response
        if response is not None and response.code >= 300:
            return response.reason
        leg = self.callee if self.released_by == 'callee' else self.caller
        return getattr(leg.error, 'reason', None) if leg is not None else None

    def _refused_by(self) -> str:
        """Who ended a call that was not hung up by anybody we waited for."""
        if isinstance(self.caller.error, (RemoteHangup, RemoteCancel)):
            return 'caller'
        return 'callee' if self.attempts else 'b2bua'


_LEG_STATES: Final = {
    'calling': 'Trying', 'incoming': 'Trying', 'proceeding': 'Trying', 'early': 'Ringing', 'answering': 'Ringing',
    'cancelling': 'Cancelling', 'accepted': 'Connected', 'confirmed': 'Connected', 'hanging up': 'Disconnected',
    'closing': 'Disconnected', 'terminated': 'Dead',
}


def leg_state(leg: IncomingLeg | OutgoingLeg) -> str:
    """The state of a leg as sippy names it."""
    usage = leg.usage
    name = _LEG_STATES.get(usage.state, usage.state)
    return f'{name}({usage.role.upper()})' if name in ('Trying', 'Ringing', 'Cancelling') else name


def address_of(flow: Flow | None) -> str:
    """Transport and address of a peer; ``N/A`` while its name is being looked up."""
    return f'{flow.point.transport.lower()}:{hostport(*flow.remote)}' if flow is not None else 'N/A'


def transport_of(leg: OutgoingLeg | None) -> str | None:
    """The transport by which a leg's INVITE went, once that is known."""
    usage: Any = leg.usage if leg is not None else None
    flow = usage.invite.flow if usage is not None else None
    return flow.point.transport.lower() if flow is not None else None


def printable(text: str | None) -> str:
    """``text`` in a line of its own: what a peer sent must not look like another line."""
    if text is None:
        return 'None'
    return text if text.isprintable() else text.encode('unicode_escape', 'backslashreplace').decode('ascii')


def hidden(call_id: str) -> str:
    """A Call-ID that tells nothing of the caller's."""
    return hashlib.md5(call_id.encode('utf-8', 'surrogateescape'), usedforsecurity=False).hexdigest()


# The same people call again; what is remembered of them is bounded in number and length.
_users: Final[dict[str, str]] = {}
_names: Final[dict[str, str]] = {}


def user_part(user: str | None) -> str:
    """``user@`` as a URI has it, escaped; nothing for no user."""
    if not user:
        return ''
    text = _users.get(user)
    if text is None:
        text = str(SipUri(user, 'h'))[4:-1]
        remember(_users, user, text)
    return text


def display_part(name: str | None) -> str:
    """A display name before the angle brackets; nothing for no name."""
    if not name:
        return ''
    text = _names.get(name)
    if text is None:
        text = quote(''.join(character if character >= ' ' else ' ' for character in name)) + ' '
        remember(_names, name, text)
    return text
