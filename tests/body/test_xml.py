"""XML from strangers: bounded, without document types, with namespaces and without; and how it is written."""

from __future__ import annotations

import encodings
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone

import pytest

from greensip.body.xml import (
    LANG,
    Element,
    XmlLimits,
    children,
    find,
    format_time,
    local_name,
    make,
    parse_time,
    parse_xml,
    read_flag,
    read_number,
    text_of,
    write_xml,
)
from greensip.errors import ParseError, UsageError

NS = 'urn:x'
BILLION_LAUGHS = b'''<?xml version="1.0"?>
<!DOCTYPE r [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<r xmlns="urn:x">&b;</r>'''


def parse(data: bytes, limits: XmlLimits | None = None) -> Element:
    return parse_xml(data, NS, 'r', limits or XmlLimits())


@pytest.mark.parametrize(('data', 'what'), [
    (b'', 'not well-formed'),
    (b'hello', 'not well-formed'),
    (b'<r xmlns="urn:x">', 'not well-formed'),
    (b'<r xmlns="urn:x"><a></b></r>', 'not well-formed'),
    (b'<r xmlns="urn:x"/><r/>', 'not well-formed'),
    (b'<r xmlns="urn:x"><y:a/></r>', 'not well-formed'),
    (b'<r xmlns="urn:x">&nothing;</r>', 'not well-formed'),
    (b'<r xmlns="urn:x">\0</r>', 'not well-formed'),
    (b'<r xmlns="urn:x">\xff</r>', 'not well-formed'),
    (b'<?xml version="1.0" encoding="klingon"?><r xmlns="urn:x"/>', 'XML'),
    (b'<?xml version="1.0" encoding="utf-7"?><r xmlns="urn:x"/>', 'XML'),
    (BILLION_LAUGHS, 'document type'),
    (b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><r xmlns="urn:x"/>', 'document type'),
    (b'<s xmlns="urn:x"/>', 'kind r'),
    (b'<r xmlns="urn:y"/>', 'kind r'),
])
def test_what_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what) as caught:
        parse(data)
    assert caught.value.status == 400


@pytest.mark.parametrize(('data', 'limits'), [
    (b'<r>' + b'x' * 100 + b'</r>', XmlLimits(size=100)),
    (b'<r><a><b/></a></r>', XmlLimits(depth=2)),
    (b'<r>' + b'<a/>' * 10 + b'</r>', XmlLimits(elements=10)),
    (b'<r a="1" b="2" c="3"/>', XmlLimits(attributes=2)),
    (b'<r xmlns:x="urn:xxxxxx"><x:a/></r>', XmlLimits(name=11)),
    (b'<r xmlns:x="urn:xxxxxx" x:a=""/>', XmlLimits(name=11)),
])
def test_limits(data: bytes, limits: XmlLimits) -> None:
    parse(data)
    with pytest.raises(ParseError) as caught:
        parse(data, limits)
    assert caught.value.status == 513


@pytest.mark.parametrize('inside', ['<x:a/>' * 5000, '<r x:a=""/>' * 5000])
def test_a_long_namespace_is_not_paid_for_with_every_name(inside: str) -> None:
    data = f'<r xmlns:x="urn:{"x" * 30000}">{inside}</r>'.encode()
    tracemalloc.start()
    try:
        with pytest.raises(ParseError) as caught:
            parse(data)
        assert caught.value.status == 513
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


def test_encodings_that_nobody_knows_are_not_remembered() -> None:
    """Python keeps each name for ever, and a peer has as many as he likes, of any length."""
    before = len(encodings._cache)
    for number in range(20):
        with pytest.raises(ParseError):
            parse_xml(f'<?xml version="1.0" encoding="x{number}{"x" * 10_000}"?><a/>'.encode(), 'urn:a', 'a')
    assert len(encodings._cache) == before


@pytest.mark.parametrize('data', [
    b'<r xmlns="urn:x"><a>t</a></r>',
    b'<z:r xmlns:z="urn:x"><z:a>t</z:a></z:r>',
    b'<r><a>t</a></r>',
    b'\r\n \t<?xml version="1.0"?>\r\n<r><a> t\n</a></r>\r\n',
    '<?xml version="1.0" encoding="UTF-16"?><r><a>t</a></r>'.encode('utf-16'),
    b'\xef\xbb\xbf<r><a>t<!-- comment --></a></r>',
])
def test_namespaces_and_encodings(data: bytes) -> None:
    root = parse(data)
    assert local_name(root) == 'r'
    assert text_of(find(root, NS, 'a')) == 't'
    assert [local_name(child) for child in children(root, NS, 'a')] == ['a']
    assert find(root, 'urn:y', 'a') is None and text_of(None) == ''


def test_written() -> None:
    root = make(NS, 'r', version=1, active=True, nothing=None)
    child = make('urn:y', 'a', 'R & D <"1">\r\n')
    child.set(LANG, 'en')
    child.set('{urn:z}b', 'tab\there')
    root.extend([child, make(NS, 'e')])
    data = write_xml(root)
    assert data == (b'<?xml version="1.0" encoding="UTF-8"?>\n<r xmlns="urn:x" xmlns:ns1="urn:y" xmlns:ns3="urn:z" '
                    b'version="1" active="true"><ns1:a xml:lang="en" ns3:b="tab&#9;here">R &amp; D '
                    b'&lt;&quot;1&quot;&gt;&#13;&#10;</ns1:a><e/></r>\n')
    again = parse(data)
    assert again[0].text == child.text and again[0].attrib == child.attrib and write_xml(again) == data


def test_an_element_without_a_namespace_gets_none() -> None:
    root = make(NS, 'r')
    root.set(f'{{{NS}}}a', '1')
    root.append(Element('b'))
    root[0].tail = 'behind'
    data = write_xml(root)
    assert data.endswith(b'<ns0:r xmlns:ns0="urn:x" ns0:a="1"><b/>behind</ns0:r>\n')
    root.remove(root[0])
    assert write_xml(root).endswith(b'<r xmlns="urn:x" xmlns:ns0="urn:x" ns0:a="1"/>\n')


@pytest.mark.parametrize('element', [
    make(NS, 'r', 'bell \a'), make(NS, 'r', a='\ud800'), make(NS, 'two words'), make(NS, '1st'), make(NS, ''),
    make(NS, 'a><b'), make(NS, 'r', **{'a="1" b': 'x'}),
])
def test_what_cannot_be_written(element: Element) -> None:
    with pytest.raises(UsageError):
        write_xml(element)


@pytest.mark.parametrize(('text', 'time', 'again'), [
    ('2001-10-27T16:49:29Z', datetime(2001, 10, 27, 16, 49, 29, tzinfo=UTC), '2001-10-27T16:49:29Z'),
    (' 2001-10-27T16:49:29\n', datetime(2001, 10, 27, 16, 49, 29, tzinfo=UTC), '2001-10-27T16:49:29Z'),
    ('2008-04-04T12:16:49.25-05:00', datetime(2008, 4, 4, 12, 16, 49, 250000, timezone(timedelta(hours=-5))),
     '2008-04-04T12:16:49.250000-05:00'),
    ('2001-10-27T16:49:29.1234567Z', datetime(2001, 10, 27, 16, 49, 29, 123456, UTC), '2001-10-27T16:49:29.123456Z'),
    ('2001-13-27T16:49:29Z', None, ''), ('2001-10-27', None, ''), ('yesterday', None, ''), ('', None, ''),
    (None, None, ''), ('2001-W10-1T16:49:29Z', None, ''), ('٢001-10-27T16:49:29Z', None, ''),
])
def test_times(text: str | None, time: datetime | None, again: str) -> None:
    assert parse_time(text) == time
    if time is not None:
        assert format_time(time) == again


def test_a_time_without_a_zone_is_written_as_utc() -> None:
    assert format_time(datetime(2026, 1, 2, 3, 4, 5)) == '2026-01-02T03:04:05Z'


@pytest.mark.parametrize(('text', 'number'), [('0', 0), (' 12\n', 12), ('9' * 19, 10**19 - 1), (None, None)])
def test_numbers(text: str | None, number: int | None) -> None:
    assert read_number(text, 'number') == number


@pytest.mark.parametrize('text', ['', '-1', '+1', '1_0', '٣', '1.0', '9' * 20, 'one'])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ParseError, match='not a number'):
        read_number(text, 'number')


@pytest.mark.parametrize(('text', 'flag'), [('true', True), ('1', True), (' false ', False), ('0', False),
                                            (None, None)])
def test_flags(text: str | None, flag: bool | None) -> None:
    assert read_flag(text) is flag


def test_what_is_no_flag() -> None:
    with pytest.raises(ParseError):
        read_flag('yes')
