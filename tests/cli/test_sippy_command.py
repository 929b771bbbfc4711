"""``greensip-sippy``: programs written for sippy as they stand, and what it says where it cannot run one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from greensip.cli.sippy import HELP

COMMAND = [sys.executable, '-m', 'greensip.cli.sippy']

#: with it python, and so the command, would not look beside a script for what that imports
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != 'PYTHONSAFEPATH'}

#: says where it runs, and what python tells a script about itself
SCRIPT = '''\
import os, sys
from gevent import monkey
from sippy.Core.EventDispatcher import ED2
from sippy.Time.Timeout import Timeout
if __name__ == '__main__':
    import helper
    print(type(ED2).__module__, sys.argv[1:], helper.NAME, os.path.basename(__file__),
          sys.modules['__main__'].ED2 is ED2, monkey.is_module_patched('threading'))
    Timeout(ED2.breakLoop, 0.01, 1, 7)
    sys.exit(ED2.loop())
'''

SAYS = "greensip.compat.sippy.dispatcher ['-f', '--help', 'x y'] found {} True {}\n"


def start(folder: Path, *arguments: str, command: list[str] | None = None,
          **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*(command or COMMAND), *arguments], capture_output=True, text=True, timeout=30, check=False,
                          stdin=subprocess.DEVNULL, cwd=folder, env={**ENVIRONMENT, **variables})


@pytest.fixture
def program(tmp_path: Path, needs_sippy: None) -> Path:
    """A folder with a script, a module and a package, and what they import beside them."""
    (tmp_path / 'package').mkdir()
    for name in ('script.py', 'package/__main__.py'):
        (tmp_path / name).write_text(SCRIPT, encoding='utf-8')
    for name in ('helper.py', 'package/__init__.py'):
        (tmp_path / name).write_text("NAME = 'found'\n", encoding='utf-8')
    with zipfile.ZipFile(tmp_path / 'zipped.pyz', 'w') as archive:
        archive.write(tmp_path / 'script.py', '__main__.py')
        archive.write(tmp_path / 'helper.py', 'helper.py')
    return tmp_path


@pytest.mark.parametrize(('how', 'file', 'patched'), [
    (['script.py'], 'script.py', False),
    (['./script.py'], 'script.py', False),
    (['-m', 'script'], 'script.py', False),
    (['-mscript'], 'script.py', False),
    (['-m', 'package'], '__main__.py', False),
    (['zipped.pyz'], '__main__.py', False),
    (['--patch-all', 'script.py'], 'script.py', True),
    (['--patch-all', '-m', 'package'], '__main__.py', True),
])
def test_a_program_runs_as_it_stands(program: Path, how: list[str], file: str, patched: bool) -> None:
    done = start(program, *how, '-f', '--help', 'x y')
    assert (done.returncode, done.stdout, done.stderr) == (7, SAYS.format(file, patched), '')


def test_a_script_elsewhere_finds_what_is_beside_it(program: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = start(tmp_path_factory.mktemp('elsewhere'), str(program / 'script.py'), '-f', '--help', 'x y')
    assert (done.returncode, done.stdout) == (7, SAYS.format('script.py', False)), done.stderr


def test_a_safe_path_stays_safe(program: Path) -> None:
    done = start(program, 'script.py', PYTHONSAFEPATH='1')
    assert done.returncode == 1 and done.stderr.endswith("ModuleNotFoundError: No module named 'helper'\n"), done


def test_sippys_own_programs_run(tmp_path: Path, needs_sippy: None) -> None:
    done = start(tmp_path, '-m', 'sippy.Time.Timeout')
    assert (done.returncode, done.stdout.count('test'), done.stderr) == (0, 6, '')


def test_what_a_program_raises_is_its_own_traceback(program: Path) -> None:
    (program / 'script.py').write_text("raise ValueError('mine')\n", encoding='utf-8')
    done = start(program, 'script.py')
    assert done.returncode == 1
    assert done.stderr.endswith('ValueError: mine\n') and 'script.py", line 1' in done.stderr


def test_ctrl_c_ends_it_as_python_would(program: Path) -> None:
    # Ready once the loop runs: before that, gevent's own beginnings would be in the traceback.
    (program / 'script.py').write_text('from sippy.Core.EventDispatcher import ED2\n'
                                       'from sippy.Time.Timeout import Timeout\n'
                                       'Timeout(print, 0, 1, "ready")\nED2.loop()\n', encoding='utf-8')
    with subprocess.Popen([*COMMAND, 'script.py'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, cwd=program,
                          env={**ENVIRONMENT, 'PYTHONUNBUFFERED': '1'}) as process:
        assert process.stdout is not None and process.stdout.readline() == 'ready\n'
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=10)[1]
    assert process.returncode == -signal.SIGINT
    assert said.count('KeyboardInterrupt\n') == 1 and said.endswith('KeyboardInterrupt\n')


@pytest.mark.parametrize('arguments', [['--help'], ['--patch-all', '--help']])
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    done = start(tmp_path, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, HELP + '\n', '')


def test_the_version(tmp_path: Path) -> None:
    assert start(tmp_path, '--version').stdout.startswith('greensip-sippy ')


@pytest.mark.parametrize('source', ['print(1\n', '\udcff\udcfe\n'])
def test_what_is_no_python_is_told_as_python_tells_it(program: Path, source: str) -> None:
    (program / 'script.py').write_text(source, encoding='utf-8', errors='surrogateescape')
    done = start(program, 'script.py')
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith('  File "script.py", line 1\n') and 'SyntaxError: ' in done.stderr
    assert 'Traceback' not in done.stderr and 'greensip' not in done.stderr


@pytest.mark.parametrize(('arguments', 'sentence'), [
    ([], 'it needs a script, or -m and a module; greensip-sippy --help tells more'),
    (['--patch-all'], 'it needs a script, or -m and a module; greensip-sippy --help tells more'),
    (['-m'], '-m needs the name of a module'),
    (['-x', 'script.py'], 'there is no option -x'),
    (['nothing.py'], 'the script nothing.py cannot be read: No such file or directory'),
    (['-m', 'no_such_module'], 'there is no module no_such_module that could be run'),
    (['-m', 'no_such.module'], "the module no_such.module cannot be found: No module named 'no_such'"),
    (['-m', 'sys'], 'there is no module sys that could be run'),
    (['-m', '.relative'], None),
    (['-m', 'sippy.Rtp_proxy'], 'there is no module sippy.Rtp_proxy.__main__ that could be run'),
])
def test_where_there_is_no_program_it_says_so(tmp_path: Path, needs_sippy: None, arguments: list[str],
                                              sentence: str | None) -> None:
    done = start(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, ''), done
    assert done.stderr.count('\n') == 1 and done.stderr.startswith('greensip-sippy: '), done.stderr
    if sentence is not None:
        assert done.stderr == f'greensip-sippy: {sentence}\n'


# -- where it cannot be

WITHOUT = '''\
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'sippy' else find_spec(name, package)
'''


def test_without_sippy_the_extra_is_named(tmp_path: Path) -> None:
    done = start(tmp_path, '-c', WITHOUT + 'import greensip.compat.sippy', command=[sys.executable])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == 'ImportError: greensip.compat.sippy needs sippy: pip install greensip[sippy]'


def test_without_sippy_the_command_says_it_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / 'script.py').write_text('print(1)\n', encoding='utf-8')
    program = WITHOUT + "from greensip.cli.sippy import main\nsys.exit(main(['script.py']))\n"
    done = start(tmp_path, '-c', program, command=[sys.executable])
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == 'greensip-sippy: greensip.compat.sippy needs sippy: pip install greensip[sippy]\n'


@pytest.mark.parametrize('patch', ['patch_all(thread=False)', 'patch_socket()'])
def test_sockets_patched_without_threads_are_refused(tmp_path: Path, needs_sippy: None, patch: str) -> None:
    program = f'from gevent import monkey\nmonkey.{patch}\nimport greensip.compat.sippy\n'
    done = start(tmp_path, '-c', program, command=[sys.executable])
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1].removeprefix('greensip.errors.UsageError: ')
    assert last.startswith('gevent.monkey.patch_all(thread=False) and sippy do not go together: ')
    assert last.endswith('patch everything or nothing')


def test_a_patch_that_comes_later_is_refused_by_the_loop(tmp_path: Path, needs_sippy: None) -> None:
    program = ('import greensip.compat.sippy as shim\nfrom gevent import monkey\nmonkey.patch_all(thread=False)\n'
               'shim.ED2.loop(0.01)\n')
    done = start(tmp_path, '-c', program, command=[sys.executable])
    assert done.returncode == 1
    assert 'UsageError: gevent.monkey.patch_all(thread=False) and sippy' in done.stderr.splitlines()[-1]
