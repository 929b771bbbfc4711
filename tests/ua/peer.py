"""A peer without a stack: it says octet by octet what the test wants it to say."""

from __future__ import annotations

from greensip.message import Request, Response, make_response, parse_message
from greensip.transaction.flow import Flow
from greensip.transport.base import Listen


class RawPeer:
    """Listens at ``name`` of a test network and keeps all that comes."""

    def __init__(self, net, name):
        self.net = net
        self.name = name
        self.inbox = []
        self.transport = net.listen(Listen.parse(net.place(name)), self)
        self.transport.start()
        self.address = self.transport.point.address

    def received(self, data, flow):
        self.inbox.append((parse_message(data), flow))

    def failed(self, flow, error, data=b''):
        pass

    def opened(self, point, transport):
        pass

    def expect(self, what, seconds=40):
        """The next message whose start line begins with ``what``; what comes before it is passed over."""
        clock = self.net.clock
        until = clock.now() + seconds
        while True:
            while self.inbox:
                message, flow = self.inbox.pop(0)
                if message.start_line.startswith(what):
                    self.flow = flow
                    return message
            if clock.now() >= until:
                raise AssertionError(f'no {what} at {self.name} within {seconds} s')
            clock.sleep(0.01)

    def send(self, message, flow=None):
        self.transport.send(message if isinstance(message, bytes) else message.to_bytes(), flow or self.flow)

    def to(self, name, port=5060):
        return Flow(self.transport.point, (self.net.address(name), port))

    def respond(self, request, code, tag='raw', body=b'', **fields):
        response = make_response(request, code, to_tag=tag)
        if code > 100 and request.method == 'INVITE':
            response.add('Contact', f'<sip:{self.name}@{self.address[0]}:{self.address[1]}>')
        for name, text in fields.items():
            response.add(name.replace('_', '-'), text)
        if body:
            response.add('Content-Type', 'application/sdp')
            response.body = body
        self.send(response)
        return response

    def request(self, method, to, *, branch='z9hG4bKraw1', from_tag='r1', to_tag=None, call_id='raw-call', cseq=1,
                body=b'', **fields):
        host, port = self.address
        target = self.net.uri(to)
        pairs = [
            ('Via', f'SIP/2.0/UDP {host}:{port};branch={branch};rport'),
            ('Max-Forwards', '70'),
            ('From', f'<sip:{self.name}@{host}>;tag={from_tag}'),
            ('To', f'<{target}>' + (f';tag={to_tag}' if to_tag else '')),
            ('Call-ID', call_id),
            ('CSeq', f'{cseq} {method}'),
            ('Contact', f'<sip:{self.name}@{host}:{port}>'),
            *((name.replace('_', '-'), text) for name, text in fields.items()),
        ]
        if body:
            pairs.append(('Content-Type', 'application/sdp'))
        return Request(method, target, pairs, body)

    def close(self):
        self.transport.close()


__all__ = ['RawPeer', 'Request', 'Response']
