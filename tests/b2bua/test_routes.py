"""Routes: the grammar, what each parameter does, and sippy's own reading of the same text."""

from __future__ import annotations

import sys

import pytest

from greensip.b2bua.routes import Route, parse_route, usable_routes
from greensip.errors import ParseError

#: texts that sippy reads as well; hosts are numeric because sippy resolves them at once
READABLE = [
    '127.0.0.1',
    '127.0.0.1:5080',
    '[::1]',
    '[::1]:5080',
    '123@127.0.0.1',
    '+4930@127.0.0.1:5062',
    '@127.0.0.1',
    '127.0.0.1;credit-time=60',
    '127.0.0.1;credit-time=0',
    '127.0.0.1;credit-time=-1',
    '127.0.0.1;expires=30;np_expires=10;nr_expires=5',
    '127.0.0.1;expires=-1;np_expires=-1;nr_expires=-5',
    '127.0.0.1;hs_scodes=486,603',
    '127.0.0.1;hs_scodes=486, ,603,',
    '127.0.0.1;hs_scodes=',
    '127.0.0.1;forward_on_fail=1',
    '127.0.0.1;forward_on_fail=0',
    '127.0.0.1;auth=alice:s3cret',
    '127.0.0.1;auth=alice:s3:c=ret%20',
    '127.0.0.1;auth=alice:',
    '127.0.0.1;auth=nopass',
    '127.0.0.1;cli=4711',
    '127.0.0.1;cli=',
    '127.0.0.1;cnam=Alice%20Doe',
    '127.0.0.1;cnam=',
    '127.0.0.1;ash=SIP-Hello1%3A%20World%21;ash=SIP-Hello2%3A%20World%21',
    '127.0.0.1;ash=X-Semicolon%3A%20a%3Bb',
    '127.0.0.1;rtpp=0',
    '127.0.0.1;rtpp=1',
    '127.0.0.1;op=127.0.0.2',
    '127.0.0.1;op=127.0.0.2:5070',
    '127.0.0.1;bill-to=me;bill-cli=1;bill-cld=2;whatever=x=y',
    '123@[::1]:5070;credit-time=5;cli=1;cnam=Z;auth=a:b;rtpp=0;ash=A%3A%20b;expires=9;hs_scodes=404',
]


def as_row(route: Route) -> dict[str, object]:
    """What sippy's route and ours have in common."""
    return {
        'host': route.host, 'port': route.port or 5060, 'cld': (route.cld_given, route.cld),
        'cli': (route.cli_given, route.cli), 'credit': (route.credit_time_given, route.credit_time),
        'expires': route.expires, 'np': route.np_expires, 'nr': route.nr_expires, 'stop': route.stop_codes,
        'forward': route.forward_on_fail, 'auth': (route.pass_auth, route.user, route.password),
        # The case of a header field's name means nothing; sippy changes that of those it does not know.
        'headers': [(name.lower(), value) for name, value in route.headers], 'rtpp': route.rtpp,
        'op': route.op and (route.op[0], route.op[1] or 5060), 'name': (route.cnam_given, route.cnam),
        'other': route.params,
    }


@pytest.mark.parametrize('text', READABLE)
@pytest.mark.usefixtures('needs_sippy')
def test_reads_as_sippy_does(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['b2bua'])
    from sippy.B2B.Route import B2BRoute

    theirs = B2BRoute(text)
    params = dict(theirs.params)
    expected = {
        'host': theirs.hostonly.strip('[]'), 'port': theirs.ainfo[0][4][1], 'cld': (theirs.cld_set, theirs.cld),
        'cli': (theirs.cli_set, theirs.cli), 'credit': (theirs.crt_set, theirs.credit_time),
        'expires': theirs.expires, 'np': theirs.no_progress_expires, 'nr': theirs.no_reply_expires,
        'stop': frozenset(params.pop('huntstop_scodes', ())), 'forward': theirs.forward_on_fail,
        'auth': (theirs.pass_auth, theirs.user, theirs.passw),
        'headers': [(str(header).split(': ')[0].lower(), str(header).split(': ', 1)[1])
                    for header in theirs.extra_headers or ()],
        'rtpp': params.pop('rtpp', True), 'op': params.pop('outbound_proxy', None),
        'name': ('caller_name' in params, params.pop('caller_name', None)), 'other': params,
    }
    assert as_row(parse_route(text)) == expected


@pytest.mark.parametrize(('text', 'what'), [
    ('', 'needs a host'),
    ('123@', 'needs a host'),
    (';expires=3', 'needs a host'),
    ('a b', "'a b' is not a host"),
    ('host:0', "'0' is not a port"),
    ('host:65536', 'is not a port'),
    ('host:x', "'x' is not a port"),
    ('host:', "'' is not a port"),
    ('host:٣', 'is not a port'),
    ('sip:host', "'host' is not a port"),
    ('[::1', 'IPv6'),
    ('[::1]5060', 'IPv6'),
    ('[zz]', 'IPv6'),
    ('h;credit-time=soon', 'credit-time=soon'),
    ('h;credit-time=inf', 'credit-time=inf'),
    ('h;expires=nan', 'expires=nan'),
    ('h;expires', 'expires needs a value'),
    ('h;hs_scodes=busy', 'hs_scodes=busy'),
    ('h;auth=alice', 'auth is written user:password'),
    ('h;auth=:x', 'auth is written user:password'),
    ('h;ash=NoColon', 'ash is a header field'),
    ('h;ash=Bad%20Name%3A%20x', 'ash is a header field'),
    ('h;ash=X-A%3A%20a%0D%0AEvil%3A%201', 'a control character'),
    ('h;ash=Via%3A%20x', 'ash cannot set Via'),
    ('h;cnam=a%0Ab', 'a control character'),
    ('1\r\nEvil: 1@h', 'a control character'),
    ('h;cli=1\r2', 'a control character'),
    ('h;rtpp=maybe', 'rtpp=maybe'),
    ('h;op=:5060', 'needs a host'),
    ('h;op=x:y', "'y' is not a port"),
    ('h;gt=10', 'gt is written timeout,skip'),
    ('h;gt=-1,2', 'gt is written timeout,skip'),
    ('h;gt=1,0', 'gt is written timeout,skip'),
    ('h;gt=1,x', 'gt=1,x'),
])
def test_says_what_is_wrong(text: str, what: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_route(text)
    assert what in str(caught.value)


def test_a_name_is_not_resolved_and_has_no_port_of_its_own() -> None:
    route = parse_route('pbx.example.com;gt=12.5,3;forward_on_fail;')
    assert (route.host, route.port) == ('pbx.example.com', None)
    assert (route.group_timeout, route.forward_on_fail) == ((12.5, 3), True)


@pytest.mark.parametrize(('text', 'default', 'maximum', 'limit'), [
    ('h', None, None, None),
    ('h', 60.0, None, 60.0),
    ('h', None, 90.0, 90.0),
    ('h', 60.0, 50.0, 50.0),
    ('h;credit-time=30', 60.0, None, 30),
    ('h;credit-time=30', None, 20.0, 20.0),
    ('h;credit-time=-1', 60.0, None, None),
    ('h;credit-time=-1', 60.0, 20.0, 20.0),
])
def test_time_limit(text: str, default: float | None, maximum: float | None, limit: float | None) -> None:
    # sippy 2.5.0 never applies the default: it stores it where nobody looks.
    assert parse_route(text).time_limit(default, maximum) == limit


@pytest.mark.parametrize(('text', 'nothing', 'trying', 'ringing'), [
    ('h', None, None, None),
    ('h;expires=30', 30, 30, 30),
    ('h;np_expires=10', 10, 10, None),
    ('h;nr_expires=5', 5, None, None),
    ('h;expires=30;np_expires=10;nr_expires=5', 5, 10, 30),
    ('h;expires=4;np_expires=10;nr_expires=5', 4, 4, 4),
    ('h;expires=60;nr_expires=32', 60, 60, 60),
])
def test_patience(text: str, nothing: float | None, trying: float | None, ringing: float | None) -> None:
    route = parse_route(text)
    assert [route.patience(code) for code in (0, 100, 180, 183)] == [nothing, trying, ringing, ringing]


def test_routes_without_time_are_left_out() -> None:
    routes = [parse_route(text) for text in ('a;credit-time=0', 'b;expires=0', 'c', 'd;credit-time=5')]
    assert [route.host for route in usable_routes(routes)] == ['c', 'd']
    assert [route.host for route in usable_routes(routes, default_credit_time=0)] == ['d']
