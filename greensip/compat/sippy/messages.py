"""Messages of one world in the words of the other: what a native leg's events look like to sippy's state machine, and
what the messages that sippy writes ask of a native leg.

Values are carried over, not parsed twice: an address that greensip has read becomes sippy's value without passing
through sippy's parsers, which refuse some that are valid.  A field that cannot be read is left out.  Bodies are texts
in sippy; octets that are no UTF-8 survive the way through it (PEP 383).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sippy.ESipHeaderCSV import ESipHeaderCSV
from sippy.MsgBody import MsgBody
from sippy.SipAddress import SipAddress
from sippy.SipCallId import SipCallId
from sippy.SipContact import SipContact
from sippy.SipContentType import SipContentType
from sippy.SipCSeq import SipCSeq
from sippy.SipFrom import SipFrom
from sippy.SipHeader import SipHeader
from sippy.SipMsg import SipMsg
from sippy.SipRecordRoute import SipRecordRoute
from sippy.SipRequest import SipRequest
from sippy.SipResponse import SipResponse
from sippy.SipTo import SipTo
from sippy.SipURL import SipURL

from greensip.errors import ParseError, UsageError
from greensip.message import Message, NameAddr, Request, Response, SipUri, TelUri, Uri, header_key
from greensip.message.grammar import format_host, is_token, quote, unquote
from greensip.transaction.flow import Flow, hostport
from greensip.transaction.via import stamp

__all__ = ['Local', 'NativeRequest', 'NativeResponse', 'PeerResponse', 'body_octets', 'extra_fields', 'make_bye',
           'make_request', 'make_response', 'name_addr', 'next_hop', 'sip_uri', 'sippy_address', 'sippy_body',
           'sippy_headers', 'sippy_url']

#: our own address as sippy's writers take it: host and port, transport
Local = tuple[tuple[str, int], str]

#: fields with values of their own in what we make; Content-Type and Content-Length belong to the body in sippy
_ADDRESSES: dict[str, Any] = {'From': SipFrom, 'To': SipTo, 'Contact': SipContact, 'Record-Route': SipRecordRoute}
_BODY = frozenset({'Content-Type', 'Content-Length'})

#: what every request or response of sippy's has; the rest are fields that its user has added
_USUAL = frozenset({
    'via', 'route', 'record-route', 'max-forwards', 'from', 'to', 'call-id', 'cseq', 'contact', 'expires', 'user-agent',
    'server', 'content-type', 'content-length',
})


class NativeResponse(SipResponse):  # type: ignore[misc]
    """A response that sippy made for a request of a native leg: only that leg can send it."""

    def getTId(self, *args: Any, **kwargs: Any) -> Any:
        """What sippy's transaction manager asks first; raises UsageError, for it has no such transaction."""
        raise UsageError('the call came in through a native user agent: what answers it must be a NativeUA, not a UA')


class PeerResponse(SipResponse):  # type: ignore[misc]
    """A response of a native leg's peer."""

    def getHF(self, name: str) -> Any:
        """As a SipResponse does; but every Proxy-Authenticate, for sippy 2.5.0 takes what it gets of it for a list."""
        return self.getHFs(name) if name == 'proxy-authenticate' else super().getHF(name)


class NativeRequest(SipRequest):  # type: ignore[misc]
    """A request of a native leg as sippy's code reads requests."""

    #: what carries the leg, for the INVITE that a call began with
    link: Any = None

    def __init__(self, buf: str | None = None) -> None:
        SipMsg.__init__(self)

    @property
    def leg(self) -> Any:
        """The greensip leg of the call that this INVITE began; None for other requests, and for copies."""
        return self.link.leg if self.link is not None else None

    def genResponse(self, *args: Any, **kwargs: Any) -> Any:
        """As a SipRequest does; the response knows where it belongs."""
        response = super().genResponse(*args, **kwargs)
        response.__class__ = NativeResponse
        return response


# -- from greensip to sippy


def sippy_url(uri: Uri) -> Any:
    """A URI as a SipURL; None if sippy has no word for its scheme.  A tel URI becomes its number at our own address."""
    if isinstance(uri, TelUri):
        return SipURL(username=uri.number)
    if not isinstance(uri, SipUri):
        return None
    user, _, userparams = (uri.user or '').partition(';')
    known: dict[str, str] = {}
    other = []
    lr = False
    for name, value in uri.params.items():
        key = name.lower()
        if key == 'lr':
            lr = True
        elif value is not None and key in ('transport', 'maddr', 'method', 'user'):
            # sippy compares transports as lower-case texts.
            known['usertype' if key == 'user' else key] = value.lower() if key == 'transport' else value
        elif value is not None and key == 'ttl' and value.isdecimal():
            known[key] = value
        else:
            other.append(name if value is None else f'{name}={value}')
    return SipURL(
        username=user or None, userparams=userparams.split(';') if userparams else [], password=uri.password,
        host=format_host(uri.host), port=uri.port, headers=dict(uri.headers) or None, other=other, lr=lr,
        scheme=uri.scheme, **known)


def sippy_address(addr: NameAddr) -> Any:
    """A name-addr as a SipAddress, None if its URI has no equal there.  Raises ParseError when that is broken."""
    url = sippy_url(addr.uri)
    if url is None:
        return None
    # The texts of sippy are those between the quotes, with their backslashes.
    params = {name: value if value is None or is_token(value) else quote(value) for name, value in addr.params.items()}
    return SipAddress(name=quote(addr.display)[1:-1] if addr.display else '', url=url, params=params,
                      params_order=list(params), hadbrace=True)


def sippy_body(message: Message) -> Any:
    """The body as a MsgBody, None if there is none."""
    if not message.body:
        return None
    kind = SipContentType(message.get('Content-Type') or 'application/sdp')
    try:
        kind.parse()
    except ValueError:
        # A parameter without a value.
        kind = SipContentType(kind.body.partition(';')[0].strip())
        kind.parse()
    return MsgBody(message.body.decode('utf-8', 'surrogateescape'), kind)


def sippy_headers(message: Message) -> list[Any]:
    """The fields of a message as sippy's."""
    headers: list[Any] = []
    addresses: set[str] = set()
    for name, text in message.fields:
        key = header_key(name)
        if key in _ADDRESSES:
            if key not in addresses:
                addresses.add(key)
                headers += _addresses(message, key)
        elif key == 'Call-ID':
            headers.append(SipHeader(name='call-id', body=SipCallId(text)))
        elif key == 'CSeq':
            cseq = message.cseq
            headers.append(SipHeader(name='cseq', body=SipCSeq(cseq=cseq.number, method=cseq.method)))
        elif key not in _BODY:
            headers += _plain(key, text)
    return headers


def _addresses(message: Message, key: str) -> list[Any]:
    kind = _ADDRESSES[key]
    found = []
    try:
        for addr in message.values(key):
            address = sippy_address(addr) if not addr.is_star else None
            if address is not None:
                found.append(SipHeader(name=key, body=kind(address=address)))
    except ParseError:
        # The core has read what it needs of the message.
        pass
    return found


def _plain(name: str, text: str) -> list[Any]:
    """A field whose text sippy reads when it is asked for its value."""
    try:
        return [SipHeader(name=name, bodys=text, fixname=True)]
    except ESipHeaderCSV as several:
        found = []
        for one in several.bodys:
            found += _plain(name, one.strip())
        return found
    except Exception:
        # sippy's parsers raise whatever their slices and splits do; it reads most values later, and is asked then.
        return []


def make_request(request: Request, flow: Flow, rtime: Any, method: str | None = None) -> NativeRequest:
    """A request that came in on ``flow`` at ``rtime`` (a MonoTime).  ``method`` if sippy is to take it for another."""
    made = NativeRequest()
    made.method = method or request.method
    made.sipver = 'SIP/2.0'
    made.ruri = sippy_url(request.uri) or SipURL(username=str(request.uri))
    stamped = request.copy()
    stamp(stamped, flow)
    made.headers = sippy_headers(stamped)
    if method is not None:
        made.getHFBody('cseq').method = method
    made.body = sippy_body(request)
    made.rtime = rtime
    host = format_host(flow.remote[0])
    made.source = ((host, flow.remote[1]), flow.point.transport.lower())
    if made.method == 'INVITE' and made.countHFs('contact') == 0:
        # sippy wants to know where the caller is; where it sent from is all that is known of one that did not say so.
        url = SipURL(host=host, port=flow.remote[1])
        made.appendHeader(SipHeader(name='contact', body=SipContact(address=SipAddress(url=url))))
    return made


def make_response(response: Response, sent: Any, rtime: Any) -> Any:
    """A response to the request ``sent`` (a SipRequest) that came at ``rtime`` (a MonoTime)."""
    made = PeerResponse()
    made.scode, made.reason, made.sipver = response.code, response.reason, 'SIP/2.0'
    made.headers = [header for header in sippy_headers(response) if header.name != 'cseq']
    # The numbers are the native dialog's own; sippy's UA knows the one that it chose.
    made.appendHeader(SipHeader(name='cseq', body=sent.getHFBCopy('cseq')))
    if 100 < response.code < 400:
        # sippy reads the bodies of no other responses, so its users never see one.
        made.body = sippy_body(response)
    made.rtime = rtime
    return made


def make_bye(ua: Any, rtime: Any, reason: str | None) -> NativeRequest:
    """The BYE that a UA would get if its peer could still send one."""
    made = NativeRequest()
    made.method, made.sipver, made.ruri, made.rtime = 'BYE', 'SIP/2.0', ua.lUri.getUrl(), rtime
    made.headers = [
        SipHeader(name='from', body=SipFrom(address=ua.rUri.getUri())),
        SipHeader(name='to', body=SipTo(address=ua.lUri.getUri())),
        SipHeader(name='call-id', body=ua.cId),
        SipHeader(name='cseq', body=SipCSeq(cseq=(ua.rCSeq or 0) + 1, method='BYE')),
    ]
    if reason is not None:
        made.headers += _plain('Reason', reason)
    return made


# -- from sippy to greensip


def sip_uri(url: Any, local: Local) -> SipUri:
    """A SipURL as a URI; whatever stands in its parts is escaped.  Raises UsageError for a host that is none."""
    (own_host, own_port), _ = local
    user = url.username
    if user and url.userparams:
        user = ';'.join((user, *url.userparams))
    host, port = str(url.host), url.port
    if _is_own(url.host):
        host = own_host
    if port is not None:
        port = own_port if _is_own(port) else int(port)
    params: list[tuple[str, str | None]] = []
    if url.usertype is not None:
        params.append(('user', url.usertype))
    if url.transport is not None and not _is_own(url.transport):
        params.append(('transport', str(url.transport)))
    for name in ('ttl', 'maddr', 'method', 'tag'):
        value = getattr(url, name)
        if value is not None:
            params.append((name, str(value)))
    for text in url.other or ():
        name, equal, value = text.partition('=')
        params.append((name, value if equal else None))
    if url.lr:
        params.append(('lr', None))
    return SipUri(user or None, host.strip('[]'), port, params, (url.headers or {}).items(), password=url.password,
                  scheme=url.scheme or 'sip')


def _is_own(value: Any) -> bool:
    """Whether this is one of sippy's words for our own address, which it puts in at the last moment."""
    return hasattr(value, 'my')


def name_addr(address: Any, local: Local) -> NameAddr:
    """A SipAddress as a name-addr without parameters.  Raises UsageError."""
    name = address.name
    display = ''.join(c if c >= ' ' else ' ' for c in unquote(name)) if name else None
    return NameAddr(display, sip_uri(address.url, local))


def next_hop(request: Any, local: Local) -> list[str]:
    """Where a request of sippy's goes first, as values of Route; empty if that is its Request-URI.

    sippy sends to an outbound proxy without telling it; here it is in a Route, with ``lr``.
    """
    routes = [f'<{sip_uri(route.getUrl(), local)}>' for route in request.getHFBodys('route')]
    address, transport = request.getTarget()
    first = request.getHFBodys('route')[0].getUrl() if routes else request.ruri
    if tuple(address) != tuple(first.getAddr()) and address[0] is not None:
        params = '' if _is_own(transport) or str(transport) == 'udp' else f';transport={transport}'
        routes.insert(0, f'<sip:{hostport(*address)}{params};lr>')
    return routes


def extra_fields(headers: Iterable[Any], local: Local, *also: str) -> list[tuple[str, str]]:
    """Those of sippy's header fields that its user has added to a message, and those named by ``also``."""
    return [(_spelled(header.name), header.body.localStr(local)) for header in headers
            if header.name not in _USUAL or header.name in also]


def _spelled(name: str) -> str:
    """A field's name, which sippy has in small letters."""
    key = header_key(name)
    return key if key != name else '-'.join([part.capitalize() for part in name.split('-')])


def body_octets(body: Any, local: Local) -> tuple[bytes, str | None]:
    """A MsgBody as octets and their type; ``(b'', None)`` for None."""
    if body is None:
        return b'', None
    return body.localStr(local).encode('utf-8', 'surrogateescape'), str(body.mtype)
