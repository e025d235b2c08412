"""How Swift is run in containers: its servers, its background daemons and its rings."""


def only_stderr(_conf, _name, _to_console, _route, _format, logger, _adapted):
    """A hook of Swift's (`log_custom_handlers`): takes syslog away. Without a syslog socket Swift would send each line to UDP
    port 514 of the host. The handler for standard error is there already, for all that ask for it (`verbose`)."""
    for handler in [one for one in logger.handlers if "SysLog" in type(one).__name__]:
        logger.removeHandler(handler)
