"""Looks whether what a text says of greensip is true: that the attributes, classes and keywords in its code exist."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

import greensip
import greensip.body
from greensip.dialog.event import Event
from greensip.errors import ResponseError
from greensip.transport.keepalive import KeepAlive
from greensip.ua import agent

#: compiled classes have no source, and do not tell their arguments
COMPILED = not str(agent.__file__).endswith('.py')

#: what variables stand for in texts
OBJECTS: dict[str, tuple[type, ...]] = {
    'ua': (greensip.UserAgent,), 'account': (greensip.Account,), 'leg': (greensip.OutgoingLeg, greensip.IncomingLeg),
    'error': (greensip.Redirected, ResponseError), 'event': (Event,), 'group': (greensip.LegGroup,),
    'keep_alive': (KeepAlive,), 'message': (greensip.Request, greensip.Response, greensip.IncomingMessage),
    'alice': (greensip.Account,), 'buddy': (greensip.Buddy,), 'watcher': (greensip.IncomingSubscription,),
    'transfer': (greensip.Transfer,),
}

def wrong(tree: ast.AST) -> Iterator[str]:
    """What does not exist, in words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS:
            if not has(node.value.id, node.attr):
                yield f'{node.value.id} has no {node.attr}'
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg is not None and not takes(node.func, keyword.arg):
                    yield f'{ast.unparse(node.func)} takes no {keyword.arg}'


def known(tree: ast.AST) -> int:
    """How many of greensip's names are in it."""
    return sum((isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS)
               or (isinstance(node, ast.Name) and exported(node.id))
               or (isinstance(node, ast.For) and isinstance(node.iter, ast.Name) and has(node.iter.id, '__iter__'))
               for node in ast.walk(tree))


def exported(name: str) -> bool:
    """Whether greensip, or its documents, have something of that name."""
    return hasattr(greensip, name) or hasattr(greensip.body, name)


def has(variable: str, name: str) -> bool:
    """Whether one of the classes has it, at last as an attribute of its instances."""
    return any(hasattr(cls, name) or name in slots(cls) for cls in OBJECTS.get(variable, ()))


def slots(cls: type) -> set[str]:
    assigned = re.findall(r'self\.(\w+)\b(?::[^=\n]+)? =', inspect.getsource(cls))
    return {name for base in cls.__mro__ for name in getattr(base, '__slots__', ())} | set(assigned)


def takes(function: ast.expr, keyword: str) -> bool:
    """Whether what is called takes the keyword; what is no part of greensip takes any."""
    found: list[Any] = []
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in OBJECTS:
        found = [getattr(cls, function.attr) for cls in OBJECTS[function.value.id] if hasattr(cls, function.attr)]
    elif isinstance(function, ast.Name) and hasattr(greensip, function.id):
        found = [getattr(greensip, function.id)]
    return not found or any(keyword in parameters(one) for one in found)


def parameters(function: Any) -> set[str]:
    """The keywords that it takes; those of ``ua.invite`` and ``Account`` where it passes them on."""
    taken = inspect.signature(function).parameters
    passed = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    behind = (greensip.UserAgent.invite, greensip.Account) if passed else ()
    return {*taken, *(name for other in behind for name in inspect.signature(other).parameters)}
