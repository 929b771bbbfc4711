"""Test a SIP element with pytest: the fixtures of greensip's plugin, strict legs, a ladder for what fails.

    pytest examples/test_answer.py --sip-dut sip:bob@127.0.0.1:5080
    python examples/test_answer.py sip:bob@127.0.0.1:5080

Try ``examples/answer.py`` as the device under test.  pytest knows the fixtures as soon as greensip is installed.  A
message that a test does not wait for fails it, and a test that fails shows what was said.
"""

from __future__ import annotations

import argparse
import os
import sys

import pytest

from greensip import ResponseError
from greensip.testing import StrictUserAgent


def test_answers_and_hangs_up(sip_ua: StrictUserAgent, sip_dut: str) -> None:
    """180, 200; the BYE is answered."""
    with sip_ua.invite(sip_dut) as leg:
        leg.wait_for('180', timeout=2)
        answer = leg.wait_for('200', timeout=5).message
        assert answer.to_tag and str(answer.content_type) == 'application/sdp'
        leg.hangup()
        leg.wait_for('200', timeout=2)


def test_hold_and_resume(sip_ua: StrictUserAgent, sip_dut: str) -> None:
    """Each re-INVITE gets its answer (RFC 5359 2.1)."""
    with sip_ua.invite(sip_dut) as leg:
        leg.wait_for('180', timeout=2)
        leg.wait_for('200', timeout=5)
        leg.hold(timeout=2)
        assert leg.state == 'held'
        leg.resume(timeout=2)


def test_refuses_unknown_extension(sip_ua: StrictUserAgent, sip_dut: str) -> None:
    """Require with an unknown option tag gives 420 that names it (RFC 3261 8.2.2.3)."""
    with sip_ua.invite(sip_dut, headers={'Require': 'no-such-extension'}) as leg:
        assert leg.wait_for('420', timeout=2).message.get('Unsupported') == 'no-such-extension'


@pytest.mark.sip('tcp:127.0.0.1:0', name='tester')
def test_unknown_method_inside_a_call(sip_ua: StrictUserAgent, sip_dut: str) -> None:
    """An unknown method is refused, and the call lives (RFC 3261 12.2.2); the mark is for user agents with options."""
    if 'transport=' not in sip_dut:
        pytest.skip('the device under test is told to be reached by UDP')
    with sip_ua.call(sip_dut, timeout=5, strict=False) as leg:
        with pytest.raises(ResponseError) as refused:
            leg.request('CONJURE', timeout=2)
        assert refused.value.code in (405, 501)
        assert not leg.ended


def test_two_user_agents(sip_user_agent, sip_ladder) -> None:
    """What needs no device: both sides of a call are ours, and the ladder is compared."""
    alice, bob = sip_user_agent(name='alice'), sip_user_agent(name='bob')
    with alice.invite(bob.uri) as leg:
        called = bob.accept(timeout=2)
        called.ring()
        leg.wait_for('180', timeout=2)
        called.answer()
        leg.wait_for('200', timeout=2)
        called.wait_for('ACK', timeout=2)
        called.hangup('Q.850;cause=16')
        assert leg.wait_for('BYE', timeout=2).message.get('Reason') == 'Q.850;cause=16'
    sip_ladder.part(repeats=False).expect('''
        alice -> bob: INVITE
        bob -> alice: 180
        bob -> alice: 200
        alice -> bob: ACK
        bob -> alice: BYE
        alice -> bob: 200 BYE
    ''')


def main() -> int:
    """Run the tests of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dut', help='URI of the device under test')
    options = parser.parse_args()
    # By its name, so that it is there as well where greensip is on the path and not installed.
    os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'
    return int(pytest.main([__file__, '-p', 'greensip.testing.plugin', '-p', 'no:cacheprovider', '-q',
                            '--sip-dut', options.dut]))


if __name__ == '__main__':
    sys.exit(main())
