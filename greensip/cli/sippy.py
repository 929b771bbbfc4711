"""The command ``greensip-sippy``: runs a program that was written for sippy as ``python`` would, on greensip's hub."""

from __future__ import annotations

import importlib.util
import io
import os
import runpy
import sys
import traceback
from importlib.abc import InspectLoader
from types import CodeType, ModuleType

from greensip.cli.output import show, version
from greensip.errors import SetupError, UsageError

__all__ = ['HELP', 'PROGRAM', 'main']

PROGRAM = 'greensip-sippy'

HELP = f"""\
usage: {PROGRAM} [--patch-all] SCRIPT [ARGS...]
       {PROGRAM} [--patch-all] -m MODULE [ARGS...]

Runs a program that was written for sippy, unmodified, on greensip's hub.

  -m MODULE     run a module, as python -m does
  --patch-all   call gevent.monkey.patch_all() first: threads become greenlets
  --help        show this text
  --version     show the version of greensip"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0, or 2 with a sentence on the standard error if there is no such program.

    What the program itself raises, SystemExit among it, is passed on.
    """
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except SetupError as error:
        print(f'{PROGRAM}: {error}', file=sys.stderr)
        return 2


def run(arguments: list[str]) -> int:
    """Read the options, patch sippy and run the program."""
    rest = list(arguments)
    patch = False
    while rest and rest[0] in ('--patch-all', '--help', '--version'):
        option = rest.pop(0)
        if option != '--patch-all':
            return show(HELP if option == '--help' else f'{PROGRAM} {version()}', PROGRAM)
        patch = True
    if not rest:
        raise SetupError(f'it needs a script, or -m and a module; {PROGRAM} --help tells more')
    name = rest.pop(0)
    if name.startswith('-m'):
        name = name[2:] or (rest.pop(0) if rest else '')
        if not name:
            raise SetupError('-m needs the name of a module')
        set_up(patch, os.getcwd())
        code, main_module = find_module(name)
    elif name.startswith('-'):
        raise SetupError(f'there is no option {name}')
    elif os.path.isdir(name) or (name.endswith(('.zip', '.pyz', '.pyc')) and os.path.isfile(name)):
        set_up(patch, None)
        sys.argv = [name, *rest]
        runpy.run_path(name, run_name='__main__')
        return 0
    else:
        code, main_module = find_script(name)
        set_up(patch, os.path.dirname(os.path.realpath(name)))
    sys.argv = [str(main_module.__file__) if main_module.__spec__ else name, *rest]
    sys.modules['__main__'] = main_module
    exec(code, vars(main_module))
    return 0


def set_up(patch: bool, folder: str | None) -> None:
    """Patch what is to be patched, and let modules be found where python would find them."""
    if not getattr(sys.flags, 'safe_path', False):
        # The first place belongs to this command itself.
        sys.path[:1] = [] if folder is None else [folder]
    if patch:
        from gevent import monkey
        monkey.patch_all()
    try:
        importlib.import_module('greensip.compat.sippy')
    except (ImportError, UsageError) as error:
        raise SetupError(str(error)) from None


def find_script(path: str) -> tuple[CodeType, ModuleType]:
    """The code of a file, and the ``__main__`` to run it in.  SystemExit, and what python says, for what is none."""
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        raise SetupError(f'the script {path} cannot be read: {error.strerror}') from None
    module = new_main()
    module.__file__ = os.path.abspath(path)
    try:
        return compile(source, path, 'exec'), module
    except SyntaxError as error:
        # As python has it: the place and what is wrong there, none of our frames.
        traceback.print_exception(error.with_traceback(None))
        raise SystemExit(1) from None


def find_module(name: str) -> tuple[CodeType, ModuleType]:
    """The code of a module, or of the ``__main__`` of a package, and the ``__main__`` to run it in."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += '.__main__'
            spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise SetupError(f'the module {name} cannot be found: {error}') from None
    code = spec.loader.get_code(name) if spec and isinstance(spec.loader, InspectLoader) else None
    if code is None or spec is None:
        raise SetupError(f'there is no module {name} that could be run')
    module = new_main()
    module.__file__ = spec.origin
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    return code, module


def new_main() -> ModuleType:
    """An empty ``__main__``."""
    module = ModuleType('__main__')
    vars(module)['__builtins__'] = __builtins__
    return module


if __name__ == '__main__':
    sys.exit(main())
