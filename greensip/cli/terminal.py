"""What strangers have written, for terminals and for log files: no line may look like another one's, no text act."""

from __future__ import annotations

import logging

__all__ = ['LineFormatter', 'harmless']


def harmless(text: str) -> str:
    """A line whose characters can all be seen, whoever wrote what is in it: a reason phrase, the text of an error."""
    if text.isprintable():
        return text
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


class LineFormatter(logging.Formatter):
    """What can be seen of each line.  The further lines of a message are indented: a peer's text can't make one up."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Called by ``format``, before any traceback is added."""
        text = super().formatMessage(record)
        if text.isprintable():
            return text
        first, *others = [line.replace('\t', '    ') for line in text.split('\n')]
        return '\n'.join([harmless(first), *(harmless(line if line[:1] in (' ', '') else f'    {line}')
                                             for line in others)])
