"""How the texts of options become values.  Each function raises ValueError, which says what is wrong with the text."""

from __future__ import annotations

import configparser
import math
import os
import re
from collections.abc import Callable
from typing import Any

from greensip.b2bua.control import socket_address
from greensip.b2bua.routes import OWN_HEADERS
from greensip.dialog.session_timer import SHORTEST
from greensip.errors import UsageError
from greensip.transport.base import Listen
from greensip.transport.endpoint import TRANSPORTS
from greensip.transport.hep import HepPlace

__all__ = [
    'WSS_SOCKET',
    'address',
    'capture_file',
    'capture_server',
    'choice',
    'command_socket',
    'flag',
    'header_names',
    'listen',
    'named',
    'number',
    'path',
    'payload_types',
    'script',
    'seconds',
    'session_interval',
    'text_of',
    'websocket',
    'words',
]

#: options of a place that name files
FILES = ('cert', 'key', 'ca')

#: sippy's way to write a place of secure WebSocket
WSS_SOCKET = re.compile(r'(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]{1,5}):(?P<cert>[^:]+):(?P<key>.+)')


def flag(text: str) -> bool:
    """on/off and its synonyms, as in an INI file."""
    try:
        return configparser.RawConfigParser.BOOLEAN_STATES[text.lower()]
    except KeyError:
        raise ValueError(f'{text!r} is neither on nor off') from None


def number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number within bounds."""
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f'{text!r} is not a number') from None
        if value < least or (most is not None and value > most):
            bounds = f'in the range {least}-{most}' if most is not None else f'{least} or more'
            raise ValueError(f'{value} is not {bounds}')
        return value
    return read


def seconds(text: str) -> float:
    """A time greater than zero."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'{text!r} is not a number of seconds') from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f'{text} is not a number of seconds greater than zero')
    return value


def address(text: str) -> str:
    """A host's name or address, with or without a port."""
    if any(character <= ' ' or character == '\x7f' for character in text):
        raise ValueError(f'{text!r} is not an address')
    return text


def named(text: str) -> str:
    """A file as it was named."""
    if not text or '\0' in text:
        raise ValueError('a file name is needed')
    return text


def path(text: str) -> str:
    """A file's absolute name: a daemon changes its directory.  ``-`` stays, it is the standard output."""
    return text if text == '-' else os.path.abspath(named(text))


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(filter(None, map(str.strip, text.split(','))))


def header_names(text: str) -> tuple[str, ...]:
    """Header fields that may be passed on."""
    names = words(text)
    for name in names:
        if name.lower() in OWN_HEADERS:
            raise ValueError(f'{name} is written by the user agent and cannot be passed on')
        if not name.isascii() or any(character in ' \t:\r\n\0' for character in name):
            raise ValueError(f'{name!r} is not the name of a header field')
    return names


def payload_types(text: str) -> tuple[int | str, ...]:
    """``0,8,[G722]``: numbers, or encoding names in brackets."""
    kinds: list[int | str] = []
    for word in words(text):
        if word.startswith('[') and word.endswith(']'):
            kinds.append(word[1:-1].upper())
        else:
            kinds.append(number(0, 127)(word))
    return tuple(kinds)


def listen(text: str) -> str:
    """``transport:host:port?option=value&option=value``."""
    try:
        place = Listen.parse(text)
    except UsageError:
        raise ValueError(f'{text!r} is not transport:host:port') from None
    if place.transport not in TRANSPORTS:
        known = ', '.join(TRANSPORTS).lower()
        raise ValueError(f'{place.transport.lower()} is no transport, they are {known}')
    # A daemon changes its directory.
    options = tuple((name, os.path.abspath(value) if name in FILES else value) for name, value in place.options)
    return str(place._replace(options=options))


def websocket(text: str) -> str:
    """sippy's ``host:port:cert:key``, as the text of a place to listen at."""
    match = WSS_SOCKET.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not host:port:cert:key')
    host, port, *files = match.groups()
    return ':'.join((host, port, *map(os.path.abspath, files)))


def command_socket(text: str) -> str:
    """``tcp:host:port``, or the absolute name of a socket in the file system."""
    socket_address(text)
    if text.startswith('tcp:'):
        return text
    return os.path.abspath(text.removeprefix('unix:'))


def capture_file(text: str) -> str:
    """A file's absolute name, and no standard output."""
    if text == '-':
        raise ValueError('a capture goes to a file, not to the standard output')
    return path(text)


def capture_server(text: str) -> str:
    """What ``--hep`` takes."""
    try:
        HepPlace(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


def choice(*words: str) -> Callable[[str], str]:
    """One of several words."""
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f'{text!r} is none of {", ".join(words)}')
        return text
    return read


def session_interval(text: str) -> int:
    """Seconds of a session timer: 0, or what RFC 4028 4 lets one ask for."""
    return number(0)(text) and number(SHORTEST)(text)


def script(text: str) -> tuple[str, str]:
    """``file.py:function``."""
    file, colon, function = text.rpartition(':')
    if not colon:
        file, function = text, 'handler'
    if not file or not function.isidentifier():
        raise ValueError(f'{text!r} is not file.py:function')
    return os.path.abspath(file), function


def text_of(read: Callable[[str], Any], value: Any) -> str:
    """The text that ``read`` turns into ``value``."""
    if read is flag:
        return 'on' if value else 'off'
    if read is script:
        return ':'.join(value)
    if read is payload_types:
        return ','.join(f'[{kind}]' if isinstance(kind, str) else str(kind) for kind in value)
    if hasattr(value, 'text'):
        return str(value.text)
    return ','.join(value) if isinstance(value, tuple) else str(value)
