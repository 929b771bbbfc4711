"""The location service: who is where (RFC 3261 10.3; RFC 3327, 5626 and 5627 for a registrar).

``Location.register`` is RFC 3261 10.3 by its numbers.  It works on a table in memory that leads from an address of
record to its bindings; a REGISTER makes another tuple of bindings, gives the difference to the store, and only then
puts the tuple in the place of the old one.  So a REGISTER does all that it asks for, or nothing, and costs the same
however many others there are.

Nothing here knows gevent; ``now`` is in seconds since 1970.
"""

from __future__ import annotations

import heapq
import ipaddress
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from greensip.message import STAR, NameAddr, Request, SipUri, Uri
from greensip.message.params import format_params
from greensip.message.values import format_date
from greensip.transaction.flow import Flow, hostport

from .binding import Binding
from .gruu import Gruus, public_gruu
from .guard import Guard, Reply
from .store import Store, StoreError

__all__ = ['Change', 'Location', 'Policy']

log = logging.getLogger('greensip.registrar')

#: parameters of a Contact that are the registrar's to give, not the client's
_OURS = frozenset({'expires', 'pub-gruu', 'temp-gruu'})
#: RFC 5626 11.1: 1 to 2**31 - 1
MAX_REG_ID = 2**31 - 1
#: entries of the calendar that hold no more, beyond as many as do, until it is written anew
STALE = 1000
#: interval below which 423 may be the answer (RFC 3261 10.3, step 7)
HOUR = 3600


class Policy(NamedTuple):
    """What a registrar grants.  Times in seconds."""

    #: for who does not say; the least before a 423, at most an hour; the most, to which longer ones are cut
    expires: int = 3600
    min_expires: int = 60
    max_expires: int = 86400
    #: for one address of record, and in all
    max_contacts: int = 10
    max_bindings: int = 1_000_000
    #: RFC 5626 4.4: how long clients with outbound may be silent, 0 to say nothing
    flow_timer: int = 120
    #: RFC 3608: the Route for requests of those who have registered
    service_route: Sequence[str] = ()


class Change(NamedTuple):
    """What has become of an address of record: ``why`` is registered, refreshed, unregistered, expired or lost."""

    aor: str
    why: str
    bindings: tuple[Binding, ...]
    before: tuple[Binding, ...]


class Location:
    """The bindings of a registrar.

    ``domains`` are those that it is responsible for.  Numeric hosts, and without ``domains`` all hosts, stand for the
    first one.  ``guard`` is asked who registers; without one everybody may.  ``random`` is as ``Core`` wants it;
    ``on_change(change)`` is called after each change, and must not raise or block.
    """

    def __init__(self, store: Store, *, random: Any, guard: Guard | None = None, domains: Sequence[str] = (),
                 policy: Policy | None = None, on_change: Callable[[Change], object] | None = None) -> None:
        self.store = store
        self.guard = guard
        self.random = random
        self.policy = policy or Policy()
        self.on_change = on_change
        self.strict = bool(domains)
        self.domain = domains[0].lower() if domains else 'greensip'
        self._domains = frozenset(name.lower() for name in domains)
        self._bindings: dict[str, tuple[Binding, ...]] = {}
        #: what temporary GRUUs stand for: address of record and instance
        self._gruus: dict[str, tuple[str, str]] = {}
        self.gruus = Gruus(store.secret('gruu', lambda: random.getrandbits(256).to_bytes(32, 'big')))
        #: connections on which there are bindings, and whose
        self.flows: dict[Flow, set[str]] = {}
        #: bindings there are, also those that have run out a moment ago
        self.count = 0
        #: when to look at an address of record because something of it runs out; only the earliest entry of each holds
        self._due: list[tuple[float, str]] = []
        self._next: dict[str, float] = {}
        self._date = (0, '')

    def load(self, restore: Callable[[Binding], bool]) -> None:
        """Read what the store has.  ``restore`` finds a binding's flow again, or says that it is of no use."""
        found: dict[str, list[Binding]] = {}
        useless: list[tuple[str, Binding]] = []
        for aor, binding in self.store.load():
            if restore(binding):
                found.setdefault(aor, []).append(binding)
            else:
                useless.append((aor, binding))
        for aor, bindings in found.items():
            self._put(aor, tuple(bindings))
        for aor, binding in useless:
            self.store.change(aor, (), (binding,))

    # -- names

    def aor_of(self, uri: Uri) -> str | None:
        """The address of record that a URI means, as ``user@domain``; None if it is none of ours.

        Step 5: without parameters and escapes; the host in lower case (19.1.4).
        """
        if not isinstance(uri, SipUri) or not uri.user:
            return None
        host = uri.host.lower().rstrip('.')
        if host not in self._domains:
            if self.strict and not _is_address(host):
                return None
            host = self.domain
        return f'{uri.user}@{host}'

    def is_ours(self, uri: Uri) -> bool:
        """Whether we are responsible for the host of a URI."""
        if not isinstance(uri, SipUri):
            return False
        host = uri.host.lower().rstrip('.')
        return not self.strict or host in self._domains or _is_address(host)

    def aor_of_user(self, username: str) -> str:
        """The address of record of a user."""
        user, at, domain = username.rpartition('@')
        return f'{user}@{domain.lower()}' if at else f'{username}@{self.domain}'

    def is_known(self, aor: str) -> bool:
        """Whether there is such an address of record, reachable or not."""
        if aor in self._bindings:
            return True
        if self.guard is None:
            return False
        user, _, domain = aor.rpartition('@')
        hashes = self.guard.users.hashes
        return (domain == self.domain and hashes(user) is not None) or hashes(aor) is not None

    # -- asking

    def lookup(self, aor: str, now: float) -> tuple[Binding, ...]:
        """The bindings of an address of record that have not run out, the ones preferred first."""
        found = self._bindings.get(aor, ())
        return tuple(sorted((binding for binding in found if binding.expires > now),
                            key=lambda binding: (-binding.q, -binding.updated)))

    def resolve(self, uri: Uri, now: float, *, only_gruu: bool = False) -> tuple[str, tuple[Binding, ...]] | Reply:
        """Whom a request for ``uri`` is for: the address of record and its bindings, or why there is nobody.

        RFC 3261 16.5; RFC 5627 6.1 for a GRUU, which leads to one instance only.  ``only_gruu``: 404 for anything else.
        """
        if not self.is_ours(uri):
            return Reply(404)
        instance = ''
        assert isinstance(uri, SipUri)
        if uri.has_params and 'gr' in uri.params:
            value = uri.params['gr']
            number = self.gruus.number(uri.user or '') if value is None else None
            aor, instance = self._gruus.get(number or '', (None, '')) if value is None else (self.aor_of(uri), value)
        else:
            aor = self.aor_of(uri) if not only_gruu else None
        if aor is None or not self.is_known(aor):
            return Reply(404)
        bindings = self.lookup(aor, now)
        if instance:
            bindings = tuple(binding for binding in bindings if binding.instance == instance)
        return aor, bindings

    def __len__(self) -> int:
        return self.count

    def items(self) -> Iterator[tuple[str, tuple[Binding, ...]]]:
        """Addresses of record and their bindings."""
        return iter(list(self._bindings.items()))

    # -- registering

    def register(self, request: Request, flow: Flow, now: float) -> Reply:
        """RFC 3261 10.3 for a REGISTER that came on ``flow``.  Raises ParseError for one that cannot be read."""
        policy = self.policy
        # 1. Not our domain, and we are no proxy: nobody of that name is here (21.4.5).
        if not self.is_ours(request.uri):
            return Reply(404)
        # 2. Require: the core has refused what it does not know.
        # 3. Who is it?
        user: str | None = None
        if self.guard is not None:
            found = self.guard.identify(request, now)
            if isinstance(found, Reply):
                return found
            user = found
        # 5. The address of record; before 4, which needs it.
        to = request.to.uri
        aor = self.aor_of(to)
        if aor is None or not _is_clean(aor):
            return Reply(404)
        # 4. May this user register it?
        if user is not None and self.aor_of_user(user) != aor:
            return Reply(403)
        current = self._bindings.get(aor, ())
        if any(binding.expires <= now for binding in current):
            current = tuple(binding for binding in current if binding.expires > now)
        extensions = [tag.lower() for tag in request.supported]
        required: list[tuple[str, str]] = []
        bindings = current
        # 6. Without Contact it is a question.
        if request.has('Contact'):
            if len(request.get_all('Contact')) > policy.max_contacts:
                return Reply(403, 'Too Many Contacts')
            contacts = request.contacts
            if len(contacts) > policy.max_contacts:
                return Reply(403, 'Too Many Contacts')
            call_id, cseq = request.call_id, request.cseq.number
            if any(contact is STAR for contact in contacts):
                # 6. "*" stands alone, and with an Expires of zero.
                if len(contacts) > 1 or request.expires != 0:
                    return Reply(400)
                if any(binding.call_id == call_id and cseq <= binding.cseq for binding in current):
                    return Reply(500, 'Out Of Order')
                bindings = ()
            else:
                # 7. Each contact in turn.
                outcome = self._update(request, contacts, current, flow, now, extensions)
                if isinstance(outcome, Reply):
                    return outcome
                bindings, is_outbound = outcome
                if is_outbound and 'outbound' in extensions:
                    # RFC 5626 6
                    required = [('Require', 'outbound')]
                    if policy.flow_timer:
                        required.append(('Flow-Timer', str(policy.flow_timer)))
            if len(bindings) > policy.max_contacts:
                return Reply(403, 'Too Many Contacts')
            if self.count + len(bindings) - len(current) > policy.max_bindings:
                return Reply(503, '', [('Retry-After', '60')])
            # 7. All is committed now, or nothing.
            try:
                self._commit(aor, bindings)
            except StoreError as error:
                log.error('! %s: %s', aor, error)
                return Reply(500)
        # 8. What there is by now.
        fields = [('Contact', self._contact(binding, to, aor, now, 'gruu' in extensions)) for binding in bindings]
        fields.extend(required)
        if request.has('Path'):
            # RFC 3327 5.3.  Not as it recommends, a client that does not say that it knows Path is not refused: the
            # proxy before it does, and calls reach it.
            fields.extend(('Path', text) for text in request.get_all('Path'))
        fields.extend(('Service-Route', route) for route in policy.service_route)
        fields.append(('Date', self._now_text(now)))
        return Reply(200, '', fields)

    def _update(self, request: Request, contacts: Sequence[NameAddr], current: tuple[Binding, ...], flow: Flow,
                now: float, extensions: Sequence[str]) -> tuple[tuple[Binding, ...], bool] | Reply:
        """Step 7: the bindings as they are to be, and whether one is of RFC 5626; or the refusal."""
        policy = self.policy
        call_id, cseq = request.call_id, request.cseq.number
        path = [str(value) for value in request.values('Path')] if request.has('Path') else []
        is_first_hop = len(request.get_all('Via')) == 1 and len(request.vias) == 1
        # RFC 5626 6: who is not the first hop needs a first hop with outbound.
        allows_flows = is_first_hop or _is_outbound(request)
        default = request.expires
        to = request.to.uri
        agent = request.get('User-Agent') or ''
        if not (call_id.isascii() or _is_clean(call_id)) or not all(map(_is_clean, path)):
            return Reply(400)
        left = list(current)
        added: list[Binding] = []
        # contacts that stay, and those of them that are flows; whether any is
        kept = flows = 0
        is_outbound = False
        for contact in contacts:
            uri = contact.uri
            text = str(uri)
            # 7. how long
            wanted = contact.expires if contact.expires is not None else default
            expires = policy.expires if wanted is None else wanted
            if 0 < expires < min(policy.min_expires, HOUR):
                return Reply(423, '', [('Min-Expires', str(policy.min_expires))])
            expires = min(expires, policy.max_expires)
            params = contact.params
            instance = (params.get('+sip.instance') or '').strip('<>')
            reg_id = 0
            if 'reg-id' in params and instance:
                digits = params['reg-id'] or ''
                if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and 0 < int(digits) <= MAX_REG_ID):
                    return Reply(400)
                if allows_flows:
                    reg_id = int(digits)
                elif 'outbound' in extensions:
                    return Reply(439)
            if not (_is_clean(text) and _is_clean(contact.param_text)):
                return Reply(400)
            is_outbound = is_outbound or reg_id > 0
            if expires:
                kept += 1
                flows += reg_id > 0
                # RFC 5627 5.1: calls would come back to us for ever.
                if uri == to or (isinstance(uri, SipUri) and 'gr' in uri.params and self._is_gruu(uri, to)):
                    return Reply(403)
                if instance and not isinstance(uri, SipUri):
                    return Reply(403)
            # 7. the binding that there is
            before = next((one for one in current if _is_same(one, text, uri, instance, reg_id)), None)
            if before is not None and before.call_id == call_id and cseq <= before.cseq:
                return Reply(500, 'Out Of Order')
            # The same contact may have stood further ahead in this request: the last one holds.
            added = [one for one in added if not _is_same(one, text, uri, instance, reg_id)]
            number = 0
            if before is not None and before in left:
                left.remove(before)
                number = before.number
            if not expires:
                continue
            way = _way_to(request, uri, flow, reg_id) if not path else None
            ours = {name: value for name, value in params.items() if name.lower() not in _OURS}
            added.append(Binding(
                text, params=format_params(ours), q=contact.q, expires=now + expires, updated=now, call_id=call_id,
                cseq=cseq, path=path, instance=instance, reg_id=reg_id,
                flow=way, source=_source(way) if way is not None else '', user_agent=agent if _is_clean(agent) else '',
                gruu=self._gruu_number(current, instance, reg_id, call_id) if instance and 'gruu' in extensions else '',
                number=number))
        if flows and kept > 1:
            # RFC 5626 6: one flow to a REGISTER
            return Reply(400)
        bindings = [*left, *added]
        return tuple(self._renumbered(bindings)), is_outbound

    def _is_gruu(self, uri: SipUri, to: Uri) -> bool:
        """Whether a contact is a GRUU of this very address of record."""
        aor = self.aor_of(to)
        if uri.params['gr'] is not None:
            return self.aor_of(uri) == aor
        found = self._gruus.get(self.gruus.number(uri.user or '') or '')
        return found is not None and found[0] == aor

    def _gruu_number(self, current: Sequence[Binding], instance: str, reg_id: int, call_id: str) -> str:
        """RFC 5627 5.1: another Call-ID makes all temporary GRUUs of an instance invalid; else its number stays."""
        same = [binding for binding in current if binding.instance == instance and binding.gruu]
        latest = max((binding for binding in same if not reg_id or binding.reg_id == reg_id),
                     key=lambda binding: binding.updated, default=None)
        if latest is None:
            latest = max(same, key=lambda binding: binding.updated, default=None)
        elif latest.call_id != call_id:
            latest = None
        return latest.gruu if latest is not None else f'{self.random.getrandbits(64):016x}'

    def _renumbered(self, bindings: list[Binding]) -> Iterator[Binding]:
        """The bindings of one instance share the number that its latest one has."""
        latest = {binding.instance: binding for binding in bindings if binding.instance and binding.gruu}
        for binding in bindings:
            number = latest[binding.instance].gruu if binding.instance in latest else binding.gruu
            if binding.gruu not in ('', number):
                binding = _changed(binding, number)
            yield binding

    def _contact(self, binding: Binding, to: Uri, aor: str, now: float, with_gruu: bool) -> str:
        """Step 8: a binding as the client is told of it; RFC 5627 5.2."""
        text = f'<{binding.contact}>{binding.params};expires={max(1, round(binding.expires - now))}'
        if with_gruu and binding.instance and isinstance(to, SipUri):
            user, _, _ = aor.rpartition('@')
            text += f';pub-gruu="{public_gruu(to.scheme, user, to.host, binding.instance)}"'
            if binding.gruu:
                made = self.gruus.make(to.scheme, to.host, binding.gruu, self.random.getrandbits(96))
                text += f';temp-gruu="{made}"'
        return text

    def _now_text(self, now: float) -> str:
        second = int(now)
        if self._date[0] != second:
            self._date = second, format_date(datetime.fromtimestamp(second, UTC))
        return self._date[1]

    # -- changes

    def _commit(self, aor: str, bindings: tuple[Binding, ...], why: str = '') -> None:
        """Put ``bindings`` in the place of those that there are.  StoreError, and nothing has changed."""
        before = self._bindings.get(aor, ())
        numbers = {binding.number for binding in bindings}
        put = [binding for binding in bindings if binding not in before]
        drop = [binding for binding in before if binding not in bindings and (
            not binding.number or binding.number not in numbers)]
        if not put and not drop:
            return
        self.store.change(aor, put, drop)
        self._put(aor, bindings)
        if self.on_change is not None:
            if not why:
                why = 'unregistered' if not put else 'registered' if len(bindings) > len(before) else 'refreshed'
            self.on_change(Change(aor, why, bindings, before))

    def _put(self, aor: str, bindings: tuple[Binding, ...]) -> None:
        """In memory: the table, what GRUUs stand for, when to look again."""
        before = self._bindings.get(aor, ())
        for binding in before:
            if binding.gruu:
                self._gruus.pop(binding.gruu, None)
            if binding.flow is not None and binding.flow.connection:
                self._leave(binding.flow, aor)
        for binding in bindings:
            if binding.gruu:
                self._gruus[binding.gruu] = (aor, binding.instance)
            if binding.flow is not None and binding.flow.connection:
                self.flows.setdefault(binding.flow, set()).add(aor)
        self.count += len(bindings) - len(before)
        if not bindings:
            self._bindings.pop(aor, None)
            self._next.pop(aor, None)
            return
        self._bindings[aor] = bindings
        earliest = bindings[0].expires if len(bindings) == 1 else min(binding.expires for binding in bindings)
        # A refresh, which only moves the end further away, is seen when the time has come.
        if earliest < self._next.get(aor, float('inf')):
            self._next[aor] = earliest
            heapq.heappush(self._due, (earliest, aor))
            if len(self._due) > 2 * len(self._next) + STALE:
                # Who comes and goes leaves entries behind that would stay until their time.
                self._due = [(when, name) for name, when in self._next.items()]
                heapq.heapify(self._due)

    def _leave(self, flow: Flow, aor: str) -> None:
        whose = self.flows.get(flow)
        if whose is not None:
            whose.discard(aor)
            if not whose:
                del self.flows[flow]

    def next_expiry(self) -> float | None:
        """When ``expire`` has something to do; None for never."""
        return self._due[0][0] if self._due else None

    def expire(self, now: float) -> None:
        """Forget the bindings that have run out."""
        while self._due and self._due[0][0] <= now:
            when, aor = heapq.heappop(self._due)
            if self._next.get(aor) != when:
                continue
            del self._next[aor]
            bindings = self._bindings[aor]
            left = tuple(binding for binding in bindings if binding.expires > now)
            if left != bindings:
                self._remove(aor, left, 'expired')
            else:
                self._put(aor, bindings)

    def lose(self, aor: str, binding: Binding) -> None:
        """A binding's flow has failed: nothing reaches it any more (RFC 5626 7)."""
        bindings = self._bindings.get(aor, ())
        if binding in bindings:
            self._remove(aor, tuple(other for other in bindings if other is not binding), 'lost')

    def lose_flow(self, flow: Flow) -> None:
        """A connection is gone, and with it the bindings that only it led to: flows of RFC 5626, and browsers."""
        for aor in list(self.flows.get(flow, ())):
            bindings = self._bindings.get(aor, ())
            left = tuple(binding for binding in bindings if binding.flow != flow or not (
                binding.reg_id or flow.point.one_way))
            if left != bindings:
                self._remove(aor, left, 'lost')

    def remove(self, aor: str) -> bool:
        """Forget all bindings of an address of record; False if there were none."""
        if aor not in self._bindings:
            return False
        self._remove(aor, (), 'unregistered')
        return True

    def _remove(self, aor: str, left: tuple[Binding, ...], why: str) -> None:
        try:
            self._commit(aor, left, why)
        except StoreError as error:
            # It is over nonetheless; the store is told again by whoever registers next, or is read in vain.
            log.error('! %s: %s', aor, error)
            self._put(aor, left)

    def counts(self) -> Mapping[str, int]:
        """How many addresses of record there are, bindings, temporary GRUUs' instances, entries of the calendar."""
        return {'aors': len(self._bindings), 'bindings': self.count, 'gruus': len(self._gruus), 'due': len(self._due)}


def _is_address(host: str) -> bool:
    """Whether a host is an IP address; an IPv6 one may have its brackets."""
    if not host[-1:].isdigit() and ':' not in host:
        return False
    try:
        ipaddress.ip_address(host.strip('[]'))
    except ValueError:
        return False
    return True


def _is_same(binding: Binding, text: str, uri: Uri, instance: str, reg_id: int) -> bool:
    """Whether a Contact is for a binding: by instance and flow (RFC 5626 6), else by the comparison of URIs."""
    if reg_id:
        return binding.instance == instance and binding.reg_id == reg_id
    return not binding.reg_id and binding.is_at(text, uri)


def _is_clean(text: str) -> bool:
    """Whether a text can be kept: octets that are no UTF-8 cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_outbound(request: Request) -> bool:
    """RFC 5626 6: whether the first hop of a request that came through others has outbound."""
    if not request.has('Path'):
        return False
    first: Any = request.values('Path')[0]
    uri = first.uri
    return isinstance(uri, SipUri) and 'ob' in uri.params


def _way_to(request: Request, uri: Uri, flow: Flow, reg_id: int) -> Flow | None:
    """The flow on which the client of a REGISTER is reached; None if its contact leads there.

    RFC 5626 7 for flows that were registered.  A connection reaches whoever has opened it better than another one to
    its contact would, which a NAT, a missing certificate or a browser may prevent.  Over UDP a client that asks for
    answers to its port (RFC 3581), and whose own address by its Via and Contact is not where its packets come from, is
    behind a NAT; who knows no address of its own gives one under ``.invalid``.
    """
    if reg_id or flow.point.reliable:
        return flow
    via = request.via
    if isinstance(uri, SipUri) and 'rport' in via.params:
        host = uri.host.strip('[]').lower()
        if (host == via.host.strip('[]').lower() and host != flow.remote[0]) or host.endswith('.invalid'):
            return flow
    return None


def _source(flow: Flow) -> str:
    return f'{flow.point.transport.lower()}:{hostport(*flow.remote)}'


def _changed(binding: Binding, gruu: str) -> Binding:
    """A copy whose temporary GRUUs have another number."""
    return Binding(binding.contact, params=binding.params, q=binding.q, expires=binding.expires,
                   updated=binding.updated, call_id=binding.call_id, cseq=binding.cseq, path=binding.path,
                   instance=binding.instance, reg_id=binding.reg_id, flow=binding.flow, source=binding.source,
                   user_agent=binding.user_agent, gruu=gruu, number=binding.number)


