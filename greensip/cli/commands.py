"""The commands of ``greensip``, each a story told with the public API: see ``greensip.cli.main`` for their options."""

from __future__ import annotations

import time
from contextlib import ExitStack
from random import SystemRandom
from typing import Any

import gevent
from gevent.event import AsyncResult

from greensip.errors import (
    GreensipError,
    LegEnded,
    LocalHangup,
    ParseError,
    RemoteHangup,
    SetupError,
    SubscriptionEnded,
    WaitTimeout,
)
from greensip.sdp import Direction, parse_sdp
from greensip.sdp import answer as answer_sdp
from greensip.ua import Account, Inbox, IncomingLeg, Leg

from .outcome import Outcome, outcome_of, outcome_of_code
from .session import Session, read_body, read_input
from .summary import brought_up_to_date, summary
from .view import clean

__all__ = ['answer', 'call', 'message', 'options', 'register', 'transfer', 'watch']


def call(session: Session) -> Outcome:
    """Call, tell what happens, stay, hang up."""
    o, view = session.options, session.view
    given = session.calling()
    if o.late_offer:
        given['sdp'] = b''
    elif o.sdp:
        given['sdp'] = read_body(o.sdp)
    with session.user_agent(o.uri) as ua, ua.invite(o.uri, follow=o.follow, **given) as leg:
        view.state(f'calling {o.uri}')
        event = answered(session, leg, o.timeout)
        session.reached = True
        if o.late_offer:
            leg.ack(inactive(leg))
        since = event.time - leg.timings.started
        view.note(f'answered by {clean(str(leg.remote.uri).encode())}', code=event.code, seconds=round(since, 3))
        return stay(session, leg, o.seconds)


def answered(session: Session, leg: Any, timeout: float | None) -> Any:
    """Block until a 2xx; say when it rings."""
    deadline = time.monotonic() + timeout if timeout is not None else None
    rings = ''
    while True:
        left = max(0.0, round(deadline - time.monotonic(), 3)) if deadline is not None else None
        event = leg.wait_for('101-199', '2xx', timeout=left)
        if event.code >= 200:
            return event
        words = {180: 'it rings', 181: 'the call is forwarded', 182: 'the call is queued'}.get(event.code)
        if words is None:
            words = 'early media' if event.message.body else 'progress'
        if words != rings:
            rings = words
            session.view.note(words, code=event.code)
            session.view.state(words)


def inactive(leg: Any) -> bytes:
    """An answer to a late offer: we have no media."""
    return answer_sdp(parse_sdp(leg.remote_sdp), leg.ua.host, 9, direction=Direction.INACTIVE,
                      random=SystemRandom()).to_bytes()


def stay(session: Session, leg: Leg, seconds: float | None) -> Outcome:
    """Stay in the call until it ends, or so many seconds have passed."""
    view = session.view
    view.state('in the call, Ctrl-C hangs up')
    view_task = gevent.spawn(tell_requests, session, leg)
    try:
        ending = leg.wait_ended(timeout=seconds).error
    except WaitTimeout:
        leg.hangup()
        leg.wait_ended(timeout=10)
        return Outcome(0, f'hung up after {seconds:g} s', 200)
    finally:
        view_task.kill(block=False)
        view.state('')
    lasted = leg.timings.duration or 0.0
    if isinstance(ending, (RemoteHangup, LocalHangup)):
        reason = f', because: {clean(str(ending.reason).encode())}' if ending.reason else ''
        return Outcome(0, f'{ending.text} after {lasted:.1f} s{reason}', 200)
    return Outcome(9, f'broken off after {lasted:.1f} s: {ending}', 200)


def tell_requests(session: Session, leg: Leg) -> None:
    """Say what the other side does in the call."""
    words = {'hold': 'they hold us', 'resume': 'they take us up again', 'MESSAGE': 'they write: ', 'INFO': 'INFO: '}
    while True:
        try:
            event = leg.wait_for('hold', 'resume', 'MESSAGE', 'INFO')
        except GreensipError:
            return
        text = words[event.label]
        if event.message is not None:
            text += clean(event.message.body[:500])
        session.view.note(text, what=event.label)


def answer(session: Session) -> Outcome:
    """Take calls as told until stopped."""
    o, view = session.options, session.view
    done: AsyncResult[Outcome] = AsyncResult()
    sdp = read_body(o.sdp) if o.sdp else None

    def handler(leg: IncomingLeg) -> None:
        caller = clean(str(leg.from_.uri).encode())
        view.note(f'{caller} calls {clean(str(leg.to.uri).encode())}', caller=caller, call_id=leg.call_id)
        try:
            outcome = take(leg)
        except LegEnded as error:
            outcome = outcome_of(error)
        except GreensipError as error:
            leg.abort(error)
            outcome = outcome_of(error)
        view.note(f'{caller}: {outcome.text}', caller=caller, call_id=leg.call_id, outcome=outcome.word)
        if o.once:
            done.set(outcome)

    def take(leg: IncomingLeg) -> Outcome:
        if o.redirect:
            leg.redirect(o.redirect)
            return Outcome(0, f'sent to {", ".join(o.redirect)}', 302)
        if o.ring is not None:
            leg.ring()
            try:
                ending = leg.wait_for('ended', timeout=o.ring).error
                return outcome_of(ending)
            except WaitTimeout:
                pass
        if o.code >= 300:
            leg.reject(o.code)
            return Outcome(0, f'refused with {o.code}', o.code)
        leg.answer(sdp, code=o.code)
        return stay(session, leg, o.seconds)

    def read(inbox: Inbox) -> None:
        for message in inbox:
            sender = clean(str(message.from_.uri).encode())
            view.note(f'{sender} writes: {clean(message.text.encode())}', sender=sender, message=message.text)

    if o.code < 200 or o.code > 699:
        raise SetupError(f'--code {o.code} is no final response')
    if o.registrar and not o.aor:
        raise SetupError('--registrar needs --aor: which address is to be registered there?')
    with session.user_agent(o.registrar or o.aor or '', 0 if o.aor else 5060) as ua, ExitStack() as scope:
        if not any(getattr(transport, 'listens', True) for transport in ua.endpoint.transports):
            raise SetupError('nobody can call: tls and wss take connections with ?cert=FILE&key=FILE only')
        reader = gevent.spawn(read, ua.messages)
        scope.callback(reader.kill, block=False)
        ua.serve(handler, background=True)
        if o.presence:
            ua.presence = o.presence
        if o.aor:
            account = scope.enter_context(open_account(session))
            if o.presence:
                account.presence = o.presence
            tell_registration(session, account)
        at = [f'{point.transport.lower()}:{point.sent_by}' for point in ua.points]
        view.note(f'listening on {", ".join(at)}', places=at, uri=ua.uri)
        view.state('waiting for calls, Ctrl-C ends')
        session.reached = True
        try:
            outcome = done.get(timeout=o.timeout)
        except gevent.Timeout:
            return Outcome(7, f'nobody called within {o.timeout:g} s')
        assert outcome is not None
        return outcome


def register(session: Session) -> Outcome:
    """Register, and stay registered."""
    o, view = session.options, session.view
    with session.user_agent(o.registrar or o.aor), open_account(session) as account:
        if o.query or o.remove_all:
            if o.remove_all:
                account.unregister(timeout=o.timeout, everything=True)
            found = account.query(timeout=o.timeout)
            for contact in found:
                view.note(f'reached at {clean(str(contact).encode())}', contact=str(contact))
            return Outcome(0, f'{len(found)} contacts', 200)
        tell_registration(session, account)
        session.reached = True
        if o.seconds is None or o.seconds:
            view.state('registered, Ctrl-C ends')
            deadline = time.monotonic() + o.seconds if o.seconds else None
            while (event := next_event(account, deadline)) is not None:
                if event.label in ('lost', 'failed'):
                    why = clean(str(event.error).encode())
                    view.note(f'{event.label}: {why}', what=event.label, why=why)
                    view.state('not registered, tried again by and by')
                    if account.state == 'unregistered':
                        return outcome_of(event.error)
                else:
                    view.note(f'registered again, for {account.expires} s', what=event.label, expires=account.expires)
                    view.state('registered, Ctrl-C ends')
        if not account.registered:
            return Outcome(9, f'not registered any more: {account.failure}')
        account.unregister(timeout=10)
        return Outcome(0, 'registered, and un-registered', 200)


def open_account(session: Session) -> Account:
    """The account that the command line describes; not registered yet."""
    o = session.options
    o.from_ = o.from_ or o.aor
    given = session.calling()
    return session.ua.account(o.aor, credentials=given.get('credentials'), headers=given.get('headers'),
                              registrar=o.registrar, expires=o.expires)


def tell_registration(session: Session, account: Account) -> None:
    """Register, and say as what."""
    o, view = session.options, session.view
    view.state(f'registering {o.aor}')
    account.register(timeout=o.register_timeout)
    contact = clean(account.contact.encode())
    view.note(f'registered {clean(account.peer_name.encode())} as {contact} for {account.expires} s',
              aor=account.peer_name, contact=contact, expires=account.expires,
              contacts=[str(one) for one in account.bindings])


def next_event(mailbox: Any, deadline: float | None, *patterns: str) -> Any:
    """The next event of an account; None when the time is over."""
    left = max(0.0, deadline - time.monotonic()) if deadline is not None else None
    try:
        return mailbox.wait_for(*(patterns or ('registered', 'refreshed', 'lost', 'failed')), timeout=left)
    except WaitTimeout:
        return None


def options(session: Session) -> Outcome:
    """Ask what somebody can do, once or several times."""
    o, view = session.options, session.view
    worst = Outcome(0, 'done', 200)
    with session.user_agent(o.uri) as ua:
        given = session.calling()
        answers, times = 0, []
        for number in range(o.count):
            if number:
                gevent.sleep(o.interval)
            sent = time.monotonic()
            try:
                response = ua.options(o.uri, timeout=o.timeout, **given)
            except GreensipError as error:
                outcome = outcome_of(error)
                if o.count > 1:
                    view.note(outcome.text)
                if not (worst.status and outcome.code):
                    worst = outcome
                continue
            times.append(time.monotonic() - sent)
            answers += 1
            if number == 0:
                tell_abilities(session, response)
        if times:
            shortest, longest, mean = (round(1000 * t, 1) for t in (min(times), max(times), sum(times) / len(times)))
            view.note(f'{answers} of {o.count} answered, {shortest:g}/{mean:g}/{longest:g} ms', answered=answers,
                      asked=o.count, shortest=shortest, mean=mean, longest=longest)
    return worst


def tell_abilities(session: Session, response: Any) -> None:
    """What the response to an OPTIONS says (RFC 3261 11.2)."""
    for name, words in (('Server', 'it is'), ('User-Agent', 'it is'), ('Allow', 'it knows'),
                        ('Supported', 'extensions'), ('Accept', 'bodies'), ('Allow-Events', 'events'),
                        ('Accept-Language', 'languages')):
        texts = response.get_all(name)
        if texts:
            text = clean(', '.join(texts).encode())
            session.view.note(f'{words}: {text}', field=name, value=text)


def transfer(session: Session) -> Outcome:
    """Call somebody, and transfer them to somebody else."""
    o, view = session.options, session.view
    given = session.calling()
    with session.user_agent(o.uri) as ua, ua.invite(o.uri, **given) as leg:
        view.state(f'calling {o.uri}')
        answered(session, leg, o.timeout)
        view.note(f'answered by {clean(str(leg.remote.uri).encode())}')
        if not o.attended:
            view.state(f'transferring to {o.target}')
            found = leg.transfer(o.target, timeout=o.timeout)
        else:
            leg.hold(timeout=10)
            with ua.invite(o.target, **given) as other:
                view.state(f'calling {o.target}')
                answered(session, other, o.timeout)
                view.note(f'answered by {clean(str(other.remote.uri).encode())}')
                view.state('connecting the two')
                found = leg.transfer_to(other, timeout=o.timeout)
        text = f'{found.code} {clean(found.reason.encode())}'.rstrip()
        if found.ok:
            return Outcome(0, f'transferred: {text}', found.code)
        if found.final:
            return outcome_of_code(found.code, clean(found.reason.encode()))
        return Outcome(9, f'transferred, what became of it was not told: {text}', found.code)


def watch(session: Session) -> Outcome:
    """Subscribe, and tell every change."""
    o, view = session.options, session.view
    given = session.calling()
    expires = 0 if o.once else o.expires
    deadline = time.monotonic() + o.seconds if o.seconds is not None else None
    known: Any = None
    told = False
    with session.user_agent(o.uri) as ua, ua.subscribe(o.uri, o.package, expires=expires, **given) as events:
        view.state(f'watching {o.uri}')
        patience: float | None = time.monotonic() + o.timeout
        while True:
            try:
                notify = next_event(events, min(filter(None, (deadline, patience)), default=None), 'NOTIFY')
            except SubscriptionEnded as error:
                return Outcome(0, 'told', 200) if o.once and told else outcome_of(error)
            if notify is None:
                if patience is not None and (deadline is None or patience < deadline):
                    return Outcome(7, f'no answer: nothing told within {o.timeout:g} s')
                return Outcome(0, f'watched for {o.seconds:g} s', 200)
            if patience is not None:
                # RFC 6665 4.1.2.4: the first NOTIFY is what makes it a subscription.
                patience, session.reached = None, True
            told = True
            try:
                known, complete = brought_up_to_date(known, notify.document)
            except ParseError as error:
                view.note(f'{notify.state}, with a document that makes no sense: {clean(str(error).encode())}')
                continue
            view.note(f'{notify.state}: {clean(summary(known).encode())}', state=notify.state, reason=notify.reason,
                      package=o.package, content_type=notify.content_type, document=notify.text)
            if not complete:
                events.refresh()


def message(session: Session) -> Outcome:
    """Send a text."""
    o = session.options
    text = read_input() if o.text == '-' else o.text
    with session.user_agent(o.uri) as ua:
        response = ua.message(o.uri, text, content_type=o.content_type, timeout=o.timeout, **session.calling())
    outcome = outcome_of_code(response.code, response.reason)
    return outcome._replace(text=f'{"accepted for delivery" if response.code == 202 else "delivered"}: {outcome.text}')
