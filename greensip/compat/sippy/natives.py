"""Threads, locks and look-ups of the operating system, also where ``gevent.monkey`` has put greenlets in their place.

sippy runs threads that are written in C (``rtpsynth``) and compares the identities of threads; both mean real ones.
"""

from __future__ import annotations

from gevent.monkey import get_original

__all__ = ['SimpleQueue', 'allocate_lock', 'get_ident', 'getaddrinfo', 'local', 'sleep', 'start_new_thread']

allocate_lock = get_original('_thread', 'allocate_lock')
get_ident = get_original('_thread', 'get_ident')
local = get_original('_thread', '_local')
start_new_thread = get_original('_thread', 'start_new_thread')
SimpleQueue = get_original('queue', 'SimpleQueue')
getaddrinfo = get_original('socket', 'getaddrinfo')
sleep = get_original('time', 'sleep')
