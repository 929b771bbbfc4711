"""The command ``greensip-b2bua``: options, log, daemon, signals around ``greensip.b2bua``."""

from __future__ import annotations

import gc
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

import gevent

from greensip.b2bua.app import B2bua
from greensip.b2bua.command_line import PROGRAM, help_text, parse_command_line
from greensip.b2bua.options import Options
from greensip.cli.daemon import FORMAT, LogFile, Parent, PidFile, detach
from greensip.cli.output import show, version
from greensip.cli.terminal import LineFormatter
from greensip.errors import SetupError

__all__ = ['main']

log = logging.getLogger('greensip')

#: objects made before the cyclic collector looks at the youngest.  A call leaves next to no cycles behind, and
#: with thousands of calls held each look at the old ones costs; 700, the default, is ten calls' worth.
GC_THRESHOLD = (10_000, 5, 1000)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its status: 0 when it ended as it was told to, 2 when it could not start."""
    if arguments is None:
        arguments = sys.argv[1:]
    if '--help' in arguments:
        return show(help_text(), PROGRAM)
    if '--version' in arguments:
        return show(f'{PROGRAM} {version()}', PROGRAM)
    try:
        options = parse_command_line(arguments)
        options.check()
        if options.writeconf is not None:
            options.write_file(options.writeconf)
        log_file = open_log(options)
    except SetupError as error:
        return complain(error)
    # The hub does not exist yet, and nothing was opened that a fork would double.
    return run(options, log_file, None if options.foreground else detach())


def run(options: Options, log_file: LogFile | None, parent: Parent | None) -> int:
    """Open everything, tell the process that waits for us, and carry calls until told to stop."""
    pid_file = None
    try:
        handler = load_handler(*options.script) if options.script is not None else None
        b2bua = B2bua(options, handler)
        if parent is not None or 'pidfile' in options.given:
            pid_file = PidFile(options.pidfile)
    except SetupError as error:
        complain(error)
        if parent is not None:
            parent.failed()
        return 2
    listen_to_signals(b2bua, log_file)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    if parent is not None:
        assert log_file is not None
        log_file.take_standard_streams()
        parent.started()
    try:
        b2bua.run()
    finally:
        if pid_file is not None:
            pid_file.remove()
    return 0


def complain(problem: object) -> int:
    """Say what is wrong in one sentence; the status for it."""
    sys.stderr.write(f'{PROGRAM}: {problem}\n')
    sys.stderr.flush()
    return 2


def open_log(options: Options) -> LogFile | None:
    """Where log lines go: a file for a daemon or when one is named, the standard error otherwise."""
    handler: logging.Handler
    log_file = None
    if not options.foreground or 'logfile' in options.given:
        handler = log_file = LogFile(options.logfile)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    log.setLevel(logging.DEBUG if options.debug else logging.INFO)
    return log_file


def load_handler(file: str, function: str) -> Callable[..., Any]:
    """The function of a person's own script."""
    spec = importlib.util.spec_from_file_location('greensip_b2bua_script', file)
    if spec is None or spec.loader is None:
        raise SetupError(f'the script {file} cannot be loaded: its name does not end in .py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise SetupError(f'the script {error.filename}, line {error.lineno}: {error.msg}') from None
    except OSError as error:
        raise SetupError(f'the script {file} cannot be read: {error.strerror or error}') from None
    except Exception as error:
        raise SetupError(f'the script {file} cannot be loaded: {type(error).__name__}: {error}') from None
    handler: Callable[..., Any] | None = getattr(module, function, None)
    if not callable(handler):
        raise SetupError(f'the script {file} has no function {function}')
    return handler


def listen_to_signals(b2bua: B2bua, log_file: LogFile | None) -> None:
    """HUP drops all calls, USR1 reopens log, records and capture, USR2 toggles debug, TERM and INT drain."""
    def reopen() -> None:
        log.info('= reopening the log and the records')
        if log_file is not None:
            log_file.reopen()
        b2bua.reopen()

    def toggle_debug() -> None:
        debug = log.level != logging.DEBUG
        log.setLevel(logging.DEBUG if debug else logging.INFO)
        log.info('= debug is %s', 'on' if debug else 'off')

    gevent.signal_handler(signal.SIGHUP, b2bua.disconnect_all)
    gevent.signal_handler(signal.SIGUSR1, reopen)
    gevent.signal_handler(signal.SIGUSR2, toggle_debug)
    gevent.signal_handler(signal.SIGTERM, b2bua.stop)
    gevent.signal_handler(signal.SIGINT, b2bua.stop)


if __name__ == '__main__':
    sys.exit(main())
