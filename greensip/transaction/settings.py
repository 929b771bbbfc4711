"""T1, T2, T4 and what follows from them: RFC 3261 17 and table 4, RFC 6026 7, RFC 4320 4.1.

All durations are seconds.  One ``Settings`` belongs to an endpoint and is shared by all its transactions and dialogs.
"""

from __future__ import annotations

from greensip.errors import UsageError

__all__ = ['Settings']


class Settings:
    """The estimates that an endpoint works with, and every timer's duration.

    ``t1`` is the estimate of the round trip, ``t2`` the longest interval between retransmissions of a non-INVITE
    request or of a response to INVITE, ``t4`` how long the network may keep a message.
    ``trying_delay``: an INVITE that has no answer by then gets a 100; 0 sends it at once.
    ``max_transactions``: with so many server transactions alive, new requests are answered 503 without keeping state,
    with a Retry-After of ``retry_after`` seconds.  ACK, CANCEL and requests inside dialogs, which end more than they
    begin, are still taken until there are a quarter more.
    ``max_forks``: so many early dialogs of one INVITE are kept.
    ``max_glares``: so often a re-INVITE is sent again after a 491.
    ``avoid_time``: a server that failed is tried after the others of its name for so many seconds, unless it says for
    how long itself (Retry-After); 0 for not at all.
    ``patience``: seconds without any response after which the next server of a name is tried; None waits for timer B
    or F, as RFC 3263 4.3 has it.
    ``progress_interval``: seconds between the provisional responses to a call that is not answered yet, so that no
    proxy gives it up (RFC 3261 13.3.1.1: "every minute"); 0 leaves that to the program.
    ``tcp_above``: a request of more octets goes by TCP instead of UDP, where we have TCP and nobody asked for UDP, and
    by UDP after all if that fails (RFC 3261 18.1.1); 0 sends every request by UDP that is meant to go there.
    """

    __slots__ = ('avoid_time', 'max_forks', 'max_glares', 'max_transactions', 'patience', 'progress_interval',
                 'retry_after', 't1', 't2', 't4', 'tcp_above', 'timer_b', 'timer_c', 'timer_d', 'timer_f', 'timer_h',
                 'timer_i', 'timer_j', 'timer_k', 'timer_l', 'timer_m', 'transaction_time', 'trying_delay',
                 'trying_delay_non_invite')

    def __init__(self, t1: float = 0.5, t2: float = 4.0, t4: float = 5.0, *, timer_c: float = 180.0,
                 timer_d: float | None = None, trying_delay: float = 0.2, max_transactions: int = 100_000,
                 retry_after: int = 10, max_forks: int = 16, max_glares: int = 5, avoid_time: float = 60.0,
                 patience: float | None = None, progress_interval: float = 60.0, tcp_above: int = 1300) -> None:
        if t1 <= 0 or t2 < t1 or t4 < 0:
            raise UsageError(f'T1, T2, T4 of {t1}, {t2}, {t4} s: T1 must be positive, T2 at least T1, T4 not negative')
        if trying_delay < 0 or timer_c <= 0 or (timer_d is not None and timer_d < 0):
            raise UsageError('a timer cannot have a negative duration')
        if max_transactions < 1 or retry_after < 0:
            raise UsageError('max_transactions must be at least 1, retry_after not negative')
        if progress_interval < 0:
            raise UsageError('progress_interval must not be negative')
        if avoid_time < 0 or tcp_above < 0 or (patience is not None and patience <= 0):
            raise UsageError('avoid_time and tcp_above must not be negative, patience positive')
        self.avoid_time = avoid_time
        self.patience = patience
        self.progress_interval = progress_interval
        self.tcp_above = tcp_above
        self.t1 = t1
        self.t2 = t2
        self.t4 = t4
        self.trying_delay = trying_delay
        self.max_transactions = max_transactions
        self.max_forks = max_forks
        self.max_glares = max_glares
        self.retry_after = retry_after
        #: 64*T1, by which the RFCs measure the life of a transaction
        self.transaction_time = 64 * t1
        self.timer_b = self.timer_f = self.timer_h = self.transaction_time
        self.timer_j = self.timer_l = self.timer_m = self.transaction_time
        #: how long the user of an INVITE client transaction waits for a final response after a provisional one
        self.timer_c = timer_c
        #: at least 32 s, since the T1 of the other side is not known (17.1.1.2)
        self.timer_d = max(32.0, self.transaction_time) if timer_d is None else timer_d
        self.timer_i = self.timer_k = t4
        #: RFC 4320 4.1: "the amount of time it takes a client transaction's Timer E to be reset to T2"
        self.trying_delay_non_invite = 0.0
        interval = t1
        while interval < t2:
            self.trying_delay_non_invite += interval
            interval *= 2

    def durations(self) -> tuple[float, ...]:
        """All durations that a transaction's timers can have, each once: a queue is set aside for each."""
        durations = [self.trying_delay, self.trying_delay_non_invite, self.t2, self.t4, self.timer_d,
                     self.transaction_time]
        interval = self.t1
        while interval < self.transaction_time:
            durations.append(interval)
            interval *= 2
        return tuple(dict.fromkeys(durations))
