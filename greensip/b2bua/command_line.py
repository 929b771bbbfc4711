"""The command line of greensip-b2bua, in sippy's spelling and in ours.

Sippy's rules hold: options are taken in order, a later one wins, ``-C`` is read where it stands, a long name may be cut
short as long as it is unique among sippy's names.  What is more here: dashes do for underscores, an on/off option needs
no value.
"""

from __future__ import annotations

import configparser
import textwrap
from typing import Final

from greensip.b2bua.options import ADDING, BY_NAME, OPTIONS, Options
from greensip.errors import SetupError

__all__ = ['PROGRAM', 'SHORT', 'help_text', 'parse_command_line']

PROGRAM: Final = 'greensip-b2bua'
INDENT: Final = ' ' * 8

#: letter: the option it stands for; those of ``_FIXED`` take no value
SHORT: dict[str, str] = {
    'l': 'sip_address', 'p': 'sip_port', 'P': 'pidfile', 'L': 'logfile', 's': 'static_route', 'a': 'accept_ips',
    't': 'static_tr_in', 'T': 'static_tr_out', 'm': 'max_credit_time', 'r': 'rtp_proxy_client', 'F': 'allowed_pts',
    'R': 'radiusclient.conf', 'h': 'pass_header', 'x': 'pre_auth_proc', 'c': 'b2bua_socket', 'M': 'max_radiusclients',
    'C': 'config', 'W': 'writeconf', 'f': 'foreground', 'D': 'digest_auth', 'u': 'auth_enable', 'H': 'hide_call_id',
}
_FIXED = {'f': 'on', 'D': 'off', 'u': 'off', 'H': 'on'}

#: letters that stand for two options each: value: their texts
_PAIRS: dict[str, tuple[tuple[str, str], dict[str, tuple[str, str]]]] = {
    'A': (('acct_enable', 'start_acct_enable'), {'0': ('off', 'off'), '1': ('on', 'off'), '2': ('on', 'on')}),
    'k': (('keepalive_ans', 'keepalive_orig'),
          {'0': ('0', '0'), '1': ('32', '0'), '2': ('0', '32'), '3': ('32', '32')}),
}


def parse_command_line(arguments: list[str]) -> Options:
    """Read the arguments (without the program's name) in order; SetupError for the first mistake."""
    options = Options()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == '--' and not rest:
            break
        if word.startswith('--') and len(word) > 2:
            _long_option(options, word, rest)
        elif word.startswith('-') and len(word) > 1 and word != '--':
            _short_options(options, word, rest)
        else:
            raise SetupError(f'{word!r} is not an option')
    return options


def _long_option(options: Options, word: str, rest: list[str]) -> None:
    written, equals, text = word[2:].partition('=')
    name = _full_name(written.replace('-', '_'), word)
    option = BY_NAME.get(name)
    if not equals:
        if option is not None and option.is_flag:
            boolean = bool(rest) and rest[0].lower() in configparser.RawConfigParser.BOOLEAN_STATES
            text = rest.pop(0) if boolean else 'on'
        elif rest:
            text = rest.pop(0)
        else:
            raise SetupError(f'option {word} needs a value')
    _set(options, name, text, f'--{written}')


def _full_name(written: str, word: str) -> str:
    """The name that ``written`` begins: sippy's names come first, so that what was unique there stays so."""
    if written in BY_NAME or written in ADDING:
        return written
    for sippy in (True, False):
        found = [option.name for option in OPTIONS if option.sippy is sippy and option.name.startswith(written)]
        if len(found) > 1:
            raise SetupError(f'option {word.partition("=")[0]} could be any of {", ".join(sorted(found))}')
        if found:
            return found[0]
    raise SetupError(f'unknown option {word.partition("=")[0]}')


def _short_options(options: Options, word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        shown = f'-{letter}'
        if letter in _FIXED:
            options.set(SHORT[letter], _FIXED[letter], '', shown)
            continue
        if letter not in SHORT and letter not in _PAIRS and letter not in 'dn':
            raise SetupError(f'unknown option {shown}')
        if letters:
            text, letters = letters, ''
        elif rest:
            text = rest.pop(0)
        else:
            raise SetupError(f'option {shown} needs a value')
        if letter in _PAIRS:
            names, levels = _PAIRS[letter]
            if text.strip() not in levels:
                raise SetupError(f'{shown}: {text!r} is not in the range 0-{len(levels) - 1}')
            for name, value in zip(names, levels[text.strip()]):
                options.set(name, value, '', shown)
        elif letter == 'n':
            # sippy's b2bua_simple: the next hop, and no authorisation at all.
            options.set('static_route', text, '', shown)
            options.set('auth_enable', 'off', '', shown)
        elif letter != 'd':
            _set(options, SHORT[letter], text, shown)


def _set(options: Options, name: str, text: str, shown: str) -> None:
    options.set(name, text, '', shown)
    if name == 'config':
        options.read_file(text.strip())


def help_text() -> str:
    """All options, grouped, with an example each."""
    letters: dict[str, str] = {}
    for letter, name in SHORT.items():
        letters[ADDING.get(name, name)] = letter
    for letter, (names, _) in _PAIRS.items():
        letters[names[0]] = letter
    lines = [f'usage: {PROGRAM} [option]...', '',
             'A back-to-back user agent.',
             'Options may be written -s VALUE, --static-route=VALUE or --static_route=VALUE.', '',
             f"    {PROGRAM} -f -u -l 127.0.0.1 -p 5060 -s '127.0.0.1:5080'", '']
    for group in dict.fromkeys(option.group for option in OPTIONS):
        lines.append(group)
        for option in OPTIONS:
            if option.group == group:
                letter = letters.get(option.name, '')
                value = '[=on|off]' if option.is_flag else '=VALUE'
                lines.append(f'  {f"-{letter}, " if letter else ""}{option.spelling}{value}')
                lines += textwrap.wrap(option.help, 100, initial_indent=INDENT, subsequent_indent=INDENT)
                lines.append(f'{INDENT}e.g. {PROGRAM} {option.example}')
        lines.append('')
    lines += ['  -d VALUE', '        ignored', '  -n HOST[:PORT]', "        a static route without authorisation, as in"
              " sippy's b2bua_simple", '  --help, --version', '',
              'Signals: HUP drops all calls, USR1 reopens log, records and capture, USR2 toggles debug,',
              'TERM and INT drain and end with status 0.']
    return '\n'.join(lines)
