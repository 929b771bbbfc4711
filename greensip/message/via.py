"""Via (RFC 3261 20.42, 18.2.1; rport of RFC 3581)."""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import ParseError, UsageError
from .grammar import TOKEN, format_host, is_token, parse_host, parse_host_port
from .params import (
    TAIL,
    Pairs,
    Params,
    WithParams,
    format_params,
    is_plain_tail,
    make_params,
    parse_params,
    split_params,
)

__all__ = ['DEFAULT_PORTS', 'Via', 'parse_via']

#: transports as Via writes them, and the port of a sent-by without one (RFC 3261 18.2.2, RFC 7118)
DEFAULT_PORTS: Final = {'UDP': 5060, 'TCP': 5060, 'SCTP': 5060, 'TLS': 5061, 'TLS-SCTP': 5061, 'WS': 80, 'WSS': 443}


class Via(WithParams):
    """``SIP/2.0/transport sent-by;parameters``."""

    __slots__ = ('branch', 'host', 'port', 'protocol', 'transport')

    #: name and version: ``SIP/2.0``, or what else came, for a 505 needs its Via as well (RFC 4475 3.1.2.16)
    protocol: str
    #: in upper case
    transport: str
    #: without brackets
    host: str
    port: int | None
    #: the ``branch`` parameter or None
    branch: str | None

    def __init__(self, transport: str, host: str, port: int | None = None, params: Pairs = (),
                 protocol: str = 'SIP/2.0') -> None:
        if not is_token(transport):
            raise UsageError(f'not a transport: {transport!r}')
        try:
            self.host = parse_host(format_host(host))
        except ParseError as error:
            raise UsageError(str(error)) from None
        self.protocol = protocol
        self.transport = transport.upper()
        self.port = port
        self._params, self._tail = make_params(params)
        self.branch = self._params.get('branch')

    def replace(self, **changes: Any) -> Via:
        return Via(**{'transport': self.transport, 'host': self.host, 'port': self.port, 'params': self.params,
                      'protocol': self.protocol, **changes})

    @property
    def received(self) -> str | None:
        """The ``received`` parameter, the address the request came from, without brackets."""
        text = self.param('received')
        return text.strip('[]') if text else None

    @property
    def rport(self) -> int | None:
        """The value of ``rport``; 0 if the parameter stands there without a value, None if it is absent."""
        return 0 if self.param('rport') == '' else self.number('rport')

    @property
    def maddr(self) -> str | None:
        """The ``maddr`` parameter."""
        return self.param('maddr') or None

    @property
    def ttl(self) -> int | None:
        """The ``ttl`` parameter."""
        return self.number('ttl')

    @property
    def sent_by(self) -> str:
        """``host:port`` as written; part of the key of a transaction (RFC 3261 17.2.3)."""
        return format_host(self.host, self.port)

    def __str__(self) -> str:
        return f'{self.protocol}/{self.transport} {format_host(self.host, self.port)}{self._tail}'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Via):
            return NotImplemented
        return (self.protocol == other.protocol and self.transport == other.transport
                and self.host.lower() == other.host.lower() and self.port == other.port
                and self.params == other.params)

    def __hash__(self) -> int:
        return hash((self.host.lower(), self.branch))


class _ParsedVia(Via):
    """Made by the parser, of parts that are known to be good."""

    __slots__ = ()

    def __init__(self, transport: str, host: str, port: int | None, branch: str | None, tail: str,
                 params: Params | None, protocol: str = 'SIP/2.0') -> None:
        self.protocol = protocol
        self.transport = transport
        self.host = host
        self.port = port
        self.branch = branch
        self._tail = tail
        self._params = params


# The usual shape has the branch as the first parameter, or behind an rport.
_VIA: Final = re.compile(
    r'SIP/2\.0/([A-Z-]+) ([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5})|)'
    rf'((?:;rport|);branch=([{TOKEN}]+){TAIL})')
_PROTOCOL: Final = re.compile(rf'([{TOKEN}]+)[ \t]*/[ \t]*([{TOKEN}]+)[ \t]*/[ \t]*([{TOKEN}]+)[ \t]+')


def parse_via(text: str) -> Via:
    """One Via value."""
    match = _VIA.fullmatch(text)
    if match is None:
        return _parse_odd_via(text)
    transport, host, port, tail, branch, rest = match.groups()
    if rest and ('branch' in rest.lower() or not is_plain_tail(rest)):
        return _parse_odd_via(text)
    if host[0] == '[':
        host = parse_host(host)
    number = None
    if port is not None:
        number = int(port)
        if number > 65535:
            raise ParseError('port too large', text)
    return _ParsedVia(_TRANSPORTS.get(transport) or transport, host, number, branch, tail, None)


# makes the messages share the names
_TRANSPORTS: Final = {name: name for name in DEFAULT_PORTS}


def _parse_odd_via(text: str) -> Via:
    """The full grammar, with white space wherever it may stand."""
    match = _PROTOCOL.match(text)
    if match is None:
        raise ParseError('broken Via', text)
    name, version, transport = match.groups()
    sent_by, tail = split_params(text[match.end():])
    host, port = parse_host_port(sent_by)
    params = parse_params(tail)
    return _ParsedVia(transport.upper(), host, port, params.get('branch'), format_params(params), params,
                      f'{name.upper()}/{version}')
