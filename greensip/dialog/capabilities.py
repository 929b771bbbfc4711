"""What a user agent says of itself: RFC 3261 8.1.1.8, 13.2.1, 13.3.1.4, 20.5, 20.37, and its Contact.

What it can do changes rarely and is said in each message, so the header fields are written when it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greensip.errors import UsageError
from greensip.message import METHODS, Request, Response
from greensip.native import mypyc_attr
from greensip.transaction.flow import Point

from .exchange import Fields
from .negotiation import SDP
from .session_timer import TIMER

__all__ = ['Capabilities']

#: Header fields that the core writes itself; a program changes them through arguments, not as extra fields.
RESERVED: Final = frozenset(
    {'via', 'v', 'from', 'f', 'to', 't', 'call-id', 'i', 'cseq', 'content-length', 'l', 'max-forwards'}
)

#: methods besides INVITE that make dialogs
EVENT_DIALOGS: Final = frozenset({'REFER', 'SUBSCRIBE'})


@mypyc_attr(allow_interpreted_subclasses=True)
class Capabilities:
    """The half of a ``Core`` that knows what the user agent can do, and writes the header fields that say so."""

    def __init__(self, user_agent: str) -> None:
        self.user_agent = user_agent
        #: the event packages that we notify of (RFC 6665 4.4.4); change them with ``configure``
        self.allow_events: Sequence[str] = ()
        #: what we understand (8.2.1, 8.2.2.3, 8.2.3); change them with ``configure``
        self.allow: Sequence[str] = ('INVITE', 'ACK', 'CANCEL', 'BYE', 'OPTIONS', 'INFO', 'UPDATE', 'MESSAGE')
        self.supported: Sequence[str] = ()
        #: what requests may require beyond that, which has nothing to do with calls: a registrar's extensions
        self.understood: Sequence[str] = ()
        self.accept: Sequence[str] = (SDP,)
        self.contact_user = ''
        #: the packages of INFO that we take (RFC 6086); None for the old INFO, which has none
        self.info_packages: Sequence[str] | None = None
        self._contacts: dict[Point, str] = {}
        self._secure_contacts: dict[Point, str] = {}
        self.describe()

    def describe(self) -> None:
        """Write the header fields anew: something has changed."""
        #: what ``allow`` names (8.2.1)
        self.methods = frozenset(self.allow)
        self._extensions = frozenset(tag.lower() for tag in (*self.supported, *self.understood))
        #: RFC 4028, RFC 3262 and RFC 6228: whether we do session timers and reliable provisional responses, and know
        #: what a 199 means
        self.keeps_time = TIMER in self._extensions
        self.is_reliable = '100rel' in self._extensions
        self.ends_dialogs_early = '199' in self._extensions
        self._contacts.clear()
        self._secure_contacts.clear()
        agent = [('User-Agent', self.user_agent)] if self.user_agent else []
        server = [('Server', self.user_agent)] if self.user_agent else []
        # RFC 6665 4.4.4: "in all methods which initiate dialogs and their responses"
        self._events: Fields = [('Allow-Events', ', '.join(self.allow_events))] if self.allow_events else ()
        allow = [('Allow', ', '.join(self.allow)), *self._events]
        supported = [('Supported', ', '.join(self.supported))] if self.supported else []
        packages = self.info_packages
        self._recv_info: Fields = [('Recv-Info', ', '.join(packages))] if packages is not None else ()
        # 13.2.1 and 13.3.1.4: an INVITE and its 2xx say what we can do; 20.5: so does a 405.
        invite = [*allow, *supported, *self._recv_info, *agent]
        self._request_fields: dict[str, Fields] = {
            method: invite if method == 'INVITE' else agent for method in METHODS
        }
        if self.keeps_time:
            # RFC 4028 7.1: "in each request (except ACK)"; Allow tells who refreshes that we know UPDATE.
            for method in METHODS:
                if method != 'INVITE':
                    self._request_fields[method] = [*(allow if method == 'UPDATE' else []), *supported, *agent]
        if self._events:
            for method in EVENT_DIALOGS:
                self._request_fields[method] = [*self._events, *self._request_fields[method]]
        self._any_request_fields: Fields = agent
        # RFC 3262 4: an INVITE that says of 100rel what the others do not
        others = [tag for tag in self.supported if tag.lower() != '100rel']
        tags = others if self.is_reliable else [*others, '100rel']
        named = [('Supported', ', '.join(tags))] if tags else []
        self.other_invite_fields: Fields = [*allow, *named, *self._recv_info, *agent]
        self._capabilities = [*allow, *supported]
        self.server_fields = server

    def supports(self, tag: str) -> bool:
        """Whether an option tag, in small letters, is one of ours."""
        return tag in self._extensions

    # -- what requests and responses say

    def contact(self, point: Point, sips: bool = False) -> str:
        """Our Contact for messages that leave from ``point``, as text; ``sips`` where that is asked of us."""
        if sips and point.secure:
            return self._secure_contact(point)
        text = self._contacts.get(point)
        if text is None:
            user = f'{self.contact_user}@' if self.contact_user else ''
            text = self._contacts[point] = f'<sip:{user}{point.sent_by}{point.contact_params}>'
        return text

    def _secure_contact(self, point: Point) -> str:
        """RFC 3261 26.2.2, RFC 5630 3.1.4: sips says that there is TLS, so ``transport`` does not."""
        text = self._secure_contacts.get(point)
        if text is None:
            user = f'{self.contact_user}@' if self.contact_user else ''
            params = '' if point.transport == 'TLS' else ';transport=ws'
            text = self._secure_contacts[point] = f'<sips:{user}{point.sent_by}{params}>'
        return text

    def request_fields(self, method: str) -> Fields:
        """What we add to every request of a method: Allow, Supported, User-Agent."""
        return self._request_fields.get(method, self._any_request_fields)

    def add_capabilities(self, response: Response) -> None:
        """Allow and Supported, as a 2xx to INVITE has them."""
        for name, text in self._capabilities:
            response.add(name, text)

    def add_recv_info(self, response: Response, request: Request) -> None:
        """RFC 6086 5.2.3: the answer to a request that says which INFO packages its sender takes says so too."""
        if self._recv_info and 100 < response.code < 300 and request.has('Recv-Info'):
            response.add(*self._recv_info[0])

    def complete(self, response: Response, method: str, headers: Fields, body: bytes, content_type: str | None) -> None:
        """Give a response what its program and its kind ask for."""
        if method == 'INVITE' and 200 <= response.code < 300:
            for name, text in self._capabilities:
                response.add(name, text)
        elif self._events and method in EVENT_DIALOGS and 200 <= response.code < 300:
            response.add(*self._events[0])
        for name, text in self.server_fields:
            response.add(name, text)
        if headers:
            self.check_headers(headers)
            for name, text in headers:
                response.add(name, text)
        if body:
            response.body = body
            if content_type:
                response.add('Content-Type', content_type)

    def check_headers(self, headers: Fields) -> None:
        """Extra fields may not be those that the core writes."""
        for name, _ in headers:
            if name.lower() in RESERVED:
                raise UsageError(f'{name} is not an extra header field: the core writes it')
