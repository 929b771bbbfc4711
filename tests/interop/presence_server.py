"""Kamailio as a presence server: what is published there, its subscribers are told.  And as a proxy that forks."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.lab import HOST
from benchmarks.peers import Peer, need

#: the empty tables that Kamailio's package brings
TABLES = Path('/usr/share/kamailio/dbtext/kamailio')

REALM, PASSWORD = 'example.com', 'secret'

CONFIG = f'''
#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
listen=udp:{HOST}:{{port}}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "db_text.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"
loadmodule "presence_mwi.so"
loadmodule "presence_dialoginfo.so"
modparam("presence", "db_url", "text://{{tables}}")
modparam("presence_xml", "db_url", "text://{{tables}}")
modparam("presence_xml", "force_active", 1)
modparam("presence", "server_address", "sip:presence@{HOST}:{{port}}")
modparam("presence", "min_expires", {{least}})
modparam("presence", "min_expires_action", 1)
modparam("presence", "max_expires", 3600)
modparam("presence", "expires_offset", 0)
modparam("presence", "subs_db_mode", 0)
modparam("db_text", "db_mode", 0)

request_route {{{{
    if (!mf_process_maxfwd_header("10")) {{{{ sl_send_reply("483", "Too Many Hops"); exit; }}}}
    if (is_method("PUBLISH|SUBSCRIBE")) {{{{
        if (!has_totag()) {{{{
            if (!pv_www_authenticate("{REALM}", "{PASSWORD}", "0")) {{{{ www_challenge("{REALM}", "1"); exit; }}}}
            consume_credentials();
        }}}}
        if (!t_newtran()) {{{{ sl_reply_error(); exit; }}}}
        if (is_method("PUBLISH")) {{{{ handle_publish(); t_release(); exit; }}}}
        handle_subscribe();
        t_release();
        exit;
    }}}}
    sl_send_reply("405", "Not Here");
}}}}
'''

FORKING = f'''
#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
listen=udp:{HOST}:{{port}}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "corex.so"

request_route {{{{
    if (!mf_process_maxfwd_header("10")) {{{{ sl_send_reply("483", "Too Many Hops"); exit; }}}}
    if (has_totag() && loose_route()) {{{{ t_relay(); exit; }}}}
    if (has_totag()) {{{{ sl_send_reply("404", "Not Here"); exit; }}}}
    record_route();
    $ru = "sip:{{first}}";
    append_branch("sip:{{second}}");
    t_relay();
}}}}
'''


def presence_server(port: int, folder: Path, least: int = 30) -> Peer:
    """A presence server at ``port``; it takes PUBLISH and SUBSCRIBE of everybody who knows the password."""
    home = folder / f'presence-{port}'
    home.mkdir()
    tables = home / 'tables'
    shutil.copytree(TABLES, tables)
    return start(port, home, folder, CONFIG.format(port=port, tables=tables, least=least))


def forking_proxy(port: int, folder: Path, first: str, second: str) -> Peer:
    """A proxy that stays on the path, and sends what begins a dialog to two places at once."""
    home = folder / f'forking-{port}'
    home.mkdir()
    return start(port, home, folder, FORKING.format(port=port, first=first, second=second))


def start(port: int, home: Path, folder: Path, config: str) -> Peer:
    """Kamailio with a configuration."""
    file = home / 'kamailio.cfg'
    file.write_text(config)
    peer = Peer(home.name, [need('kamailio'), '-DD', '-E', '-m', '64', '-M', '8', '-f', file, '-Y', home,
                            '-P', home / 'pid'], folder)
    peer.wait_for_port(port)
    return peer
