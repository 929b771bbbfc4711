"""What sippy asks with ``'my' in dir(value)`` has the same answer on the shim."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable

import pytest

pytest.importorskip('sippy')

from sippy.SipConf import MyAddress, MyPort, MyTransport, SipConf
from sippy.SipURL import SipURL
from sippy.SipVia import SipVia

import greensip.compat.sippy  # noqa: F401
from greensip.compat.sippy.imports import marks


class Own(MyAddress):
    """A program's own way to say 'my address'."""


MARKED = [SipConf.my_address, SipConf.my_port, SipConf.my_transport, MyAddress(), MyPort(5080), MyTransport('tcp'),
          Own()]


@pytest.mark.parametrize('value', [*MARKED, '127.0.0.1', 5060, None, 'my', ('my',), object()],
                         ids=lambda value: repr(value).partition(' at ')[0])
def test_marks(value: object) -> None:
    assert ('my' in marks(value)) == ('my' in dir(value)) == (value in MARKED)


@pytest.mark.parametrize('local', [None, (('192.0.2.1', 5060), 'udp'), (('192.0.2.1', 5070), 'udp'),
                                   (('192.0.2.1', 5060), 'tcp'), (('192.0.2.1', 443), 'wss')], ids=str)
@pytest.mark.parametrize('written', [
    lambda local: SipURL('sip:alice@example.com').localStr(local),
    lambda local: SipURL('sip:alice@192.0.2.9:5080;transport=tcp;lr').localStr(local),
    lambda local: SipURL('sip:example.com:5060').localStr(local),
    lambda local: SipURL().localStr(local),
    lambda local: SipURL(username='bob', host=SipConf.my_address, port=SipConf.my_port).localStr(local),
    lambda local: SipVia().localStr(local),
    lambda local: parsed(SipVia('SIP/2.0/TCP 192.0.2.7:5071;branch=z9hG4bK1;rport')).localStr(local),
])
def test_addresses_are_written_as_before(written: Callable[[object], str], local: object,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_shim = written(local)
    for name in ('SipURL', 'SipVia', 'SipConf'):
        monkeypatch.setattr(sys.modules[f'sippy.{name}'], 'dir', builtins.dir)
    assert on_the_shim == written(local)


def parsed(header: SipVia) -> SipVia:
    """After it was read, which sippy does when it needs it."""
    header.parse()
    return header
