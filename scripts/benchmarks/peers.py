"""Start and stop real programs on the loopback, and read what they cost.

Every process gets a folder for its files and a session of its own.  Whatever happens to us, it ends: ``with``
stops it, and the kernel sends it SIGTERM when we die.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HOST = '127.0.0.1'
TICK = 1 / os.sysconf('SC_CLK_TCK')
SCENARIOS = Path(__file__).parent / 'scenarios'

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class PeerError(Exception):
    """A program did not start, or ended with an error; the text says what it printed."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Peer:
    """A running program.  ``folder`` holds its output (``NAME.out``)."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, *, env: dict[str, str] | None = None,
                 stdin: bool = False) -> None:
        self.name = name
        self.output = folder / f'{name}.out'
        with self.output.open('wb') as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, env={**os.environ, **(env or {})},
                start_new_session=True, preexec_fn=_die_with_parent)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def running(self) -> bool:
        """Has it not ended yet?"""
        return self.process.poll() is None

    def printed(self) -> str:
        """All that it printed so far."""
        return self.output.read_text(encoding='utf-8', errors='replace')

    def wait(self, timeout: float) -> int:
        """Wait for its end; PeerError when it does not end in time."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PeerError(f'{self.name} still runs after {timeout} s:\n{self.printed()[-2000:]}') from None

    def wait_for_port(self, port: int, timeout: float = 20.0) -> None:
        """Wait until it (or anybody) listens on ``port``."""
        if not wait_until(lambda: is_bound(port) or not self.running(), timeout) or not self.running():
            # Nobody got hold of it yet who would stop it.
            status = self.stop()
            raise PeerError(f'{self.name} does not listen on port {port}, status {status}:\n{self.printed()[-2000:]}')

    def wait_for_text(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait until it printed what the regular expression describes."""
        wait_until(lambda: re.search(pattern, self.printed()) is not None or not self.running(), timeout)
        found = re.search(pattern, self.printed())
        if found is None:
            raise PeerError(f'{self.name} did not print {pattern!r}:\n{self.printed()[-2000:]}')
        return found

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, grace: float = 3.0) -> int:
        """End it: by ``number``, after ``grace`` seconds by SIGKILL, its children as well."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        children = self.tree()[1:]
        if self.running():
            self.send_signal(number)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for child in children:
            # Only what still belongs to the session that this process led: a pid may have been used again.
            with contextlib.suppress(OSError):
                if os.getsid(child) == self.pid:
                    os.kill(child, signal.SIGKILL)
        return self.process.returncode

    # What it costs

    def tree(self) -> list[int]:
        """Its process id and those of all its descendants."""
        found = [self.pid]
        for pid in found:
            for task in Path(f'/proc/{pid}/task').glob('*/children'):
                with contextlib.suppress(OSError):
                    found.extend(int(child) for child in task.read_text().split())
        return found

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the whole tree."""
        ticks = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                # After the name in parentheses; utime stime cutime cstime are fields 14 to 17.
                fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
                ticks += sum(int(value) for value in fields[11:15])
        return ticks * TICK

    def memory(self) -> int:
        """Octets of memory of the whole tree, what is shared counted once (PSS)."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
                    if line.startswith('Pss:'):
                        total += int(line.split()[1]) * 1024
        return total

    def wakeups(self) -> int:
        """How often its threads gave up the CPU of their own will."""
        total = 0
        for pid in self.tree():
            for status in Path(f'/proc/{pid}/task').glob('*/status'):
                with contextlib.suppress(OSError):
                    total += int(re.findall(r'voluntary_ctxt_switches:\s*(\d+)', status.read_text())[0])
        return total

    def threads(self) -> int:
        """How many threads it has, its children's included."""
        return sum(len(list(Path(f'/proc/{pid}/task').glob('*'))) for pid in self.tree())


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Look every 20 ms until ``condition()`` is true; False if that takes longer than ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


#: states of a TCP socket, as the system writes them
_ESTABLISHED, _LISTENING = '01', '0A'


def _sockets(kind: str) -> Iterator[list[str]]:
    """The system's table of ``'udp'`` or ``'tcp'`` sockets: number, local address, remote address, state, ..."""
    for path in (f'/proc/net/{kind}', f'/proc/net/{kind}6'):
        with contextlib.suppress(OSError):
            yield from (line.split() for line in Path(path).read_text().splitlines()[1:])


def is_bound(port: int) -> bool:
    """Does anybody on this machine listen on the port, over UDP or TCP?"""
    wanted = f':{port:04X}'
    return (any(row[1].endswith(wanted) for row in _sockets('udp'))
            or any(row[1].endswith(wanted) and row[3] == _LISTENING for row in _sockets('tcp')))


def connections(port: int) -> int:
    """How many connections those who listen on the TCP port have accepted, and still have."""
    wanted = f':{port:04X}'
    return sum(row[1].endswith(wanted) and row[3] == _ESTABLISHED for row in _sockets('tcp'))


def find(program: str) -> str | None:
    """The path of a program: beside this Python first, then on the PATH and in /usr/sbin."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program) or shutil.which(program, path='/usr/sbin:/usr/bin')


def need(program: str) -> str:
    """As ``find``; PeerError when it is not installed."""
    path = find(program)
    if path is None:
        raise PeerError(f'{program} is not installed')
    return path


class Sipp(Peer):
    """SIPp with one of its embedded scenarios or a file; counts are read from its CSV files after its end."""

    def __init__(self, scenario: str | Path, port: int, folder: Path, *options: str | int, target: int | None = None,
                 name: str = '', program: Sequence[str | Path] = ()) -> None:
        name = name or f'sipp-{Path(scenario).stem}-{port}'
        self.folder = folder
        self.statistics = folder / f'{name}.csv'
        self.errors = folder / f'{name}.errors'
        what = ['-sn', scenario] if isinstance(scenario, str) else ['-sf', scenario]
        where = [] if target is None else [f'{HOST}:{target}']
        super().__init__(name, [
            *(program or [need('sipp')]), *where, *what, '-i', HOST, '-p', str(port), '-nostdin',
            '-buff_size', '4000000', '-trace_stat', '-stf', self.statistics, '-fd', '1', '-trace_counts',
            '-trace_err', '-error_file', self.errors, *(str(option) for option in options)], folder)

    def finish(self) -> None:
        """Ask a scenario without end to stop, so that it writes its last figures."""
        self.stop(signal.SIGUSR1, grace=8.0)

    def printed(self) -> str:
        """What went wrong; its screen is of no use in a file."""
        with contextlib.suppress(OSError):
            return self.errors.read_text(encoding='utf-8', errors='replace')
        return super().printed()[-500:]

    def _last_row(self, path: Path) -> dict[str, str]:
        with path.open(newline='', encoding='latin-1') as file:
            rows = list(csv.DictReader(file, delimiter=';'))
        if not rows:
            raise PeerError(f'{self.name} left no figures')
        return rows[-1]

    def counts(self) -> dict[str, int]:
        """``completed``, ``failed`` calls, ``retransmissions`` sent and received."""
        row = self._last_row(self.statistics)
        paths = sorted(self.folder.glob(f'*_{self.pid}_counts.csv'))
        retransmissions = 0
        if paths:
            # Per message of the scenario: what was sent or received again.
            retransmissions = sum(int(value) for key, value in self._last_row(paths[-1]).items()
                                  if key and key.endswith('_Retrans'))
        return {'completed': int(row['SuccessfulCall(C)']), 'failed': int(row['FailedCall(C)']),
                'retransmissions': retransmissions}


def callers(target: int, port: int, folder: Path, *, calls: int, rate: float, hold: float = 0.0,
            scenario: str | Path = 'uac', options: Sequence[str | int] = (), name: str = '',
            program: Sequence[str | Path] = ()) -> Sipp:
    """SIPp placing ``calls`` calls at ``rate`` a second, each held ``hold`` seconds."""
    limit = calls / rate + hold + 60
    return Sipp(scenario, port, folder, '-r', rate, '-m', calls, '-l', calls + 1, '-d', int(hold * 1000),
                '-timeout', int(limit), '-timeout_error', *options, target=target, name=name, program=program)


def answerers(port: int, folder: Path, *, scenario: str | Path = SCENARIOS / 'uas.xml',
              options: Sequence[str | int] = (), program: Sequence[str | Path] = ()) -> Sipp:
    """SIPp answering every call."""
    peer = Sipp(scenario, port, folder, *options, program=program)
    peer.wait_for_port(port)
    return peer


KAMAILIO = '''
debug=1
log_stderror=yes
children={children}
disable_tcp=yes
auto_aliases=no
listen=udp:{host}:{port}
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "rr.so"
loadmodule "siputils.so"
loadmodule "corex.so"
modparam("rr", "enable_full_lr", 1)

request_route {{
{route}
}}
'''

#: Stateful, no more than that: every request goes to the next hop.
FORWARDING = '''
    if (method == "CANCEL" && !t_check_trans()) {{ exit; }}
    $du = "sip:{host}:{next_hop}";
    t_relay();
'''

#: As a proxy of a real network does it: stays on the path of the dialog (RFC 3261 16.12).
RECORD_ROUTING = '''
    if (method == "CANCEL") {{
        if (t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (method == "ACK") {{
            if (t_check_trans()) {{ t_relay(); }}
            exit;
        }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    if (method == "INVITE") {{ record_route(); }}
    $du = "sip:{host}:{next_hop}";
    t_relay();
'''


def kamailio(port: int, next_hop: int, folder: Path, *, route: str = FORWARDING, children: int = 1) -> Peer:
    """Kamailio as a stateful proxy that sends everything to ``next_hop``."""
    home = folder / f'kamailio-{port}'
    home.mkdir()
    config = home / 'kamailio.cfg'
    config.write_text(KAMAILIO.format(host=HOST, port=port, children=children,
                                      route=route.format(host=HOST, next_hop=next_hop)))
    # Shared and private memory managers named as the benchmark says; everything in its own folder.
    peer = Peer(f'kamailio-{port}', [need('kamailio'), '-DD', '-E', '-x', 'fm', '-X', 'fm', '-m', '256', '-M', '8',
                                     '-f', config, '-Y', home, '-P', home / 'pid'], folder)
    peer.wait_for_port(port)
    return peer


#: how a program written for sippy is run: as it is; on the shim; on the shim, everything patched by gevent
SIPPY: dict[str, tuple[str, ...]] = {
    'stock': ('-m',),
    'shim': ('-m', 'greensip.cli.sippy', '-m'),
    'patched': ('-m', 'greensip.cli.sippy', '--patch-all', '-m'),
}


def sippy(port: int, next_hop: int, folder: Path, how: str = 'stock', *, daemon: bool = False) -> Peer:
    """sippy's ``b2bua_simple``, its log switched off; ``daemon`` has it put itself into the background."""
    if importlib.util.find_spec('sippy') is None:
        raise PeerError('sippy is not installed')
    name = f'sippy-{how}-{port}'
    command = [sys.executable, *SIPPY[how], 'sippy.b2bua_simple', '-l', HOST, '-p', str(port),
               '-n', f'{HOST}:{next_hop}', '-L', folder / f'{name}.log']
    if daemon:
        command[:0] = [sys.executable, Path(__file__).parent / 'keeper.py']
    else:
        command.append('-f')
    peer = Peer(name, command, folder, env={'SIPLOG_BEND': 'none', 'PYTHONUNBUFFERED': '1'})
    peer.wait_for_port(port)
    return peer


def sippy_log(peer: Peer, folder: Path) -> str:
    """What such a program wrote after it had put itself into the background."""
    path = folder / f'{peer.name}.log'
    return path.read_text(encoding='utf-8', errors='replace') if path.exists() else ''


#: RTPProxy inside of Python (PyPI's rtp-io); its options are the arguments
RTPPROXY = '''
import signal, sys
from rtp.io import rtpproxy
proxy = rtpproxy(extra_args=sys.argv[1:])
print('ready', flush=True)
signal.pause()
'''


def rtpproxy(folder: Path, *control: str, options: Sequence[str] = ()) -> Peer:
    """RTPProxy on the loopback, listening for commands at each of ``control`` (``udp:HOST:PORT``, ``unix:PATH``)."""
    if importlib.util.find_spec('rtp') is None:
        raise PeerError('rtp-io is not installed')
    sockets = [word for address in control for word in ('-s', address)]
    peer = Peer('rtpproxy', [sys.executable, '-c', RTPPROXY, '-F', '-f', *sockets, '-m', '12000', '-M', '15000',
                             *options], folder)
    try:
        peer.wait_for_text('ready')
    except PeerError:
        peer.stop()
        raise
    return peer


def greensip(port: int, next_hop: int, folder: Path, *options: str, env: dict[str, str] | None = None) -> Peer:
    """``greensip-b2bua`` with one static route."""
    peer = Peer(f'greensip-{port}', [
        sys.executable, '-m', 'greensip.cli.b2bua', '-f', '-l', HOST, '-p', str(port), '-u', '-s', f'{HOST}:{next_hop}',
        '-c', folder / f'command-{port}', *options], folder, env=env)
    peer.wait_for_port(port)
    return peer


ROOT = Path(__file__).parents[2]
BUILD = ROOT / 'build' / 'compiled'


def compiled(port: int, next_hop: int, folder: Path) -> Peer:
    """``greensip-b2bua`` as a wheel holds it: the compiled build, which is made when it is not there or old."""
    made = subprocess.run([ROOT / 'scripts' / 'compile'], capture_output=True, text=True)
    if made.returncode:
        raise PeerError(f'the compiled build failed:\n{made.stderr[-2000:]}')
    return greensip(port, next_hop, folder, env={'PYTHONPATH': str(BUILD), 'PYTHONSAFEPATH': '1'})


def relay(port: int, next_hop: int, folder: Path) -> Peer:
    """Two gevent sockets that copy datagrams."""
    peer = Peer(f'relay-{port}', [sys.executable, Path(__file__).parent / 'relay.py', str(port), str(next_hop)], folder)
    peer.wait_for_port(port)
    return peer


@contextlib.contextmanager
def stopped_at_end(peers: list[Peer]) -> Iterator[list[Peer]]:
    """Stop all of ``peers``, the last one first, however the block is left."""
    try:
        yield peers
    finally:
        for peer in reversed(peers):
            peer.stop()
