"""Early dialogs that end: RFC 6228, as ladders."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from greensip.dialog import RESPONSE
from greensip.dialog.invite_client import ClientInvite

from .calls import (
    ask,
    call,
    rel,
    reply,
    says,
    sent,
)
from .conftest import ANSWER, Party, World, never_walked, speaks

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def tags() -> Sequence[str]:
    return ('100rel', '199')


def test_a_199_ends_one_early_dialog(lone: Party) -> None:
    usage = call(lone)
    invite = sent(lone)
    for tag in ('one', 'two'):
        says(lone, reply(invite, 180, tag=tag))
    says(lone, reply(invite, 199, tag='two', extra='Reason: SIP;cause=486'))
    assert set(usage.dialogs) == {'one'} and usage.dialog.remote_tag == 'one'
    assert usage.state == 'early' and lone.last(RESPONSE).code == 199
    says(lone, reply(invite, 199, tag='one'))
    assert usage.dialog is None and usage.state == 'proceeding' and not lone.core.dialogs
    # One for what is not there is discarded.
    count = len(lone.events)
    says(lone, reply(invite, 199, tag='one'), reply(invite, 199, tag='never'))
    assert len(lone.events) == count
    says(lone, reply(invite, 200, tag='three', body=ANSWER))
    assert usage.state == 'confirmed' and usage.dialog.remote_tag == 'three'
    usage.bye(lone.world.now)


def test_a_request_in_a_dialog_that_a_199_ended_gets_481(lone: Party) -> None:
    """RFC 6228 7: as if the final response had come."""
    usage = call(lone)
    says(lone, reply(sent(lone), 180, tag='one'), reply(sent(lone), 180, tag='two'))
    update = ask(usage, 'UPDATE', 7, tag='one')
    says(lone, reply(sent(lone), 199, tag='one'))
    assert says(lone, update) == ['481 UPDATE']
    usage.close(lone.world.now)


def test_a_reliable_199_is_acknowledged_even_where_there_is_no_dialog(lone: Party) -> None:
    usage = call(lone)
    assert says(lone, reply(sent(lone), **rel(199, 5, 'unknown'))) == ['PRACK']
    assert usage.dialogs == {} and usage.state == 'calling'
    says(lone, reply(sent(lone), **rel(180, 8, 'known')))
    assert says(lone, reply(sent(lone), **rel(199, 9, 'known'))) == ['PRACK']
    assert usage.dialogs == {} and usage.state == 'proceeding'
    usage.close(lone.world.now)


def test_a_199_while_we_cancel(lone: Party) -> None:
    usage = call(lone)
    for tag in ('one', 'two'):
        says(lone, reply(sent(lone), 180, tag=tag))
    usage.cancel(lone.world.now)
    says(lone, reply(sent(lone), 199, tag='two'))
    assert set(usage.dialogs) == {'one'}
    says(lone, reply(sent(lone), 199, tag='one'))
    assert usage.state == 'cancelling' and not lone.core.dialogs
    says(lone, reply(sent(lone), 487))
    assert usage.state == 'terminated'


def test_who_does_not_know_199_takes_it_for_progress(world: World) -> None:
    party = speaks(world.party('alice', 5060), '100rel')
    usage = call(party)
    says(party, reply(sent(party), 180), reply(sent(party), 199))
    assert usage.state == 'early' and len(usage.dialogs) == 1
    usage.close(world.now)


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row that RFC 6228 adds."""
    assert never_walked(request, walked, ClientInvite, wanted=lambda row: row.event in ('199', 'last 199')) == []
