"""Call somebody over TLS, and say why it cannot be trusted if so.

    python examples/tls_client.py sips:bob@example.com
    python examples/tls_client.py sips:bob@127.0.0.1:5061 --ca ca.pem
    python examples/tls_client.py 'sip:bob@pbx.example.com;transport=tls' --cert me.pem --key me.key

The server has to prove that it is who the URI names: its certificate must be signed by somebody whom the system trusts
(or --ca), and be made out for that very domain or address.  Where the server asks for a certificate, it gets the one of
--cert.  With --cert we also listen, so that the other side can open a connection to us; without, there is only ours.

Prints what happens.  Status 0 when the call was answered, 1 when it was not.
"""

from __future__ import annotations

import argparse
import sys
from urllib.parse import quote

from greensip import GreensipError, ResponseError, TlsError, UserAgent, WaitTimeout


def call(ua: UserAgent, uri: str, seconds: float) -> bool:
    """True if it was answered."""
    try:
        with ua.call(uri, timeout=30) as leg:
            print(f'answered by {leg.remote}')
            try:
                leg.wait_ended(timeout=seconds)
                print('the other side hung up')
            except WaitTimeout:
                print('hanging up')
            return True
    except TlsError as error:
        print(f'not to be trusted: {error}')
    except ResponseError as error:
        print(f'refused: {error}')
    except GreensipError as error:
        print(f'failed: {error}')
    return False


def main() -> int:
    """Parse the command line and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uri', help='whom to call: sips:USER@HOST, or sip:USER@HOST;transport=tls')
    parser.add_argument('--listen', default='tls:127.0.0.1:0', help='own address (default %(default)s)')
    parser.add_argument('--ca', help='file with the certificates that are trusted, instead of those of the system')
    parser.add_argument('--cert', help='file with our certificate')
    parser.add_argument('--key', help='file with its key, if it is not in the same one')
    parser.add_argument('--seconds', type=float, default=2, help='how long to stay (default %(default)s)')
    options = parser.parse_args()
    files = [f'{name}={quote(text)}' for name in ('ca', 'cert', 'key') if (text := getattr(options, name))]
    place = '?'.join([options.listen, '&'.join(files)]) if files else options.listen
    try:
        with UserAgent(place, name='tls_client') as ua:
            return 0 if call(ua, options.uri, options.seconds) else 1
    except GreensipError as error:
        print(error)
        return 1


if __name__ == '__main__':
    sys.exit(main())
