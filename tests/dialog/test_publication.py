"""Publications as machines (RFC 3903 4 and 5): every arrow, and what a compositor may do to them."""

from __future__ import annotations

import pytest

from greensip.dialog.publication import ClientPublication
from greensip.errors import LocalHangup, ResponseError, TransactionTimeout, UsageError, WrongState

from .conftest import never_walked

pytestmark = pytest.mark.usefixtures('walked')


class Pair:
    """Alice publishes at bob's, who answers what ``answers`` says, the last one again and again."""

    def __init__(self, world):
        self.world = world
        self.alice = world.party('alice', 5060)
        self.bob = world.party('bob', 5070)
        self.bob.core.configure(allow=[*self.bob.core.allow, 'PUBLISH'])
        self.answers = [(200, {})]
        self.bob.on['PUBLISH'] = self.answer
        self.tags = 0

    def answer(self, event):
        code, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if code == 200 and 'SIP-ETag' not in headers:
            self.tags += 1
            headers = {'SIP-ETag': f't{self.tags}', **headers}
        fields = [(name, text) for name, text in headers.items() if text is not None]
        self.bob.core.respond(event.exchange, code, self.world.now, headers=fields)

    def publish(self, **options):
        options = {'from_': self.alice.uri, 'content_type': 'text/plain', **options}
        return self.alice.core.publish(self.bob.uri, 'presence', b'1', self.world.now, **options)

    def published(self, **options):
        pub = self.publish(**options)
        self.world.run(1)
        assert pub.state == 'published'
        return pub

    def sent(self):
        return [(message.body, message.get('SIP-If-Match'), message.expires)
                for _, _, message in self.world.messages if getattr(message, 'method', '') == 'PUBLISH']

    def error(self):
        return self.alice.last('ended').error

    def idle(self):
        self.world.run(40)
        assert self.world.idle()
        assert not self.alice.core.publications


@pytest.fixture
def pair(world):
    return Pair(world)


def test_initial_refresh_modify_remove(pair, world):
    pub = pair.published(expires=600)
    world.run(520)
    pub.modify(world.now, b'2', 'text/plain')
    world.run(1)
    pub.remove(world.now)
    world.run(1)
    assert pair.sent() == [(b'1', None, 600), (b'', 't1', 600), (b'2', 't2', 600), (b'', 't3', 0)]
    assert isinstance(pair.error(), LocalHangup)
    pair.idle()


def test_one_at_a_time(pair, world):
    """4: no new PUBLISH before the final response to the one before; only the latest document waits."""
    pub = pair.publish()
    for number in range(2, 6):
        pub.modify(world.now, b'%d' % number, 'text/plain')
    world.run(1)
    assert [body for body, _, _ in pair.sent()] == [b'1', b'5']
    assert pub.answered == pub.version == 5


def test_removed_while_one_is_out(pair, world):
    pub = pair.publish()
    pub.remove(world.now)
    pub.remove(world.now)
    with pytest.raises(WrongState):
        pub.modify(world.now, b'2', None)
    with pytest.raises(WrongState):
        pub.refresh(world.now)
    world.run(1)
    assert pair.sent() == [(b'1', None, 3600), (b'', 't1', 0)]
    pair.idle()


def test_granted_less(pair, world):
    pair.answers = [(200, {'Expires': '100'})]
    pair.published(expires=600)
    world.run(52)
    assert len(pair.sent()) == 2


def test_412(pair, world):
    """5: the entity-tag is discarded, and the state published anew."""
    pub = pair.published()
    pair.answers = [(412, {}), (200, {})]
    pub.refresh(world.now)
    world.run(1)
    assert pair.sent() == [(b'1', None, 3600), (b'', 't1', 3600), (b'1', None, 3600)]
    assert pub.etag == 't2'


def test_412_to_everything(pair, world):
    pub = pair.published()
    pair.answers = [(412, {})]
    pub.refresh(world.now)
    world.run(1)
    assert pair.error().code == 412
    assert len(pair.sent()) == 3
    pair.idle()


def test_an_etag_from_before(pair, world):
    pair.published(etag='old')
    assert pair.sent() == [(b'1', 'old', 3600)]


def test_423(pair, world):
    pair.answers = [(423, {'Min-Expires': '900'}), (200, {})]
    pub = pair.published(expires=60)
    assert [expires for _, _, expires in pair.sent()] == [60, 900]
    assert pub.expires == 900


@pytest.mark.parametrize('headers', [{}, {'Min-Expires': '5'}, {'Min-Expires': 'soon'}])
def test_423_that_says_nothing(pair, world, headers):
    pair.answers = [(423, headers)]
    pair.publish(expires=60)
    world.run(1)
    assert (pair.error().code, len(pair.sent())) == (423, 1)
    pair.idle()


def test_a_longer_time_than_was_asked_for(pair, world):
    """6: the compositor may choose less than was asked for, and not more."""
    pair.answers = [(200, {'Expires': '86400'})]
    pair.published(expires=600)
    world.run(520)
    assert len(pair.sent()) == 2


def test_423_for_ever(pair, world):
    pair.answers = [(423, {'Min-Expires': str(number)}) for number in range(100, 200)]
    pair.publish(expires=60)
    world.run(1)
    assert len(pair.sent()) == 4
    assert pair.error().code == 423


@pytest.mark.parametrize('code', [403, 404, 489, 500, 503])
def test_the_first_one_is_refused(pair, world, code):
    pair.answers = [(code, {})]
    pair.publish()
    world.run(1)
    assert isinstance(pair.error(), ResponseError)
    assert pair.error().code == code
    pair.idle()


def test_a_document_that_is_refused(pair, world):
    """The one before stands, and is refreshed."""
    pub = pair.published(expires=600)
    pair.answers = [(415, {}), (200, {})]
    pub.modify(world.now, b'2', 'text/html')
    world.run(1)
    assert (pub.state, pub.outcome.code, pub.answered) == ('published', 415, 2)
    world.run(520)
    assert pair.sent()[-1] == (b'', 't1', 600)


def test_a_refresh_that_is_refused_for_good(pair, world):
    pub = pair.published()
    pair.answers = [(404, {})]
    pub.refresh(world.now)
    world.run(1)
    assert pair.error().code == 404
    pair.idle()


def test_a_compositor_that_is_out_of_order_for_a_while(pair, world):
    pub = pair.published()
    pair.answers = [(503, {'Retry-After': '40'}), (500, {}), (200, {})]
    pub.modify(world.now, b'2', 'text/plain')
    world.run(1)
    assert pub.state == 'waiting'
    world.run(38)
    assert len(pair.sent()) == 2
    world.run(10)
    assert pub.state == 'published'
    assert pair.sent()[-1] == (b'2', 't1', 3600)
    assert len(pair.sent()) == 4


def test_a_compositor_that_does_not_answer_for_a_while(pair, world):
    pub = pair.published(expires=600)
    world.rule = lambda source, target, message: True
    world.run(520 + 33)
    assert pub.state in ('waiting', 'publishing')
    assert isinstance(pair.alice.last('failed').error, TransactionTimeout)
    world.rule = lambda source, target, message: False
    world.run(40)
    assert pub.state == 'published'


def test_a_new_document_need_not_wait(pair, world):
    pub = pair.published()
    pair.answers = [(503, {'Retry-After': '4000'}), (200, {})]
    pub.refresh(world.now)
    world.run(1)
    assert pub.state == 'waiting'
    pub.modify(world.now, b'2', 'text/plain')
    world.run(1)
    assert pub.state == 'published'


def test_removed_while_waiting(pair, world):
    pub = pair.published()
    pair.answers = [(503, {'Retry-After': '4000'}), (200, {})]
    pub.refresh(world.now)
    world.run(1)
    pub.remove(world.now)
    world.run(1)
    assert pair.sent()[-1] == (b'', 't1', 0)
    pair.idle()


def test_removed_while_the_refresh_fails(pair, world):
    pub = pair.published()
    pair.answers = [(503, {})]
    pub.refresh(world.now)
    pub.remove(world.now)
    world.run(1)
    assert pub.state == 'ended'
    pair.idle()


def test_a_removal_that_nobody_answers(pair, world):
    pub = pair.published()
    world.rule = lambda source, target, message: True
    pub.remove(world.now)
    world.run(33)
    assert pub.state == 'ended'
    pair.idle()


def test_a_compositor_without_entity_tags(pair, world):
    """It breaks RFC 3903 6; its state can only be published anew, and cannot be removed."""
    pair.answers = [(200, {'SIP-ETag': None})]
    pub = pair.published(expires=600)
    world.run(520)
    assert pair.sent() == [(b'1', None, 600)] * 2
    pub.remove(world.now)
    assert pub.state == 'ended'
    pair.idle()


def test_nobody_there(pair, world):
    world.rule = lambda source, target, message: True
    pair.publish()
    world.run(33)
    assert isinstance(pair.error(), TransactionTimeout)
    pair.idle()


@pytest.mark.parametrize(('field', 'code'), [('Expires', 200), ('Retry-After', 503)])
def test_broken_fields_in_a_response(pair, world, field, code):
    pair.published()
    pair.answers = [(code, {field: 'soon'}), (200, {})]
    pub, = pair.alice.core.publications
    pub.refresh(world.now)
    world.run(60)
    assert pub in pair.alice.core.publications
    pub.remove(world.now)
    pair.idle()


def test_usage_errors(pair, world):
    core = pair.alice.core
    with pytest.raises(UsageError):
        core.publish(pair.bob.uri, 'presence', b'', world.now, content_type=None, from_=pair.alice.uri)
    with pytest.raises(UsageError):
        pair.publish(expires=0)
    with pytest.raises(UsageError):
        pair.publish(headers=[('CSeq', '1')])
    pub = pair.published()
    with pytest.raises(UsageError):
        pub.modify(world.now, b'', None)
    with pytest.raises(WrongState):
        pub.start(world.now)
    pub.remove(world.now)
    pair.idle()


def test_every_arrow_was_walked(request, walked):
    """Kept last: together the stories above go along each row."""
    assert never_walked(request, walked, ClientPublication) == []
