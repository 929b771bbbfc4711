"""What follows the messages of an endpoint, as far as a person asked for it: a capture file, a capture server.

Off, it is an empty list that the endpoint looks at.
"""

from __future__ import annotations

import time

from greensip.dialog.routing import is_numeric
from greensip.errors import ResolveError, SetupError

from .clock import RealClock
from .endpoint import Endpoint
from .hep import HepPlace, HepTap
from .pcap import PcapTap

__all__ = ['Traces']


class Traces:
    """The capture file ``pcap`` (see ``PcapTap``) and the capture server ``hep`` (see ``HepPlace``) of an endpoint.

    None for what is not wanted.  Raises SetupError, or UsageError for text that cannot be read; blocks while the
    server's name is looked up.
    """

    def __init__(self, endpoint: Endpoint, *, pcap: str | None = None, hep: str | None = None) -> None:
        self.endpoint = endpoint
        self.pcap: PcapTap | None = None
        self.hep: HepTap | None = None
        clock = endpoint.clock
        epoch = None if isinstance(clock, RealClock) else time.time() - clock.now()
        try:
            if pcap is not None:
                self.pcap = PcapTap(pcap, epoch=epoch)
                endpoint.taps.append(self.pcap)
            if hep is not None:
                place = HepPlace(hep)
                self.hep = HepTap(place, address=self._address(place), epoch=epoch)
                endpoint.taps.append(self.hep)
        except BaseException:
            self.close()
            raise

    def _address(self, place: HepPlace) -> str:
        if is_numeric(place.host):
            return place.host
        try:
            return self.endpoint.resolver.addresses(place.host)[0]
        except ResolveError as error:
            raise SetupError(f'captured messages cannot be sent to {place}: {error}') from None

    def reopen(self) -> None:
        """Open the capture file by its name again, if it was moved away."""
        if self.pcap is not None:
            self.pcap.reopen()

    def close(self) -> None:
        """Stop.  Does not block; twice does nothing."""
        for tap in (self.pcap, self.hep):
            if tap is not None:
                if tap in self.endpoint.taps:
                    self.endpoint.taps.remove(tap)
                tap.close()
