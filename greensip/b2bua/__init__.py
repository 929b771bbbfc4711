"""The B2BUA as a program to be embedded: ``B2bua(parse_command_line(['-u', '-s', '10.0.0.5']))``.  See ``app``."""

from __future__ import annotations

from greensip.b2bua.app import B2bua
from greensip.b2bua.call import Call, carry
from greensip.b2bua.command_line import parse_command_line
from greensip.b2bua.options import Options
from greensip.b2bua.routes import Route, parse_route
from greensip.b2bua.translate import Translation

__all__ = ['B2bua', 'Call', 'Options', 'Route', 'Translation', 'carry', 'parse_command_line', 'parse_route']
