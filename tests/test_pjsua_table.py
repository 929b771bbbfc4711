"""PJSUA.rst: every method and callback of PJSUA's Python modules is in it, and everything of greensip's that it names
exists, keywords included."""

from __future__ import annotations

import ast
import importlib.util
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import greensip

from .names import COMPILED, exported, known, parameters, wrong

TEXT = (Path(__file__).parents[1] / 'PJSUA.rst').read_text(encoding='utf-8')

#: pjsua.py of pjproject: the public names, but for those that only PJSUA itself calls
PJSUA = {
    'Lib': '''instance init destroy start handle_events verify_sip_url create_transport create_account
        create_account_for_transport hangup_all enum_snd_dev get_snd_dev set_snd_dev set_null_snd_dev conf_get_max_ports
        conf_connect conf_disconnect conf_set_tx_level conf_set_rx_level conf_get_signal_level enum_codecs
        set_codec_priority get_codec_parameter set_codec_parameter create_player player_get_slot player_set_pos
        player_destroy create_playlist playlist_get_slot playlist_destroy create_recorder recorder_get_slot
        recorder_destroy strerror auto_lock''',
    'Transport': 'info enable close',
    'Account': '''info is_valid set_callback set_default is_default delete set_basic_status set_presence_status
        set_registration set_transport make_call add_buddy pres_notify''',
    'AccountCallback': 'on_reg_state on_incoming_call on_incoming_subscribe on_pager on_pager_status on_typing',
    'Call': '''attach_to_id set_callback info is_valid dump_status answer hangup hold unhold reinvite update transfer
        transfer_to_call dial_dtmf send_request''',
    'CallCallback': '''on_state on_media_state on_dtmf_digit on_transfer_request on_transfer_status on_replace_request
        on_replaced on_pager on_pager_status on_typing''',
    'Buddy': 'info set_callback subscribe unsubscribe delete send_pager send_typing_ind',
    'BuddyCallback': 'on_state on_pager on_pager_status on_typing',
}

class Row(NamedTuple):
    old: list[str]
    new: list[str]
    code: list[str]


def rows() -> list[Row]:
    """The rows of all tables: names of pjsua, names of pjsua2, pieces of greensip code."""
    found: list[list[str]] = []
    lines = TEXT.splitlines()
    bars = [number for number, line in enumerate(lines) if re.fullmatch(r'=+(  =+){2}', line)]
    for head, bottom in zip(bars[1::3], bars[2::3]):
        edges = [match.start() for match in re.finditer('=+', lines[head])] + [None]
        for line in lines[head + 1:bottom]:
            cells = [line[start:end].strip() for start, end in pairwise(edges)]
            if cells[0]:
                found.append(cells)
            else:
                found[-1] = [f'{before} {more}'.strip() for before, more in zip(found[-1], cells)]
    return [Row(names(old), names(new), re.findall('``(.*?)``', text)) for old, new, text in found]


def names(text: str) -> list[str]:
    """``Account.getId, lookup`` are two of ``Account``."""
    found, owner = [], ''
    for word in re.findall(r'[\w.]+', text):
        if '.' in word:
            owner = word.partition('.')[0]
        found.append(word if '.' in word else f'{owner}.{word}')
    return found


ROWS = rows()


def test_the_table_is_read() -> None:
    assert len(ROWS) > 90
    assert all(row.old or row.new for row in ROWS) and sum(bool(row.code) for row in ROWS) > 70


def test_every_name_of_pjsua_is_there_once() -> None:
    wanted = sorted(f'{owner}.{name}' for owner, text in PJSUA.items() for name in text.split())
    assert sorted(name for row in ROWS for name in row.old) == wanted


def test_every_name_of_pjsua2_is_there() -> None:
    if importlib.util.find_spec('pjsua2') is None:
        pytest.skip('pjsua2 is not installed')
    import pjsua2

    have = {name for row in ROWS for name in row.new}
    wanted = {f'{owner}.{name}' for owner in ('Endpoint', 'Account', 'Call', 'Buddy')
              for name in vars(getattr(pjsua2, owner)) if not name.startswith('_') and name not in ('this', 'thisown')}
    assert wanted - have == set()
    # Another version may have less.
    assert len(have - wanted) < 10


CODE = sorted({code for row in ROWS for code in row.code})


#: words of Python, and of its library, in the pieces of code
OTHERS = ('print', 'repr', 'str', 'fn', 'gevent', 'importlib')


@pytest.mark.skipif(COMPILED, reason='compiled classes do not tell their arguments')
@pytest.mark.parametrize('code', CODE)
def test_what_is_named_exists(code: str) -> None:
    if code in ('greensip.ua', 'greensip.wire', 'ssl', 'logging', 'ua', 'with') or code.endswith('='):
        return
    if re.fullmatch(r'\w+=\S+', code):
        name = code.partition('=')[0]
        code = f'UserAgent({code})' if name in parameters(greensip.UserAgent) else f'Account(ua, aor, {code})'
    source = re.sub(r'^except (\w+) as (\w+): ', r'\1; ', code)
    tree = ast.parse(f'{source} pass' if source.endswith(':') else source)
    assert list(wrong(tree)) == []
    assert [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id[0].isupper()
            and not exported(node.id)] == []
    assert known(tree) or any(word in code for word in OTHERS), f'what is {code}?'
