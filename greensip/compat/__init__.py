"""Programs written for other SIP libraries, on greensip's hub."""

__all__: list[str] = []
