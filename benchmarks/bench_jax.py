#!/usr/bin/env python3
"""The published command line, now tokmark: hands over to the program of the same name."""
import os
import sys


def main():
    here = os.path.dirname(os.path.realpath(__file__))
    name = os.path.basename(__file__)[:-len(".py")]
    above = os.path.dirname(here)
    folders = [os.path.join(above, "build"), os.path.join(above, "bin")]
    folders += [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for folder in folders:
        # The program knows by its name which defaults are meant; it may be installed without it.
        for file in (os.path.join(folder, name), os.path.join(folder, "tokmark")):
            if os.path.isfile(file) and os.access(file, os.X_OK):
                os.execv(file, [name] + sys.argv[1:])
    sys.stderr.write(name + ".py: tokmark is not built; run `make build` in " + above + "\n")
    return 4


sys.exit(main())
