"""Subscriptions between two cores, and with a notifier that the test plays."""

from __future__ import annotations

from greensip.errors import ParseError

DOC = b'<presence/>'
PIDF = 'application/pidf+xml'
TARGET = 'sip:carol@127.0.0.1:5090'


class Pair:
    """Alice subscribes, bob notifies."""

    def __init__(self, world):
        self.world = world
        self.alice = world.party('alice', 5060)
        self.bob = world.party('bob', 5070)
        self.bob.core.configure(allow=[*self.bob.core.allow, 'SUBSCRIBE', 'REFER', 'NOTIFY'])
        self.server = None
        self.accepting = {'body': DOC, 'content_type': PIDF}
        self.verb = 'accept'
        self.bob.on['SUBSCRIBE'] = self.bob.on['REFER'] = self.take

    def take(self, event):
        if event.subject in self.bob.core.subscriptions.living:
            return
        self.server = self.bob.core.incoming_subscription(event.exchange, self.world.now)
        getattr(self.server, self.verb)(self.world.now, **self.accepting)

    def subscribe(self, **options):
        options.setdefault('from_', self.alice.uri)
        return self.alice.core.subscribe(self.bob.uri, 'presence', self.world.now, **options)

    def established(self, **options):
        sub = self.subscribe(**options)
        self.world.run(1)
        assert sub.state == 'active'
        self.world.lines.clear()
        return sub

    def error(self, party=None):
        return (party or self.alice).last('ended').error

    def notifies(self):
        return [message for source, _, message in self.world.messages
                if getattr(message, 'method', '') == 'NOTIFY' and source == 'bob']

    def subscribes(self):
        return [message for _, _, message in self.world.messages if getattr(message, 'method', '') == 'SUBSCRIBE']

    def idle(self):
        self.world.run(40)
        assert self.world.idle(), [party.core.counts() for party in (self.alice, self.bob)]
        for party in (self.alice, self.bob):
            assert not party.core.subscriptions.sharing
            assert not party.core.subscriptions.awaited


def answer(pair, event):
    """Bob accepts what can be granted, and refuses what cannot."""
    core, now = pair.bob.core, pair.world.now
    try:
        core.incoming_subscription(event.exchange, now).accept(now)
    except ParseError as error:
        core.respond(event.exchange, error.status, now)


def notify_of(request, name, port, cseq=1, state='active;expires=600', event='presence', to_tag=None):
    return (f'NOTIFY sip:alice@127.0.0.1:5060 SIP/2.0\r\n'
            f'Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{name}{cseq}\r\n'
            f'Max-Forwards: 70\r\nFrom: <sip:{name}@127.0.0.1>;tag=t{name}\r\n'
            f'To: <{request.from_.uri}>;tag={to_tag or request.from_tag}\r\nCall-ID: {request.call_id}\r\n'
            f'CSeq: {cseq} NOTIFY\r\nContact: <sip:{name}@127.0.0.1:{port}>\r\n'
            + (f'Event: {event}\r\n' if event else '')
            + (f'Subscription-State: {state}\r\n' if state else '') + 'Content-Length: 0\r\n\r\n').encode()


class Lone:
    """Alice, and a notifier at 127.0.0.1:7000 that says what the test says."""

    def __init__(self, world):
        self.world = world
        self.alice = world.party('alice', 5060)
        self.cseq = 0

    def subscribe(self, **options):
        return self.alice.core.subscribe('sip:n@127.0.0.1:7000', 'presence', self.world.now,
                                         from_='sip:alice@127.0.0.1', **options)

    def sent(self):
        self.world.flush()
        return [message for source, _, message in self.world.messages if getattr(message, 'method', '') == 'SUBSCRIBE']

    def count(self):
        """How many SUBSCRIBEs went out, without repetitions."""
        return len({message.branch for message in self.sent()})

    def hear(self, data):
        self.world.inject(data, ('127.0.0.1', 7000), self.alice)

    def notify(self, state, first=None):
        self.cseq += 1
        self.hear(notify_of(first or self.sent()[0], 'n', 7000, cseq=self.cseq, state=state))

    def answer(self, code, *fields, request=None):
        request = request or self.sent()[-1]
        head = ''.join(f'{name}: {request.get(name)}\r\n' for name in ('Via', 'From', 'Call-ID', 'CSeq'))
        to = request.get('To') if request.to_tag else request.get('To') + ';tag=tn'
        text = ''.join(f'{field}\r\n' for field in fields)
        self.hear((f'SIP/2.0 {code} X\r\n{head}To: {to}\r\nContact: <sip:n@127.0.0.1:7000>\r\n{text}'
                   'Content-Length: 0\r\n\r\n').encode())

    def error(self):
        self.world.flush()
        return self.alice.last('ended').error


def begun(lone, state, **options):
    """A subscription that the notifier says is in ``state``."""
    sub = lone.subscribe(**options)
    lone.answer(200, 'Expires: 3600')
    lone.notify(f'{state};expires=3600')
    assert sub.state == state
    return sub


def refer(pair, **options):
    if 'within' not in options:
        options = {'uri': pair.bob.uri, 'from_': pair.alice.uri, **options}
    return pair.alice.core.refer(TARGET, pair.world.now, **options)


def call(pair):
    """A call of alice to bob."""
    world = pair.world
    pair.bob.on['incoming'] = lambda event: event.subject.respond(200, world.now)
    usage = pair.alice.core.invite(pair.bob.uri, world.now, from_=pair.alice.uri)
    world.run(1)
    assert usage.state == 'confirmed'
    world.lines.clear()
    return usage, pair.bob.last('incoming').subject
