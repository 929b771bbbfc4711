"""SIPp calls SIPp through greensip-b2bua, one transport in and another out; tshark reads what went through it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import lab, peers
from benchmarks.certificates import Certificate

CALLS = 200


@pytest.mark.parametrize(('inward', 'outward'), [('tcp', 'udp'), ('udp', 'tcp'), ('tcp', 'tcp'), ('tls', 'udp'),
                                                 ('udp', 'tls'), ('tls', 'tcp')])
def test_sipp_calls_sipp(needs: Callable[..., None], running: list[peers.Peer], folder: Path, certificate: Certificate,
                         free_port: Callable[..., int], inward: str, outward: str) -> None:
    needs('sipp', 'tshark')
    for transport in (inward, outward):
        try:
            lab.sipp(transport)
        except peers.PeerError as error:
            # Debian's own SIPp has no TLS.
            pytest.skip(str(error))
    port, callee, capture = free_port(), free_port(), folder / 'calls.pcapng'
    answering = lab.answerers(outward, callee, folder, certificate=certificate)
    running.append(answering)
    listen = [word for transport in dict.fromkeys((inward, outward)) for word in (
        '--listen', f'{transport}:127.0.0.1:{port if transport == inward else 0}'
        + (f'?cert={certificate.cert}&key={certificate.key}&ca={certificate.ca}' if transport == 'tls' else ''))]
    b2bua = peers.Peer('b2bua', [
        sys.executable, '-m', 'greensip.cli.b2bua', '-f', '-u', *listen,
        '-s', f'127.0.0.1:{callee};transport={outward}', '-c', folder / 'socket', '--cdr', folder / 'cdr',
        '--pcap', capture], folder)
    running.append(b2bua)
    b2bua.wait_for_text('listening on')
    calling = lab.callers(inward, port, free_port(), folder, calls=CALLS, rate=100.0, certificate=certificate)
    running.append(calling)
    calling.wait(30)
    assert calling.counts() == {'completed': CALLS, 'failed': 0, 'retransmissions': 0}
    assert b2bua.stop() == 0
    assert (folder / 'cdr').read_text().count('"code":200') == CALLS
    # Wireshark gives some of the ports that may have been free to other protocols: 12000 to 12004 are LLC's.
    fields = ['-d', 'udp.port==1024-65535,sip']
    fields += [word for name in ('sip.Call-ID', 'sip.Via.transport', '_ws.malformed', '_ws.expert.severity')
              for word in ('-e', name)]
    done = subprocess.run(['tshark', '-n', '-r', capture, '-T', 'fields', '-E', 'separator=|', *fields],
                          capture_output=True, check=True, text=True)
    frames = [line.split('|') for line in done.stdout.splitlines()]
    # On each side at least an INVITE, 200, ACK, BYE, 200.
    assert len(frames) >= CALLS * 10
    assert len({call_id for call_id, *_ in frames}) == CALLS * 2
    assert {name.upper() for name in (inward, outward)} == {via for _, via, *_ in frames}
    assert [frame for frame in frames if frame[2] or any(
        int(severity, 0) >= 0x600000 for severity in frame[3].split(',') if severity)] == []
