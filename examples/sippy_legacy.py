"""A B2BUA as one writes it for sippy: an object per call that is told of everything by events.

    python examples/sippy_legacy.py --listen udp:127.0.0.1:5060 --route 127.0.0.1:5080 --route 127.0.0.1:5082
    greensip-sippy examples/sippy_legacy.py --listen udp:127.0.0.1:5060 --route 127.0.0.1:5080

Needs sippy.  The first line runs it on sippy's own loop, the second runs the same file on greensip's hub.
``sippy_linear.py`` is the same program in the linear style.  Routes are tried in turn; one that refuses the call, or
does not answer within ``--patience`` seconds, makes room for the next, and the caller hears what the last one said.
Prints a line per step; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

from sippy.CCEvents import CCEventConnect, CCEventDisconnect, CCEventFail, CCEventRedirect, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.Signal import Signal
from sippy.SipConf import SipConf
from sippy.SipLogger import SipLogger
from sippy.SipTransactionManager import SipTransactionManager
from sippy.Time.Timeout import Timeout
from sippy.UA import UA


class CallController:
    """Two UAs; what one tells is told to the other."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.routes = list(config['routes'])
        self.route = ''
        self.eTry: Any = None
        self.uaA = UA(config, self.recvEvent)
        self.uaO: Any = None

    def recvEvent(self, event: Any, ua: Any) -> None:
        """What either UA has to tell; an attempt that was given up has nothing to tell any more."""
        if ua is self.uaA:
            self.recvFromCaller(event)
        elif ua is self.uaO:
            self.recvFromCallee(event)

    def recvFromCaller(self, event: Any) -> None:
        """The first event of a call is its CCEventTry."""
        if self.uaO is not None:
            if isinstance(event, CCEventDisconnect):
                self.say('the caller hung up')
            self.uaO.recvEvent(event)
        elif isinstance(event, CCEventTry):
            self.eTry = event
            self.tryNextRoute()
        else:
            self.uaA.recvEvent(CCEventDisconnect(rtime=event.rtime))

    def recvFromCallee(self, event: Any) -> None:
        """A failure before the answer leads to the next route, if there is one."""
        waiting = isinstance(self.uaA.state, (UA.UasStateTrying, UA.UasStateRinging))
        if waiting and isinstance(event, (CCEventFail, CCEventRedirect, CCEventDisconnect)):
            if isinstance(event, CCEventDisconnect):
                # By expire_time: nobody has refused it, so there is no status to pass on.
                event = CCEventFail((408, 'Request Timeout'), rtime=event.rtime)
            self.say(f'{event.getData()[0]} {event.getData()[1]}')
            if self.routes:
                self.tryNextRoute()
                return
        elif waiting and isinstance(event, CCEventConnect):
            self.say('answered')
        elif isinstance(event, CCEventDisconnect):
            self.say('the callee hung up')
        self.uaA.recvEvent(event)

    def tryNextRoute(self) -> None:
        """Another UA for another attempt, with a Call-ID of its own."""
        self.route = self.routes.pop(0)
        host, _, port = self.route.partition(':')
        self.uaO = UA(self.config, self.recvEvent, nh_address=(host, int(port or 5060)),
                      expire_time=self.config['patience'])
        _, *others = self.eTry.getData()
        self.uaO.recvEvent(CCEventTry((None, *others)))

    def say(self, text: str) -> None:
        """A line for the person who watches."""
        print(f'{self.eTry.getData()[2]} at {self.route}: {text}', flush=True)


class CallMap:
    """Where requests arrive that belong to no UA."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.calls: list[CallController] = []

    def recvRequest(self, req: Any, sip_t: Any) -> Any:
        """An INVITE begins a call."""
        if req.getHFBody('to').getTag() is not None:
            return (req.genResponse(481, 'Call Leg/Transaction Does Not Exist'), None, None)
        if req.getMethod() != 'INVITE':
            return (req.genResponse(501, 'Not Implemented'), None, None)
        call = CallController(self.config)
        call.uaA.dead_cbs = (lambda ua: self.calls.remove(call),)
        self.calls.append(call)
        return call.uaA.recvRequest(req, sip_t)

    def stop(self) -> None:
        """Hang up what there is, and leave the loop."""
        for call in self.calls:
            call.uaA.disconnect()
        # sippy's own sending threads end with the program, so leave them time for the BYEs.
        Timeout(ED2.breakLoop, 0.2)


def main() -> None:
    """Parse the command line and run sippy's loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--route', action='append', required=True, help='HOST:PORT to try; repeatable')
    parser.add_argument('--patience', type=float, default=8, help='seconds for each route (default %(default)s)')
    options = parser.parse_args()
    _, host, port = options.listen.split(':')
    # The log of all messages, which sippy writes unless it is told not to.
    os.environ.setdefault('SIPLOG_BEND', 'none')
    SipConf.my_uaname = 'sippy_legacy'
    config = {'_sip_address': host, '_sip_port': int(port), '_sip_logger': SipLogger('sippy_legacy'),
              'routes': options.route, 'patience': options.patience}
    calls = CallMap(config)
    config['_sip_tm'] = SipTransactionManager(config, calls.recvRequest)
    for number in (signal.SIGINT, signal.SIGTERM):
        # sippy calls the handler that was there before as well, and that of Ctrl-C would raise KeyboardInterrupt.
        signal.signal(number, signal.SIG_DFL)
        Signal(number, calls.stop)
    print(f'listening on sip:b2bua@{host}:{port}', flush=True)
    ED2.loop()


if __name__ == '__main__':
    main()
