"""XML as the documents of SIP use it: elements with namespaces, and nothing that a stranger could do harm with.

Read with expat and ``xml.etree``.  A document type declaration is refused, so there are no entities but the five that
everybody has; size, depth and number of elements are bounded.  Phones that forget to declare the namespace are
borne: a name without one gets that of the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from greensip.errors import ParseError, UsageError

from .coding import charset_of

__all__ = [
    'LANG', 'XML_LIMITS', 'Element', 'XmlLimits', 'children', 'find', 'format_time', 'local_name', 'make', 'parse_time',
    'parse_xml', 'read_flag', 'read_number', 'text_of', 'write_xml',
]

#: the attribute ``xml:lang``
LANG = '{http://www.w3.org/XML/1998/namespace}lang'


class XmlLimits(NamedTuple):
    """How much of a peer's document we are willing to read."""

    size: int = 262144          # octets
    depth: int = 32
    elements: int = 8192
    attributes: int = 64        # of one element
    name: int = 1024            # characters of a name with its namespace, which each element has in full


XML_LIMITS = XmlLimits()

#: what the namespaces are called that are written; others are called ns1, ns2 ...
_PREFIXES = {
    'urn:ietf:params:xml:ns:pidf:data-model': 'dm',
    'urn:ietf:params:xml:ns:pidf:rpid': 'rpid',
    'http://www.w3.org/XML/1998/namespace': 'xml',
    'http://www.w3.org/2001/XMLSchema-instance': 'xsi',
}


def parse_xml(data: bytes, namespace: str, name: str, limits: XmlLimits = XML_LIMITS) -> Element:
    """The root of a document, which must be ``name`` of ``namespace``.

    ParseError if it is anything else, not well-formed, over a limit (status 513), or has a document type.
    """
    if len(data) > limits.size:
        raise ParseError(f'a document of more than {limits.size} octets', status=513)
    reader = _Reader(namespace, limits)
    parser = expat.ParserCreate(namespace_separator='}')
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.builder.data
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.XmlDeclHandler = reader.declare
    try:
        # Some phones put an empty line in front of the declaration.
        parser.Parse(data.lstrip(b' \t\r\n'), True)
    except expat.ExpatError as error:
        raise ParseError(f'XML that is not well-formed: {error}') from None
    except (ValueError, LookupError) as error:
        # The encoding that it names is unknown, or no encoding.
        if isinstance(error, ParseError):
            raise
        raise ParseError(f'XML that cannot be decoded: {error}') from None
    root = reader.builder.close()
    if root.tag != f'{{{namespace}}}{name}':
        raise ParseError(f'not a document of the kind {name}', root.tag)
    return root


class _Reader:
    """Takes the events of expat, and gives them to a TreeBuilder as long as they keep to the limits."""

    __slots__ = ('builder', 'depth', 'elements', 'limits', 'namespace')

    def __init__(self, namespace: str, limits: XmlLimits) -> None:
        self.builder = TreeBuilder()
        self.namespace = namespace
        self.limits = limits
        self.depth = 0
        self.elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        limits = self.limits
        if self.depth > limits.depth or self.elements > limits.elements or len(attributes) > limits.attributes:
            raise ParseError('a document that is nested too deep, or has too many elements or attributes', status=513)
        # A namespace is declared once and stands in every name below: 256 KB could make a gigabyte.
        if len(name) > limits.name or any(len(key) > limits.name for key in attributes):
            raise ParseError('a name that is too long', status=513)
        self.builder.start(self._tag(name), {('{' + key if '}' in key else key): text
                                             for key, text in attributes.items()})

    def end(self, name: str) -> None:
        self.depth -= 1
        self.builder.end(self._tag(name))

    def _tag(self, name: str) -> str:
        return '{' + name if '}' in name else f'{{{self.namespace}}}{name}'

    def declare(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and charset_of(encoding) is None:
            raise ParseError('XML that cannot be decoded: unknown encoding', encoding)

    def refuse(self, *_: object) -> None:
        raise ParseError('a document type declaration')


# Reading elements

def local_name(element: Element) -> str:
    """The name without its namespace."""
    return element.tag.rpartition('}')[2]


def children(element: Element, namespace: str, name: str) -> Iterator[Element]:
    """The children of this name."""
    return (child for child in element if child.tag == f'{{{namespace}}}{name}')


def find(element: Element, namespace: str, name: str) -> Element | None:
    """The first child of this name."""
    return next(children(element, namespace, name), None)


def text_of(element: Element | None) -> str:
    """The text in front of the first child, without white space around it; nothing for None."""
    return (element.text or '').strip() if element is not None else ''


def read_number(text: str | None, what: str) -> int | None:
    """An xs:nonNegativeInteger of at most 19 digits; None for None.  ParseError for anything else."""
    if text is None:
        return None
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise ParseError(f'not a {what}', text)
    return int(text)


def read_flag(text: str | None) -> bool | None:
    """An xs:boolean; None for None.  ParseError for anything else."""
    if text is None:
        return None
    flag = _FLAGS.get(text.strip())
    if flag is None:
        raise ParseError('not a boolean', text)
    return flag


_FLAGS = {'true': True, '1': True, 'false': False, '0': False}
_TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)?', re.ASCII)


def parse_time(text: str | None) -> datetime | None:
    """An xs:dateTime; None for what is none.  One without a time zone is taken for UTC (RFC 3863 4.1.7)."""
    text = (text or '').strip()
    if _TIME.fullmatch(text) is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def format_time(time: datetime) -> str:
    """``time`` as an xs:dateTime; without a time zone it is taken for UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    text = time.isoformat()
    return text[:-6] + 'Z' if text.endswith('+00:00') else text


# Writing

def make(namespace: str, name: str, text: str | None = None, /, **attributes: object) -> Element:
    """An element; attributes that are None are left out, numbers and booleans written as XML has them."""
    element = Element(f'{{{namespace}}}{name}')
    element.text = text
    for key, value in attributes.items():
        if value is not None:
            element.set(key, str(value).lower() if isinstance(value, bool) else str(value))
    return element


def write_xml(root: Element) -> bytes:
    """The document, in UTF-8.  UsageError for characters that XML does not have, and for names that are none."""
    names = dict.fromkeys(name for element in root.iter() for name in (element.tag, *element.keys()))
    namespaces = dict.fromkeys(name[1:].rpartition('}')[0] for name in names if name[:1] == '{')
    prefixes: dict[str, str] = {}
    for space in namespaces:
        prefixes[space] = f'{_PREFIXES.get(space) or f"ns{len(prefixes)}"}:'
    written = {}
    for name in names:
        space, _, local = name[1:].rpartition('}') if name[:1] == '{' else ('', '', name)
        if _NAME.fullmatch(local) is None:
            raise UsageError(f'not a name of an element: {local!r}')
        written[name] = f'{prefixes[space]}{local}' if space else local
    own = root.tag[1:].rpartition('}')[0] if root.tag[:1] == '{' else ''
    declared = ''.join(f' xmlns:{prefix[:-1]}="{_escape(space)}"' for space, prefix in prefixes.items()
                       if prefix != 'xml:' and space != own)
    tags = dict(written)
    if own:
        # The namespace of the document is the default one; that does not hold for attributes.
        if any(element.tag[:1] != '{' for element in root.iter()):
            declared += f' xmlns:{prefixes[own][:-1]}="{_escape(own)}"'
        else:
            declared = f' xmlns="{_escape(own)}"{declared}'
            if any(name.startswith(f'{{{own}}}') for element in root.iter() for name in element.keys()):  # noqa: SIM118
                declared += f' xmlns:{prefixes[own][:-1]}="{_escape(own)}"'
            for name in names:
                if name.startswith(f'{{{own}}}'):
                    tags[name] = name[len(own) + 2:]
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _write(root, tags, written, declared, parts)
    parts.append('\n')
    return ''.join(parts).encode()


def _write(element: Element, tags: dict[str, str], names: dict[str, str], declared: str, parts: list[str]) -> None:
    tag = tags[element.tag]
    parts.append(f'<{tag}{declared}')
    parts += [f' {names[key]}="{_escape(text)}"' for key, text in element.items()]
    if len(element) == 0 and not element.text:
        parts.append('/>')
        return
    parts.append('>')
    if element.text:
        parts.append(_escape(element.text))
    for child in element:
        _write(child, tags, names, '', parts)
        if child.tail and child.tail.strip():
            parts.append(_escape(child.tail))
    parts.append(f'</{tag}>')


#: what cannot stand in a name
_NOT = r"""\s<>&"'/=:{}!?#;,()%*+@$^`|~\[\]\\\0-\x1f"""
_NAME = re.compile(f'[^{_NOT}0-9.-][^{_NOT}]*')
_NO_CHARACTER = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_ESCAPES = {ord('&'): '&amp;', ord('<'): '&lt;', ord('>'): '&gt;', ord('"'): '&quot;', 13: '&#13;', 10: '&#10;',
            9: '&#9;'}


def _escape(text: str) -> str:
    """``text`` for an attribute or between tags."""
    match = _NO_CHARACTER.search(text)
    if match is not None:
        raise UsageError(f'XML has no {match.group()!r}')
    return text.translate(_ESCAPES)
