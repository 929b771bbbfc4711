"""A browser without a window, driven over two pipes: the DevTools protocol, JSON with a NUL after each message."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent
from benchmarks import peers
from gevent.event import AsyncResult, Event
from gevent.os import make_nonblocking, nb_read, nb_write

__all__ = ['Browser', 'BrowserError', 'Page']

FLAGS = (
    '--headless=new', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--no-first-run', '--mute-audio',
    '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    # It goes on when nobody looks at it.
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
    # A microphone that beeps, and nobody who has to allow its use.
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
    # Media between two pages on a machine that has no address but the loopback's.
    '--allow-loopback-in-peer-connection',
    # The certificates of the tests are signed by an authority of the tests.
    '--ignore-certificate-errors',
)


class BrowserError(Exception):
    """The browser did not do what it was told; the text says why."""


class Browser:
    """A running browser with a profile of its own in ``folder``.  Others run while somebody waits for it."""

    def __init__(self, command: str | Path, folder: Path) -> None:
        read_there, self._write = os.pipe()
        self._read, write_there = os.pipe()
        for descriptor in (self._read, self._write):
            make_nonblocking(descriptor)
        # It reads commands from descriptor 3 and writes to 4.
        shell = f'exec "$0" "$@" 3<&{read_there} 4>&{write_there}'
        with (folder / 'browser.out').open('wb') as output:
            self._process = subprocess.Popen(
                ['bash', '-c', shell, str(command), *FLAGS, f'--user-data-dir={folder / "profile"}', 'about:blank'],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                pass_fds=(read_there, write_there), start_new_session=True, preexec_fn=peers._die_with_parent)
        os.close(read_there)
        os.close(write_there)
        self._output = folder / 'browser.out'
        self._last = 0
        self._answers: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._ended = ''
        self._reader = gevent.spawn(self._run)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def command(self, method: str, session: str = '', timeout: float = 30.0, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command.  Blocks; raises BrowserError."""
        if self._ended:
            raise BrowserError(self._ended)
        self._last += 1
        number = self._last
        answer = self._answers[number] = AsyncResult()
        message: dict[str, Any] = {'id': number, 'method': method, 'params': params}
        if session:
            message['sessionId'] = session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[nb_write(self._write, data):]
        try:
            found = answer.get(timeout=timeout)
        except gevent.Timeout:
            raise BrowserError(f'no answer to {method} within {timeout} s') from None
        finally:
            del self._answers[number]
        if 'error' in found:
            raise BrowserError(f"{method}: {found['error'].get('message')}")
        result: dict[str, Any] = found['result']
        return result

    @property
    def pages(self) -> list[Page]:
        """The pages that were opened."""
        return list(self._pages.values())

    def page(self, url: str) -> Page:
        """A new page, in a world of its own, when it is there.  Blocks."""
        context = self.command('Target.createBrowserContext')['browserContextId']
        target = self.command('Target.createTarget', url='about:blank', browserContextId=context)['targetId']
        session = self.command('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        page = self._pages[session] = Page(self, session)
        page.command('Runtime.enable')
        page.command('Page.enable')
        page.loaded.clear()
        answer = page.command('Page.navigate', url=url)
        if answer.get('errorText'):
            raise BrowserError(f"{url}: {answer['errorText']}")
        if not page.loaded.wait(30):
            raise BrowserError(f'{url} does not load')
        return page

    def close(self) -> None:
        """End it, and all its processes."""
        if self._process.poll() is None:
            with contextlib.suppress(BrowserError, OSError):
                self.command('Browser.close', timeout=5)
            with contextlib.suppress(subprocess.TimeoutExpired):
                gevent.get_hub().threadpool.apply(self._process.wait, (5,))
        # What is left belongs to the session that it led.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._reader.kill()
        for descriptor in (self._read, self._write):
            os.close(descriptor)

    def _run(self) -> None:
        """The greenlet that reads."""
        rest = b''
        while True:
            data = nb_read(self._read, 65536)
            if not data:
                break
            *messages, rest = (rest + data).split(b'\0')
            for message in messages:
                self._take(json.loads(message))
        self._ended = f'the browser has ended: {self._output.read_text(errors="replace")[-2000:]}'
        for answer in self._answers.values():
            answer.set({'error': {'message': self._ended}})

    def _take(self, message: Mapping[str, Any]) -> None:
        answer = self._answers.get(message.get('id', 0))
        if answer is not None:
            answer.set(dict(message))
        page = self._pages.get(message.get('sessionId', ''))
        if page is not None:
            page.on_event(message.get('method', ''), message.get('params', {}))


class Page:
    """A page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.loaded = Event()
        #: what the page has said on its console, and what went wrong in it
        self.console: list[str] = []

    def command(self, method: str, timeout: float = 30.0, **params: Any) -> dict[str, Any]:
        """A command for this page."""
        return self._browser.command(method, self._session, timeout, **params)

    def do(self, script: str, timeout: float = 30.0) -> Any:
        """The value of an expression; of a promise, once it is kept.  Blocks; raises BrowserError."""
        answer = self.command('Runtime.evaluate', timeout, expression=script, awaitPromise=True, returnByValue=True,
                              userGesture=True)
        if 'exceptionDetails' in answer:
            details = answer['exceptionDetails']
            text = details.get('exception', {}).get('description') or details.get('text')
            raise BrowserError(f'{script[:200]}: {text}')
        return answer['result'].get('value')

    def until(self, condition: str, timeout: float = 20.0) -> Any:
        """Wait until an expression is true, and return its value.  Raises BrowserError with what the page said."""
        script = f'''new Promise((keep, fail) => {{
            const end = Date.now() + {timeout * 1000};
            const look = () => {{
                const value = ({condition});
                if (value) keep(value);
                else if (Date.now() > end) fail(new Error('not within {timeout} s'));
                else setTimeout(look, 20);
            }};
            look();
        }})'''
        try:
            return self.do(script, timeout + 10)
        except BrowserError as error:
            raise BrowserError(f'{condition}: {error}\n' + '\n'.join(self.console[-40:])) from None

    def on_event(self, method: str, params: Mapping[str, Any]) -> None:
        """Called by the browser's reader."""
        if method == 'Page.loadEventFired':
            self.loaded.set()
        elif method == 'Runtime.consoleAPICalled':
            self.console.append(' '.join(str(part.get('value', part.get('description', '')))
                                         for part in params.get('args', ())))
        elif method == 'Runtime.exceptionThrown':
            details = params.get('exceptionDetails', {})
            self.console.append(str(details.get('exception', {}).get('description') or details.get('text')))
