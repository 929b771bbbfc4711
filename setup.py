"""Packaging of greensip; ``scripts/install`` makes a virtual environment with it and what its tests need."""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, find_packages, setup

#: What GREENSIP_COMPILE=1 compiles with mypyc, from the same sources: the layers that know neither sockets nor
#: greenlets ...
COMPILED = ('greensip/fsm.py', 'greensip/message/*.py', 'greensip/sdp/*.py', 'greensip/transaction/*.py',
            'greensip/dialog/*.py')
#: ... but for what other layers derive from, which a compiled class does not allow.
NOT_COMPILED = ('__init__.py', 'flow.py')


def compiled_modules() -> list[Extension]:
    """The extension modules of a compiled build; none in a plain one."""
    if os.environ.get('GREENSIP_COMPILE') != '1':
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        raise SystemExit('GREENSIP_COMPILE=1 needs mypy and a C compiler: pip install mypy, and build with '
                         '--no-build-isolation') from None
    here = Path(__file__).parent
    files = [str(path.relative_to(here)) for pattern in COMPILED for path in sorted(here.glob(pattern))
             if path.name not in NOT_COMPILED]
    return list(mypycify(['--config-file=', '--strict', '--follow-imports=silent', *files], opt_level='3'))


setup(
    name='greensip',
    version='0.1.0',
    description='SIP in Python: a call is a straight piece of code that blocks in its own greenlet',
    long_description=(Path(__file__).parent / 'README.rst').read_text(encoding='utf-8'),
    long_description_content_type='text/x-rst',
    license='MIT',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Intended Audience :: Telecommunications Industry',
        'License :: OSI Approved :: MIT License',
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
        'test': ['pytest>=7.4', 'hypothesis>=6.80', 'mypy>=1.8', 'ruff>=0.4', 'types-gevent', 'types-greenlet'],
        # Real peers of the interoperability tests and of scripts/bench that come from PyPI.
        'peers': ['pjsua2-python', 'sippy'],
    },
    entry_points={'console_scripts': ['greensip-b2bua = greensip.cli.b2bua:main']},
)
