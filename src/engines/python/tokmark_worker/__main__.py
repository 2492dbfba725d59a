"""Entry: nothing is imported that could print before the stream's descriptors are private."""
import sys

from . import protocol


def main(in_fd=None, out_fd=None):
    """Over two private descriptors, or over standard input and output, which it then moves."""
    stream = protocol.Stream(in_fd, out_fd) if in_fd else protocol.Stream.take_standard()
    from . import worker  # only now: what it imports may print

    return worker.main(sys.argv[1:], stream)


if __name__ == "__main__":
    main()
