"""Entry of the package as the program carries it: `python PACKAGE IN,OUT ENGINE`, or `python PACKAGE
IN,OUT probe ENGINE`, which says what is installed, or `python PACKAGE IN,OUT peak ENGINE DEVICE`, which
measures what a device can do, or `python PACKAGE IN,OUT serve ENGINE`, which makes workers, or `python PACKAGE IN,OUT setup ENGINE FOLDER`.

IN and OUT are what was standard input and output: the program moved them away before Python
started (engines/python/python.c), so that nothing printed by then is on them."""
import os
import sys

in_fd, out_fd = map(int, sys.argv.pop(1).split(","))
for fd in (in_fd, out_fd):
    os.set_inheritable(fd, False)

if sys.argv[1:2] in (["probe"], ["peak"]):
    from tokmark_worker.launcher import find_place

    place = find_place()
    if place is not None and place.rank > 0:  # one answers for all
        sys.exit(0)

if sys.argv[1:2] == ["probe"]:
    from tokmark_worker.probe import main

    main(out_fd)
elif sys.argv[1:2] == ["peak"]:
    from tokmark_worker.peak import main

    main(out_fd)
elif sys.argv[1:2] == ["setup"]:
    from tokmark_worker.setup import main

    main(out_fd)
else:
    if sys.argv[1:2] == ["serve"]:
        from tokmark_worker.serve import serve

        in_fd, out_fd = serve(in_fd, out_fd)  # returns in each worker
    from tokmark_worker.__main__ import main

    main(in_fd, out_fd)
