"""Who may call: a list of addresses and networks."""

from __future__ import annotations

import ipaddress

from greensip.errors import ParseError

__all__ = ['WEBSOCKET', 'AccessList']

#: the name in a list of whoever calls over WebSocket, from whatever address
WEBSOCKET = '[[WSS]]'

#: sippy's names for calls that come over WebSocket or from the helper proxy; they stand in lists next to addresses
_NAMED_SOURCES = (WEBSOCKET, '[[PROXY]]')

#: answers kept per address, so that a network is searched once for each peer
_REMEMBERED = 10_000


class AccessList:
    """``'192.0.2.1,10.0.0.0/8,[2001:db8::1]'``: ``address in access_list`` says whether that peer may call."""

    __slots__ = ('answers', 'names', 'networks', 'text')

    def __init__(self, text: str) -> None:
        self.text = text
        self.networks = []
        #: those of sippy's names that are in it
        self.names: set[str] = set()
        self.answers: dict[str, bool] = {}
        for word in filter(None, map(str.strip, text.split(','))):
            if word in _NAMED_SOURCES:
                self.names.add(word)
                continue
            address, slash, length = word.partition('/')
            try:
                self.networks.append(ipaddress.ip_network(address.strip('[]') + slash + length, strict=False))
            except ValueError:
                raise ParseError(f'{word!r} is not an address or network', text) from None

    def __contains__(self, address: str) -> bool:
        answer = self.answers.get(address)
        if answer is None:
            answer = self._search(address)
            if len(self.answers) >= _REMEMBERED:
                self.answers.clear()
            self.answers[address] = answer
        return answer

    def __repr__(self) -> str:
        return f'AccessList({self.text!r})'

    def _search(self, address: str) -> bool:
        peer = ipaddress.ip_address(address.strip('[]'))
        mapped = getattr(peer, 'ipv4_mapped', None)
        if mapped is not None:
            peer = mapped
        return any(peer in network for network in self.networks)
