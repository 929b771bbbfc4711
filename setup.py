"""Packaging of greensip; ``scripts/install`` makes a virtual environment with it and what its tests need."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent

#: what is compiled with mypyc, from the same text: all that a call passes through
COMPILED = ('fsm.py', 'message/*.py', 'sdp/*.py', 'transaction/*.py', 'dialog/*.py', 'transport/base.py',
            'transport/channel.py', 'transport/clock.py', 'transport/connection.py', 'transport/endpoint.py',
            'transport/stream.py', 'transport/tcp.py', 'transport/tls.py', 'transport/udp.py', 'transport/wire.py',
            'ua/*.py', 'b2bua/app.py', 'b2bua/call.py', 'b2bua/hunt.py', 'b2bua/routes.py', 'b2bua/translate.py')
#: but for what mypyc cannot do: classes with two built-in bases, with greenlet for a base, with weak references
NOT_COMPILED = ('__init__.py', 'engine.py', 'later.py', 'watchdog.py', 'workers.py')

#: commands that make what is installed; an editable installation stays plain, so that what is edited is what runs
BUILDING = {'bdist_wheel', 'build', 'build_ext', 'install'}


def has_compiler() -> bool:
    """Whether extension modules can be built here."""
    compiler = (os.environ.get('CC') or sysconfig.get_config_var('CC') or 'cc').split()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'probe.c')
        source.write_text('#include <Python.h>\nint probe(void) { return PY_MAJOR_VERSION; }\n')
        try:
            done = subprocess.run([*compiler, '-c', f'-I{sysconfig.get_path("include")}', source, '-o',
                                   source.with_suffix('.o')], capture_output=True, check=False)
        except OSError:
            return False
    return done.returncode == 0


def compiled_modules() -> list[Extension]:
    """The extension modules of this build; none in a plain one.

    GREENSIP_COMPILE=0 asks for a plain build, =1 fails where a compiled one cannot be made; otherwise there is one
    where there are mypy and a C compiler.
    """
    wanted = os.environ.get('GREENSIP_COMPILE', '')
    if wanted == '0' or not BUILDING.intersection(sys.argv):
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        if wanted:
            raise SystemExit('GREENSIP_COMPILE=1 needs mypy') from None
        return []
    if not has_compiler():
        if wanted:
            raise SystemExit('GREENSIP_COMPILE=1 needs a C compiler and the headers of Python')
        print('greensip: no C compiler, this build is plain Python', file=sys.stderr)
        return []
    files = [str(path.relative_to(HERE)) for pattern in COMPILED for path in sorted(HERE.glob(f'greensip/{pattern}'))
             if path.name not in NOT_COMPILED]
    return list(mypycify(['--config-file=', '--strict', '--follow-imports=silent', *files], opt_level='3',
                         debug_level='0'))


setup(
    name='greensip',
    version='0.1.0',
    description='SIP in Python: a call is a straight piece of code that blocks in its own greenlet',
    long_description=(HERE / 'README.rst').read_text(encoding='utf-8'),
    long_description_content_type='text/x-rst',
    license='MIT',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Intended Audience :: Telecommunications Industry',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Communications :: Internet Phone',
        'Topic :: Communications :: Telephony',
        'Typing :: Typed',
    ],
    packages=find_packages(include=['greensip', 'greensip.*']),
    package_data={'greensip': ['py.typed']},
    ext_modules=compiled_modules(),
    zip_safe=False,
    python_requires='>=3.11',
    install_requires=['gevent>=23.9', 'greenlet>=3.0', 'dnspython>=2.4'],
    extras_require={
        'test': ['pytest>=8.0', 'rich>=13', 'hypothesis>=6.80', 'cryptography>=41', 'mypy>=1.8', 'ruff>=0.4',
                 'types-gevent', 'types-greenlet', 'wsproto>=1.2'],
        # Colours for the command greensip.
        'cli': ['rich>=13'],
        # SIP over WebSocket, for browsers.
        'websocket': ['wsproto>=1.2', 'h11>=0.14'],
        # Programs written for sippy, on greensip's hub.
        'sippy': ['sippy>=2.5'],
        # Real peers of the interoperability tests and of scripts/bench that come from PyPI.
        'peers': ['pjsua2-python', 'sippy', 'rtp-io'],
    },
    entry_points={'console_scripts': ['greensip = greensip.cli.main:main',
                                      'greensip-b2bua = greensip.cli.b2bua:main',
                                      'greensip-sippy = greensip.cli.sippy:main'],
                  # Fixtures for those who test SIP systems.  By its module's name, so that -p does not load it twice.
                  'pytest11': ['greensip.testing.plugin = greensip.testing.plugin']},
)
