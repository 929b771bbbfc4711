"""Test a SIP element, message by message: SIPp in Python.

    python examples/strict_test.py sip:bob@127.0.0.1:5080

Runs each test of the list against the element (try ``examples/answer.py``) and prints a line for each.  In a strict
leg a message that the test does not wait for is an error.  Status 0 when all passed.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable

from greensip import GreensipError, UserAgent


def test_answers(ua: UserAgent, dut: str) -> None:
    """180, 200, BYE answered."""
    with ua.invite(dut, strict=True) as leg:
        leg.wait_for('180', timeout=2)
        answer = leg.wait_for('200', timeout=2)
        assert answer.message.cseq == leg.invite.cseq
        assert answer.message.to_tag, 'a 200 without a To tag'
        assert str(answer.message.content_type) == 'application/sdp'
        leg.hangup()
        leg.wait_for('200', timeout=2)


def test_refuses_unknown_extension(ua: UserAgent, dut: str) -> None:
    """Require with an unknown option tag gives 420 that names it (RFC 3261 8.2.2.3)."""
    with ua.invite(dut, strict=True, headers=[('Require', 'no-such-extension')]) as leg:
        refusal = leg.wait_for('420', timeout=2)
        assert refusal.message.get('Unsupported') == 'no-such-extension'


def test_options(ua: UserAgent, dut: str) -> None:
    """OPTIONS tells the methods (RFC 3261 11.2)."""
    assert 'INVITE' in ua.options(dut, timeout=2).allow


TESTS: list[Callable[[UserAgent, str], None]] = [test_answers, test_refuses_unknown_extension, test_options]


def main() -> int:
    """Parse the command line and run the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dut', help='URI of the device under test')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    failed = 0
    with UserAgent(options.listen, name='strict-test') as ua:
        for test in TESTS:
            try:
                test(ua, options.dut)
                print(f'ok      {test.__name__}')
            except (AssertionError, GreensipError) as error:
                failed += 1
                line = traceback.extract_tb(error.__traceback__)[1].line
                print(f'FAILED  {test.__name__}: {line}  {error}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
