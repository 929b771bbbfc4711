"""The pytest plugin, for those who test a SIP system: there as soon as greensip is installed.

    def test_busy(sip_ua, sip_dut):
        with sip_ua.invite(sip_dut) as leg:             # strict: what the test does not wait for fails it
            leg.wait_for('180', timeout=2)
            leg.wait_for('486', timeout=5)

Fixtures: ``sip_ua``, a user agent on the loopback whose legs are strict; ``sip_user_agent``, which makes more of them;
``sip_dut``, the URI of the device under test (``--sip-dut``, or ``sip_dut`` in the configuration);
``sip_ladder``, everything that they said; ``sip_network``, a network in memory with time that jumps, for tests of
programs that are built with greensip.  ``@pytest.mark.sip(...)`` gives the options of the user agents.

A test that fails shows its own lines (``--full-trace``: greensip's, too) and the ladder of its messages;
``--sip-ladder`` shows that for each test.  What is left of calls is
hung up at the end of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from greensip.testing.ladder import Ladder
    from greensip.testing.network import Network
    from greensip.testing.strict import StrictUserAgent

__all__ = ['hide_frames', 'pytest_addoption', 'pytest_configure', 'pytest_runtest_makereport', 'sip_dut', 'sip_ladder',
           'sip_network', 'sip_ua', 'sip_user_agent', 'was_meant']

#: where a test's user agents listen unless they are told
LISTEN = 'udp:127.0.0.1:0'

#: the ladder of a test
LADDER: pytest.StashKey[Any] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup('greensip', 'SIP (greensip)')
    group.addoption('--sip-dut', metavar='URI', help='the device under test, for the fixture sip_dut')
    group.addoption('--sip-listen', metavar='PLACE', help=f'where sip_ua listens, such as {LISTEN}')
    group.addoption('--sip-ladder', action='store_true', help='show the ladder of those that pass, too')
    parser.addini('sip_dut', 'the device under test, for the fixture sip_dut')
    parser.addini('sip_listen', 'where sip_ua listens', default=LISTEN)


def pytest_configure(config: pytest.Config) -> None:
    """The plugin's mark."""
    config.addinivalue_line('markers', 'sip(*places, **options): places and options of the user agents of a test, '
                                       'as UserAgent takes them')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[
        None, pytest.TestReport, pytest.TestReport]:
    """Add the ladder to what is shown of a test, and leave out how greensip came to raise what it raised."""
    ladder = item.stash.get(LADDER, None)
    if ladder is not None and call.excinfo is not None:
        hide_frames(call.excinfo)
    report = yield
    if ladder is not None and ladder.arrows:
        if report.failed:
            report.sections.append(('SIP ladder', str(ladder)))
        elif report.when == 'call' and item.config.getoption('--sip-ladder'):
            reporter: Any = item.config.pluginmanager.get_plugin('terminalreporter')
            if reporter is not None:
                reporter.write_line(f'\n{item.nodeid}\n{ladder}')
    return report


def hide_frames(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """The line of the test matters, not those of greensip behind it; unless the mistake is greensip's own."""
    for entry in excinfo.traceback:
        variables = entry.frame.f_globals
        if str(variables.get('__name__')).startswith('greensip.'):
            # pytest looks at the variables of each frame, and of its module.
            variables['__tracebackhide__'] = was_meant


def was_meant(excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether an exception is one of those that greensip raises for scripts."""
    from greensip.errors import GreensipError

    return isinstance(excinfo.value, GreensipError)


@pytest.fixture
def sip_dut(request: pytest.FixtureRequest) -> str:
    """The URI of the device under test; a test that asks for it skips where none is given."""
    uri = request.config.getoption('--sip-dut') or request.config.getini('sip_dut')
    if not uri:
        pytest.skip('no device under test: give --sip-dut URI')
    return str(uri)


@pytest.fixture
def sip_ladder(request: pytest.FixtureRequest) -> Ladder:
    """What the test's user agents have said and heard so far; ``str(sip_ladder)`` draws it."""
    from greensip.testing.ladder import Ladder

    ladder: Any = request.node.stash.get(LADDER, None)
    if ladder is None:
        ladder = request.node.stash[LADDER] = Ladder()
    found: Ladder = ladder
    return found


@pytest.fixture
def sip_user_agent(request: pytest.FixtureRequest, sip_ladder: Ladder) -> Iterator[Callable[..., StrictUserAgent]]:
    """``sip_user_agent('udp:127.0.0.1:5070', name='bob')`` makes a user agent; all are closed with the test.

    Without places it listens where the mark, ``--sip-listen`` or the configuration say.  ``strict=False`` makes one
    whose legs are lenient.
    """
    from greensip.testing.strict import StrictUserAgent
    from greensip.ua import UserAgent

    mark = request.node.get_closest_marker('sip')
    marked, given = (mark.args, mark.kwargs) if mark is not None else ((), {})
    config = request.config
    default = config.getoption('--sip-listen') or config.getini('sip_listen')
    made: list[Any] = []

    def make(*places: str, strict: bool | None = None, **options: Any) -> Any:
        every: dict[str, Any] = {'name': f'ua{len(made) + 1}' if made else 'ua', 'watchdog': None, **given, **options}
        wanted = every.pop('strict', True) if strict is None else strict
        every.pop('strict', None)
        kind: type[UserAgent] = StrictUserAgent if wanted else UserAgent
        ua = kind(*(places or marked or (default,)), **every)
        made.append(ua)
        sip_ladder.add(ua.endpoint, ua.name)
        return ua

    try:
        yield make
    finally:
        failures = [error for ua in made for error in getattr(ua, 'failures', ())]
        for ua in reversed(made):
            ua.close()
    for error in failures:
        # What went wrong in a handler, in its own greenlet.
        raise error


@pytest.fixture
def sip_ua(sip_user_agent: Callable[..., StrictUserAgent]) -> StrictUserAgent:
    """A user agent on the loopback whose legs are strict; closed with the test."""
    return sip_user_agent()


@pytest.fixture
def sip_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A network in memory, in virtual time: ``sip_network.user_agent('alice')``; its ladder is the test's."""
    from greensip.testing.network import Network

    with Network() as network:
        request.node.stash[LADDER] = network.ladder
        yield network
