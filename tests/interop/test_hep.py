"""HEP packets as Kamailio's sipcapture decodes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from greensip.transaction.flow import Flow, Point
from greensip.transport.hep import HepTap

MESSAGE = (b'INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.9:5061;branch=z9hG4bKabc\r\n'
           b'From: <sip:a@b>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1@x\r\nCSeq: 1 INVITE\r\n'
           b'Max-Forwards: 70\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody')
FLOWS = {'TLS': Flow(Point('TLS', ('127.0.0.9', 5061)), ('192.0.2.1', 40000)),
         'UDP': Flow(Point('UDP', ('fd00::9', 5060)), ('2001:db8::1', 40001))}

CONFIGURATION = """\
debug=1
log_stderror=yes
fork=no
children=1
auto_aliases=no
listen=udp:127.0.0.1:{port}
loadmodule "db_text.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "textops.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "text://{folder}/db")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
{hook}
request_route {{
    xlog("L_ALERT", "MESSAGE from=$proto:$si:$sp method=$rm call_id=$ci body=$rb END\\n");
    drop;
}}
"""
#: with this it tells of the chunks, without it of the message
HOOK = """
modparam("sipcapture", "nonsip_hook", 1)
event_route[sipcapture:request] {
    xlog("L_ALERT", "CHUNKS version=$hep(version) family=$hep(0x001) protocol=$hep(0x002) s4=$hep(0x003) \
d4=$hep(0x004) s6=$hep(0x005) d6=$hep(0x006) sp=$hep(0x007) dp=$hep(0x008) time=$hep(0x009).$hep(0x00a) \
kind=$hep(0x00b) agent=$hep(0x00c) key=$hep(0x00e) correlation=$hep(0x011) END\\n");
}
"""


@pytest.mark.parametrize('hook', [True, False], ids=['chunks', 'message'])
def test_kamailio_decodes_it(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                             free_port: Callable[[], int], hook: bool) -> None:
    needs('kamailio')
    port = free_port()
    (folder / 'db').mkdir()
    (folder / 'db' / 'version').write_text('table_name(string) table_version(int)\n')
    (folder / 'hep.cfg').write_text(CONFIGURATION.format(port=port, folder=folder, hook=HOOK if hook else ''))
    kamailio = peers.Peer('kamailio', ['kamailio', '-f', folder / 'hep.cfg', '-DD', '-E', '-m', '32', '-M', '8'],
                          folder)
    running.append(kamailio)
    kamailio.wait_for_port(port)
    tap = HepTap(f'127.0.0.1:{port}?id=2001&password=secret', epoch=1_700_000_000.0)
    tap('<', MESSAGE, FLOWS['TLS'], 0.5)
    tap('>', MESSAGE, FLOWS['UDP'], 1.5)
    tap.close()
    kamailio.wait_for_text(r'(?s)(CHUNKS|MESSAGE) .*(CHUNKS|MESSAGE) .* END\n')
    told = re.findall(r'(?:CHUNKS|MESSAGE) (.*) END\n', kamailio.printed())
    if hook:
        assert [dict(word.split('=', 1) for word in line.split()) for line in told] == [
            {'version': '3', 'family': '2', 'protocol': '6', 's4': '192.0.2.1', 'd4': '127.0.0.9', 's6': '',
             'd6': '', 'sp': '40000', 'dp': '5061', 'time': '1700000000.500000', 'kind': '1', 'agent': '2001',
             'key': 'secret', 'correlation': 'c1@x'},
            {'version': '3', 'family': '10', 'protocol': '17', 's4': '', 'd4': '', 's6': 'fd00::9',
             'd6': '2001:db8::1', 'sp': '5060', 'dp': '40001', 'time': '1700000001.500000', 'kind': '1',
             'agent': '2001', 'key': 'secret', 'correlation': 'c1@x'}]
    else:
        assert told == ['from=tcp:192.0.2.1:40000 method=INVITE call_id=c1@x body=body',
                        'from=udp:fd00::9:5060 method=INVITE call_id=c1@x body=body']
