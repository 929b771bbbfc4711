"""Peers over stream transports: Kamailio, Asterisk, SIPp with TLS and WebSocket, our own phone in its own process.

Debian's stable SIPp is built without TLS.  ``.ci/run`` installs Asterisk from Debian testing in a folder, and SIPp
beside it; ``GREENSIP_ASTERISK`` names the folder.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import peers
from .certificates import Certificate
from .peers import HOST, Peer, PeerError, Sipp, need

FOLDER = 'GREENSIP_ASTERISK'
#: SIPp's words for a transport on one kept connection
MODES = {'udp': 'u1', 'tcp': 't1', 'tls': 'l1', 'ws': 'w1', 'wss': 'x1'}


# Debian testing in a folder

def testing() -> Path | None:
    """The folder with ``run.sh`` and Debian testing in ``root``, if there is one."""
    folder = os.environ.get(FOLDER, '')
    return Path(folder) if folder and Path(folder, 'root').is_dir() else None


def sipp(transport: str) -> list[str | Path]:
    """The command of a SIPp that knows the transport, or, given ``'*'``, all of them.

    Raises PeerError when none is installed.
    """
    if transport in ('udp', 'tcp'):
        return [need('sipp')]
    folder = testing()
    root = folder / 'root' if folder else Path('/nonexistent')
    program = root / 'usr/bin/sipp'
    if not program.exists():
        raise PeerError(f'there is no SIPp with TLS in {FOLDER}')
    # With the libraries and the loader of its own system: it may then read and write anywhere.
    loader = next(iter(sorted(root.glob('lib64/ld-linux-*'))), None) or root / 'lib/ld-linux-aarch64.so.1'
    libraries = root / f'usr/lib/{platform.machine()}-linux-gnu'
    return [loader, '--library-path', libraries, program]


def sipp_options(transport: str, certificate: Certificate | None = None) -> list[str | Path]:
    """What SIPp is told to use the transport, on one connection that is kept."""
    options: list[str | Path] = ['-t', MODES[transport]]
    if transport in ('tls', 'wss') and certificate is not None:
        options += ['-tls_cert', certificate.cert, '-tls_key', certificate.key]
    return options


def callers(transport: str, target: int, port: int, folder: Path, *, certificate: Certificate | None = None,
            program: Sequence[str | Path] = (), **options: object) -> Sipp:
    """``peers.callers`` over a transport."""
    return peers.callers(target, port, folder, options=sipp_options(transport, certificate),
                         program=program or sipp(transport), **options)


def answerers(transport: str, port: int, folder: Path, *, certificate: Certificate | None = None,
              **options: object) -> Sipp:
    """``peers.answerers`` over a transport."""
    return peers.answerers(port, folder, options=sipp_options(transport, certificate), program=sipp(transport),
                           **options)


class Asterisk(Peer):
    """Asterisk on free ports, with the extensions and users of its ``run.sh``.  PeerError if it won't start."""

    def __init__(self, folder: Path, free_port: Callable[..., int]) -> None:
        home = testing()
        if home is None or not (home / 'run.sh').exists():
            raise PeerError(f'{FOLDER} names no folder with Asterisk')
        self.port = free_port()
        name = f'greensip-{os.getpid()}-{self.port}'
        env = {'NAME': name, 'SIP': str(self.port), 'HTTP': str(free_port()), 'AMI': str(free_port()),
               'RTP': f'{20000 + self.port % 97 * 100}-{20099 + self.port % 97 * 100}'}
        started = subprocess.run([home / 'run.sh', 'start'], capture_output=True, text=True, check=False,
                                 env={**os.environ, **env}, timeout=60)
        self.installed = home
        self.home = home / 'root/lab' / name
        self.file = home / f'{name}.pid'
        if started.returncode:
            raise PeerError(f'Asterisk did not start:\n{started.stdout}{started.stderr}')
        # It is not our child; this one ends when it does.
        super().__init__('asterisk', ['tail', '--pid', self.file.read_text().strip(), '-f', '/dev/null'], folder)
        self.wait_for_port(self.port)

    def configure(self, file: str, text: str) -> None:
        """Add to one of its configuration files; a module reads it when it is loaded, or reloaded."""
        with (self.home / 'etc' / file).open('a') as out:
            out.write(text)

    def cli(self, command: str) -> str:
        """What its console says to a command."""
        done = subprocess.run([self.installed / 'run.sh', 'cli', command], capture_output=True, text=True, check=True,
                              env={**os.environ, 'NAME': self.home.name}, timeout=30)
        return done.stdout

    def printed(self) -> str:
        """Its log."""
        log = self.home / 'log/full'
        return log.read_text(encoding='utf-8', errors='replace') if log.exists() else super().printed()

    def stop(self, number: int = 15, grace: float = 3.0) -> int:
        """End it, and remove its files."""
        if self.file.exists():
            pid = int(self.file.read_text())
            self.file.unlink()
            for what in (15, 9):
                try:
                    os.kill(pid, what)
                except ProcessLookupError:
                    break
                peers.wait_until(lambda: not self.running(), grace)
            subprocess.run(['rm', '-rf', self.home], check=False)
        return super().stop(number, grace)


KAMAILIO = '''
debug=1
log_stderror=yes
children=1
tcp_children=2
auto_aliases=no
disable_tcp=no
tcp_connection_lifetime=600
tcp_accept_no_cl=yes
{listen}
{tls}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "rr.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "nathelper.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
{web}
modparam("rr", "enable_full_lr", 1)
modparam("nathelper|registrar", "received_avp", "$avp(RECEIVED)")

request_route {{
    if (method == "CANCEL") {{
        if (t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    # RFC 7118: a client of WebSocket cannot be connected to, only the connection it made leads to it.
    if (proto == WS && method != "REGISTER") {{ force_rport(); add_contact_alias(); }}
    if (has_totag()) {{
        if (loose_route()) {{
            if ($du == "") {{ handle_ruri_alias(); }}
            t_relay();
            exit;
        }}
        if (method == "ACK") {{
            if (t_check_trans()) {{ t_relay(); }}
            exit;
        }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    if (method == "REGISTER") {{
        # Who registers is called where the REGISTER came from (RFC 5626).
        fix_nated_register();
        save("location");
        exit;
    }}
    record_route();
    if (lookup("location")) {{
        t_relay();
        exit;
    }}
    $du = "{next_hop}";
    t_relay();
}}

onreply_route {{
    if (proto == WS) {{ add_contact_alias(); }}
}}
'''

_WEB = '''
loadmodule "xhttp.so"
loadmodule "websocket.so"
event_route[xhttp:request] {
    if ($hdr(Upgrade) =~ "websocket") { ws_handle_handshake(); exit; }
    xhttp_reply("404", "Not Found", "", "");
}
'''

_TLS = '''
enable_tls=yes
loadmodule "tls.so"
modparam("tls", "private_key", "{key}")
modparam("tls", "certificate", "{cert}")
modparam("tls", "ca_list", "{ca}")
modparam("tls", "tls_method", "TLSv1.2+")
'''


def kamailio(listen: dict[str, int], next_hop: str, folder: Path, certificate: Certificate | None = None) -> Peer:
    """Kamailio as a proxy that stays on the path, and as a registrar.

    ``listen``: transports (udp, tcp, tls, ws) and their ports.  It sends what it has no registration for to the URI
    ``next_hop``, over whatever transport that one names.
    """
    home = folder / f'kamailio-{min(listen.values())}'
    home.mkdir()
    places = '\n'.join(f'listen={"tcp" if kind == "ws" else kind}:{HOST}:{port}' for kind, port in listen.items())
    tls = _TLS.format(key=certificate.key, cert=certificate.cert, ca=certificate.ca) if certificate else ''
    config = home / 'kamailio.cfg'
    config.write_text(KAMAILIO.format(listen=places, tls=tls, web=_WEB if 'ws' in listen else '', next_hop=next_hop))
    peer = Peer(home.name, [need('kamailio'), '-DD', '-E', '-m', '128', '-M', '8', '-f', config, '-Y', home,
                            '-P', home / 'pid'], folder)
    for port in listen.values():
        peer.wait_for_port(port)
    return peer


class Phone(Peer):
    """``phone.py``: our own user agent in a process of its own.  ``ports`` are where it listens."""

    def __init__(self, folder: Path, *words: str | Path, name: str = '', env: dict[str, str] | None = None) -> None:
        super().__init__(name or f'phone-{words[0]}', [sys.executable, Path(__file__).with_name('phone.py'), *words],
                         folder, env=env)
        try:
            self.ports = [int(word) for word in self.wait_for_text(r'ready([ \d]+)\n')[1].split()]
        except PeerError:
            self.stop()
            raise

    def counts(self) -> dict[str, object]:
        """What became of its calls, once it has ended."""
        found: dict[str, object] = json.loads(self.wait_for_text(r'(?m)^\{.*\}$')[0])
        return found


def modules(*names: str) -> list[str]:
    """Those of Kamailio's modules that are not installed."""
    folders = [*Path('/usr/lib').glob('*/kamailio/modules'), Path('/usr/lib/kamailio/modules')]
    return [name for name in names if not any((folder / f'{name}.so').exists() for folder in folders)]
