"""Entry of the package as the program carries it: `python PACKAGE ENGINE`, or `python PACKAGE probe
ENGINE`, which says what is installed, or `python PACKAGE setup ENGINE FOLDER`."""
import sys

if sys.argv[1:2] == ["probe"]:
    from tokmark_worker.probe import main
elif sys.argv[1:2] == ["setup"]:
    from tokmark_worker.setup import main
else:
    from tokmark_worker.__main__ import main
main()
