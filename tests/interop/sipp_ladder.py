"""SIPp scenarios written as ladders, a line per message::

    > INVITE sdp          we send an INVITE with an offer
    < 100 ?               may come
    < 180
    < 200 sdp             must come, with a session description
    > ACK
    pause 200             milliseconds
    > BYE
    < 200

The first INVITE makes the side that sends it the caller.  ``> 487 INVITE`` answers the first INVITE though another
request came since; ``once`` sends without repetitions what nobody acknowledges.  ``sdp:TEXT`` writes the attribute
line ``a=TEXT``, or demands it.  ``x:Name=value`` writes a header field, or demands it; with blanks in it, it stands in
single quotes as a whole.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from xml.sax.saxutils import quoteattr

SDP = '''v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000'''

#: stored when the first INVITE arrives: our To with tag, their From, its CSeq, its Vias
OUR_TAG = ';tag=[pid]SIPpTag01[call_number]'
STORE = '''<action>
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="1"/>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="2"/>
      <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="3"/>
      <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="4"/>
    '''


class Ladder:
    """One side's scenario, built line by line."""

    def __init__(self, text: str) -> None:
        self.elements: list[str] = []
        self.caller = False
        self.begun = False
        self.cseq = 0
        self.invite_index = 0
        self.invite_cseq = 0
        self.last_request = ''
        self.last_received = ''
        self.refused = False
        for line in filter(str.strip, text.splitlines()):
            direction, what, *flags = words(line)
            if direction == 'pause':
                self.elements.append(f'<pause milliseconds="{what}"/>')
            elif direction == '<':
                self.receive(what, flags)
            elif what.isdigit():
                self.respond(int(what), flags)
            else:
                self.request(what, flags)

    def xml(self, name: str) -> str:
        """The whole file."""
        body = '\n  '.join(self.elements)
        variables = ','.join(number for number in '12349' if f'assign_to="{number}"' in body)
        reference = f'<Reference variables="{variables}"/>' if variables else ''
        return ('<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
                f'<scenario name={quoteattr(name)}>\n  {body}\n  <timewait milliseconds="300"/>\n'
                f'  {reference}\n</scenario>\n')

    def receive(self, what: str, flags: list[str]) -> None:
        """A message that must, or may, come."""
        checks = [f'<ereg regexp={quoteattr(flag.partition(":")[2] or "m=audio")} search_in="body" check_it="true" '
                  'assign_to="9"/>' for flag in flags if flag.startswith('sdp')]
        for flag in flags:
            if flag.startswith('x:'):
                header, _, value = flag[2:].partition('=')
                checks.append(f'<ereg regexp={quoteattr(value)} search_in="hdr" header="{header}:" check_it="true" '
                              'assign_to="9"/>')
        kind = 'response' if what.isdigit() else 'request'
        optional = ' optional="true"' if '?' in flags else ''
        first = what == 'INVITE' and not self.begun
        self.begun = self.begun or first
        if kind == 'request':
            self.last_received = what
        if kind == 'response' and int(what) >= 300:
            self.refused = True
        actions = (STORE if first else '<action>\n      ') + '\n      '.join(checks) + '\n    </action>'
        self.elements.append(f'<recv {kind}="{what}" rrs="true"{optional}>\n    {actions if first or checks else ""}\n'
                             '  </recv>')

    def request(self, method: str, flags: list[str]) -> None:
        """A request of ours; the first one makes us the caller."""
        index = len(self.elements)
        first = not self.begun
        if first:
            self.begun = self.caller = True
        if method not in ('ACK', 'CANCEL'):
            self.cseq += 1
        branch = '[branch]'
        if method == 'CANCEL' or (method == 'ACK' and self.refused):
            # RFC 3261 9.1 and 17.1.1.3: the branch of the INVITE, which stands so many elements further up.
            branch = f'[branch-{index - self.invite_index}]'
            self.refused = False
        if method == 'INVITE':
            self.invite_index, self.invite_cseq = index, self.cseq
        number = self.invite_cseq if method in ('ACK', 'CANCEL') else self.cseq
        in_dialog = not first and method != 'CANCEL' and '-' not in branch
        uri = '[next_url]' if in_dialog else 'sip:[service]@[remote_ip]:[remote_port]'
        if self.caller:
            from_ = 'caller <sip:caller@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]'
            tag = '' if first or method == 'CANCEL' else '[peer_tag_param]'
            to = f'<sip:[service]@[remote_ip]:[remote_port]>{tag}'
        else:
            from_, to = f'[$2]{OUR_TAG}', '[$1]'
        head = [f'{method} {uri} SIP/2.0', f'Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}',
                *(['[routes]'] if in_dialog else []), f'From: {from_}', f'To: {to}', 'Call-ID: [call_id]',
                f'CSeq: {number} {method}', 'Contact: <sip:peer@[local_ip]:[local_port]>', 'Max-Forwards: 70']
        self.send(head, flags, retransmitted=method != 'ACK')

    def respond(self, code: int, flags: list[str]) -> None:
        """A response to the last request, or to the first INVITE."""
        tag = '' if self.caller else OUR_TAG
        if 'INVITE' in flags:
            lines = ['Via:[$4]', 'From:[$1]', f'To:[$2]{tag}', '[last_Call-ID:]', 'CSeq:[$3]']
        else:
            first = self.last_received in ('INVITE', 'CANCEL') and not any(
                element.startswith('<send') and 'SIP/2.0 2' in element for element in self.elements)
            lines = ['[last_Via:]', '[last_From:]', '[last_To:]' + (tag if first else ''), '[last_Call-ID:]',
                     '[last_CSeq:]']
        self.send([f'SIP/2.0 {code} Answer', *lines, '[last_Record-Route:]',
                   'Contact: <sip:peer@[local_ip]:[local_port]>'], flags,
                  retransmitted=code >= 200 and 'once' not in flags and ('final' in flags or 'sdp' in ' '.join(flags)))

    def send(self, head: list[str], flags: list[str], *, retransmitted: bool) -> None:
        """Add a ``send`` element."""
        for flag in flags:
            if flag.startswith('x:'):
                head.append(flag[2:].replace('=', ': ', 1))
        body = ''
        for flag in flags:
            if flag.startswith('sdp'):
                attribute = flag.partition(':')[2]
                body = SDP + (f'\na={attribute}' if attribute else '')
        if body:
            head.append('Content-Type: application/sdp')
        text = '\n'.join([*head, 'Content-Length: [len]', '', body])
        self.elements.append(f'<send{" retrans=" + chr(34) + "500" + chr(34) if retransmitted else ""}><![CDATA[\n\n'
                             f'{text}\n\n  ]]></send>')


def words(line: str) -> list[str]:
    """Split at blanks, but for those in single quotes."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.quotes, lexer.escape, lexer.commenters = "'", '', ''
    return list(lexer)


def write_scenario(folder: Path, name: str, ladder: str) -> Path:
    """Write the file that SIPp reads."""
    path = folder / f'{name}.xml'
    path.write_text(Ladder(ladder).xml(name), encoding='latin-1')
    return path
