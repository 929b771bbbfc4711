"""A stateful proxy for call flows (RFC 3261 16), on the library's own transactions: what stands between user agents.

It forks, authenticates, keeps itself on the path and passes everything on as it came.  It lies with the tests because
it is no product: it has no location service but a dict, and decides nothing but what a call flow needs.
"""

from __future__ import annotations

from greensip.dialog.core import Core
from greensip.errors import ParseError
from greensip.message import Request, SipUri, check_request, check_response, make_cancel, make_response
from greensip.message.digest import DigestServer
from greensip.transaction.layer import InviteServerTransaction
from greensip.transaction.settings import Settings

__all__ = ['Proxy']


class Nobody:
    """Who wants to know what became of a CANCEL."""

    def on_response(self, response, now):
        pass

    def on_failure(self, error, now):
        pass


class Branch:
    """One target of a request on its way (16.6)."""

    def __init__(self, context):
        self.context = context
        self.request = None
        self.flow = None
        self.provisional = False
        self.cancelled = False
        self.final = None

    def on_response(self, response, now):
        self.context.on_response(self, response, now)

    def on_failure(self, error, now):
        """16.7, 16.8: silence counts as a 408, a failed transport as a 503."""
        self.context.on_final(self, make_response(self.context.request, self.context.proxy.no_answer), now)

    def cancel(self, now):
        """16.10; 9.1: not before a provisional response."""
        self.cancelled = True
        if self.provisional and self.final is None:
            self.context.proxy.layer.request(make_cancel(self.request), self.flow, now, Nobody())


class Context:
    """The response context of a request (16): its branches, and what has come back."""

    def __init__(self, proxy, transaction, request):
        self.proxy = proxy
        self.transaction = transaction
        self.request = request
        self.branches = []
        self.answered = False

    def fork(self, targets, now):
        for target in targets:
            branch = Branch(self)
            self.branches.append(branch)
            self.proxy.forward(self.request, now, target, branch)

    def on_response(self, branch, response, now):
        code = response.code
        # 16.7, 3.: our own Via goes
        vias = [str(via) for via in response.vias[1:]]
        response.remove('Via')
        for via in reversed(vias):
            response.add('Via', via, first=True)
        if code < 200:
            branch.provisional = True
            if branch.cancelled:
                branch.cancel(now)
            if code > 100:
                self.pass_back(response, now)
        else:
            self.on_final(branch, response, now)

    def on_final(self, branch, response, now):
        """16.7, 5. and 6.: a 2xx at once; of the others the best, when there is nobody left to ask."""
        branch.final = response
        if response.code < 300:
            self.answered = True
            self.pass_back(response, now)
        if response.code < 300 or response.code >= 600:
            self.cancel(now)
        if not self.answered and all(other.final for other in self.branches):
            self.answered = True
            finals = [other.final for other in self.branches]
            self.pass_back(min(finals, key=lambda final: (final.code < 600, final.code // 100, final.code)), now)

    def cancel(self, now):
        for branch in self.branches:
            if branch.final is None and not branch.cancelled:
                branch.cancel(now)

    def pass_back(self, response, now):
        self.proxy.layer.respond(self.transaction, response, now)

    def on_transaction_failure(self, transaction, error, now):
        pass


class Proxy(Core):
    """``domain``: the name that it serves, besides its address.  ``users``: name -> URIs where they are.

    ``realm`` and ``passwords``: who has to log in, and how.  ``no_answer``: what silence is answered with.
    """

    def __init__(self, random, *, domain='', users=None, realm=None, passwords=None, record_route=True, no_answer=408):
        super().__init__(Settings(), random=random)
        self.domain = domain
        self.users = users or {}
        self.passwords = passwords or {}
        self.record_route = record_route
        self.no_answer = no_answer
        self.digest = DigestServer(realm, b'a secret', proxy=True) if realm else None

    def receive(self, message, flow, now):
        """As for a user agent, but that responses have several Vias."""
        try:
            (check_request if isinstance(message, Request) else check_response)(message)
            self.layer.receive(message, flow, now)
        except ParseError:
            return
        self._settle(now)

    def is_own(self, uri):
        return isinstance(uri, SipUri) and (
            uri.host == self.domain or any((uri.host, uri.port or 5060) == point.address for point in self.points))

    def targets_of(self, request):
        """16.5: where the user is whose address we look after; elsewhere as it stands."""
        if self.is_own(request.uri):
            return self.users.get(request.uri.user, [])
        return [None]

    def forward(self, request, now, target, branch=None):
        """16.6: one copy to one target."""
        copy = request.copy()
        if target is not None:
            copy.uri = target
        copy.set('Max-Forwards', str((request.max_forwards or 70) - 1))
        if self.record_route and request.method == 'INVITE':
            host, port = self.points[0].address
            copy.add('Record-Route', f'<sip:{host}:{port};lr>', first=True)
        flow = self.router.route(str(copy.routes[0].uri) if copy.has('Route') else str(copy.uri))
        copy.add('Via', f'{flow.point.via_prefix}{self.new_branch()}', first=True)
        if branch is None:
            self.layer.send_stateless(copy, flow)
        else:
            branch.request, branch.flow = copy, flow
            self.layer.request(copy, flow, now, branch)

    def strip_route(self, request):
        """16.4: the top Route was for us."""
        routes = request.routes if request.has('Route') else []
        if routes and self.is_own(routes[0].uri):
            request.remove('Route')
            for route in routes[1:]:
                request.add('Route', str(route))

    def _on_ack(self, transaction, request, now):
        self.strip_route(request)
        self.forward(request, now, None)

    def _on_request(self, transaction, request, now):
        layer = self.layer
        if request.method == 'CANCEL':
            layer.respond(transaction, make_response(request, 200, to_tag=self.new_tag()), now)
            invite = layer.invite_server_of(request)
            if isinstance(invite, InviteServerTransaction) and invite.user is not None:
                invite.user.cancel(now)
            return
        if request.max_forwards == 0:
            layer.respond(transaction, make_response(request, 483, to_tag=self.new_tag()), now)
            return
        if self.digest is not None and not request.to_tag:
            # 22.3
            verdict = self.digest.check(request, self.passwords.get, now, uri_fits=lambda uri, request: True)
            if not verdict.ok:
                response = make_response(request, verdict.code, to_tag=self.new_tag())
                for challenge in self.digest.challenge(now, stale=verdict.stale):
                    response.add(self.digest.challenge_field, challenge)
                layer.respond(transaction, response, now)
                return
            # 22.3: credentials of our realm have done their work
            others = [text for text in request.get_all('Proxy-Authorization')
                      if f'realm="{self.digest.realm}"' not in text]
            request.remove('Proxy-Authorization')
            for text in others:
                request.add('Proxy-Authorization', text)
        self.strip_route(request)
        context = Context(self, transaction, request)
        transaction.user = context
        targets = self.targets_of(request)
        if targets:
            if request.method == 'INVITE':
                # 16.2: at once, as the INVITE goes on to where nobody may answer for a while
                layer.respond(transaction, make_response(request, 100), now)
            context.fork(targets, now)
        else:
            layer.respond(transaction, make_response(request, 404, to_tag=self.new_tag()), now)
