"""Where a response goes: RFC 3261 18.2.1 and 18.2.2, with RFC 3581 between its second and third bullet.

``stamp`` writes into the top Via of a request where it really came from; ``response_flow`` reads the way back from it.
Both look at the Via's parameters as text where that is enough: they run for every new request.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from greensip.errors import ParseError
from greensip.message import Message, Response, Via
from greensip.message.grammar import split_list

from .flow import Flow, hostport

__all__ = ['answer_keep', 'keep_time', 'response_flow', 'stamp']

#: the port of a sent-by that names none (18.1.1)
DEFAULT_PORT: Final = 5060
DEFAULT_SECURE_PORT: Final = 5061


def stamp(message: Message, flow: Flow) -> None:
    """Add ``received`` and ``rport`` to the top Via of a request that came on ``flow`` (or of the response to it).

    The other Via values stay as they came, and so does the top one if its sent-by is the truth and it does not ask for
    rport.  A ``received`` that somebody else wrote is replaced.  Doing it twice changes nothing.
    """
    via = message.via
    host, port = flow.remote
    tail = via.param_text
    asked = _asks_for_rport(via)
    # 18.2.1: "a domain name, or ... an IP address that differs from the packet source address"; RFC 3581 4: and always
    # together with rport
    needed = asked or (via.host != host and _bare(via.host) != host)
    if 'received' in tail.lower() and via.received is not None:
        if needed and via.received == host and via.rport in (None, port):
            return
        via = via.without_param('received')
        tail = via.param_text
    elif not needed:
        return
    if asked:
        if tail.endswith(';rport'):
            tail = f'{tail}={port}'
        elif ';rport;' in tail:
            tail = tail.replace(';rport;', f';rport={port};', 1)
        else:
            tail = via.with_param('rport', str(port)).param_text
    if needed:
        tail = f'{tail};received={host}'
    _replace_top(message, f'SIP/2.0/{via.transport} {hostport(via.host, via.port)}{tail}')


def answer_keep(message: Message, seconds: int) -> None:
    """RFC 6223 4.4: tell who offers to keep the flow alive (``keep`` in the top Via) that we want it, and how often.

    ``seconds`` is the longest time between two keep-alives, 0 leaves it to the peer.  Nothing else changes.
    """
    via = message.via
    if 'keep' in via.param_text.lower() and 'keep' in via.params and via.params['keep'] is None:
        via = via.with_param('keep', str(seconds))
        _replace_top(message, f'SIP/2.0/{via.transport} {hostport(via.host, via.port)}{via.param_text}')


def keep_time(response: Response) -> int | None:
    """RFC 6223 4.2: the seconds that the next hop wants between two keep-alives, 0 for any; None for no keep-alives."""
    try:
        text = response.via.params.get('keep') or ''
    except ParseError:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _replace_top(message: Message, text: str) -> None:
    texts = message.get_all('Via')
    if len(texts) == 1 and ',' not in texts[0]:
        message.set('Via', text)
        return
    # the lower values are the business of those who put them there, so they are not read
    rest = [*split_list(texts[0])[1:], *texts[1:]]
    message.remove('Via')
    for other in reversed(rest):
        message.add('Via', other, first=True)
    message.add('Via', text, first=True)


def response_flow(message: Message, flow: Flow) -> Flow:
    """Where the response to a request that came on ``flow`` is sent (18.2.2); ``message`` is either of them."""
    return flow_of(message.via, flow)


def flow_of(via: Via, flow: Flow) -> Flow:
    """The same, told by the top Via, whether it is stamped or not."""
    point = flow.point
    # 1. A reliable transport: the connection that the request came on.
    if point.reliable:
        return flow
    # 2. maddr: that address, and the port of sent-by.  A name, or an address of the other family, is not followed.
    if 'maddr' in via.param_text.lower():
        address = _address(via.maddr, point.family)
        if address is not None:
            return Flow(point, (address, via.port or DEFAULT_PORT))
    # RFC 3581 4.: rport: the port that the request came from.
    if _asks_for_rport(via):
        return flow
    # 3. The address that it came from (by 18.2.1 it is in "received", or in sent-by itself) and the port of sent-by.
    port = via.port or (DEFAULT_SECURE_PORT if point.secure else DEFAULT_PORT)
    if port == flow.remote[1]:
        return flow
    return Flow(point, (flow.remote[0], port))


def _asks_for_rport(via: Via) -> bool:
    tail = via.param_text
    if tail.endswith(';rport') or ';rport;' in tail or ';rport=' in tail:
        return True
    return 'rport' in tail.lower() and 'rport' in via.params


def _bare(host: str) -> str:
    """The host as the transport writes it: no brackets around IPv6."""
    return host.strip('[]').lower()


def _address(text: str | None, family: int) -> str | None:
    if not text:
        return None
    try:
        address = ip_address(_bare(text))
    except ValueError:
        return None
    return str(address) if address.version == family else None
