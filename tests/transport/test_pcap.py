"""Capture files, as Wireshark's tshark reads them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks.certificates import Authority

from greensip.errors import SetupError
from greensip.testing import Network
from greensip.transaction.flow import Flow, Point
from greensip.transport.pcap import LARGEST_PACKET, PcapTap, udp_packet
from greensip.transport.stun import answer_binding, binding_request
from greensip.ua import UserAgent

TRANSPORTS = ('UDP', 'TCP', 'TLS', 'WS', 'WSS')
ADDRESSES = {4: (('127.0.0.9', 5065), ('192.0.2.1', 40001)), 6: (('fd00::9', 443), ('2001:db8::1', 40002))}


def message(transport: str = 'UDP', body: bytes = b'', call_id: str = 'c1@x', start: str = '') -> bytes:
    head = (f'{start or "INVITE sip:bob@example.com SIP/2.0"}\r\n'
            f'Via: SIP/2.0/{transport} 127.0.0.1:5060;branch=z9hG4bKabc\r\n'
            'From: "A" <sip:alice@example.com>;tag=f1\r\nTo: <sip:bob@example.com>\r\n'
            f'Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@127.0.0.1>\r\nMax-Forwards: 70\r\n'
            f'Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n')
    return head.encode() + body


def flow(transport: str = 'UDP', family: int = 4) -> Flow:
    ours, theirs = ADDRESSES[family]
    return Flow(Point(transport, ours, reliable=transport != 'UDP'), theirs)


Read = Callable[[Path | str], list[dict[str, Any]]]


@pytest.fixture
def tshark(absent: Callable[[str], None]) -> Read:
    """Reads a file: what tshark found in each frame.  Fails if it found anything to complain about."""
    if shutil.which('tshark') is None:
        absent('tshark')

    def read(path: Path | str) -> list[dict[str, Any]]:
        done = subprocess.run(['tshark', '-n', '-r', str(path), '-T', 'json', '--no-duplicate-keys'],
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert b'corrupt' not in done.stderr and b'cut short' not in done.stderr
        frames = [packet['_source']['layers'] for packet in json.loads(done.stdout)]
        # Neither a malformed frame, nor an error, nor a warning (0x600000); all of it is SIP.
        assert b'_ws.malformed' not in done.stdout
        severities = re.findall(rb'"_ws.expert.severity": "?(\w+)', done.stdout)
        assert [severity for severity in severities if int(severity, 0) >= 0x600000] == []
        assert all('sip' in frame for frame in frames)
        return frames

    return read


def test_the_reader_complains(tshark: Read, tmp_path: Path) -> None:
    """So that what follows means something: a frame that ends too early, and one that is no SIP."""
    for number, data in enumerate((udp_packet(message(), *ADDRESSES[4])[:24], udp_packet(b'x' * 50, *ADDRESSES[4]))):
        path = tmp_path / f'{number}.pcap'
        PcapTap(str(path)).close()
        with path.open('ab') as file:
            file.write(struct.pack('<IIII', 0, 0, len(data), len(data)) + data)
        with pytest.raises(AssertionError):
            tshark(path)


# -- what is in it


@pytest.mark.parametrize('family', [4, 6])
@pytest.mark.parametrize('transport', TRANSPORTS)
def test_pcapng_shows_every_transport(tshark: Read, tmp_path: Path, transport: str, family: int) -> None:
    path = tmp_path / 'calls.pcapng'
    tap = PcapTap(str(path), epoch=1_700_000_000.0)
    ours, theirs = ADDRESSES[family]
    body = b'one line\r\n' * 50
    tap('<', message(transport, body), flow(transport, family), 1.25)
    tap('>', message(transport, start='SIP/2.0 180 Ringing'), flow(transport, family), 1.5)
    tap.close()
    first, second = tshark(path)
    assert float(first['frame']['frame.time_epoch']) == 1_700_000_001.25
    assert transport.lower() in json.dumps(first['frame'])
    assert [frame['frame']['frame.packet_flags_tree']['frame.packet_flags_direction'] for frame in (first, second)] == [
        '0x00000001', '0x00000002']
    addresses = [where_from(frame, family) for frame in (first, second)]
    assert addresses == [(*theirs, *ours), (*ours, *theirs)]
    # A stream shows as TCP, without the frames that it never had.
    assert ('exported_pdu' in first) == (transport != 'UDP') == ('udp' not in first)
    assert first['sip']['sip.Request-Line'] == 'INVITE sip:bob@example.com SIP/2.0'
    assert first['sip']['sip.msg_hdr_tree']['sip.Via_tree']['sip.Via.transport'] == transport
    assert first['sip']['sip.msg_hdr_tree']['sip.Content-Length'] == str(len(body))
    assert second['sip']['sip.Status-Line'] == 'SIP/2.0 180 Ringing'


def where_from(frame: dict[str, Any], family: int) -> tuple[str, int, str, int]:
    name = 'ip' if family == 4 else 'ipv6'
    if name in frame:
        inner = frame['udp']
        return (frame[name][f'{name}.src'], int(inner['udp.srcport']), frame[name][f'{name}.dst'],
                int(inner['udp.dstport']))
    trees = json.dumps(frame['exported_pdu']['exported_pdu.tag_tree'])
    pdu = dict(re.findall(r'"(exported_pdu\.\w+)": "([^"]*)"', trees))
    return (pdu[f'exported_pdu.ipv{family}_src'], int(pdu['exported_pdu.src_port']),
            pdu[f'exported_pdu.ipv{family}_dst'], int(pdu['exported_pdu.dst_port']))


@pytest.mark.parametrize('family', [4, 6])
def test_pcap_shows_every_transport_as_datagrams(tshark: Read, tmp_path: Path, family: int) -> None:
    path = tmp_path / 'calls.pcap'
    tap = PcapTap(str(path), epoch=1_700_000_000.0)
    for number, transport in enumerate(TRANSPORTS):
        # Of even and of odd length: the checksum of a datagram over IPv6 must be right.
        tap('<' if number % 2 else '>', message(transport, b'x' * number), flow(transport, family), 0.000001 * number)
    tap.close()
    frames = tshark(path)
    assert len(frames) == len(TRANSPORTS)
    ours, theirs = ADDRESSES[family]
    assert [where_from(frame, family) for frame in frames] == [
        (*theirs, *ours) if number % 2 else (*ours, *theirs) for number in range(len(TRANSPORTS))]
    assert [frame['sip']['sip.msg_hdr_tree']['sip.Via_tree']['sip.Via.transport'] for frame in frames] == [*TRANSPORTS]
    assert frames[-1]['frame']['frame.time_epoch'] == '1700000000.000004000'


def test_checksums_are_right(tshark: Read, tmp_path: Path) -> None:
    path = tmp_path / 'calls.pcap'
    tap = PcapTap(str(path))
    for size in range(9):
        for family in (4, 6):
            tap('>', message(body=b'\xff' * size), flow('UDP', family), 0.0)
    tap.close()
    # Status 1 is "good", 2 "unverified", 3 "not present", which is UDP's privilege over IPv4.
    done = subprocess.run(['tshark', '-n', '-r', str(path), '-o', 'ip.check_checksum:TRUE', '-o',
                           'udp.check_checksum:TRUE', '-T', 'fields', '-e', 'ip.checksum.status', '-e',
                           'udp.checksum.status'], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == ['1\t3', '\t1'] * 9


@pytest.mark.parametrize('suffix', ['pcap', 'pcapng'])
@pytest.mark.parametrize('transport', ['UDP', 'TLS'])
@pytest.mark.parametrize('size', [65_000, 66_000, 300_000])
def test_large_messages(tshark: Read, tmp_path: Path, suffix: str, transport: str, size: int) -> None:
    """One of 300 kB is over what fits in any packet: it is cut, and its header fields can be read."""
    path = tmp_path / f'calls.{suffix}'
    tap = PcapTap(str(path))
    for family in (4, 6):
        tap('>', message(transport, b'x' * size), flow(transport, family), 0.0)
    tap('>', message(transport), flow(transport), 0.0)
    tap.close()
    frames = tshark(path)
    assert len(frames) == 3
    assert [int(frame['sip']['sip.msg_hdr_tree']['sip.Content-Length']) for frame in frames] == [size, size, 0]
    whole = size < 65_500 or (suffix == 'pcapng' and transport == 'TLS' and size < LARGEST_PACKET)
    assert [len(frame['sip']['sip.msg_body']) > 0 for frame in frames[:2]] == [True, True]
    assert (int(frames[0]['frame']['frame.len']) > size) == whole


def test_stun_as_tshark_understands_it(tshark: Read, tmp_path: Path) -> None:
    """Not that captures hold any: it is our STUN that is looked at."""
    number = bytes(range(12))
    unknown = binding_request(number)[:2] + b'\0\4' + binding_request(number)[4:] + b'\0\x24\0\0'
    for family in (4, 6):
        ours, theirs = ADDRESSES[family]
        tap = PcapTap(str(tmp_path / 'stun.pcap'))
        for data in (binding_request(number), answer_binding(binding_request(number), theirs),
                     answer_binding(unknown, theirs)):
            tap('>', data or b'', flow('UDP', family), 0.0)
        tap.close()
        fields = ('stun.type', 'stun.id', f'stun.att.ipv{family}', 'stun.att.port', 'stun.att.error.class',
                  'stun.att.error', '_ws.malformed', '_ws.expert.severity')
        shown = [word for name in fields for word in ('-e', name)]
        done = subprocess.run(['tshark', '-n', '-r', str(tmp_path / 'stun.pcap'), '-d', f'udp.port=={ours[1]},stun',
                               '-T', 'fields', '-E', 'separator=|', *shown], capture_output=True, check=True, text=True)
        kind, *rest = (line.split('|') for line in done.stdout.splitlines())
        assert kind[:2] == ['0x0001', number.hex()] and rest[0][:4] == [
            '0x0101', number.hex(), theirs[0], str(theirs[1])]
        assert rest[1][0] == '0x0111' and rest[1][4:6] == ['4', '20']
        assert [line[6] for line in (kind, *rest)] == [''] * 3


def test_places_are_interfaces(tshark: Read, tmp_path: Path) -> None:
    path = tmp_path / 'calls.PcapNG'
    tap = PcapTap(str(path))
    for transport in ('UDP', 'TLS', 'UDP', 'WSS', 'TLS'):
        tap('<', message(transport), flow(transport), 0.0)
    tap.close()
    done = subprocess.run(['tshark', '-n', '-r', str(path), '-T', 'fields', '-e', 'frame.interface_name'],
                          capture_output=True, check=True, text=True)
    tls, udp, wss = (f'{name}:127.0.0.9:5065' for name in ('tls', 'udp', 'wss'))
    assert done.stdout.split() == [udp, tls, udp, wss, tls]
    tshark(path)


def test_a_wildcard_address_is_not_shown() -> None:
    seen = flow()
    face = Point('UDP', ('0.0.0.0', 5060), advertised=('192.0.2.7', 5060))
    packet = udp_packet(b'x', ('192.0.2.7', 5060), seen.remote)
    assert packet[12:20] == bytes((192, 0, 2, 7, 192, 0, 2, 1))
    from greensip.transport.wire import endpoints
    assert endpoints('>', Flow(face, seen.remote)) == (('192.0.2.7', 5060), seen.remote)
    assert endpoints('<', Flow(face, seen.remote)) == (seen.remote, ('192.0.2.7', 5060))


def test_the_zone_of_a_link_local_address_is_left_out() -> None:
    packet = udp_packet(b'x', ('fe80::1%eth0', 5060), ('fe80::2', 5060))
    assert packet[8:40] == bytes.fromhex('fe80' + '00' * 13 + '01' + 'fe80' + '00' * 13 + '02')


def test_a_name_that_is_advertised_is_no_address() -> None:
    """It cannot be written as one; the packet is whole all the same."""
    packet = udp_packet(b'hello', ('sip.example.com', 5060), ('2001:db8::1', 5060))
    assert packet[0] >> 4 == 6 and packet.endswith(b'hello')


# -- the file


def test_a_user_agent_writes_its_calls(tshark: Read, tmp_path: Path) -> None:
    path = tmp_path / 'calls.pcapng'
    with Network() as net:
        alice = net.user_agent('alice', pcap=str(path))
        bob = net.user_agent('bob')
        bob.serve(lambda leg: (leg.answer(), leg.wait_ended()), background=True)
        with alice.call(net.uri('bob'), timeout=5):
            net.run(1)
        net.run(1)
        assert [type(tap) for tap in alice.endpoint.taps] == [PcapTap]
        assert bob.endpoint.taps == []
        alice.close()
        assert alice.endpoint.taps == []
    frames = tshark(path)
    assert [frame['sip'].get('sip.Request-Line', frame['sip'].get('sip.Status-Line', '')).split(' sip')[0]
            for frame in frames] == ['INVITE', 'SIP/2.0 200 OK', 'ACK', 'BYE', 'SIP/2.0 200 OK']
    # In the network's own time.
    times = [float(frame['frame']['frame.time_relative']) for frame in frames]
    assert times == pytest.approx([0, 0.02, 0.02, 1.02, 1.04], abs=1e-3)


@pytest.mark.parametrize('place', ['udp:127.0.0.1:0', 'udp:[::1]:0', 'tcp:127.0.0.1:0', 'tcp:[::1]:0',
                                   'tls:127.0.0.1:0', 'ws:127.0.0.1:0', 'wss:[::1]:0'])
@pytest.mark.parametrize('suffix', ['pcap', 'pcapng'])
def test_calls_over_real_transports(tshark: Read, tmp_path: Path, place: str, suffix: str) -> None:
    """What tshark shows is what was sent, on both sides, in the clear."""
    if place.startswith(('tls', 'wss')):
        made = Authority(tmp_path).issue()
        place += f'?cert={made.cert}&key={made.key}&ca={made.ca}'
    files = tmp_path / f'alice.{suffix}', tmp_path / f'bob.{suffix}'
    sent: list[tuple[str, bytes]] = []
    with (UserAgent(place, watchdog=None, pcap=str(files[0])) as alice,
          UserAgent(place, watchdog=None, pcap=str(files[1])) as bob):
        alice.endpoint.taps.append(lambda direction, data, flow, now: sent.append((direction, data)))
        bob.serve(lambda leg: (leg.ring(), leg.answer(), leg.wait_ended()), background=True)
        with alice.call(bob.uri, timeout=5):
            pass
        with gevent.Timeout(5):
            while len(sent) < 6:
                gevent.sleep(0.001)
        ports = alice.points[0].address[1], bob.points[0].address[1]
    lines = [data.split(b'\r\n')[0].decode() for _, data in sent]
    assert [line.split(' sip')[0] for line in lines] == [
        'INVITE', 'SIP/2.0 180 Ringing', 'SIP/2.0 200 OK', 'ACK', 'BYE', 'SIP/2.0 200 OK']
    for file in files:
        frames = [frame['sip'] for frame in tshark(file)]
        assert [frame.get('sip.Request-Line') or frame['sip.Status-Line'] for frame in frames] == lines
        assert [frame['sip.msg_hdr'] for frame in frames] == [
            data.partition(b'\r\n')[2].decode() for _, data in sent]
    family = 6 if '[' in place else 4
    assert [where_from(frame, family)[1] for frame in tshark(files[0])] == [
        ports[0] if direction == '>' else ports[1] for direction, _ in sent]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / 'calls.pcap'
    PcapTap(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_an_old_file_is_replaced(tshark: Read, tmp_path: Path) -> None:
    path = tmp_path / 'calls.pcap'
    path.write_bytes(b'x' * 10_000)
    tap = PcapTap(str(path))
    tap('>', message(), flow(), 0.0)
    tap.close()
    tap.close()
    tap('>', message(), flow(), 0.0)
    assert len(tshark(path)) == 1


@pytest.mark.parametrize('suffix', ['pcap', 'pcapng'])
def test_it_is_opened_again(tshark: Read, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'calls.{suffix}'
    tap = PcapTap(str(path))
    tap('>', message('TCP', call_id='first'), flow('TCP'), 0.0)
    # Nobody has moved it: it goes on.
    tap.reopen()
    tap('>', message('TCP', call_id='second'), flow('TCP'), 0.0)
    path.rename(tmp_path / f'old.{suffix}')
    tap.reopen()
    tap('>', message('TCP', call_id='third'), flow('TCP'), 0.0)
    tap.close()

    def call_ids(name: str) -> list[str]:
        return [frame['sip']['sip.msg_hdr_tree']['sip.Call-ID'] for frame in tshark(tmp_path / f'{name}.{suffix}')]

    assert (call_ids('old'), call_ids('calls')) == (['first', 'second'], ['third'])


@pytest.mark.parametrize('path', ['/nonexistent/calls.pcap', '/dev/full', '/'])
def test_what_cannot_be_written_is_told_in_a_sentence(path: str) -> None:
    with pytest.raises(SetupError) as caught:
        PcapTap(path)
    assert str(caught.value).startswith(f'the capture cannot be written to {path}: ')


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Who reads from it slowly would hold up every call."""
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(SetupError, match='not a regular file'):
        PcapTap(str(tmp_path / 'pipe'))
    os.close(reader)


def test_a_user_agent_without_its_file_gives_its_port_back(free_port: Callable[[], int]) -> None:
    place = f'udp:127.0.0.1:{free_port()}'
    with pytest.raises(SetupError):
        UserAgent(place, pcap='/nonexistent/calls.pcap')
    UserAgent(place, watchdog=None).close()


@pytest.mark.parametrize('suffix', ['pcap', 'pcapng'])
def test_a_full_disk_leaves_a_file_that_can_be_read(tshark: Read, tmp_path: Path, suffix: str,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    import resource
    import signal
    path = tmp_path / f'calls.{suffix}'
    tap = PcapTap(str(path))
    tap('>', message('TLS'), flow('TLS'), 0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # The next record fits in part only.
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 200, limits[1]))
        for _ in range(3):
            tap('>', message('WSS'), flow('WSS'), 0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    tap('>', message('WSS', call_id='last'), flow('WSS'), 0.0)
    tap.close()
    assert (tap.written, tap.lost) == (2, 3)
    assert caplog.text.count('is not complete') == 1
    assert [frame['sip']['sip.msg_hdr_tree']['sip.Call-ID'] for frame in tshark(path)] == ['c1@x', 'last']


def test_the_header_says_what_it_is(tmp_path: Path) -> None:
    PcapTap(str(tmp_path / 'a.pcap')).close()
    magic, *_, link = struct.unpack('<IHHiIII', (tmp_path / 'a.pcap').read_bytes())
    assert (magic, link) == (0xA1B2C3D4, 101)
