"""What users may watch: their own registrations (the event package ``reg``, RFC 3680), and one another's state.

Each document of ``reg`` is the full state of one address of record, with the contacts that have just ended in it.  A
contact with an instance has its public GRUU beside it (RFC 5628).

Presence, calls that are going on and waiting messages are what phones publish of them (RFC 3903).
"""

from __future__ import annotations

from typing import Any

from greensip.body.reginfo import REGINFO, RegContact, RegInfo, Registration
from greensip.body.xml import make
from greensip.message import Request, SipUri
from greensip.ua import EventStateCompositor, Notifier

from .binding import Binding
from .gruu import public_gruu
from .guard import Guard, Reply
from .location import Change, Location

__all__ = ['PACKAGES', 'RegNotifier', 'States', 'reginfo']

_GRUUINFO = 'urn:ietf:params:xml:ns:gruuinfo'

#: what phones may publish
PACKAGES = ('presence', 'dialog', 'message-summary')

#: the events of RFC 3680 5.1 for what ends a binding
_ENDINGS = {'expired': 'expired', 'lost': 'deactivated'}


def reginfo(change: Change, now: float, version: int = 0) -> RegInfo:
    """The registration of an address of record as a document; ``change`` is what has just become of it."""
    user, _, host = change.aor.rpartition('@')
    known = {binding.number for binding in change.before}
    contacts = [_contact(binding, 'active', 'refreshed' if binding.number in known else 'registered', user, host, now)
                for binding in change.bindings]
    left = {binding.number for binding in change.bindings}
    ending = _ENDINGS.get(change.why, 'unregistered')
    contacts += [_contact(binding, 'terminated', ending, user, host, now)
                 for binding in change.before if binding.number not in left]
    state = 'active' if change.bindings else 'terminated' if change.before else 'init'
    return RegInfo([Registration(str(SipUri(user, host)), contacts, id='r1', state=state)], version=version)


def _contact(binding: Binding, state: str, event: str, user: str, host: str, now: float) -> RegContact:
    contact = RegContact(binding.contact, f'c{binding.number}', state, event, call_id=binding.call_id,
                         cseq=binding.cseq, q=f'{binding.q:g}' if binding.q != 1.0 else None)
    if state == 'active':
        contact.expires = max(0, round(binding.expires - now))
    if binding.instance:
        contact.params['+sip.instance'] = f'"<{binding.instance}>"'
        contact.extra.append(make(_GRUUINFO, 'pub-gruu', uri=public_gruu('sip', user, host, binding.instance)))
    if binding.reg_id:
        contact.params['reg-id'] = str(binding.reg_id)
    return contact


class RegNotifier(Notifier):
    """Answers subscriptions to ``reg`` and tells their watchers.  Its resources are addresses of record.

    Who watches has to be the user (RFC 3680 4.6), where there is somebody to ask for passwords.
    """

    def __init__(self, location: Location, guard: Guard | None, now: Any) -> None:
        super().__init__('reg', content_type=REGINFO, authorize=self._may)
        self.location = location
        self.guard = guard
        self.now = now
        #: the version of the latest document for each watcher (RFC 3680 5.1)
        self.versions: dict[Any, int] = {}

    def on_subscribe(self, watcher: Any) -> None:
        """A SUBSCRIBE: its first document is made now."""
        aor = self._key(watcher)
        if aor:
            self._documents[aor] = self._present(aor, 0), REGINFO
        super().on_subscribe(watcher)
        self._documents.pop(aor, None)
        # The next one has its own version (RFC 3680 5.1), and times that are right by then.
        watcher.subscription.repeats = False

    def _on_refresh(self, watcher: Any) -> None:
        """RFC 6665 4.2.1.4: a SUBSCRIBE in the dialog is answered with the state as it is by now."""
        if watcher.state == 'active':
            watcher.notify(self._present(self._key(watcher), self._next_version(watcher)), REGINFO)

    def _present(self, aor: str, version: int) -> bytes:
        """The document of a registration where nothing has just happened."""
        now = self.now()
        bindings = self.location.lookup(aor, now)
        return reginfo(Change(aor, '', bindings, bindings), now, version).to_bytes()

    def _next_version(self, watcher: Any) -> int:
        version = self.versions[watcher] = self.versions.get(watcher, 0) + 1
        return version

    def _key(self, watcher: Any) -> str:
        return self.location.aor_of(watcher.resource) or ''

    def _may(self, watcher: Any) -> object:
        aor = self._key(watcher)
        if not aor or self.guard is None:
            return True if aor and self.location.is_known(aor) else 404
        found = self.guard.identify(watcher.subscription.request, self.now())
        if isinstance(found, Reply):
            watcher.reject(found.code, headers=found.headers)
            return None
        return True if self.location.aor_of_user(found) == aor else 403

    def _forget(self, watcher: Any) -> None:
        self.versions.pop(watcher, None)
        super()._forget(watcher)

    def on_change(self, change: Change) -> None:
        """Tell who watches."""
        watchers = self._subscribers.get(change.aor)
        if not watchers:
            return
        now = self.now()
        for watcher in list(watchers):
            if watcher.state == 'active':
                watcher.notify(reginfo(change, now, self._next_version(watcher)).to_bytes(), REGINFO)


class States:
    """What phones publish, and who watches it: users may watch one another, and publish for themselves.

    For one domain, as a resource is its user part here.
    """

    def __init__(self, ua: Any, location: Location, guard: Guard | None, now: Any) -> None:
        self.location = location
        self.guard = guard
        self.now = now
        self.notifiers = [Notifier(package, authorize=self._may_watch) for package in PACKAGES]
        self.compositor = EventStateCompositor(*self.notifiers, authorize=self._may_publish)
        for notifier in self.notifiers:
            ua.events(notifier.package, notifier)
        ua.handle('PUBLISH', self.compositor, blocking=False)

    def _may_watch(self, watcher: Any) -> object:
        aor = self.location.aor_of(watcher.resource)
        if aor is None or not self.location.is_known(aor):
            return 404
        found = self._user(watcher.subscription.request)
        if isinstance(found, Reply):
            watcher.reject(found.code, headers=found.headers)
            return None
        # Somebody's messages are nobody else's business.
        return True if watcher.package != 'message-summary' or found in ('', aor) else 403

    def _may_publish(self, incoming: Any) -> object:
        aor = self.location.aor_of(incoming.request.uri)
        if aor is None or not self.location.is_known(aor):
            return 404
        found = self._user(incoming.request)
        if isinstance(found, Reply):
            incoming.dismiss(found.code, headers=found.headers)
            return None
        return True if found in ('', aor) else 403

    def _user(self, request: Request) -> str | Reply:
        """The address of record of who asks; '' where nobody has to prove anything."""
        if self.guard is None:
            return ''
        found = self.guard.identify(request, self.now())
        return found if isinstance(found, Reply) else self.location.aor_of_user(found)
