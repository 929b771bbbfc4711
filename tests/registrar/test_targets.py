"""The order of calls."""

from __future__ import annotations

import pytest

from greensip.errors import ConnectError, TransactionTimeout, WaitTimeout, response_error
from greensip.registrar import Binding
from greensip.registrar.targets import speaks_for_the_flow, waves


def binding(name, q=1.0, instance='', updated=0.0, scheme='sip:'):
    return Binding(f'{scheme}{name}@h', call_id='1', cseq=1, expires=1.0, q=q, instance=instance, updated=updated)


def names(found):
    return [[[one.contact[4:-2] for one in target.bindings] for target in wave] for wave in found]


@pytest.mark.parametrize(('bindings', 'expected'), [
    ([], []),
    ([binding('a'), binding('b')], [[['a'], ['b']]]),
    # RFC 3261 16.6: by q
    ([binding('a', 0.3), binding('b', 0.7), binding('c', 0.7)], [[['b'], ['c']], [['a']]]),
    # RFC 5626 7: one phone, the flow that was registered last first
    ([binding('a', instance='x', updated=1.0), binding('b'), binding('c', instance='x', updated=2.0)],
     [[['c', 'a'], ['b']]]),
    ([binding('a', 0.2, 'x'), binding('b', 0.5), binding('c', 0.9, 'x')], [[['c', 'a']], [['b']]]),
    # what cannot be called
    ([binding('a', scheme='mailto:'), binding('b')], [[['b']]]),
], ids=str)
def test_waves(bindings, expected):
    assert names(waves(bindings)) == expected


def test_a_target_gives_one_after_the_other():
    (target,), = waves([binding('a', instance='x', updated=1.0), binding('b', instance='x', updated=2.0)])
    assert [target.next().contact, target.next().contact, target.next()] == ['sip:b@h', 'sip:a@h', None]


@pytest.mark.parametrize(('error', 'expected'), [
    (response_error(430, 'Flow Failed'), True), (response_error(408, ''), True), (ConnectError('gone'), True),
    (TransactionTimeout('no answer'), True), (response_error(486, 'Busy'), False), (response_error(503, ''), False),
    (WaitTimeout('nobody'), False), (None, False),
])
def test_what_speaks_for_the_flow(error, expected):
    assert speaks_for_the_flow(error) is expected
