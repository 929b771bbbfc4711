"""Who calls, why a call is over, and where it has been: the header fields around a call as values.

Identity: P-Asserted-Identity and P-Preferred-Identity (RFC 3325), Privacy (RFC 3323).  Causes: Reason (RFC 3326) with
SIP's and Q.850's numbers.  Where a call has been: History-Info (RFC 7044) and, older and simpler, Diversion (RFC 5806).

None of it is proof: what a peer says of who he is counts as much as the peer himself (RFC 3325 2: a trust domain).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from greensip.errors import LegEnded, ParseError, ResponseError, UsageError
from greensip.message import Message, NameAddr, Reason, Request, Response, SipUri, Uri, parse_name_addr, parse_uri
from greensip.message.grammar import quote
from greensip.message.values import parse_reason

from .fields import Pairs

__all__ = ['ANONYMOUS', 'Cause', 'HistoryEntry', 'Identity', 'causes_of', 'divert', 'history_of', 'next_history']

#: From of a call that does not say who calls (RFC 3323 4.1.1.3)
ANONYMOUS: Final = '"Anonymous" <sip:anonymous@anonymous.invalid>'

#: what Privacy can ask for (RFC 3323 4.2, RFC 3325 9.3, RFC 7044 10.1.1)
PRIVACY: Final = frozenset({'header', 'session', 'user', 'none', 'critical', 'id', 'history'})

#: entries of a History-Info that are looked at
LONGEST_HISTORY: Final = 100


class Cause(NamedTuple):
    """A Reason (RFC 3326): ``protocol`` is ``SIP``, ``Q.850`` ..., ``code`` its number for the cause, ``text`` for
    people.  As ``leg.hangup(reason=cause)`` it is passed on."""

    protocol: str
    code: int | None = None
    text: str = ''

    def __str__(self) -> str:
        code = '' if self.code is None else f';cause={self.code}'
        return f'{self.protocol}{code};text={quote(self.text)}' if self.text else f'{self.protocol}{code}'


def causes_of(error: BaseException | None) -> list[Cause]:
    """Why a call ended, from its error: what the peer's Reason fields say, else the status of its refusal."""
    message: Any = None
    if isinstance(error, LegEnded):
        message = error.message
    elif isinstance(error, ResponseError):
        message = error.response
    causes = []
    for reason in _values(message, 'Reason'):
        if isinstance(reason, Reason):
            try:
                code = reason.cause
            except ParseError:
                code = None
            causes.append(Cause(reason.protocol, code, reason.text or ''))
    if not causes and isinstance(error, ResponseError):
        causes.append(Cause('SIP', error.code, error.reason))
    return causes


def _values(message: Any, name: str) -> list[Any]:
    """The values of a field; those of a broken one are none."""
    if not isinstance(message, Message) or not message.has(name):
        return []
    try:
        return list(message.values(name))
    except ParseError:
        return []


class Identity:
    """Who calls, in the words of RFC 3325: ``asserted`` by the network, or ``preferred`` by the caller's own phone, and
    the ``privacy`` that is asked for (RFC 3323): ``id``, ``user``, ``header``, ``session``, ``history``, ``critical``,
    or ``none``.

        ua.invite(uri, from_=ANONYMOUS, identity=Identity('sip:alice@example.com', privacy='id'))

    ``leg.identity`` is that of the caller, or in an outgoing leg of who has answered.  Raises UsageError for what
    cannot be written: more than one sip and one tel identity of a kind (RFC 3325 9.1), a word that is no privacy.
    """

    __slots__ = ('asserted', 'preferred', 'privacy')

    def __init__(self, asserted: Any = (), preferred: Any = (), privacy: str | Iterable[str] = ()) -> None:
        self.asserted: list[NameAddr] = _addresses(asserted, 'P-Asserted-Identity')
        self.preferred: list[NameAddr] = _addresses(preferred, 'P-Preferred-Identity')
        words = privacy.split(';') if isinstance(privacy, str) else privacy
        self.privacy: frozenset[str] = frozenset(word.strip().lower() for word in words if word.strip())
        unknown = self.privacy - PRIVACY
        if unknown:
            raise UsageError(f'no privacy: {", ".join(sorted(unknown))}')
        if 'none' in self.privacy and len(self.privacy) > 1:
            raise UsageError("'none' is the only privacy where it stands (RFC 3323 4.3)")

    @classmethod
    def of(cls, message: Message | None) -> Identity:
        """What a message says.  What cannot be read of it, or makes no sense, is left out."""
        made = cls()
        for name, found in (('P-Asserted-Identity', made.asserted), ('P-Preferred-Identity', made.preferred)):
            found.extend(value for value in _values(message, name)[:2] if isinstance(value, NameAddr))
        if message is not None and message.has('Privacy'):
            words = ';'.join(message.get_all('Privacy')).replace(',', ';').lower().split(';')
            made.privacy = frozenset(word.strip() for word in words) & PRIVACY
        return made

    @property
    def address(self) -> NameAddr | None:
        """The first of the asserted identities, else of the preferred ones, None if there is none."""
        found = self.asserted or self.preferred
        return found[0] if found else None

    @property
    def hidden(self) -> bool:
        """Whether the identity must not be shown to those outside of the network (RFC 3325 7)."""
        return not self.privacy.isdisjoint({'id', 'header', 'user'})

    def fields(self) -> Pairs:
        """The header fields."""
        pairs = [('P-Asserted-Identity', str(value)) for value in self.asserted]
        pairs += [('P-Preferred-Identity', str(value)) for value in self.preferred]
        if self.privacy:
            pairs.append(('Privacy', ';'.join(sorted(self.privacy))))
        return pairs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity):
            return NotImplemented
        return (self.asserted, self.preferred, self.privacy) == (other.asserted, other.preferred, other.privacy)

    def __hash__(self) -> int:
        return hash(self.privacy)

    def __repr__(self) -> str:
        return f'<Identity {", ".join(f"{name}: {text}" for name, text in self.fields())}>'


def _addresses(given: Any, name: str) -> list[NameAddr]:
    several = [given] if isinstance(given, (str, NameAddr, Uri)) else list(given)
    found = [_address(one) for one in several]
    schemes = ['sip' if address.uri.is_sip else address.uri.scheme for address in found]
    if len(set(schemes)) < len(schemes) or not {'sip', 'tel'}.issuperset(schemes):
        raise UsageError(f'{name} has one sip or sips URI, one tel URI, or one of each (RFC 3325 9)')
    return found


def _address(given: Any) -> NameAddr:
    if isinstance(given, NameAddr):
        return given
    text = str(given).strip()
    return parse_name_addr(text) if '<' in text else NameAddr(None, parse_uri(text))


# History-Info


class HistoryEntry:
    """One place where a call has been (RFC 7044 5): ``uri``, its ``index`` such as ``1.2.1``, why it went on from
    there (``causes``), and how it came there: ``target`` is ``rc`` (the same user elsewhere), ``mp`` (another user),
    ``np`` (nothing changed) or empty, ``origin`` the index of the place that it came from."""

    __slots__ = ('address', 'causes', 'index', 'origin', 'target', 'uri')

    def __init__(self, address: NameAddr) -> None:
        self.address = address
        self.uri = bare(address.uri)
        self.index = address.param('index') or ''
        self.target = next((name for name in ('rc', 'mp', 'np') if name in address.params), '')
        self.origin = (address.param(self.target) or '') if self.target else ''
        self.causes: list[Cause] = []
        for name, text in address.uri.headers:
            if name.lower() == 'reason':
                reason = _reason(text)
                if reason is not None:
                    self.causes.append(reason)

    @classmethod
    def make(cls, uri: Uri, index: str, target: str = '', origin: str = '') -> HistoryEntry:
        """An entry of our own."""
        params = [('index', index), *([(target, origin)] if target else [])]
        return cls(NameAddr(None, bare(uri), params))

    def left(self, causes: Sequence[Cause]) -> HistoryEntry:
        """This entry, with the causes why the call went on from there (RFC 7044 10.2); a tel URI can't have any."""
        uri = self.address.uri
        if not isinstance(uri, SipUri):
            return self
        headers = [pair for pair in uri.headers if pair[0].lower() != 'reason']
        headers += [('Reason', str(cause)) for cause in causes]
        return HistoryEntry(NameAddr(self.address.display, with_headers(uri, headers), self.address.params))

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f'<HistoryEntry {self.index} {self.uri}>'


def bare(uri: Uri) -> Uri:
    """A URI without header fields."""
    return with_headers(uri, ()) if isinstance(uri, SipUri) and uri.headers else uri


def with_headers(uri: SipUri, headers: Iterable[tuple[str, str]]) -> SipUri:
    """A URI with these header fields and no others."""
    return SipUri(uri.user, uri.host, uri.port, uri.params, headers, scheme=uri.scheme, password=uri.password)


def _reason(text: str) -> Cause | None:
    try:
        reason = parse_reason(text)
        return Cause(reason.protocol, reason.cause, reason.text or '')
    except ParseError:
        return None


def history_of(message: Message | None) -> list[HistoryEntry]:
    """The entries of a message, in their order; those of a broken field are none."""
    entries = []
    for value in _values(message, 'History-Info')[:LONGEST_HISTORY]:
        try:
            entries.append(HistoryEntry(value))
        except ParseError:
            # Its URI is read only now.
            continue
    return entries


def next_history(uri: Uri, before: Any = None) -> Pairs:
    """The History-Info of a call to ``uri``: the first, or the next of what was ``before`` (RFC 7044 9, 10).

    ``before`` is the request that came in and is sent on, or the response that refused our last attempt, together with
    that attempt: ``(request, response)``.
    """
    if before is None:
        return (('History-Info', str(HistoryEntry.make(uri, '1'))),)
    request, response = before if isinstance(before, tuple) else (before, None)
    entries = history_of(request)
    # 9.1: who sent it may have kept no history; 10.3 rule 6: or somebody between him and us
    if not entries:
        entries = [HistoryEntry.make(request.uri, '1')]
    elif response is None and bare(request.uri) != entries[-1].uri:
        entries.append(HistoryEntry.make(request.uri, f'{entries[-1].index}.0'))
    last = entries[-1]
    if response is None:
        # 10.3 rule 2; 10.4: whoever sends a call on to somebody else maps one user to another
        index = f'{last.index}.1'
        new = HistoryEntry.make(uri, index, 'mp', last.index)
    else:
        # 9.3: what the response tells of, and why the last attempt failed; 10.3 rule 4: the next branch
        known = {entry.index for entry in entries}
        entries[-1] = last.left(_causes_of_response(response))
        entries += [entry for entry in history_of(response) if entry.index not in known]
        entries.sort(key=lambda entry: _order(entry.index))
        level, _, number = last.index.rpartition('.')
        index = f'{level}{"." if level else ""}{int(number) + 1 if number.isdecimal() else 2}'
        new = HistoryEntry.make(uri, index, *_mechanism(uri, response, last.index))
    return tuple(('History-Info', str(entry)) for entry in [*entries, new])


def _causes_of_response(response: Response) -> list[Cause]:
    given = causes_of(ResponseError(response.code, response.reason, response))
    if any(cause.protocol.upper() == 'SIP' for cause in given):
        return given
    return [Cause('SIP', response.code), *given]


def _mechanism(uri: Uri, response: Response, origin: str) -> tuple[str, str]:
    """10.4: what the Contact of a 3xx says of how its target was found is what we say."""
    for contact in _values(response, 'Contact') if response.code // 100 == 3 else ():
        if contact.uri == uri:
            for name in ('rc', 'mp'):
                if name in contact.params:
                    return name, contact.param(name) or origin
    return '', ''


def _order(index: str) -> list[int]:
    return [int(part) if part.isdecimal() and len(part) < 10 else 0 for part in index.split('.')]


# Diversion


def divert(request: Request, reason: str = 'unknown', *, counter: int = 1, privacy: str = '') -> Pairs:
    """The Diversion fields of a call that we send on to somebody else (RFC 5806 6): for ``headers=``.

    ``request`` is the INVITE that came in; who diverts is its Request-URI.  ``reason``: ``unknown``, ``user-busy``,
    ``no-answer``, ``unavailable``, ``unconditional``, ``time-of-day``, ``do-not-disturb``, ``deflection``,
    ``follow-me``, ``out-of-service``, ``away``.  The latest comes first.
    """
    params: list[tuple[str, str | None]] = [('reason', reason)]
    if counter != 1:
        params.append(('counter', str(counter)))
    if privacy:
        params.append(('privacy', privacy))
    new = NameAddr(None, bare(request.uri), params)
    return (('Diversion', str(new)), *(('Diversion', text) for text in request.get_all('Diversion')))
