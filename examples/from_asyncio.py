"""Calls from an asyncio program: every verb is awaited, several calls at once are several tasks.

    python examples/from_asyncio.py sip:bob@127.0.0.1:5080 sip:carol@127.0.0.1:5080

Calls everybody at once, stays for a moment and hangs up; prints a line for each.  Status 0 when all have answered.
Try it with ``examples/answer.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from greensip import GreensipError, aio


async def call(ua: Any, uri: str, seconds: float) -> bool:
    """One call; True if it was answered."""
    try:
        async with ua.invite(uri) as leg:
            await leg.wait_for('200', timeout=20)
            print(f'{uri} answered', flush=True)
            await asyncio.sleep(seconds)
            return True
    except GreensipError as error:
        print(f'{uri}: {error}', flush=True)
        return False


async def main() -> int:
    """Parse the command line and call everybody."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uri', nargs='+', help='whom to call')
    parser.add_argument('--seconds', type=float, default=0.5, help='how long to stay (default %(default)s)')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    async with aio.UserAgent(options.listen, name='asyncio') as ua:
        answered = await asyncio.gather(*(call(ua, uri, options.seconds) for uri in options.uri))
    return 0 if all(answered) else 1


if __name__ == '__main__':
    sys.exit(asyncio.run(main()))
