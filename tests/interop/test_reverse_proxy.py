"""WebSockets behind nginx, as they mostly are: it does the TLS, and tells who is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers
from benchmarks.certificates import Certificate

from greensip import ConnectError, IncomingRequest, RemoteHangup, UserAgent

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate.cert};
        ssl_certificate_key {certificate.key};
        location /phones {{
            proxy_pass http://127.0.0.1:{behind}/sip;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def test_behind_nginx(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                      free_port: Callable[[], int], certificate: Certificate) -> None:
    needs('nginx')
    port = free_port()
    # A different address of the loopback stands for the world outside.
    with UserAgent('ws:127.0.0.1:0?path=/sip&forwarded=1', name='server') as server, \
            UserAgent(f'wss:127.0.0.2:0?ca={certificate.ca}&peer_path=/phones', name='phone') as phone:
        behind = server.points[0].address[1]
        text = CONFIGURATION.format(folder=folder, port=port, behind=behind, certificate=certificate)
        (folder / 'nginx.conf').write_text(text, encoding='utf-8')
        nginx = peers.Peer('nginx', [peers.need('nginx'), '-e', 'stderr', '-p', folder, '-c', folder / 'nginx.conf'],
                           folder)
        running.append(nginx)
        nginx.wait_for_port(port)
        uri = f'sip:server@127.0.0.1:{port};transport=ws'
        registers: list[IncomingRequest] = []
        server.handle('REGISTER', registers.append)
        response = phone.request('REGISTER', uri, from_='sip:me@example.com', contact='<sip:me@phone.invalid>',
                                 timeout=20)
        assert response.via.received == registers[0].source[0] == '127.0.0.2'
        with server.invite('sip:me@phone.invalid;transport=ws', flow=registers[0].flow) as leg:
            heard = phone.accept(timeout=20)
            heard.answer()
            leg.wait_for('200', timeout=20)
            heard.hangup()
            assert isinstance(leg.wait_ended(timeout=20).error, RemoteHangup)
        with UserAgent(f'wss:127.0.0.2:0?ca={certificate.ca}', name='lost') as lost, \
                pytest.raises(ConnectError, match='refused the WebSocket with 404'):
            lost.options(uri, timeout=20)
