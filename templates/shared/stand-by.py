def stand_by():
    """Waits short of the program's work while /etc/mastic/stand-by is not empty: an upgrade keeps this container so, with all that it
    needs imported, and frozen. Imports are two thirds of a start, and a way back waits for the processor (measured)."""
    import os
    import signal

    def told():
        try:
            return os.path.getsize("/etc/mastic/stand-by") > 0
        except FileNotFoundError:
            return False

    if told():
        open("/tmp/standing-by", "w").close()
        while told():
            # A sleep that no library replaces; it is frozen in the meantime.
            signal.sigtimedwait((), 0.05)
        os.unlink("/tmp/standing-by")
