"""Session timers: RFC 4028, so that a call whose other side is lost does not last for ever.

Each 2xx to an INVITE or UPDATE says how long the session lasts (Session-Expires) and which side refreshes it.  That
side sends an UPDATE, or a re-INVITE that changes nothing, after half of the interval (7.2, 10); the other one hangs up
when none has come shortly before the end (10).  An interval that is shorter than somebody wants is refused with 422
and a Min-SE, and asked for again with a longer one (7.3, 7.4).

A call that knows no session timer has none of this: its usage's ``session_timer`` is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from greensip.errors import ParseError, SessionExpired, UsageError, WrongState
from greensip.message import Message, Request, Response
from greensip.message.values import SessionExpires, parse_session_expires
from greensip.transaction.timers import Timer

from .exchange import ClientRequest, Fields

if TYPE_CHECKING:
    from .invite import InviteUsage

__all__ = [
    'REFRESH_METHODS',
    'SHORTEST',
    'TIMER',
    'SessionTimer',
    'accept_refresh',
    'ask_for_timer',
    'is_long_enough',
    'note_refresh',
    'parse_interval',
]

#: the option tag
TIMER: Final = 'timer'
#: 4, 5: "the absolute minimum", and what Min-SE means where it is not given
SHORTEST: Final = 90
#: methods that refresh the session (3)
REFRESH_METHODS: Final = frozenset({'INVITE', 'UPDATE'})
#: a peer that says less all the same is taken at its word down to this: no floods of refreshes
FLOOR: Final = 10
#: seconds until a refresh is tried again that another request was in the way of, or that was refused
BUSY: Final = 2.0
REFUSED: Final = 10.0
#: a request is sent again with a longer interval, and a refresh is tried again, so often in a row
MAX_RETRIES: Final = 4
#: the Reason of the BYE that ends an expired session
EXPIRED: Final = 'SIP;cause=408;text="Session expired"'


def parse_interval(value: int | str | SessionExpires) -> tuple[int, str | None]:
    """What somebody asks for: seconds, or the text of a Session-Expires such as ``1800;refresher=uas``.

    Gives the seconds, 0 for no session timer, and who is to refresh: ``uac``, ``uas``, None for whom the peer chooses.
    Raises UsageError for less than 90 s (4), and for what is no interval.
    """
    try:
        wanted = parse_session_expires(str(value))
        seconds, refresher = wanted.seconds, wanted.refresher
    except ParseError:
        raise UsageError(f'session_timer={value!r}: seconds, or such as "1800;refresher=uas"') from None
    if refresher not in (None, 'uac', 'uas'):
        raise UsageError(f'session_timer={value!r}: the refresher is uac or uas')
    if 0 < seconds < SHORTEST:
        raise UsageError(f'session_timer={value!r}: {SHORTEST} seconds is the least (RFC 4028 4)')
    return seconds, refresher


def words_of(message: Message, name: str) -> list[str]:
    """The tokens of Supported, Require or Allow in small letters; what is broken there is none of ours."""
    return [word.strip().lower() for text in message.get_all(name) for word in text.split(',')]


def knows_timers(message: Message) -> bool:
    """Whether who sent a message supports session timers: "timer" in Supported, or required."""
    return TIMER in words_of(message, 'Supported') or TIMER in words_of(message, 'Require')


def interval_of(message: Message, name: str = 'Session-Expires') -> SessionExpires | None:
    """Session-Expires or Min-SE; None for none, and for one that cannot be read: a 2xx has its effect all the same."""
    try:
        return message.value(name) if message.has(name) else None
    except ParseError:
        return None


def is_long_enough(request: Request, least: int) -> bool:
    """9: whether a request's interval can be accepted.  False asks for a 422.

    Who does not support session timers would not know what a 422 means: a proxy has asked (8.1).
    Raises ParseError for a Session-Expires or Min-SE that cannot be read.
    """
    asked: SessionExpires | None = request.value('Session-Expires')
    request.value('Min-SE')
    return asked is None or asked.seconds >= least or not knows_timers(request)


class SessionTimer:
    """What a call knows about its session timer, and the timer itself.

    ``wish`` is the interval that we ask for, in seconds, 0 for none; ``interval`` the agreed one, 0 before that.
    ``is_local`` says that we are the refresher, ``expires`` when the session ends without a refresh.
    """

    __slots__ = ('expires', 'interval', 'is_local', 'is_mutual', 'least', 'refresher', 'refreshing', 'retries', 'timer',
                 'updates', 'usage', 'wish')

    def __init__(self, usage: InviteUsage, wish: int = 0, refresher: str | None = None) -> None:
        self.usage = usage
        self.wish = wish
        #: who is to refresh according to our first request
        self.refresher = refresher
        self.interval = 0
        self.is_local = False
        self.expires = 0.0
        #: the largest Min-SE of the peer's requests and of the 422 to ours (7.4)
        self.least = 0
        #: whether the peer supports session timers, and UPDATE
        self.is_mutual = False
        self.updates = False
        #: runs until a refresh is due, or the session is over
        self.timer: Timer | None = None
        #: our refresh that has no final response yet
        self.refreshing: ClientRequest | None = None
        #: how often in a row a 422, or a refusal of our refresh, made us try again
        self.retries = 0

    # -- our requests

    @property
    def minimum(self) -> int:
        """7.4: the Min-SE of our requests, 0 for none: "the UAC may have its own opinions"; 90 s need no mention."""
        own = self.usage.core.min_se
        return max(self.least, own if own > SHORTEST else 0)

    @property
    def asked(self) -> int:
        """7.4: the Session-Expires of our requests, 0 for none."""
        seconds = self.interval or self.wish
        return max(seconds, self.minimum) if seconds else 0

    def fit(self, headers: Fields) -> Fields:
        """7.1, 7.4: the header fields of our INVITE or UPDATE, ours in the place of any earlier ones."""
        fields = [field for field in headers if field[0].lower() not in ('session-expires', 'min-se', 'x')]
        seconds, least = self.asked, self.minimum
        if seconds:
            refresher = self.refresher
            if self.interval:
                # The roles stay as they are.
                refresher = 'uac' if self.is_local else 'uas'
            tail = f';refresher={refresher}' if refresher else ''
            fields.append(('Session-Expires', f'{seconds}{tail}'))
        if least:
            fields.append(('Min-SE', str(least)))
        return fields

    def ask_longer(self, exchange: ClientRequest, response: Response, now: float) -> bool:
        """7.3: after a 422 the same request goes out again, with the interval that it asks for.

        False where that is hopeless: the 422 is an ordinary refusal then.
        """
        least = interval_of(response, 'Min-SE')
        if least is None or self.retries >= MAX_RETRIES or exchange.given_up():
            return False
        asked = interval_of(exchange.request) if exchange.request is not None else None
        if least.seconds <= self.least or (asked is not None and least.seconds <= asked.seconds):
            # It was long enough.
            return False
        self.retries += 1
        self.least = least.seconds
        exchange.headers = self.fit(exchange.headers)
        exchange.done = False
        exchange.response = None
        exchange.next_attempt(now)
        return True

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> bool:
        """A final response other than 2xx to an INVITE or UPDATE of ours inside the dialog.

        True when it was the session timer's business, and is nobody else's any more.
        """
        code = response.code
        if code == 422 and self.ask_longer(exchange, response, now):
            return True
        if exchange is not self.refreshing:
            return False
        self.refreshing = None
        if code in (408, 481):
            # 10: as if it had run out.
            self.usage.fire('broken', SessionExpired(EXPIRED, response), now)
            return True
        if code in (405, 501) and exchange.method == 'UPDATE' and self.usage.local_sdp:
            self.updates = False
            self.refresh(now)
        elif not self.is_mutual:
            # The timer is for our own benefit (7.2): it has shown that the peer is there.
            self.start(now)
        else:
            self.retries += 1
            self.try_again(now, retry_after(response, REFUSED))
        return False

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> Exception:
        """No response to an INVITE or UPDATE of ours; gives the error that ends the call."""
        if exchange is not self.refreshing:
            return error
        self.refreshing = None
        if isinstance(error, TimeoutError):
            expired = SessionExpired(EXPIRED)
            expired.__cause__ = error
            return expired
        return error

    # -- what was agreed

    def note(self, message: Message) -> None:
        """What a message tells about its sender."""
        if message.has('Allow'):
            self.updates = 'update' in words_of(message, 'Allow')
        self.is_mutual = knows_timers(message)

    def agree(self, interval: int, is_local: bool, now: float) -> None:
        """A 2xx has come or gone that says how long the session lasts and who refreshes it."""
        self.interval = max(interval, FLOOR)
        self.is_local = is_local
        self.retries = 0
        self.start(now)

    def start(self, now: float) -> None:
        """7.2, 10: half of the interval until we refresh; the peer's refresh is waited for until shortly before the
        end."""
        self.stop()
        self.expires = now + self.interval
        core = self.usage.core
        if self.is_local:
            self.timer = core.timers.add(self.interval / 2, now, self, 'refresh')
        else:
            self.timer = core.timers.add(self.interval - min(32.0, self.interval / 3), now, self, 'expired')

    def stop(self) -> None:
        """There is no session expiration any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def turn_off(self) -> None:
        """7.2, 9: "if the most recent 2xx response had no Session-Expires"."""
        self.stop()
        self.interval = 0

    # -- refreshing

    def on_timer(self, name: str, now: float) -> None:
        """``refresh``: it is time to refresh; ``expired``: nobody did."""
        self.timer = None
        if name == 'refresh':
            self.refresh(now)
        else:
            self.usage.fire('broken', SessionExpired(EXPIRED), now)

    def refresh(self, now: float) -> None:
        """7.4: an UPDATE without an offer where the peer knows it, else a re-INVITE that says what we said last."""
        usage = self.usage
        local = usage.local_sdp
        try:
            if usage.state != 'confirmed' or usage.inviting or usage.invited or usage.postponed:
                raise WrongState('an INVITE is under way')
            if self.updates or not local:
                self.refreshing = usage.send_request('UPDATE', now)
            else:
                self.refreshing = usage.reinvite(now, local)
        except WrongState:
            # Another request is under way, which may refresh the session as well.
            self.try_again(now, BUSY)
            return
        if self.timer is None and usage.session_timer is self:
            # Only a 2xx extends the session.
            self.timer = usage.core.timers.add(max(self.expires - now, 0.0), now, self, 'expired')

    def try_again(self, now: float, wait: float) -> None:
        """The session is not refreshed: once more after a while, as long as it lasts."""
        self.stop()
        left = max(self.expires - now, 0.0)
        name = 'refresh' if wait < left and self.retries < MAX_RETRIES else 'expired'
        self.timer = self.usage.core.timers.add(min(wait, left) if name == 'refresh' else left, now, self, name)


def retry_after(response: Response, default: float) -> float:
    """The seconds of a Retry-After, if there is one that can be read."""
    try:
        value = response.value('Retry-After') if response.has('Retry-After') else None
    except ParseError:
        value = None
    return default if value is None else max(float(value.seconds), 1.0)


def ask_for_timer(usage: InviteUsage, wanted: tuple[int, str | None], headers: Fields) -> Fields:
    """7.1: the header fields of a call's first INVITE; ``wanted`` as ``parse_interval`` gives it."""
    wish, refresher = wanted
    if not wish and usage.core.min_se <= SHORTEST:
        return headers
    timer = usage.session_timer = SessionTimer(usage, wish, refresher)
    return timer.fit(headers)


def begin(usage: InviteUsage, wish: int) -> SessionTimer:
    """Session timers come up in a call that had none: what its first messages have told about the peer still holds."""
    timer = usage.session_timer = SessionTimer(usage, wish)
    first = usage.request if usage.role == 'uas' else usage.response
    if first is not None:
        timer.note(first)
    return timer


def note_refresh(usage: InviteUsage, response: Response, now: float, *, first: bool = False) -> None:
    """7.2: a 2xx to our INVITE or UPDATE, the steps in their order; the ``first`` one makes the call."""
    timer = usage.session_timer
    agreed = interval_of(response)
    if timer is None:
        if agreed is None:
            return
        # "UACs MUST be prepared to receive a Session-Expires header field in a response, even if none were present in
        # the request."
        timer = begin(usage, 0)
    asked = timer.asked
    if first:
        # 7.4: what was asked for before there was a dialog is "cleared".
        timer.least = 0
    timer.refreshing = None
    timer.note(response)
    if agreed is not None:
        # "The UAC MUST set the identity of the refresher to the value of this parameter."  Where it is missing a
        # refresh too many does no harm.
        timer.agree(agreed.seconds, agreed.refresher != 'uas', now)
    elif timer.wish:
        # "If the UAC still wishes to use the session timer (which is purely for its benefit alone)"
        timer.agree(asked, True, now)
    else:
        timer.turn_off()


def accept_refresh(usage: InviteUsage, request: Request, now: float) -> Fields:
    """9: the header fields of our 2xx to the peer's INVITE or UPDATE; the session begins anew with it."""
    timer = usage.session_timer
    core = usage.core
    wish, preferred = core.session_timer
    asked = interval_of(request)
    if timer is None:
        if asked is None and not wish:
            return ()
        timer = begin(usage, wish)
    supports = knows_timers(request)
    minimum = interval_of(request, 'Min-SE')
    if minimum is not None:
        timer.least = max(timer.least, minimum.seconds)
    least = max(SHORTEST, minimum.seconds if minimum is not None else 0)
    timer.note(request)
    refresher: str | None = None
    if asked is not None and (supports or asked.seconds >= SHORTEST):
        # "The UAS response MAY reduce its value but MUST NOT set it to a duration lower than the value in the Min-SE"
        seconds = asked.seconds
        if wish and not timer.interval:
            seconds = min(seconds, max(wish, least, core.min_se))
        refresher = asked.refresher
    elif asked is None and (timer.interval or timer.wish):
        # "The UAS may request a session timer in the 2XX response"; who asks for it refreshes, but for roles that are.
        seconds = max(timer.interval or timer.wish, least)
        if timer.interval and not timer.is_local:
            refresher = 'uac'
            if not supports and not timer.wish:
                # The peer used to refresh, and knows nothing of that any more.
                seconds = 0
        else:
            refresher = 'uas' if timer.interval else preferred or 'uas'
    else:
        seconds = 0
    if not seconds:
        timer.turn_off()
        return ()
    # table 2
    if not supports:
        refresher = 'uas'
    elif refresher not in ('uac', 'uas'):
        refresher = preferred or 'uac'
    timer.agree(seconds, refresher == 'uas', now)
    field = ('Session-Expires', f'{seconds};refresher={refresher}')
    return (('Require', TIMER), field) if supports else (field,)


