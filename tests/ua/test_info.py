"""INFO and its packages (RFC 6086)."""

from __future__ import annotations

import pytest

from greensip import ResponseError, UsageError
from greensip.message import Request
from greensip.ua.info import info_fields, package_of, packages_of

from .conftest import SDP, answering


@pytest.fixture
def alice(agent):
    return agent('alice', info_packages=('foo', 'bar'))


@pytest.fixture
def bob(agent):
    return agent('bob', info_packages=('dtmf',))


def test_both_sides_say_what_they_take(net, alice, bob, to_bob):
    """5.2.3: Recv-Info in the INVITE, and in its 18x and 2xx if it was there."""
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        assert leg.invite.get('Recv-Info') == 'foo, bar'
        assert [response.get('Recv-Info') for response in leg.responses] == ['dtmf', 'dtmf']
        assert leg.info_packages == ('dtmf',)
        peer, = bob.legs
        assert peer.info_packages == ('foo', 'bar')


def test_an_info_of_a_package(net, alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        peer, = bob.legs
        leg.info('dtmf;duration=100', '5', content_type='application/dtmf')
        message = peer.wait_for('INFO').message
        assert message.get('Info-Package') == 'dtmf;duration=100'
        assert message.get('Content-Disposition') == 'Info-Package'
        assert (message.body, message.get('Content-Type')) == (b'5', 'application/dtmf')
        assert peer.info('bar').code == 200


def test_only_what_the_peer_takes(net, alice, bob, to_bob):
    """4.2.1: no INFO of a package that the remote UA has not indicated willingness to receive."""
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        for package in ('foo', 'DTMF', 'no token', ''):
            with pytest.raises(UsageError):
                leg.info(package)
        assert leg.info(None, 'old').code == 200


def test_another_package_is_refused(net, alice, bob, to_bob):
    """4.2.2: 469 with what is taken, and the call goes on."""
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        for fields in ({'Info-Package': 'foo'}, {'Info-Package': ';;'}, {'Info-Package': ''}):
            with pytest.raises(ResponseError) as caught:
                leg.request('INFO', headers=fields)
            assert caught.value.code == 469
            assert caught.value.response.get('Recv-Info') == 'dtmf'
        assert leg.state == 'confirmed'


def test_a_script_answers_itself(net, alice, bob, to_bob):
    def handler(leg):
        leg.manual = ('INFO',)
        leg.answer()
        leg.respond(leg.wait_for('INFO'), 415)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob) as leg:
        with pytest.raises(ResponseError) as caught:
            leg.info('dtmf')
        assert caught.value.code == 415


def test_who_speaks_of_no_packages(net, agent, bob, to_bob):
    """5.2.3: no Recv-Info in a response to a request that had none."""
    bob.serve(answering, background=True)
    with agent('carol').call(to_bob) as leg:
        assert leg.invite.get('Recv-Info') is None
        assert leg.response.get('Recv-Info') is None
        peer, = bob.legs
        assert (leg.info_packages, peer.info_packages) == (None, None)
        with pytest.raises(UsageError, match='it takes none'):
            peer.info('foo')
        with pytest.raises(ResponseError) as caught:
            peer.request('INFO', headers={'Info-Package': 'foo'})
        assert caught.value.code == 469
        assert peer.request('INFO', body='old').code == 200


def test_an_empty_list(net, agent, alice):
    """5.2.2: packages are known, none is taken."""
    agent('carol', info_packages=()).serve(answering, background=True)
    with alice.call(net.uri('carol')) as leg:
        assert leg.response.get_all('Recv-Info') == ['']
        assert leg.info_packages == ()


def test_packages_change_with_a_reinvite(net, alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob, sdp=SDP) as leg:
        peer, = bob.legs
        alice.core.configure(info_packages=('new',))
        bob.core.configure(info_packages=('newer',))
        leg.reinvite()
        assert leg.info_packages == ('newer',)
        assert peer.info_packages == ('new',)
        assert peer.info('new').code == 200
        # 5.2.4: what is refused leaves them as they were
        peer.manual = ('INVITE',)
        peer.spawn(lambda leg: leg.respond(leg.wait_for(lambda event: event.label == 'INVITE' and event.exchange in (
            leg._unanswered or ())), 488))
        alice.core.configure(info_packages=('newest',))
        with pytest.raises(ResponseError):
            leg.reinvite()
        assert peer.info_packages == ('new',)


@pytest.mark.parametrize(('fields', 'packages'), [
    ([], None), ([('Recv-Info', '')], ()), ([('Recv-Info', 'a;x=1, b'), ('Recv-Info', 'c')], ('a', 'b', 'c')),
    ([('Recv-Info', ';')], ()),
])
def test_recv_info(fields, packages):
    assert packages_of(Request('INVITE', 'sip:a@b', fields)) == packages
    assert packages_of(None) is None


def test_the_name_of_a_package():
    assert package_of(Request('INFO', 'sip:a@b', [('Info-Package', 'a;b=c')])) == 'a'
    assert package_of(Request('INFO', 'sip:a@b')) is None
    assert dict(info_fields('a', ('a',)))['Info-Package'] == 'a'
