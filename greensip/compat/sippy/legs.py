"""Native legs for programs that speak in CCEvents: one leg of a sippy CallController can be a greensip leg.

    self.uaO = NativeUA(native, self.global_config, event_cb=self.recvEvent, nh_address=('192.0.2.10', 5060))
    self.uaO.recvEvent(event)                                       # the callee's leg: a CCEventTry makes it call

    native.serve(lambda leg: hand_over(leg, call_map.recvRequest))  # the caller's leg

``NativeUA`` is sippy's own UA with its own states, so its events, their data, order, times and callbacks are sippy's.
Only what the states take for the transaction manager is ours: a ``Link`` that does with a greensip leg what they ask
for in messages, and tells them in messages what happens to the leg.  So the leg has all that greensip's legs have: any
transport, the resolver, digest, the waiting after a 491, the races of CANCEL.

All of sippy's code runs in the dispatcher of ``ED2.loop()``, one callback after the other.  A leg's events are read by
a greenlet of its own, which only queues them there; what the states ask of the leg does not block.  The user agent and
the loop have to live in one OS thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
from sippy.CCEvents import CCEventDisconnect, CCEventFail, CCEventRedirect
from sippy.Core.EventDispatcher import ED2
from sippy.Core.Exceptions import dump_exception
from sippy.Exceptions.SipHandlingError import SipHandlingError
from sippy.Time.MonoTime import MonoTime
from sippy.Time.Timeout import Timeout
from sippy.UA import UA

from greensip.dialog.event import FAILED, REQUEST, RESPONSE, Event
from greensip.dialog.exchange import ClientRequest
from greensip.errors import GreensipError, RemoteCancel, RemoteHangup, ResponseError, UsageError, WrongState
from greensip.message import reason_phrase
from greensip.message.grammar import format_host
from greensip.transaction.flow import Point
from greensip.ua import IncomingLeg, Leg, Notice, Transfer, UserAgent
from greensip.ua.fields import fields_of, reason_of

from .messages import (
    Local,
    NativeRequest,
    body_octets,
    extra_fields,
    make_bye,
    make_request,
    make_response,
    name_addr,
    next_hop,
    sip_uri,
)

__all__ = ['Link', 'NativeUA', 'Sent', 'hand_over']

log = logging.getLogger('greensip.compat.sippy')

#: the requests inside a call that sippy's states answer; the core and the leg answer all others
ANSWERED_BY_SIPPY = ('INVITE', 'UPDATE', 'INFO', 'REFER')

#: those that the states take when Connected only, and lose at all other times
CONNECTED_ONLY = ('INFO', 'REFER')

#: seconds that an INVITE may take where its Expires does not say: sippy's transactions last no longer
PATIENCE = 300


def hand_over(leg: IncomingLeg, recv_request: Callable[[Any, Any], Any]) -> None:
    """Give a call that came in to a sippy program.  Blocks until the leg is over; for the handler of ``ua.serve``.

    ``recv_request(req, sip_t)`` is what the program gives to a SipTransactionManager: it is called in the loop of ED2
    with the INVITE, and either returns a response, as in ``(req.genResponse(403, 'Forbidden'), None, None)``, or has
    called ``recvRequest(req, sip_t)`` of a ``NativeUA``.  A call that it does neither with gets a 480.
    """
    leg.manual = ANSWERED_BY_SIPPY
    link = Link(leg.ua, leg)
    ED2.callFromThread(link.begin, recv_request, leg.ua.clock.now())
    link.pump()


class Config:
    """A program's ``global_config`` with another transaction manager in it, for one UA."""

    def __init__(self, config: Any, ua: NativeUA) -> None:
        self._config = config
        self._ua = ua

    def __getitem__(self, name: str) -> Any:
        return self._ua.link if name == '_sip_tm' else self._config[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._config[name] = value

    def __contains__(self, name: object) -> bool:
        return name == '_sip_tm' or name in self._config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class NativeUA(UA):  # type: ignore[misc]
    """A UA of sippy's whose leg is greensip's: same arguments, attributes, events and callbacks.

    ``native`` is the ``UserAgent`` that makes its call; of a call that came in it is the one that it came to.  ``leg``
    is the greensip leg once there is one, to look at, and for what CCEvents have no words for.  Raises WrongThread if
    ``native`` belongs to another OS thread.

    It differs from a UA where sippy's transactions would: the local tag, Contact and User-Agent are those of the user
    agent; ``outbound_proxy`` is told by a Route; ``nh_transport`` is any transport that the user agent has; what
    cannot be sent at all fails at once, with 503; after a Disconnect, Fail or Redirect that ends the leg there is no
    second one.  ``compact_sip``, ``uas_lossemul`` and ``auth_enalgs`` mean nothing here.
    """

    def __init__(self, native: UserAgent, global_config: Any, *args: Any, **kwargs: Any) -> None:
        native.check_thread()
        self.native = native
        self.leg: Leg | None = None
        self.link = Link(native)
        self.link.ua = self
        self._told = False
        super().__init__(Config(global_config, self), *args, **kwargs)

    def recvRequest(self, req: Any, sip_t: Any) -> Any:
        """A request of our leg; the INVITE that ``hand_over`` passed on makes it our leg.

        Raises UsageError for one that came in through sippy's own transaction manager.
        """
        if not isinstance(req, NativeRequest):
            raise UsageError("the call came in through sippy's transaction manager: what answers it must be a UA, not "
                             'a NativeUA')
        if self.state is None and req.link is not None and req.link.ua is None:
            link = self.link = req.link
            link.ua = self
            self.native, self.leg, self.lTag = link.native, link.leg, link.usage.tag
        return super().recvRequest(req, sip_t)

    def changeState(self, newstate: Any) -> None:
        """As a UA does; what had to wait for the new state follows."""
        super().changeState(newstate)
        if self.link.held and self.isConnected():
            ED2.callFromThread(self.link.release)

    def emitEvent(self, event: Any) -> None:
        """As a UA does, but nothing after the end of the leg has been told."""
        if not self._told:
            # A re-INVITE that fails is no end: then the state is another.
            self._told = isinstance(event, CCEventDisconnect) or (
                isinstance(event, (CCEventFail, CCEventRedirect))
                and isinstance(self.state, (self.UaStateFailed, self.UaStateDead)))
            super().emitEvent(event)

    def emitPendingEvents(self) -> None:
        """As a UA does, each by ``emitEvent``."""
        while self.equeue and self.event_cb is not None:
            self.emitEvent(self.equeue.pop(0))

    def cleanup(self) -> None:
        """The UA is dead."""
        self.link.ua = None
        super().cleanup()


class Sent:
    """A request that sippy's states have sent: what they take for a client transaction."""

    def __init__(self, link: Link, request: Any, resp_cb: Any, version: int) -> None:
        self.link = link
        self.method: str = request.getMethod()
        self.request = request
        self.resp_cb = resp_cb
        self.cb_ifver = version
        #: what sippy keeps here: header fields of its user, whether the ACK waits for the program
        self.req_extra_headers: Any = None
        self.uack = False
        self._ack: Any = None
        #: of a request inside the call: greensip's own, and what we had said in that call before it
        self.exchange: ClientRequest | None = None
        self.before = b''

    @property
    def ack(self) -> Any:
        """The ACK for a 2xx that carries an offer, to be given its answer."""
        if self._ack is None:
            self._ack = self.request.genACK()
        return self._ack

    def on_event(self, event: Event) -> None:
        """A response to a request inside the call, or that there is none.  Called while the endpoint flushes."""
        if (event.kind == FAILED or event.code >= 300) and self.exchange is not None and self.exchange.body:
            # What we had said before holds again.
            self.link.usage.local_sdp = self.before
        ED2.callFromThread(self.link.on_reply, self, event)

    def answer(self, response: Any) -> None:
        """Tell whoever has sent it."""
        if self.resp_cb is not None:
            self.resp_cb(*(response,) if self.cb_ifver == 1 else (response, self))

    def fail(self, code: int, reason: str = '') -> None:
        """There is no response: what sippy's transaction manager makes up then."""
        response = self.request.genResponse(code, reason or reason_phrase(code))
        response.rtime = MonoTime()
        self.answer(response)


class Link:
    """Between a UA and its leg: what the UA's states take for the transaction manager.

    ``pump`` runs in a greenlet of its own, all else in the dispatcher of ED2.
    """

    #: part of how sippy sees a server transaction
    compact = False

    def __init__(self, native: UserAgent, leg: IncomingLeg | None = None) -> None:
        self.native = native
        self.ua: NativeUA | None = None
        self.leg: Leg | None = leg
        #: the INVITE that the call begins with: ours, or the peer's
        self.sent: Sent | None = None
        self.received: NativeRequest | None = None
        #: requests of the peer inside the call that have no final response, by number and method
        self.open: dict[tuple[int, str], Event] = {}
        #: those that wait until the UA can take them
        self.held: list[Event] = []
        #: the BYE or CANCEL that ended the leg
        self._goodbye: Event | None = None
        self._ack_cb: Any = None
        self._timer: Any = None
        self._local: Local | None = None

    @property
    def usage(self) -> Any:
        """The core's half of the leg."""
        assert self.leg is not None
        return self.leg.usage

    @property
    def local(self) -> Local:
        """Our own address."""
        if self._local is None:
            point = self.native.points[0]
            self._local = (format_host(self.native.host), point.advertised[1]), point.transport.lower()
        return self._local

    def _time(self, at: float) -> Any:
        """A time of the user agent's clock as a MonoTime."""
        return MonoTime().getOffsetCopy(at - self.native.clock.now())

    # -- the leg's events

    def pump(self) -> None:
        """Queue what happens to the leg, until it is over.  Blocks as long as that takes."""
        leg = self.leg
        assert leg is not None
        error: BaseException | None = None
        try:
            while True:
                event = leg.wait_for(Event, Notice, Transfer)
                if event.label == 'ended':
                    error = event.error
                    break
                if isinstance(event, Notice):
                    continue
                if isinstance(event, Transfer):
                    # A REFER: the program decides what becomes of it.
                    ED2.callFromThread(self.on_request, event)
                    continue
                if event.kind == RESPONSE and event.exchange.method == 'INVITE':
                    ED2.callFromThread(self.on_response, event)
                elif event.kind == REQUEST:
                    if event.label in ('BYE', 'CANCEL'):
                        self._goodbye = event
                    if event.label != 'BYE':
                        ED2.callFromThread(self.on_request, event)
        finally:
            # Also when the user agent is closed, which kills this greenlet.
            ED2.callFromThread(self.on_end, error, self.native.clock.now())
            leg.close()

    # -- what the states ask of the transaction manager

    def regConsumer(self, consumer: Any, call_id: str, compact: bool = False) -> None:
        """Nothing to do: a leg knows what belongs to it."""

    def unregConsumer(self, consumer: Any, call_id: str) -> None:
        """Nothing to do."""

    def newTransaction(self, msg: Any, resp_cb: Any = None, laddress: Any = None, userv: Any = None, cb_ifver: int = 1,
                       compact: bool = False, t: Any = None) -> Sent:
        """Do with the leg what a request asks for.  What cannot be done is answered as if by the peer."""
        sent = Sent(self, msg, resp_cb, cb_ifver)
        try:
            if sent.method == 'BYE':
                self._hang_up(msg)
            elif sent.method == 'INVITE' and self.leg is None:
                self._invite(sent, laddress)
            else:
                self._request(sent)
        except WrongState as error:
            # An INVITE that crosses another one; anything in a call that is over.
            log.debug('! %s: %s', sent.method, error)
            ED2.callFromThread(sent.fail, 491 if sent.method == 'INVITE' else 481)
        except GreensipError as error:
            log.warning('! cannot send %s: %s', sent.method, error)
            ED2.callFromThread(sent.fail, error.status)
        return sent

    def cancelTransaction(self, t: Sent, extra_headers: Any = None) -> None:
        """Cancel an INVITE.  One that was answered meanwhile is hung up when the UA gets to know of that."""
        try:
            fields = extra_fields(extra_headers or (), self.local)
            if t.exchange is not None:
                if not t.exchange.done:
                    exchange: Any = t.exchange
                    exchange.cancel(self.native.clock.now(), fields_of(fields))
                    self.native.endpoint.flush()
            elif self.leg is not None and t is self.sent:
                leg: Any = self.leg
                leg.cancel(headers=fields)
        except GreensipError as error:
            log.debug('! nothing to cancel: %s', error)

    def sendResponse(self, resp: Any, t: Any = None, retrans: bool = False, ack_cb: Any = None,
                     lossemul: int = 0) -> None:
        """Answer a request of the peer.  What the core has answered by itself, as a BYE, gets no second answer."""
        number, method = resp.getHFBody('cseq').getCSeq()
        received = self.received
        if received is not None and (number, method) == received.getHFBody('cseq').getCSeq():
            self._ack_cb = ack_cb
            self._answer(resp)
            return
        event = self.open.get((number, method))
        code, reason = resp.getSCode()
        if event is None or (code < 200 and event.label != 'INVITE'):
            return
        if code >= 200:
            del self.open[number, method]
        leg: Any = self.leg
        try:
            body, kind = body_octets(resp.getBody(), self.local)
            leg.respond(event, code, reason=reason, headers=extra_fields(resp.headers, self.local), body=body,
                        content_type=kind)
        except GreensipError as error:
            log.debug('! %s is not answered with %s any more: %s', method, code, error)

    def sendACK(self, t: Sent) -> None:
        """Send the ACK that has waited for the program, with its answer."""
        t.uack = False
        if self.leg is not None and self.usage.unacked is not None:
            self.usage.ack(self.native.clock.now(), body_octets(t.ack.getBody(), self.local)[0])
            self.native.endpoint.flush()

    # -- how it is done

    def _invite(self, sent: Sent, laddress: Any) -> None:
        ua, request, local = self.ua, sent.request, self.local
        assert ua is not None
        self.sent = sent
        body, kind = body_octets(request.getBody(), local)
        has_login = ua.username is not None and ua.password is not None and not ua.pass_auth
        # sippy's states want the answer in the 2xx, so there is none before in a reliable response.
        leg = self.native.invite(
            sip_uri(request.getRURI(), local), from_=name_addr(request.getHFBody('from').getUri(), local),
            to=name_addr(request.getHFBody('to').getUri(), local), call_id=str(request.getHFBody('call-id')),
            headers=extra_fields(request.headers, local), body=body, content_type=kind, route=next_hop(request, local),
            manual=ANSWERED_BY_SIPPY, prack='off', max_forwards=request.getHFBody('max-forwards').getNum(),
            credentials=(ua.username, ua.password) if has_login else None, point=self._point(laddress))
        self.leg = ua.leg = leg
        ua.lTag = leg.local.tag
        ua.lUri.setTag(ua.lTag)
        gevent.spawn(self.pump)

    def _point(self, laddress: Any) -> Point | None:
        """The listening point that ``source_address`` means."""
        if laddress is None:
            return None
        wanted = (str(laddress[0]).strip('[]'), int(laddress[1]))
        for point in self.native.points:
            if point.address == wanted:
                return point
        raise UsageError(f'source_address={laddress!r}: the user agent does not listen there')

    def _request(self, sent: Sent) -> None:
        """A request inside the call."""
        if self.leg is None:
            raise WrongState('there is no call yet')
        usage, request = self.usage, sent.request
        body, kind = body_octets(request.getBody(), self.local)
        sent.before = usage.local_sdp
        sent.exchange = usage.send_request(
            sent.method, self.native.clock.now(), headers=fields_of(extra_fields(request.headers, self.local)),
            body=body, content_type=kind)
        sent.exchange.owner = sent
        self.native.endpoint.flush()

    def _hang_up(self, request: Any) -> None:
        leg = self.leg
        if leg is None:
            return
        try:
            leg.hangup(headers=extra_fields(request.headers, self.local))
        except UsageError as error:
            log.warning('! BYE goes without its header fields: %s', error)
            leg.hangup()

    def _answer(self, resp: Any) -> None:
        """Answer the INVITE that the call began with."""
        leg: Any = self.leg
        code, reason = resp.getSCode()
        if code >= 200:
            self._stop_timer()
        also = ('contact',) if 300 <= code < 400 else ()
        try:
            body, kind = body_octets(resp.getBody(), self.local)
            content: dict[str, Any] = {'reason': reason, 'headers': extra_fields(resp.headers, self.local, *also),
                                       'body': body, 'content_type': kind}
            if code < 200:
                leg.progress(code, **content)
            elif code < 300:
                leg.answer(code=code, **content)
            else:
                leg.reject(code, **content)
        except UsageError as error:
            if isinstance(error, WrongState) or code < 200:
                log.debug('! INVITE is not answered with %s: %s', code, error)
            else:
                log.warning('! cannot answer with %s: %s', code, error)
                leg.hangup(code=500)
        except GreensipError as error:
            # The leg is over; its end is on the way to the UA.
            log.debug('! too late to answer with %s: %s', code, error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what happens to the leg, as the UA is told of it

    def begin(self, recv_request: Callable[[Any, Any], Any], at: float) -> None:
        """A call has come in: give its INVITE to the program."""
        leg: Any = self.leg
        request = self.received = make_request(leg.invite, self.usage.transaction.flow, self._time(at))
        request.link = self
        self._timer = Timeout(self.on_expired, _expires(request))
        answer: Any = None
        try:
            answer = (recv_request(request, self) or (None,))[0]
        except SipHandlingError as error:
            answer = error.getResponse(request)
        except Exception:
            dump_exception('unhandled exception when processing an incoming call')
            answer = request.genResponse(500, 'Server Internal Error')
        if answer is not None:
            self.sendResponse(answer)
        elif self.ua is None:
            # Nobody has taken it.
            self._stop_timer()
            leg.close()

    def on_response(self, event: Event) -> None:
        """A response to our INVITE."""
        ua, sent = self.ua, self.sent
        if ua is None or sent is None:
            return
        self._stop_timer()
        if event.code < 200:
            self._timer = Timeout(self.on_expired, _expires(sent.request))
        message: Any = event.message
        response = make_response(message, sent.request, self._time(event.time))
        if not ua.pass_auth:
            # The leg has answered the challenge, as far as that was possible.
            response.delHFs('www-authenticate')
            response.delHFs('proxy-authenticate')
        try:
            sent.answer(response)
        except Exception:
            if 200 <= event.code < 300 and not ua.isConnected() and self.leg is not None:
                # Nobody knows of this call.
                self.leg.hangup()
            raise

    def on_reply(self, sent: Sent, event: Event) -> None:
        """A response to a request of ours inside the call, or that there is none."""
        if event.kind == FAILED:
            sent.fail(*_failure(event.error))
            return
        if self.usage.unacked is not None and self.usage.unacked is sent.exchange:
            # Ours had no offer, so this is one; sippy has no other answer to it than what was said before.
            self.usage.ack(self.native.clock.now(), sent.before)
            self.native.endpoint.flush()
        message: Any = event.message
        sent.answer(make_response(message, sent.request, self._time(event.time)))

    def on_request(self, event: Event) -> None:
        """A request of the peer inside the call."""
        ua = self.ua
        if ua is None or ua.state is None:
            return
        message: Any = event.message
        method = message.method
        if method == 'ACK':
            ack_cb, self._ack_cb = self._ack_cb, None
            if ack_cb is not None:
                ack_cb(self._read(event))
        elif method == 'CANCEL':
            # Of a re-INVITE; that of the INVITE before ends the leg, which is told by itself.
            if isinstance(ua.state, ua.UasStateUpdating):
                ua.state.cancel(self._time(event.time), self._read(event))
        elif method == 'UPDATE' and not (message.body and ua.isConnected()):
            # RFC 3311 5.2: sippy has no offers before the answer, so it could not say yes without asking somebody.
            leg: Any = self.leg
            leg.respond(event, 504 if message.body else 200)
        elif method in CONNECTED_ONLY and type(ua.state) is not ua.UaStateConnected:
            self.held.append(event)
        elif method in ANSWERED_BY_SIPPY:
            # An offer is an offer: the states know those of an INVITE.
            request = self._read(event, 'INVITE' if method == 'UPDATE' else None)
            self.open[message.cseq.number, request.method] = event
            self._feed(request)

    def _read(self, event: Event, method: str | None = None) -> NativeRequest:
        message: Any = event.message
        if event.exchange is not None:
            flow = event.exchange.flow
        else:
            # An ACK or a CANCEL comes from where the INVITE came from, or went to.
            flow = self.usage.transaction.flow if self.received is not None else self.usage.invite.flow
        return make_request(message, flow, self._time(event.time), method)

    def _feed(self, request: NativeRequest) -> None:
        """Let the UA's state have a request."""
        ua: Any = self.ua
        try:
            answer = (ua.recvRequest(request, self) or (None,))[0]
        except SipHandlingError as error:
            answer = error.getResponse(request)
        except Exception:
            self.sendResponse(request.genResponse(500, 'Server Internal Error'))
            raise
        if answer is not None:
            self.sendResponse(answer)

    def release(self) -> None:
        """The UA can take what had to wait."""
        waiting, self.held[:] = self.held[:], []
        for event in waiting:
            self.on_request(event)

    def on_expired(self) -> None:
        """The INVITE has had as much time as sippy gives it."""
        self._timer = None
        leg: Any = self.leg
        sent = self.sent
        if sent is not None:
            self.cancelTransaction(sent)
            sent.fail(408)
        else:
            leg.hangup(code=487)

    def on_end(self, error: BaseException | None, at: float) -> None:
        """The leg is over.  A UA that does not know is told in the words of its state."""
        ua, state = self.ua, self.ua.state if self.ua is not None else None
        self._stop_timer()
        self.held.clear()
        self.open.clear()
        if ua is None or state is None:
            return
        goodbye = None
        if self._goodbye is not None and isinstance(error, (RemoteHangup, RemoteCancel)):
            goodbye = self._read(self._goodbye)
        if isinstance(state, (ua.UasStateTrying, ua.UasStateRinging)):
            state.cancel(self._time(at), goodbye)
        elif ua.isConnected():
            if goodbye is None or goodbye.method != 'BYE':
                goodbye = make_bye(ua, self._time(at), reason_of(error))
            try:
                self._feed(goodbye)
            finally:
                if ua.isConnected():
                    ua.disconnect(self._time(at))
        elif self.sent is not None:
            # Trying, Ringing, Cancelling; the others absorb it.
            self.sent.fail(*_failure(error))


def _failure(error: BaseException | None) -> tuple[int, str]:
    """The status that stands for a response that did not come."""
    if isinstance(error, ResponseError):
        return error.code, error.reason
    return (error.status if isinstance(error, GreensipError) else 503), ''


def _expires(request: Any) -> float:
    """Seconds that an INVITE may take."""
    try:
        seconds: int = request.getHFBody('expires').getNum()
    except (IndexError, ValueError):
        return PATIENCE
    return seconds if seconds > 0 else PATIENCE
