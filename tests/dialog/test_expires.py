"""The Expires of an INVITE: RFC 3261 13.2.1 and 13.3.1, as ladders."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from greensip.dialog import ENDED
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.invite_server import ServerInvite
from greensip.errors import (
    InviteExpired,
    LocalHangup,
    RequestTerminated,
)

from .calls import (
    call,
    header,
    hung_up,
    progress,
    reply,
    ringing,
    says,
    sent,
)
from .conftest import ANSWER, Party, World, lines, name_of, never_walked, speaks

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def tags() -> Sequence[str]:
    return ('100rel', '199')


def test_an_invitation_that_expires_at_the_callee(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, headers=[('Expires', '3')])
    progress(bob, peer, 180)
    world.run(5)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 487 INVITE
        alice -> bob: ACK
    """)
    assert isinstance(bob.last(ENDED).error, InviteExpired)
    assert isinstance(alice.last(ENDED).error, RequestTerminated)
    assert usage.state == 'terminated'


def test_one_that_expires_before_anything_was_said_and_one_whose_2xx_waits(world: World, bob: Party) -> None:
    alice = speaks(world.party('alice', 5060), '100rel', '199')
    _, peer = ringing(world, alice, bob, headers=[('Expires', '1')])
    world.run(2)
    assert peer.state == 'terminated' and isinstance(bob.last(ENDED).error, InviteExpired)
    world.rule = lambda source, target, message: name_of(message) == 'PRACK'
    _, peer = ringing(world, alice, bob, headers=[('Expires', '1')])
    progress(bob, peer, body=ANSWER)
    peer.respond(200, world.now)
    world.run(2)
    assert peer.state == 'terminated' and isinstance(bob.last(ENDED).error, InviteExpired)
    world.run(100)
    assert world.idle()


def test_the_caller_gives_up_when_it_expires(world: World, alice: Party) -> None:
    usage = call(alice, expires=3)
    says(alice, reply(sent(alice), 180))
    assert header(alice, 'Expires') == '3'
    world.ladder()
    world.run(5)
    assert world.ladder()[0] == 'alice -> 127.0.0.1:5080: CANCEL'
    says(alice, reply(sent(alice), 487))
    assert usage.state == 'terminated'


def test_an_answered_call_does_not_expire(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, expires=3)
    peer.respond(200, world.now, body=ANSWER)
    world.run(60)
    assert usage.state == peer.state == 'confirmed'
    assert hung_up(world, usage)
    assert isinstance(alice.last(ENDED).error, LocalHangup)


def test_a_broken_expires_is_a_bad_request(world: World, alice: Party, bob: Party) -> None:
    call(alice, bob, headers=[('Expires', 'soon')])
    world.run(1)
    assert world.ladder()[1] == 'bob -> alice: 400 INVITE'
    assert not bob.core.usages


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row that Expires adds."""
    assert never_walked(request, walked, ClientInvite, ServerInvite, wanted=lambda row: row.event == 'expired') == []
