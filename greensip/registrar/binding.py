"""A binding: where an address of record can be reached (RFC 3261 10.1, RFC 3327, RFC 5626 6, RFC 5627 5).

Times are seconds since 1970, so that they survive a restart and can be read in the database.
"""

from __future__ import annotations

from collections.abc import Sequence

from greensip.errors import ParseError
from greensip.message import SipUri, Uri, parse_uri
from greensip.transaction.flow import Flow

__all__ = ['Binding']


class Binding:
    """One contact of an address of record.  Not changed once it is made: a refresh makes another one.

    ``contact`` is the URI as text, ``params`` are the parameters of its Contact but for ``expires``, as text.
    ``path`` are the values of the Path that the REGISTER came with.  ``flow`` is the way that it came where that is the
    way to the contact, ``source`` the same as ``transport:host:port``, for the database.
    """

    __slots__ = ('_uri', 'call_id', 'contact', 'cseq', 'expires', 'flow', 'gruu', 'instance', 'number', 'params',
                 'path', 'q', 'reg_id', 'source', 'updated', 'user_agent')

    def __init__(self, contact: str, *, call_id: str, cseq: int, expires: float, updated: float = 0.0,
                 params: str = '', q: float = 1.0, path: Sequence[str] = (), instance: str = '', reg_id: int = 0,
                 flow: Flow | None = None, source: str = '', user_agent: str = '', gruu: str = '',
                 number: int = 0) -> None:
        self.contact = contact
        self.params = params
        self.q = q
        #: when it ends, and when it was registered or refreshed last
        self.expires = expires
        self.updated = updated
        #: of the REGISTER that made it or refreshed it
        self.call_id = call_id
        self.cseq = cseq
        self.path = tuple(path)
        #: ``+sip.instance`` without its angle brackets, '' for none; the number of its flow, 0 for none
        self.instance = instance
        self.reg_id = reg_id
        self.flow = flow
        self.source = source
        self.user_agent = user_agent
        #: what stands in the temporary GRUUs of its instance for the instance, '' while there are none
        self.gruu = gruu
        #: its number in the store, which stays when it is refreshed; 0 before it is there
        self.number = number
        self._uri: Uri | None = None

    @property
    def uri(self) -> Uri:
        """The contact's URI."""
        if self._uri is None:
            self._uri = parse_uri(self.contact)
        return self._uri

    def is_at(self, contact: str, uri: Uri) -> bool:
        """Whether it is for this contact, by the comparison of URIs (RFC 3261 19.1.4)."""
        return self.contact == contact or self.uri == uri

    @property
    def can_be_called(self) -> bool:
        """Whether a request can be sent there: contacts may be of any scheme."""
        try:
            return isinstance(self.uri, SipUri)
        except ParseError:
            return False

    def __repr__(self) -> str:
        return f'<Binding {self.contact} until {self.expires:.0f}>'
