"""Entry: the descriptors are moved before anything is imported that could print."""
import sys

from . import protocol


def main():
    stream = protocol.Stream.take_standard()
    from . import worker  # only now: what it imports may print

    return worker.main(sys.argv[1:], stream)


if __name__ == "__main__":
    main()
