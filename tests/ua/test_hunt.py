"""One target after the other."""

from __future__ import annotations

import pytest

from greensip.errors import Busy, Declined, RemoteCancel, RequestTerminated, Unavailable, UsageError, WaitTimeout
from greensip.ua.bridge import Bridge
from greensip.ua.group import LegGroup
from greensip.ua.hunt import Hunt

from .conftest import SDP, answering


@pytest.fixture
def targets(agent, net):
    """A busy one, a silent one, one that answers."""
    agent('busy').serve(lambda leg: leg.reject(486), background=True)
    agent('silent').serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    agent('bob').serve(answering, background=True)
    return [net.uri(name) for name in ('busy', 'silent', 'bob')]


def test_the_first_that_answers(alice, net, targets):
    hunt = Hunt(targets, timeout=8)
    with hunt.call(alice, sdp=SDP) as leg:
        assert leg.to.uri.user == 'bob'
    assert [type(error) for error in hunt.errors] == [Busy, WaitTimeout]
    assert 8 < net.clock.now() < 8.5
    assert [arrow.destination for arrow in net.ladder.arrows if arrow.title == 'CANCEL'] == ['silent']


def test_a_route_with_options_of_its_own(alice, net, targets):
    hunt = Hunt([(targets[1], {'timeout': 2, 'headers': {'Subject': 'x'}}), targets[2]], timeout=8)
    hunt.call(alice).close()
    assert 2 < net.clock.now() < 2.5


def test_all_fail(alice, agent, net, targets):
    agent('down').serve(lambda leg: leg.reject(503), background=True)
    with pytest.raises(Unavailable):
        Hunt([targets[0], net.uri('down')]).call(alice)
    with pytest.raises(UsageError):
        Hunt([]).call(alice)
    with pytest.raises(UsageError):
        Hunt([(targets[0], 8)]).call(alice)


def test_codes_that_stop_the_hunt(alice, agent, net, targets):
    agent('no').serve(lambda leg: leg.reject(603), background=True)
    with pytest.raises(Declined):
        Hunt([net.uri('no'), targets[2]]).call(alice)
    with pytest.raises(Busy):
        Hunt(targets, stop=(486,)).call(alice)


def test_in_a_group_the_callers_cancel_ends_it(alice, agent, net, targets):
    middle = agent('middle')
    seen = []

    def handler(a):
        with LegGroup(a) as group:
            try:
                b = Hunt(targets, timeout=8).call(group, from_=a.from_, sdp=a.offer, progress_to=a)
            except RemoteCancel as error:
                seen.append(error.reason)
                raise
            a.answer(sdp=b.answer)
            Bridge(a, b).wait()

    middle.serve(handler, background=True)
    with alice.invite(net.uri('middle')) as leg:
        leg.wait_for('180')
        leg.cancel('SIP;cause=487;text="changed my mind"')
        with pytest.raises(RequestTerminated):
            leg.wait_for('200')
    net.clock.sleep(1)
    assert seen == ['SIP;cause=487;text="changed my mind"']
    cancel = next(arrow for arrow in net.ladder.arrows if arrow.title == 'CANCEL' and arrow.destination == 'silent')
    assert b'Reason: SIP;cause=487;text="changed my mind"' in cancel.data
    with alice.invite(net.uri('middle')) as leg:
        leg.wait_for('200', timeout=30)
