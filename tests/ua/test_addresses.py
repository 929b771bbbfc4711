"""Addresses as scripts write them."""

from __future__ import annotations

import pytest

from greensip.errors import UsageError
from greensip.ua.addresses import aor_of, contact_text, registrar_of


@pytest.mark.parametrize(('given', 'text'), [
    (None, None), ('', ''), ('*', '*'),
    ('sip:alice@192.0.2.1;transport=tcp', '<sip:alice@192.0.2.1;transport=tcp>'),
    ('<sip:alice@192.0.2.1>;expires=60', '<sip:alice@192.0.2.1>;expires=60'),
    ('"A, B" <sip:a@b>, <sip:c@d>;q=0.5', '"A, B" <sip:a@b>, <sip:c@d>;q=0.5'),
])
def test_a_contact(given: str | None, text: str | None) -> None:
    assert contact_text(given) == text


@pytest.mark.parametrize('text', ['x', 'sip:', '<sip:a@b', '<sip:a@b>, x', '<sip:a@b>,'])
def test_what_is_no_contact(text: str) -> None:
    with pytest.raises(UsageError, match='contact='):
        contact_text(text)


@pytest.mark.parametrize(('given', 'text'), [
    ('pbx.example.com', 'sip:pbx.example.com'), ('sips:alice:x@pbx.example.com', 'sips:pbx.example.com'),
    ('[2001:db8::1]:5070', 'sip:[2001:db8::1]:5070'),
])
def test_a_registrar(given: str, text: str) -> None:
    assert registrar_of(given) == text


@pytest.mark.parametrize('text', ['tel:+49', '', 'a b', 'alice@example.com', 'http://example.com'])
def test_what_is_no_registrar(text: str) -> None:
    with pytest.raises(UsageError, match='is no registrar'):
        registrar_of(text)


@pytest.mark.parametrize('text', ['alice', 'sip:example.com', 'tel:+49', '', 'alice <', 'sip:alice@'])
def test_what_is_no_address_of_record(text: str) -> None:
    with pytest.raises(UsageError, match='is no address-of-record: write sip:alice@'):
        aor_of(text)
