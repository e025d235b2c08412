"""How this image's programs end: `leave(main)` is `sys.exit(main())`, without taking the interpreter apart.

At its end Python looks for garbage and deletes every module's objects one by one: half a second of processor time with the modules of
an OpenStack service, for memory that the kernel takes back at once. What programs registered for their end is done as ever.
"""

import atexit
import os
import sys
import threading


def leave(main):
    # A program that another runs within itself (runpy) must not end that.
    if sys._getframe(1).f_back is not None:
        sys.exit(main())
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    # The same things in the same order as Python: other threads, then what was registered, then what is not yet written.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # Nobody can be told; Python's own code for it.
            code = code or 120
    os._exit(code & 0xFF)
