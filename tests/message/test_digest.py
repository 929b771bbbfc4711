"""Digest: the examples of RFC 2617, 7616 and 8760, both sides against each other, and what each refuses."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.errors import ParseError, UsageError
from greensip.message import Request, Response, parse_challenge, parse_credentials, parse_message
from greensip.message import digest as digest_module
from greensip.message.digest import (
    ALGORITHMS,
    MAX_REALMS,
    DigestClient,
    DigestServer,
    Login,
    Verdict,
    digest_response,
    hash_password,
    hash_username,
    is_supported,
)

SECRET = b'only for tests'
VARIANTS = [name + suffix for name in ALGORITHMS for suffix in ('', '-sess')]

NONCE = '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v'
CNONCE = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ'

VECTORS = [
    ('RFC 2617 3.5', 'MD5', ('Mufasa', 'testrealm@host.com', 'Circle Of Life'), 'GET', '/dir/index.html',
     'dcd98b7102dd2f0e8b11d0f600bfb0c093', 'auth', '0a4f113b', b'', '6629fae49393a05397450978507c4ef1'),
    ('RFC 2069 2.4, with erratum 749', 'MD5', ('Mufasa', 'testrealm@host.com', 'CircleOfLife'), 'GET',
     '/dir/index.html', 'dcd98b7102dd2f0e8b11d0f600bfb0c093', None, '', b'', '1949323746fe6a43ef61f9606e7febea'),
    ('RFC 7616 3.9.1', 'MD5', ('Mufasa', 'http-auth@example.org', 'Circle of Life'), 'GET', '/dir/index.html',
     NONCE, 'auth', CNONCE, b'', '8ca523f5e9506fed4657c9700eebdbec'),
    ('RFC 7616 3.9.1', 'SHA-256', ('Mufasa', 'http-auth@example.org', 'Circle of Life'), 'GET', '/dir/index.html',
     NONCE, 'auth', CNONCE, b'', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'),
    # With erratum 4897: the RFC cut SHA-512 in two instead.
    ('RFC 7616 3.9.2', 'SHA-512-256', ('J\u00e4s\u00f8n Doe', 'api@example.org', 'Secret, or not?'), 'GET', '/doe.json',
     '5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK', 'auth', 'NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v', b'',
     '3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5'),
]


@pytest.mark.parametrize(('algorithm', 'who', 'method', 'uri', 'nonce', 'qop', 'cnonce', 'body', 'expected'),
                         [row[1:] for row in VECTORS], ids=[f'{row[0]} {row[1]}' for row in VECTORS])
def test_vectors(algorithm: str, who: tuple[str, str, str], method: str, uri: str, nonce: str, qop: str | None,
                 cnonce: str, body: bytes, expected: str) -> None:
    made = digest_response(algorithm, hash_password(algorithm, *who), method, uri, nonce, qop=qop, nc='00000001',
                           cnonce=cnonce, body=body)
    assert made == expected


def test_hashed_username() -> None:
    """RFC 7616 3.9.2, with erratum 4897."""
    assert hash_username('SHA-512-256', 'J\u00e4s\u00f8n Doe', 'api@example.org') == \
        '793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b'


@pytest.mark.parametrize('algorithm', VARIANTS)
@pytest.mark.parametrize('qop', [None, 'auth', 'auth-int'])
@pytest.mark.parametrize('body', [b'', b'v=0\r\n\x00\xff'])
def test_against_the_formula(algorithm: str, qop: str | None, body: bytes) -> None:
    """RFC 7616 3.4.1 to 3.4.3 word by word; an empty body is hashed too (RFC 8760 2.6 (7))."""
    name = {'MD5': 'md5', 'SHA-256': 'sha256', 'SHA-512-256': 'sha512_256'}[algorithm.removesuffix('-sess')]

    def h(*parts: str | bytes) -> str:
        data = b':'.join(part if isinstance(part, bytes) else part.encode() for part in parts)
        return hashlib.new(name, data).hexdigest()

    a1 = h('bob', 'biloxi.com', 'zanzibar')
    if algorithm.endswith('-sess'):
        a1 = h(a1, 'n', 'c')
    a2 = h('REGISTER', 'sip:biloxi.com', h(body)) if qop == 'auth-int' else h('REGISTER', 'sip:biloxi.com')
    expected = h(a1, 'n', '0000000a', 'c', qop, a2) if qop else h(a1, 'n', a2)
    stored = hash_password(algorithm, 'bob', 'biloxi.com', 'zanzibar')
    assert digest_response(algorithm, stored, 'REGISTER', 'sip:biloxi.com', 'n', qop=qop, nc='0000000a', cnonce='c',
                           body=body) == expected
    assert digest_response(algorithm.lower(), stored, 'REGISTER', 'sip:biloxi.com', 'n', qop=qop, nc='0000000a',
                           cnonce='c', body=body) == expected


# -- the client alone

URI = 'sip:bob@biloxi.com'


def refused(*challenges: str, code: int = 401) -> Response:
    field = 'WWW-Authenticate' if code == 401 else 'Proxy-Authenticate'
    return Response(code, '', [(field, text) for text in challenges])


def client(*logins: tuple[str, str] | Login) -> DigestClient:
    return DigestClient(logins or ('bob', 'zanzibar'))


def test_the_example_of_rfc_7616() -> None:
    """3.9.1: offered SHA-256 and MD5, the stronger is taken."""
    head = f'Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="{NONCE}", opaque="FQhe/q", algorithm='
    fixed = random.Random()
    fixed.getrandbits = lambda k: 0x1234         # type: ignore[method-assign]
    (name, text), = client(('Mufasa', 'Circle of Life')).answer(
        'GET', '/dir/index.html', b'', refused(head + 'MD5', head + 'SHA-256'), fixed)
    assert name == 'Authorization'
    proof = digest_response('SHA-256', hash_password('SHA-256', 'Mufasa', 'http-auth@example.org', 'Circle of Life'),
                            'GET', '/dir/index.html', NONCE, qop='auth', nc='00000001', cnonce='0000000000001234')
    assert text == (f'Digest username="Mufasa",realm="http-auth@example.org",nonce="{NONCE}",uri="/dir/index.html",'
                    f'response="{proof}",algorithm=SHA-256,opaque="FQhe/q",cnonce="0000000000001234",qop=auth,'
                    f'nc=00000001')


def fields(answer: list[tuple[str, str]]) -> list[str]:
    """What an answer decides, a line per credentials."""
    lines = []
    for name, text in answer:
        one = parse_credentials(text)
        lines.append(f'{name} {one.realm} {one.nonce} {one.params.get("algorithm") or "-"} {one.qop or "-"} '
                     f'{one.params.get("nc") or "-"}')
    return lines


CHOICES = [
    ('no algorithm is MD5, no qop is RFC 2069', ['Digest realm="r",nonce="n"'], 'Authorization r n - - -'),
    ('the strongest', ['Digest realm="r",nonce="1",algorithm=SHA-256,qop="auth"',
                       'Digest realm="r",nonce="2",algorithm=SHA-512-256,qop="auth"',
                       'Digest realm="r",nonce="3",algorithm=MD5,qop="auth"'],
     'Authorization r 2 SHA-512-256 auth 00000001'),
    ('the topmost of equals', ['Digest realm="r",nonce="1",algorithm=SHA-256-sess,qop="auth"',
                               'Digest realm="r",nonce="2",algorithm=SHA-256,qop="auth"'],
     'Authorization r 1 SHA-256-sess auth 00000001'),
    ('what is not known is skipped', ['Basic realm="r"', 'Digest realm="r",nonce="1",algorithm=SHA-3',
                                      'Digest realm="r",nonce="2",algorithm=AKAv1-MD5', 'Digest broken=,,=',
                                      'Digest realm="r",nonce="3",qop="auth-conf"', 'Digest realm="r"',
                                      'Digest realm="r",nonce="4",algorithm=md5'], 'Authorization r 4 md5 - -'),
    ('-sess needs qop', ['Digest realm="r",nonce="1",algorithm=SHA-256-sess', 'Digest realm="r",nonce="2"'],
     'Authorization r 2 - - -'),
    ('auth before auth-int', ['Digest realm="r",nonce="1",qop="auth-int,auth"'],
     'Authorization r 1 - auth 00000001'),
    ('auth-int alone', ['Digest realm="r",nonce="1",qop="auth-conf, auth-int"'],
     'Authorization r 1 - auth-int 00000001'),
]


@pytest.mark.parametrize(('challenges', 'expected'), [row[1:] for row in CHOICES], ids=[row[0] for row in CHOICES])
def test_choice_among_challenges(challenges: list[str], expected: str) -> None:
    answer = client().answer('INVITE', URI, b'', refused(*challenges), random.Random(1))
    assert fields(answer) == [expected]


def test_integrity_when_wanted() -> None:
    one = DigestClient(('bob', 'zanzibar'), integrity=True)
    answer = one.answer('INVITE', URI, b'v=0', refused('Digest realm="r",nonce="1",qop="auth,auth-int"'),
                        random.Random(1))
    assert fields(answer) == ['Authorization r 1 - auth-int 00000001']


def test_several_realms_and_kinds() -> None:
    """RFC 3261 22.3: proxies and the user agent server each get their own, all in one request."""
    one = client(('bob', 'everywhere'), Login('robert', 'b', 'proxy-b'))
    two = refused('Digest realm="proxy-a",nonce="1"', 'Digest realm="proxy-b",nonce="2"', code=407)
    answer = one.answer('INVITE', URI, b'', two, random.Random(1))
    assert fields(answer) == ['Proxy-Authorization proxy-a 1 - - -', 'Proxy-Authorization proxy-b 2 - - -']
    assert [parse_credentials(text).username for _, text in answer] == ['bob', 'robert']
    answer = one.answer('INVITE', URI, b'', refused('Digest realm="uas",nonce="3",qop="auth"'), random.Random(1),
                        sent=answer)
    assert fields(answer) == ['Proxy-Authorization proxy-a 1 - - -', 'Proxy-Authorization proxy-b 2 - - -',
                              'Authorization uas 3 - auth 00000001']
    assert fields(one.preempt('BYE', URI)) == [*fields(answer)[:2], 'Authorization uas 3 - auth 00000002']
    both = Response(401, '', [('WWW-Authenticate', 'Digest realm="x",nonce="4"'),
                              ('Proxy-Authenticate', 'Digest realm="x",nonce="5"')])
    assert fields(client().answer('INVITE', URI, b'', both, random.Random(1))) == [
        'Authorization x 4 - - -', 'Proxy-Authorization x 5 - - -']


def test_a_realm_without_login() -> None:
    one = client(Login('robert', 'b', 'b'))
    assert one.answer('INVITE', URI, b'', refused('Digest realm="a",nonce="1"'), random.Random(1)) == []
    assert one.failure == "no credentials for realm 'a'"
    answer = one.answer('INVITE', URI, b'', refused('Digest realm="a",nonce="1"', 'Digest realm="b",nonce="2"'),
                        random.Random(1))
    assert fields(answer) == ['Authorization b 2 - - -'] and one.failure == ''


@pytest.mark.parametrize(('challenges', 'failure'), [
    ([], 'no Digest challenge'),
    (['Basic realm="r"'], 'no Digest challenge'),
    (['Digest realm="r"'], 'no Digest challenge'),
    (['Digest realm="r",nonce="1",algorithm=SHA-3'], 'nothing that we can use .SHA-3.'),
    (['Digest realm="r",nonce="1",qop="auth-conf"'], 'nothing that we can use'),
])
def test_hopeless_challenges(challenges: list[str], failure: str) -> None:
    one = client()
    assert one.answer('INVITE', URI, b'', refused(*challenges), random.Random(1)) == []
    with pytest.raises(AssertionError, match=failure):
        raise AssertionError(one.failure)


def test_a_challenge_that_cannot_be_sent_back() -> None:
    raw = (b'SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n'
           b'From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n'
           b'WWW-Authenticate: Digest realm="r",nonce="%s"\r\n\r\n')
    one = client()
    for nonce in (b'a\\\0b', b'a\0b'):
        try:
            response = parse_message(raw.replace(b'%s', nonce))
        except ParseError:
            continue
        assert isinstance(response, Response)
        assert one.answer('INVITE', URI, b'', response, random.Random(1)) == []
    plain = parse_message(raw.replace(b'%s', b'a\\"b\xff'))
    assert isinstance(plain, Response) and one.answer('INVITE', URI, b'', plain, random.Random(1))


SECOND_TIME = [
    # what the second 401 says, and whether there is another attempt
    ('the same nonce', 'nonce="1"', False),
    ('the same nonce, stale', 'nonce="1",stale=true', True),
    ('another nonce', 'nonce="2"', False),
    ('another nonce, stale', 'nonce="2",stale=TRUE', True),
    ('another nonce, not stale', 'nonce="2",stale=false', False),
]


@pytest.mark.parametrize(('second', 'goes_on'), [row[1:] for row in SECOND_TIME], ids=[row[0] for row in SECOND_TIME])
@pytest.mark.parametrize('qop', ['', ',qop="auth"'])
@pytest.mark.parametrize('tells', [True, False])
def test_a_second_challenge(second: str, goes_on: bool, qop: str, tells: bool) -> None:
    one = client()
    first = one.answer('INVITE', URI, b'', refused('Digest realm="r",nonce="1"' + qop), random.Random(1))
    answer = one.answer('INVITE', URI, b'', refused(f'Digest realm="r",{second}{qop}'), random.Random(1),
                        sent=first if tells else None)
    assert bool(answer) is goes_on
    assert one.failure == ('' if goes_on else "wrong user name or password for realm 'r'")


def test_a_nonce_that_had_served_may_run_out_without_the_stale_flag() -> None:
    one = client()
    first, second, third = (refused(f'Digest realm="r",nonce="{number}",qop="auth"') for number in (1, 2, 3))
    one.answer('REGISTER', URI, b'', first, random.Random(1))
    sent = one.preempt('REGISTER', URI)
    answer = one.answer('REGISTER', URI, b'', second, random.Random(1), sent=sent)
    assert fields(answer) == ['Authorization r 2 - auth 00000001']
    assert one.answer('REGISTER', URI, b'', third, random.Random(1), sent=answer) == []


@pytest.mark.parametrize('sent', [(), None])
def test_another_request_of_the_call_is_challenged_anew(sent: tuple[()] | None) -> None:
    """Its first attempt had no credentials, so this is no refusal of those of the INVITE."""
    one = client()
    one.answer('INVITE', URI, b'', refused('Digest realm="r",nonce="1",qop="auth"'), random.Random(1))
    answer = one.answer('BYE', URI, b'', refused('Digest realm="r",nonce="2",qop="auth"'), random.Random(1), sent=sent)
    assert fields(answer) == ['Authorization r 2 - auth 00000001']


def test_a_server_that_calls_every_nonce_stale() -> None:
    one, sent, attempts = client(), [('', '')], 0
    while sent:
        sent = one.answer('INVITE', URI, b'', refused(f'Digest realm="r",nonce="{attempts}",qop="auth",stale=true'),
                          random.Random(1), sent=sent)
        attempts += 1
        assert attempts < 10
    assert one.failure == "realm 'r' calls every nonce stale"
    # One that does so after some use is in order.
    one = client()
    sent = one.answer('INVITE', URI, b'', refused('Digest realm="r",nonce="1",qop="auth"'), random.Random(1))
    for number in range(20):
        sent = one.preempt('OPTIONS', URI)
        sent = one.answer('OPTIONS', URI, b'', refused(f'Digest realm="r",nonce="n{number}",qop="auth",stale=true'),
                          random.Random(1), sent=sent)
        assert sent


def test_realms_without_end() -> None:
    """Each further request has credentials for all realms known: the oldest are forgotten, and challenged anew."""
    one = client()
    for number in range(100):
        assert one.answer('INVITE', URI, b'', refused(f'Digest realm="r{number}",nonce="1",stale=true'),
                          random.Random(1), sent=())
    realms = [parse_credentials(text).realm for _, text in one.preempt('BYE', URI)]
    assert realms == [f'r{number}' for number in range(100 - MAX_REALMS, 100)]
    assert len(one._stale) <= MAX_REALMS
    assert one.answer('INVITE', URI, b'', refused('Digest realm="r0",nonce="2"'), random.Random(1), sent=())


def test_next_nonce() -> None:
    """RFC 7616 3.5."""
    one = client()
    one.answer('INVITE', URI, b'', refused('Digest realm="r",nonce="1",qop="auth"'), random.Random(1))
    for text in ('nextnonce="2", qop=auth', 'rspauth="x"', 'broken', 'nextnonce=""'):
        one.note(Response(200, '', [('Authentication-Info', text)]))
        one.note(Response(200, '', [('Proxy-Authentication-Info', 'nextnonce="9"')]))
    assert fields(one.preempt('BYE', URI)) == ['Authorization r 2 - auth 00000001']


@pytest.mark.parametrize('logins', ['bob', ('bob',), ['bob'], [('bob', 1)], [('bob', 'x', 'r', 'y')], None, [None]])
def test_logins_that_are_none(logins: object) -> None:
    with pytest.raises(UsageError, match='pair of user name'):
        DigestClient(logins)        # type: ignore[arg-type]


def test_the_password_stays_out_of_repr() -> None:
    assert 'zanzibar' not in repr(client()) and 'only for tests' not in repr(DigestServer('r', SECRET))


# -- both sides

USERS = {'bob': 'zanzibar', 'J\u00e4s\u00f8n Doe': 'Secret, or not?', 'qu"o\\te': 'p:w"'}


def attempt(answer: list[tuple[str, str]], method: str = 'INVITE', uri: str = URI, body: bytes = b'') -> Request:
    return Request(method, uri, answer, body)


def challenged(server: DigestServer, now: float = 0.0, **options: bool) -> Response:
    return Response(server.code, '', [(server.challenge_field, text) for text in server.challenge(now, **options)])


@pytest.mark.parametrize('algorithm', VARIANTS)
@pytest.mark.parametrize('qop', [(), ('auth',), ('auth-int',), ('auth', 'auth-int')])
@pytest.mark.parametrize('user', USERS)
@pytest.mark.parametrize('proxy', [True, False])
def test_our_client_satisfies_our_server(algorithm: str, qop: tuple[str, ...], user: str, proxy: bool) -> None:
    if algorithm.endswith('-sess') and not qop:
        return
    server = DigestServer('biloxi.com', SECRET, [algorithm], qop=qop, opaque='o', proxy=proxy)
    one = DigestClient((user, USERS[user]))
    answer = one.answer('INVITE', URI, b'v=0', challenged(server), random.Random(1))
    assert server.check(attempt(answer, body=b'v=0'), USERS.get, 1.0) == Verdict(user)
    assert parse_credentials(answer[0][1]).opaque == 'o'
    bye = attempt(one.preempt('BYE', URI), 'BYE')
    verdict = server.check(bye, USERS.get, 2.0)
    assert verdict.ok if qop else verdict.stale          # a nonce that nobody counts serves once
    wrong = DigestClient((user, 'wrong')).answer('INVITE', URI, b'v=0', challenged(server), random.Random(1))
    assert not server.check(attempt(wrong, body=b'v=0'), USERS.get, 1.0).ok


def test_what_a_challenge_looks_like() -> None:
    server = DigestServer('biloxi.com', SECRET)
    texts = server.challenge(0.0)
    challenges = [parse_challenge(text) for text in texts]
    assert [one.algorithm for one in challenges] == ['SHA-256', 'MD5']
    assert {(one.realm, one.nonce, one.stale) for one in challenges} == {('biloxi.com', challenges[0].nonce, False)}
    assert 'qop="auth,auth-int"' in texts[0] and 'algorithm=SHA-256' in texts[0] and 'stale' not in texts[0]
    assert all('stale=true' in text for text in server.challenge(0.0, stale=True))
    assert parse_challenge(server.challenge(0.0)[0]).nonce != challenges[0].nonce
    assert (server.code, server.challenge_field, server.credentials_field) == (401, 'WWW-Authenticate', 'Authorization')


def test_stored_hashes_in_place_of_passwords() -> None:
    server = DigestServer('r', SECRET, ['SHA-256', 'MD5'])
    stored = {'md5': hash_password('MD5', 'bob', 'r', 'zanzibar')}
    for login in (('bob', 'zanzibar'), ('bob', {'MD5': stored['md5']})):
        one = DigestClient([login])         # type: ignore[list-item]
        answer = one.answer('INVITE', URI, b'', challenged(server), random.Random(1))
        with_sha = isinstance(login[1], str)
        assert fields(answer)[0].split()[3] == ('SHA-256' if with_sha else 'MD5')
        assert server.check(attempt(answer), {'bob': stored}.get, 0.0).ok is not with_sha


def test_hidden_user_names() -> None:
    server = DigestServer('r', SECRET, ['SHA-256'], userhash=True)
    answer = client().answer('INVITE', URI, b'', challenged(server), random.Random(1))
    assert 'bob' not in answer[0][1].replace(URI, '') and 'userhash=true' in answer[0][1]
    hashed = {hash_username('SHA-256', user, 'r'): user for user in USERS}
    request = attempt(answer)
    assert server.check(request, USERS.get, 0.0).reason == 'wrong user name or password'
    assert server.check(request, USERS.get, 0.0, unhash=lambda name, algorithm: hashed.get(name)).username == 'bob'


def test_extended_user_names() -> None:
    """RFC 7616 3.9.2."""
    server = DigestServer('r', SECRET, ['MD5'])
    name = 'J\u00e4s\u00f8n Doe'
    (field, text), = DigestClient((name, USERS[name])).answer('INVITE', URI, b'', challenged(server), random.Random(1))
    plain = f'username="{name}"'
    assert plain in text
    for instead, code in (('username*=UTF-8\'\'J%C3%A4s%C3%B8n%20Doe', 0), ('username*=latin1\'\'x', 400),
                          ('username*=UTF-8\'x', 400), (f'{plain},username*=UTF-8\'\'bob', 400)):
        verdict = server.check(attempt([(field, text.replace(plain, instead))]), USERS.get, 0.0)
        assert verdict.code == code and verdict.username == (name if code == 0 else None)


def test_charset_asks_for_normal_form_c() -> None:
    server = DigestServer('r', SECRET, ['MD5'], userhash=True)       # which says charset=UTF-8 too
    decomposed = 'Ja\u0308son'
    hashed = {hash_username('MD5', 'J\u00e4son', 'r'): 'J\u00e4son'}
    answer = DigestClient((decomposed, decomposed)).answer('INVITE', URI, b'', challenged(server), random.Random(1))
    users = dict.fromkeys(hashed.values(), 'J\u00e4son')
    verdict = server.check(attempt(answer), users.get, 0.0, unhash=lambda name, _: hashed.get(name))
    assert verdict.username == 'J\u00e4son'


# -- the server alone

@pytest.fixture
def server() -> DigestServer:
    return DigestServer('r', SECRET, ['SHA-256', 'MD5'])


def proven(server: DigestServer, now: float = 0.0, *, count: int = 1, nonce: str | None = None, method: str = 'INVITE',
           uri: str = URI, password: str = 'zanzibar', **changes: str | None) -> Request:
    """A request with credentials, some of whose parameters are changed without a new proof."""
    if nonce is None:
        nonce = parse_challenge(server.challenge(now)[0]).nonce
    proof = digest_response('SHA-256', hash_password('SHA-256', 'bob', 'r', password), method, uri, nonce, qop='auth',
                            nc=f'{count:08x}', cnonce='c')
    params: dict[str, str | None] = {
        'username': 'bob', 'realm': 'r', 'nonce': nonce, 'uri': uri, 'response': proof, 'algorithm': 'SHA-256',
        'cnonce': 'c', 'qop': 'auth', 'nc': f'{count:08x}'}
    params.update(changes)
    text = ','.join(f'{name}="{value}"' for name, value in params.items() if value is not None)
    return Request(method, URI, [('Authorization', f'Digest {text}')])


REFUSALS = [
    ('another password', {'password': 'x'}, 401, 'wrong user name'),
    ('another user', {'username': 'alice'}, 401, 'wrong user name'),
    ('another proof', {'response': '0' * 64}, 401, 'wrong user name'),
    ('a proof that is no ASCII', {'response': '\u00e9'}, 401, 'wrong user name'),
    ('another realm', {'realm': 'x'}, 401, 'no credentials'),
    ('another cnonce', {'cnonce': 'x'}, 401, 'wrong user name'),
    ('an algorithm that was not offered', {'algorithm': 'SHA-512-256'}, 401, 'was not offered'),
    ('no algorithm: MD5', {'algorithm': None}, 401, 'wrong user name'),
    ('a qop that was not offered', {'qop': 'auth-conf'}, 401, 'was not offered'),
    ('no nonce', {'nonce': ''}, 400, 'without'),
    ('no uri', {'uri': ''}, 401, 'wrong'),
    ('no response', {'response': None}, 400, 'without'),
    ('no cnonce', {'cnonce': None}, 400, 'without'),
    ('no nc', {'nc': None}, 400, 'without'),
    ('a broken nc', {'nc': '1'}, 400, 'without'),
    ('nc 0', {'nc': '00000000'}, 400, 'without'),
    ('a hashed user', {'userhash': 'true'}, 401, 'wrong user name'),
]


@pytest.mark.parametrize(('changes', 'code', 'reason'), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refusals(server: DigestServer, changes: dict[str, str], code: int, reason: str) -> None:
    assert server.check(proven(server), USERS.get, 0.0).ok
    if 'uri' in changes:
        request = proven(server)
        text = request.get('Authorization') or ''
        request = Request('INVITE', URI, [('Authorization', text.replace(f'uri="{URI}"', 'uri="sip:x@y"'))])
    else:
        request = proven(server, **changes)     # type: ignore[arg-type]
    verdict = server.check(request, USERS.get, 0.0)
    assert (verdict.username, verdict.code, verdict.stale) == (None, code, False)
    assert reason in verdict.reason


@pytest.mark.parametrize('texts', [
    [], ['Basic Zm9vOmJhcg=='], ['Digest'], ['Digest ,=,'], ['Digest realm="other"'], ['Bearer x', '', 'x'],
])
def test_no_credentials(server: DigestServer, texts: list[str]) -> None:
    request = Request('INVITE', URI, [('Authorization', text) for text in texts])
    assert server.check(request, USERS.get, 0.0) == Verdict(None, 401, reason='no credentials')
    proxy = DigestServer('r', SECRET, proxy=True)
    assert proxy.check(proven(server), USERS.get, 0.0) == Verdict(None, 407, reason='no credentials')


def test_credentials_among_others(server: DigestServer) -> None:
    request = proven(server)
    request.add('Authorization', 'Digest realm="other",nonce="x"', first=True)
    request.add('Authorization', 'Digest realm="r",algorithm=SHA-3,nonce="x"', first=True)
    assert server.check(request, USERS.get, 0.0).username == 'bob'


def test_the_method_and_body_are_proven(server: DigestServer) -> None:
    request = proven(server, method='REGISTER')
    stolen = Request('INVITE', URI, request.fields)
    assert not server.check(stolen, USERS.get, 0.0).ok
    one = DigestClient(('bob', 'zanzibar'), integrity=True)
    answer = one.answer('INVITE', URI, b'v=0', challenged(server), random.Random(1))
    assert not server.check(attempt(answer, body=b'v=1'), USERS.get, 0.0).ok
    assert server.check(attempt(answer, body=b'v=0'), USERS.get, 0.0).ok


@pytest.mark.parametrize(('uri', 'code'), [
    (URI, 0), ('sip:bob@BILOXI.com;transport=udp', 0), ('sip:bob@biloxi.com:5060', 0), ('sip:alice@biloxi.com', 400),
    ('sip:bob@example.com', 400), ('sip:biloxi.com', 400), ('tel:+1', 400), ('/index.html', 400),
])
def test_the_uri_must_fit(server: DigestServer, uri: str, code: int) -> None:
    request = proven(server, uri=uri)
    assert server.check(request, USERS.get, 0.0, uri_fits=lambda uri, request: False).code == 400
    assert server.check(request, USERS.get, 0.0).code == code
    if code:
        assert server.check(request, USERS.get, 0.0, uri_fits=lambda uri, request: True).ok


def test_nonces_age(server: DigestServer) -> None:
    nonce = parse_challenge(server.challenge(1000.0)[0]).nonce
    assert server.check(proven(server, nonce=nonce), USERS.get, 1300.0).ok
    old = server.check(proven(server, nonce=nonce, count=2), USERS.get, 1300.1)
    assert (old.username, old.code, old.stale) == (None, 401, True)
    # Who does not know the password does not learn more than that.
    assert not server.check(proven(server, nonce=nonce, count=3, password='x'), USERS.get, 1300.1).stale


def test_nonces_are_ours(server: DigestServer) -> None:
    ours = parse_challenge(server.challenge(0.0)[0]).nonce
    serial, issued, mac = ours.split('-')
    theirs = parse_challenge(DigestServer('r', b'another secret').challenge(0.0)[0]).nonce
    other_realm = parse_challenge(DigestServer('x', SECRET).challenge(0.0)[0]).nonce
    for nonce in (theirs, other_realm, f'{serial}0-{issued}-{mac}', f'{serial}-{issued}0-{mac}', f'{serial}-{mac}', mac,
                  'x', '-', f'{serial}-{issued}-\u00e9', f'-{ours}'):
        assert server.check(proven(server, nonce=nonce), USERS.get, 0.0).stale
    assert server.check(proven(server, nonce=ours), USERS.get, 0.0).ok


def test_each_count_once_within_the_window() -> None:
    server = DigestServer('r', SECRET, ['SHA-256'], window=4)
    nonce = parse_challenge(server.challenge(0.0)[0]).nonce
    seen = [(nc, server.check(proven(server, nonce=nonce, count=nc), USERS.get, 0.0).ok)
            for nc in (1, 1, 3, 2, 2, 3, 10, 7, 7, 6, 9, 8, 1, 0x7fffffff, 10, 0x7ffffffc, 0x7ffffffb)]
    assert [nc for nc, passed in seen if passed] == [1, 3, 2, 10, 7, 9, 8, 0x7fffffff, 0x7ffffffc]
    assert server.check(proven(server, nonce=nonce, count=10), USERS.get, 0.0).stale


def test_a_refused_attempt_uses_up_nothing(server: DigestServer) -> None:
    nonce = parse_challenge(server.challenge(0.0)[0]).nonce
    assert not server.check(proven(server, nonce=nonce, password='x'), USERS.get, 0.0).ok
    assert server.check(proven(server, nonce=nonce), USERS.get, 0.0).ok


def test_memory_of_nonces_is_bounded_and_forgets_nothing_that_matters() -> None:
    server = DigestServer('r', SECRET, ['SHA-256'], limit=10)
    for _ in range(1000):
        server.challenge(0.0)
    assert len(server._seen) == 0
    nonces = [parse_challenge(server.challenge(0.0)[0]).nonce for _ in range(40)]
    unused = nonces.pop()
    for nonce in nonces:
        assert server.check(proven(server, nonce=nonce), USERS.get, 0.0).ok
    assert len(server._seen) <= 10
    for nonce in nonces:                    # forgotten ones are not taken for new
        assert server.check(proven(server, nonce=nonce), USERS.get, 0.0).stale
    assert server.check(proven(server, nonce=unused), USERS.get, 0.0).ok
    fresh = parse_challenge(server.challenge(1000.0)[0]).nonce
    assert server.check(proven(server, nonce=fresh), USERS.get, 1000.0).ok
    assert len(server._seen) == 1           # the others ran out


def test_algorithms_that_are_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_supported('sha-256-SESS') and not is_supported('SHA-3')
    with pytest.raises(UsageError, match="'SHA-3' is unknown"):
        DigestServer('r', SECRET, ['SHA-3'])
    monkeypatch.setitem(digest_module._HASHERS, 'sha-512-256', digest_module._hasher('no-such-hash'))
    assert not is_supported('SHA-512-256')
    with pytest.raises(UsageError, match='hashlib was built without it'):
        DigestServer('r', SECRET, ['SHA-512-256-sess'])
    answer = client().answer('INVITE', URI, b'', refused('Digest realm="r",nonce="1",algorithm=SHA-512-256,qop="auth"',
                                                      'Digest realm="r",nonce="2",algorithm=MD5,qop="auth"'),
                             random.Random(1))
    assert fields(answer) == ['Authorization r 2 MD5 auth 00000001']


@pytest.mark.parametrize('options', [{'algorithms': []}, {'secret': b''}, {'qop': ['auth-conf']}])
def test_servers_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        DigestServer(**{'realm': 'r', 'secret': SECRET, **options})       # type: ignore[arg-type]


TEXT = st.text(st.characters(exclude_categories=['Cs']) | st.sampled_from('",=\\ \'*-'), max_size=60)


@given(TEXT, st.sampled_from(['Digest ', 'Digest realm="r",', '', 'Digest realm="r",nonce="1",algorithm=']))
def test_any_text_is_borne(text: str, head: str) -> None:
    clean = ''.join(one for one in text if one not in '\r\n\0')
    client().answer('INVITE', URI, b'', refused(head + clean), random.Random(1))
    client().note(Response(200, '', [('Authentication-Info', clean)]))
    assert not DigestServer('r', SECRET).check(attempt([('Authorization', head + clean)]), USERS.get, 0.0).ok


def test_each_damaged_octet_of_credentials_is_refused(server: DigestServer) -> None:
    request = proven(server)
    text = request.get('Authorization') or ''
    for index in range(len(text)):
        damaged = text[:index] + chr(ord(text[index]) ^ 3) + text[index + 1:]
        verdict = server.check(attempt([('Authorization', damaged)]), USERS.get, 0.0)
        # Case does not matter in names, nor what stands where nobody looks.
        assert not verdict.ok or parse_credentials(damaged) == parse_credentials(text), damaged
    assert server.check(request, USERS.get, 0.0).ok
